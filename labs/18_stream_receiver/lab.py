"""Lab 18: what the receiving half of TCP answers to segments that come early, twice, too many, or at the end.

C's segments are crafted; P4 reads when the lab says so, and B's receive buffer is small: the window closes.
"""

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.labkit.program import NotedSocket
from demuxlab.language import _, marked

CAPACITY, MSS = 4000, 1000  # bytes: B's receive buffer, and C's full segments
STREAM = b"".join(b"row %05d\n" % number for number in range(800))  # 10 bytes each, 8000 in all
HEADERS = marked(("frames", "what", "bytes", "sequence number", "acknowledgment", "window", "unread"))
NOTHING = "–", "–"  # instead of acknowledgment and window: B sends no segment


class Stream:
    """C's half of the connection: sends parts of the stream, whose byte `wraps` has the sequence number 0."""

    def __init__(self, lab: Lab, packet: Packet, wraps: int, data: NotedSocket) -> None:
        self._lab, self._packet, self._data, self._rows = lab, packet, data, list[tuple[object, ...]]()
        self.wraps, self._frames = wraps, lab.journal.frames

    def send(self, what: str, start: int, end: int, flags: str = "A") -> None:
        """Send the bytes from `start` until before `end` in one segment."""
        self._packet[TCP].seq, self._packet[TCP].flags = (start - self.wraps) % 2**32, flags
        span = f"{start}-{end - 1}" if start < end else "–"
        self.note(what, self._lab.send(self._packet / STREAM[start:end]), span, self._packet[TCP].seq)

    def read(self, size: int) -> bytes:
        """Let P4 read."""
        data = self._data.recv(size)
        self.note(_("P4 reads {size}", size=len(data)), self._lab.replies())
        return data

    def note(self, what: str, answers: list[Packet], span: str = "–", number: object = "–") -> None:
        """Add a row: what has happened, in which frames, and what B has sent because of it."""
        first, self._frames = self._frames + 1, self._lab.journal.frames
        frames = ", ".join(map(str, range(first, self._frames + 1))) or "–"
        said = (answers[-1].ack, answers[-1].window) if answers else NOTHING
        self._rows.append((frames, what, span, number, *said, self._data.endpoint.waiting))

    def show(self) -> list[tuple[object, object]]:
        """Show the rows since the last call; return acknowledged byte of the stream and window."""
        rows, self._rows = self._rows, []
        self._lab.show_table(HEADERS, rows)
        return [(row[4] if row[4] == "–" else (row[4] + self.wraps) % 2**32, row[5]) for row in rows]


def run(lab: Lab) -> None:
    lab.step("C connects to B. Its receive buffer has {size} bytes, a segment {mss}.", size=CAPACITY, mss=MSS)
    stream = connected(lab)

    lab.step("In order. The ACK of one segment waits for a second one; then both are acknowledged at once.")
    stream.send(_("in order"), 0, 1000)
    lab.wait(0.3)
    stream.note(_("0.3 s later"), lab.replies())
    stream.send(_("in order"), 1000, 2000)
    stream.send(_("in order"), 2000, 3000)
    data = stream.read(3000)
    in_order = stream.show()

    lab.step("A gap. Byte {byte} has the number 0, after 4294967295: it is later.", byte=stream.wraps)
    stream.send(_("early"), 4000, 5000)
    stream.send(_("early"), 5000, 6000)
    stream.send(_("fills the gap"), 3000, 4000)
    stream.send(_("a duplicate"), 3000, 4000)
    stream.send(_("an overlap"), lab.number(5500, 5041, 5499), 6500)
    gap = stream.show()

    lab.step("The window closes. It opens by a whole segment, or not at all.")
    stream.send(_("too much"), 6500, 7500)
    stream.send(_("a probe"), 7000, 7001)
    size = lab.number(2000, 2000, 2900)
    data += stream.read(500) + stream.read(size - 500)
    closed = stream.show()

    lab.step("The end. FIN comes before the data that it follows. At last C asks whether B is still there.")
    stream.send(_("FIN, early"), 7500, 8000, "FA")
    stream.send(_("fills the gap"), 7000, 7500)
    data += stream.read(CAPACITY)
    stream.send(_("keep-alive"), 8000, 8000)
    end = stream.show()

    lab.step("Which segment went to which socket:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("one segment's ACK waits, the second's does not", in_order[2:4] == [NOTHING, (3000, 1000)])
    lab.check("out of order: at once, each time, what is still missing", gap[:2] == [(3000, 4000)] * 2)
    lab.check("the filled gap acknowledges what waited behind it", gap[2:4] == [(6000, 1000)] * 2)
    lab.check("a closed window answers a probe, and takes nothing", closed[:2] == [(7000, 0)] * 2)
    lab.check("500 bytes do not open the window, {size} do", closed[2:] == [NOTHING, (7000, size)], size=size)
    lab.check("FIN counts once all data before it is there", [end[0][0], end[1][0]] == [7000, 8001])
    edges = [sum(row) for row in in_order + gap + closed + end[:2] if row != NOTHING]
    lab.check("the right edge of the window has never moved back", edges == sorted(edges))
    lab.check("P4 read the stream, each byte once and in order", data == STREAM)


def connected(lab: Lab) -> Stream:
    """Connect C to B, where P4 has the data; acknowledgments are delayed from the first segment on."""
    b, c = lab.host("B", "10.9.0.20"), lab.sender("C", "10.9.0.30")
    listening = lab.program("server", b).socket(name="listening", connections=["P4"])
    listening.endpoint.settings.receive_buffer, listening.endpoint.settings.quickack = CAPACITY, False
    listening.bind((b.address, lab.port(8080)))
    listening.listen(5)
    packet = IP(src=c.address, dst=b.address) / TCP(sport=lab.port(9157), dport=lab.port(8080), flags="S")
    wraps = lab.number(4000, 3001, 4000)  # byte 0 is so far before number 0
    packet[TCP].seq, packet[TCP].options = 2**32 - wraps - 1, [("MSS", MSS)]
    [answer] = lab.send(packet)
    syn, syn.flags, syn.options, syn.seq, syn.ack = packet[TCP], "A", [], 2**32 - wraps, answer.seq + 1
    lab.send(packet)
    return Stream(lab, packet, wraps, listening.accept()[0])


if __name__ == "__main__":
    main(__file__)
