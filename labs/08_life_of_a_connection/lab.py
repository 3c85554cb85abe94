"""Lab 08: two connections from the first segment to the last. The server disconnects first, then the client.

Four phases: create the socket; connect (lay the pipe); send and receive; disconnect and delete the socket.
"""

from demuxlab.demux.delivery import Delivery
from demuxlab.host import Host
from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.sockets import SHUT_WR
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.wire.segment import flag_letters

REQUEST = b"GET /index.html HTTP/1.0\r\n\r\n"
PAGE = b"HTTP/1.0 200 OK\r\n\r\nhello"
OPENS, IS_OPENED = ["SYN-SENT", "ESTABLISHED"], ["SYN-RECEIVED", "ESTABLISHED"]
CLOSES_FIRST, CLOSES_SECOND = ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT"], ["CLOSE-WAIT", "LAST-ACK", "CLOSED"]
SERVER_FIRST = [OPENS + CLOSES_SECOND, IS_OPENED + CLOSES_FIRST]  # the client's states, the server's
CLIENT_FIRST = [OPENS + CLOSES_FIRST, IS_OPENED + CLOSES_SECOND]


def run(lab: Lab) -> None:
    b = lab.host("B", "10.9.0.20")
    a = lab.host("A", "10.9.0.10")
    server, client = lab.program("server", b), lab.program("client", a)
    rows = Watch(a, b).rows

    lab.step("Phase 1: both create a socket. The server binds its own to port 80 and listens.")
    listening = server.socket(name="listening", connections=["P4", "P5"])
    listening.bind((b.address, 80))
    listening.listen(5)
    first, second = client.socket(name="first"), client.socket(name="second")
    lab.say("The client's socket: {state}", state=first.endpoint.state.value)
    lab.say("The server's socket: {state}", state=listening.endpoint.state.value)

    lab.step("Phase 2: connect lays the pipe with three segments. accept gives the data socket P4.")
    first.connect((b.address, 80))
    p4, _peer = listening.accept()
    show(lab, rows[:3])

    lab.step("Phase 3: send and receive. The states stay.")
    first.sendall(REQUEST)
    p4.recv(1024)
    p4.sendall(PAGE)
    page = first.recv(1024)
    show(lab, rows[3:7])

    lab.step("Phase 4: disconnect. The server is the first, as in HTTP/1.0: that is the end of the page.")
    p4.close()
    end = first.recv(1024)
    first.close()
    show(lab, rows[7:])
    lab.say("The client's socket is deleted. The server's data socket waits for late segments:")
    lab.show_sockets(b)
    lab.wait(60)
    lab.say("60 seconds later, the server's data socket: {state}", state=state(b))
    lab.check("TIME-WAIT is over", state(b) == "CLOSED")

    lab.step("The second connection. The client disconnects first: its direction ends, the page still comes.")
    second.connect((b.address, 80))
    p5, _peer = listening.accept()
    second.sendall(REQUEST)
    second.shutdown(SHUT_WR)
    asked = p5.recv(1024), p5.recv(1024)
    p5.sendall(PAGE)
    stayed_open = asked == (REQUEST, b"") and second.recv(1024) == PAGE
    p5.close()
    second.close()
    show(lab, rows[11:])

    lab.step("What the processes called, in a fixed order, and to which socket each segment went:")
    lab.show_calls()
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("the end of the stream came after the page", (page, end) == (PAGE, b""))
    lab.check("the server closed first: TIME-WAIT is the server's", paths(rows[:11]) == SERVER_FIRST)
    lab.check("one direction had ended, the other still carried the page", stayed_open)
    lab.check("the client closed first: TIME-WAIT is the client's", paths(rows[11:]) == CLIENT_FIRST)


class Watch:
    """Notes the states of both sides whenever a segment has arrived, a row each."""

    def __init__(self, client: Host, server: Host) -> None:
        self.rows: list[tuple[int, str, str, str]] = []
        self._client, self._server = client, server
        for host in (client, server):
            host.observers.append(self)

    def received(self, _packet: bytes, delivery: Delivery, _now: float) -> None:
        """Add a row: frame, client, segment, server."""
        flags = flag_letters(delivery.segment.flags)
        segment = f"{flags} →" if delivery.segment.destination_port == 80 else f"← {flags}"
        self.rows.append((len(self.rows) + 1, state(self._client), segment, state(self._server)))

    def sent(self, _packet: bytes, _now: float) -> None:
        """Wait until it arrives."""


def show(lab: Lab, rows: list[tuple[int, str, str, str]]) -> None:
    lab.show_table(("frame", "client", "segment", "server"), rows)


def paths(rows: list[tuple[int, str, str, str]]) -> list[list[object]]:
    """Return the states that client and server went through."""
    return [list(dict.fromkeys(row[side] for row in rows)) for side in (1, 3)]


def state(host: Host) -> str:
    """Return the state of the host's connection; CLOSED where it has none."""
    for entry in host.demultiplexer.table:
        if entry.remote_address:
            return entry.handler.state.value if isinstance(entry.handler, TCPConnection) else "TIME-WAIT"
    return "CLOSED"


if __name__ == "__main__":
    main(__file__)
