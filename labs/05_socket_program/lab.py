"""Lab 05: the socket program, each call beside the segments that it causes.

A server on 127.0.0.1 port 8089: socket, bind, listen, then a loop of accept, recv, send and close. Two
clients connect and send GET /index.html. At the end a server on 0.0.0.0, which other computers reach too.
"""

from demuxlab.host import Host
from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket

REQUEST = [b"GET /index.html HTTP/1.0\r\n", b"\r\n"]
PAGE = b"<h1>Sockets</h1>\n" + b"<p>A socket knows its peer.</p>\n" * 40
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE


def run(lab: Lab) -> None:
    b = lab.host("B", "10.9.0.20")
    a = lab.host("A", "10.9.0.10")
    server, client, client_on_a = (
        lab.program("server", b),
        lab.program("client", b),
        lab.program("client on A", a),
    )
    here, port, port2 = "127.0.0.1", lab.port(8089), lab.port(8080)

    lab.step("The server, on host B: socket, bind {place}, listen.", place=f"{here}:{port}")
    listening = server.socket(name="listening", connections=["data 1", "data 2"])
    listening.bind((here, port))
    listening.listen(5)

    lab.step("Two clients on the same host connect, and send in two writes. The server calls nothing yet.")
    clients = [client.socket(name=name) for name in ("client 1", "client 2")]
    for own in clients:
        own.connect((here, port))
        for part in REQUEST:
            own.send(part)

    lab.step("Now the server's loop: accept, recv, send and close, once for each client.")
    requests = serve(listening, 2)

    lab.step("The clients read what waits for them.")
    answers = [read_all(own) for own in clients]

    lab.step("Another computer, A, tries {place}.", place=f"{b.address}:{port}")
    refused = not connects(client_on_a.socket(name="client A"), b, port)

    lab.step(
        "A second server binds 0.0.0.0:{port}: that is every address of B. A tries that one.", port=port2
    )
    everywhere = server.socket(name="listening 2", connections=["data 3"])
    everywhere.bind(("0.0.0.0", port2))
    everywhere.listen(5)
    own = client_on_a.socket(name="client A")
    reached = connects(own, b, port2)
    own.send(b"".join(REQUEST))
    requests += serve(everywhere, 1)
    answers.append(read_all(own))
    listening.close()
    everywhere.close()

    lab.step("Every call, and the frames that crossed meanwhile:")
    lab.show_calls()
    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("socket, bind and listen cause no segment", not caused(lab, "socket", "bind", "listen"))
    lab.check(
        "connect causes three, the handshake, and waits for no accept", caused(lab, "connect")[:2] == [3, 3]
    )
    lab.check("accept and recv cause none: what arrived was there already", not caused(lab, "accept", "recv"))
    lab.check("one recv gave what two writes had brought", requests == [b"".join(REQUEST)] * 3)
    lab.check(
        "one segment was read in two pieces, as recv(1024) asked for them",
        all([len(piece) for piece in pieces] == [1024, len(ANSWER) - 1024] for pieces in answers),
    )
    heard = [senders for name in ("data 1", "data 2", "data 3") for senders in set(lab.got(name))]
    lab.check("each data socket heard one client, another one each", len(heard) == len(set(heard)) == 3)
    lab.check("127.0.0.1 is reached from B alone, 0.0.0.0 from A too", refused and reached)


def serve(listening: NotedSocket, clients: int) -> list[bytes]:
    """The server's loop; return what each client asked for."""
    requests = []
    for _ in range(clients):
        data, _peer = listening.accept()
        requests.append(data.recv(1024))
        data.sendall(ANSWER)
        data.close()
    return requests


def read_all(own: NotedSocket) -> list[bytes]:
    """Read until the end of the stream and close; return what each recv gave."""
    pieces = []
    while piece := own.recv(1024):
        pieces.append(piece)
    own.close()
    return pieces


def connects(own: NotedSocket, host: Host, port: int) -> bool:
    try:
        own.connect((host.address, port))
    except ConnectionRefusedError:
        own.close()
        return False
    return True


def caused(lab: Lab, *names: str) -> list[int]:
    """Return how many frames crossed during each call of these names, where any did."""
    calls = [call for call in lab.calls if call.text.partition("(")[0] in names]
    return [len(call.frames) for call in calls if call.frames]


if __name__ == "__main__":
    main(__file__)
