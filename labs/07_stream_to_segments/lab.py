"""Lab 07: 5000 bytes are written at once, travel in four segments, and are read in five pieces.

A stream is read in order, like a file. What has arrived waits in the receive buffer until it is read.
"""

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket
from demuxlab.language import _
from demuxlab.sockets import MSG_PEEK
from demuxlab.wire.address import to_text

STREAM = b"".join(b"row %05d\n" % number for number in range(500))  # 10 bytes each, 5000 in all
CAPACITY = 8192  # of the receive buffer, in bytes


def run(lab: Lab) -> None:
    b = lab.host("B", "10.9.0.20")
    a = lab.host("A", "10.9.0.10")
    c = lab.sender("C", "10.9.0.30")
    port, far = lab.port(8080), lab.port(9157)

    lab.step("A connects to B. B's receive buffer holds {size} bytes, a segment 1460.", size=CAPACITY)
    server, client = lab.program("server", b), lab.program("client", a)
    listening = server.socket(name="listening", connections=["P4", "P5"])
    listening.endpoint.settings.receive_buffer = CAPACITY
    listening.bind((b.address, port))
    listening.listen(5)
    connection = client.socket(name="client")
    connection.endpoint.settings.timestamps = False  # they would take 12 bytes of each segment: 1448
    connection.endpoint.settings.window_scale = False  # so the window field counts bytes
    connection.connect((b.address, port))
    p4, _peer = listening.accept()

    lab.step("The client writes 5000 bytes with one call. TCP cuts them; P4 reads nothing yet.")
    connection.sendall(STREAM)
    cut = show_segments(lab, first=4)
    sizes, windows = [row[3] for row in cut[:4]], [row[5] for row in cut[4:]]
    lab.say("{size} bytes wait in the receive buffer.", size=len(waiting(p4)))

    lab.step("P4 reads 1000 bytes, five times: no piece is a segment. The window opens again.")
    pieces = [p4.recv(1000) for _ in range(5)]
    show_segments(lab, first=12)

    lab.step("The client writes twice, P4 reads once: where one write ended is not to be seen.")
    connection.sendall(b"two writes, ")
    connection.sendall(b"seen as one read")
    once = p4.recv(1024)
    lab.say("recv(1024) → {data}", data=once)

    lab.step("C's segments overtake each other. Its numbers wrap around: after 4294967295 comes 0.")
    there = IP(src=c.address, dst=b.address) / TCP(sport=far, dport=port)
    rows, p5 = overtake(lab, there, listening)
    readable = [row[4] for row in rows]
    lab.show_table(("C sends", "sequence number", "bytes", "B acknowledges", "P5 could read"), rows)
    whole = p5.recv(1024)

    lab.step("What the processes called, and the frames that it caused:")
    lab.show_calls()
    lab.step("Which segment went to which socket:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("5000 bytes were cut into 1460, 1460, 1460 and 620", sizes == [1460, 1460, 1460, 620])
    lab.check("the window shrank by what waited", windows == [CAPACITY - n for n in (1460, 2920, 4380, 5000)])
    thousands = [STREAM[at : at + 1000] for at in range(0, 5000, 1000)]
    lab.check("five reads gave the stream in order", pieces == thousands)
    lab.check("two writes came out of one read", once == b"two writes, seen as one read")
    lab.check("what was too early waited for what was missing", readable[0] == readable[1] == b"the ")
    expected = [2**32 - 4, 2**32 - 4, 9, 9, 14]
    lab.check("the acknowledgment is the next byte expected", [row[3] for row in rows] == expected)
    lab.check("no byte was delivered twice, and none was lost", whole == b"the stream stays whole")


def overtake(lab: Lab, there: Packet, listening: NotedSocket) -> tuple[list[tuple[object, ...]], NotedSocket]:
    """Connect, and send a stream's segments in a wrong order; return what each did, and the data socket."""
    there[TCP].flags, there[TCP].seq = "S", 2**32 - 9
    [syn_ack] = lab.send(there)
    there[TCP].flags, there[TCP].seq, there[TCP].ack = "A", 2**32 - 8, syn_ack.seq + 1
    lab.send(there)
    data, _peer = listening.accept()
    rows: list[tuple[object, ...]] = []
    for what, number, text in (
        (_("in order"), 2**32 - 8, b"the "),
        (_("too early"), 3, b"stays "),
        (_("fills the gap"), 2**32 - 4, b"stream "),
        (_("a duplicate"), 2**32 - 4, b"stream "),
        (_("an overlap"), 3, b"stays whole"),
    ):
        there[TCP].flags, there[TCP].seq = "PA", number
        [answer] = lab.send(there / text)
        rows.append((what, number, len(text), answer.ack, waiting(data)))
    return rows, data


def show_segments(lab: Lab, first: int) -> list[tuple[object, ...]]:
    """Show the segments from a frame on; numbers count from each side's SYN, as Wireshark shows them."""
    rows: list[tuple[object, ...]] = []
    begin: dict[bytes, int] = {}
    for entry in lab.journal.entries:
        segment = entry.delivery.segment
        number = segment.sequence - begin.setdefault(segment.source, segment.sequence)
        acknowledged = segment.acknowledgment - begin.get(segment.destination, 0)
        size, window = len(segment.payload), segment.window
        rows.append((entry.frame, to_text(segment.source), number, size, acknowledged, window))
    shown = rows[first - 1 :]
    lab.show_table(("frame", "from", "sequence number", "bytes", "acknowledgment", "window"), shown)
    return shown


def waiting(socket: NotedSocket) -> bytes:
    """Look into the receive buffer, and take nothing out."""
    return socket.own.recv(CAPACITY, MSG_PEEK)


if __name__ == "__main__":
    main(__file__)
