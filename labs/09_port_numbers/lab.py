"""Lab 09: whose number is it? The server's port is known before, the client's is picked and told.

A browser and a mail program never call bind, and yet they have a port. Three users behind the one address
203.0.113.7 ask one server process on port 8080: only the remote port tells them apart.
"""

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket, Program
from demuxlab.sockets import SO_REUSEADDR, SOL_SOCKET
from demuxlab.transport.ports import FIRST, LAST

WEB, MAIL = 80, 25

Place = tuple[str, int]
"""An address and a port."""


def run(lab: Lab) -> None:
    b = lab.host("B", "10.9.0.20")
    a = lab.host("A", "10.9.0.10")
    c = lab.host("C", "10.9.0.30")
    gateway = lab.host("G", "203.0.113.7")
    own, twice = lab.port(8080), lab.port(9157)

    lab.step("The kind of application fixes the server's port. Lines of /etc/services say which:")
    lines: list[tuple[object, ...]] = [("http", f"{WEB}/tcp", "www"), ("smtp", f"{MAIL}/tcp", "mail")]
    lab.show_table(("name", "port/protocol", "aliases"), lines)

    lab.step("Server B: web on port 80, mail on port 25, and process P on a port of its own, {own}.", own=own)
    web = listen(lab.program("web server", b), "web", WEB, ["web/A", "web/C"])
    mail = listen(lab.program("mail server", b), "mail", MAIL, ["mail/A", "mail/C"])
    process = lab.program("P", b)
    listening = listen(process, "P listening", own, ["P/U1", "P/U2", "P/U3"])

    lab.step("A's browser and mail program connect. They call no bind: the protocol stack picks their ports.")
    clients = [lab.program(name, a).socket() for name in ("browser", "mail program")]
    before = [client.getsockname() for client in clients]
    _, by_browser = connect(clients[0], web, (b.address, WEB))
    _, by_mail = connect(clients[1], mail, (b.address, MAIL))
    picked, told = [client.getsockname() for client in clients], [by_browser, by_mail]
    rows = zip(clients, before, picked, told, strict=True)
    lab.show_table(
        ("process", "before connect", "after connect", "accept tells the server"),
        [(client.name, *map(text, places)) for client, *places in rows],
    )

    lab.step("Three users behind the one address {address} connect to P.", address=gateway.address)
    users = [lab.program(name, gateway).socket(name=name) for name in ("U1", "U2", "U3")]
    accepted = [connect(user, listening, (b.address, own)) for user in users]
    lab.say(
        "Five things make a socket. Besides the descriptor, P's data sockets differ in the remote port only:"
    )
    lab.show_descriptors(process)

    lab.step("All three ask, the last one first. P answers each one through its own data socket.")
    for user, (data, peer) in reversed([*zip(users, accepted, strict=True)]):
        user.sendall(f"I am {user.name}".encode())
        data.sendall(data.recv(1024) + f" at port {peer[1]}".encode())
        lab.say("  {user} gets {answer}", user=user.name, answer=user.recv(1024))

    lab.step("C uses port {port} twice at one time: towards port 80, and towards port 25.", port=twice)
    again = []
    for server, port in ((web, WEB), (mail, MAIL)):
        client = lab.program("C", c).socket(name=f"C to {port}")
        client.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        client.bind((c.address, twice))
        again.append(connect(client, server, (b.address, port))[1])

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()

    remote = [peer for _, peer in accepted]
    got = [set(lab.got(f"P/{user.name}")) for user in users]
    lab.step("What the theory says:")
    lab.check(
        "every port that was picked is a dynamic one",
        all(FIRST <= port <= LAST for _, port in picked + remote),
    )
    lab.check("connecting told the server the client's port", told == picked)
    lab.check("two programs of one host have two ports", picked[0] != picked[1])
    lab.check("three users have one remote address", {address for address, _ in remote} == {gateway.address})
    lab.check("three users have three remote ports", len({port for _, port in remote}) == 3)
    lab.check("each data socket got what one user sent", got == [{text(place)} for place in remote])
    lab.check("one port of C has two connections, to two ports", again == [(c.address, twice)] * 2)


def listen(program: Program, name: str, port: int, connections: list[str]) -> NotedSocket:
    """Listen on a port of every address; `connections` are the names of the data sockets to come."""
    listening = program.socket(name=name, connections=connections)
    listening.bind(("0.0.0.0", port))
    listening.listen(5)
    return listening


def connect(client: NotedSocket, server: NotedSocket, to: Place) -> tuple[NotedSocket, Place]:
    """Connect; return what accept gives the server: its data socket, and the client's address and port."""
    client.connect(to)
    return server.accept()


def text(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


if __name__ == "__main__":
    main(__file__)
