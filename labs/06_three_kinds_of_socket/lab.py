"""Lab 06: listening socket, data sockets, client sockets. One local address and port, three times.

Server 50.50.50.50:8080, and two clients, both with port 49999. The connection request goes to the listening
socket; from then on source address and port decide too. The socket pair is unique.
"""

import errno
from collections.abc import Callable

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket, Program
from demuxlab.sockets import SO_REUSEADDR, SOL_SOCKET


def run(lab: Lab) -> None:
    s = lab.host("S", "50.50.50.50")
    c1, c2 = lab.host("C1", "77.77.77.77"), lab.host("C2", "88.88.88.88")
    server, one, two = lab.program("server", s), lab.program("client 1", c1), lab.program("client 2", c2)
    place, far = (s.address, lab.port(8080)), lab.port(49999)

    lab.step("The server listens on {place}.", place=f"{place[0]}:{place[1]}")
    listening = server.socket(name="listening", connections=["data 1", "data 2", "data 3"])
    listening.bind(place)
    listening.listen(5)

    lab.step("Two clients bind port {port}, each on its own host, and connect.", port=far)
    client1, client2 = bound(one, c1.address, far), bound(two, c2.address, far)
    client1.connect(place)
    client2.connect(place)
    (data1, _), (data2, _) = listening.accept(), listening.accept()

    lab.step("The server has three sockets. All have one local address and port.")
    lab.show_descriptors(server)
    lab.say("Each client has one socket. Its remote address is the server's:")
    lab.show_descriptors(one)
    lab.show_descriptors(two)
    three = [noted.own.getsockname() for noted in (listening, data1, data2)]

    lab.step("A socket is read and written like a file: readline and write.")
    client1.sendall(b"a line of client 1\n")
    client2.sendall(b"a line of client 2\n")
    lines = [through_a_file(data) for data in (data2, data1)]
    echoes = [client2.recv(1024), client1.recv(1024)]

    lab.step("Client 1 wants the same socket pair a second time.")
    again = bound(one, c1.address, far)
    twice = refused(lambda: again.connect(place))
    again.close()

    lab.step("The first data socket closes. The other one lives, and the descriptor is free for the next.")
    data1.close()
    client1.close()
    still = carried(client2, data2, b"still there\n")
    one.socket(name="client 3").connect(place)
    data3, _ = listening.accept()
    lab.show_descriptors(server)

    lab.step("The listening socket closes. The data sockets live; a new connection request finds nobody.")
    listening.close()
    still += carried(client2, data2, b"and still\n")
    nobody = refused(lambda: two.socket(name="client 4").connect(place))

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("three sockets, one local address and port", set(three) == {place})
    lab.check("three descriptors", [own.descriptor for own in (listening, data1, data2)] == [3, 4, 5])
    lab.check(
        "the source address alone decided between the two clients",
        lines == [b"a line of client 2\n", b"a line of client 1\n"] == echoes,
    )
    lab.check("the socket pair is unique: EADDRNOTAVAIL", twice == errno.EADDRNOTAVAIL)
    lab.check("closing one socket left the others", still == b"still there\nand still\n")
    lab.check("the lowest free descriptor was given again", data3.descriptor == data1.descriptor)
    lab.check("without a listening socket: RST", nobody == errno.ECONNREFUSED)


def bound(program: Program, address: str, port: int) -> NotedSocket:
    """Make a client socket with a port of its own choice, which it may share (SO_REUSEADDR)."""
    own = program.socket()
    own.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    own.bind((address, port))
    return own


def through_a_file(data: NotedSocket) -> bytes:
    """Read a line and write it back."""
    with data.own.makefile("rwb") as file:
        line: bytes = file.readline()
        file.write(line)
    return line


def carried(sender: NotedSocket, receiver: NotedSocket, data: bytes) -> bytes:
    """Send, and return what arrives."""
    sender.sendall(data)
    arrived: bytes = receiver.recv(1024)
    return arrived


def refused(call: Callable[[], None]) -> int | None:
    """Return the error's number."""
    try:
        call()
    except OSError as error:
        return error.errno
    return None


if __name__ == "__main__":
    main(__file__)
