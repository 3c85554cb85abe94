"""Lab 17: a sender makes a bad link reliable: it keeps what is not acknowledged, and sends it again.

A's segments are those of `demuxlab.parts.sender.Sender`, B has a whole TCP. What the link does is in `fates`.
"""

from collections.abc import Sequence

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.language import _, marked
from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.segment import Segment
from demuxlab.parts.sender import Sender

MSS = 1000  # bytes in a segment
STREAM = b"".join(b"row %05d\n" % number for number in range(2000))  # 10 bytes each
LOST, CORRUPT, REPEATED, LATE, ACK_LOST = marked(("lost", "corrupt", "repeated", "late", "ACK lost"))


class Client:
    """A program on A: its sender, and the link before it."""

    def __init__(self, lab: Lab, there: Packet, window: int) -> None:
        self.lab, self.there, self.first = lab, there.copy(), lab.number(1001, 1002, 60_000)
        there = self.there
        there[TCP].flags, there[TCP].seq = "S", self.first - 1
        [syn_ack] = lab.send(there)
        there[TCP].flags, there[TCP].seq, there[TCP].ack = "A", self.first, syn_ack.seq + 1
        lab.send(there)
        self.sender = Sender(self.first, MSS, FixedWindow(window))
        self.began = lab.now()
        self.sent = set[int]()

    def write(self, count: int, fates: Sequence[str] = ()) -> list[tuple[object, ...]]:
        """Write so many segments; return a row for each that the sender sends until all is acknowledged."""
        first = max(self.sent, default=0)
        data = STREAM[first : first + count * MSS]
        self.rows: list[tuple[object, ...]] = []
        self.fates, self.late = list(fates), list[Packet]()
        segments = self.sender.send(data, self.lab.now())
        while self.sender.waiting():
            if not segments:
                deadline = self.sender.deadline() or 0.0
                self.lab.wait(deadline - self.lab.now() + 0.000001)
                segments = self.sender.poll(self.lab.now())
            segments = [each for segment in segments for each in self.carry(segment)]
        self.lab.show_table(("frames", "seconds", "bytes", "again", "the link", "acknowledged"), self.rows)
        return self.rows

    def carry(self, segment: Segment) -> list[Segment]:
        """Put a segment on the link; return what the sender sends because of the answers."""
        fate = self.fates.pop(0) if self.fates else ""
        end = (begin := segment.seq - self.first) + len(segment.data)
        again, now, before = end in self.sent, self.lab.now() - self.began, self.lab.journal.frames + 1
        self.sent.add(end)
        packet = self.there.copy() / segment.data
        packet[TCP].flags, packet[TCP].seq = "PA", segment.seq
        if fate == CORRUPT:
            packet[TCP].chksum = 0x1BAD
        crossing = {LOST: [], LATE: [], REPEATED: [packet, packet]}.get(fate, [packet])
        if fate == LATE:
            self.late.append(packet)
        elif fate != LOST:
            crossing, self.late = [*crossing, *self.late], []
        answers = [answer for each in crossing for answer in self.lab.send(each)]
        acks = [] if fate == ACK_LOST else [answer[TCP].ack for answer in answers]
        shown = ", ".join(str(ack - self.first) for ack in acks) or "–"
        frames = ", ".join(map(str, range(before, self.lab.journal.frames + 1))) or "–"
        span, again = f"{begin}–{end - 1}", _("again") if again else ""
        self.rows.append((frames, f"{now:.3f}", span, again, _(fate), shown))
        heard = [Segment(ack=each[TCP].ack, window=each[TCP].window) for each in answers if acks]
        return [sent for each in heard for sent in self.sender.receive(each, self.lab.now())]


def run(lab: Lab) -> None:
    b = lab.host("B", "10.9.0.20")
    a = lab.sender("A", "10.9.0.10")
    server = lab.program("server", b)
    listening = server.socket(name="listening", connections=["P4", "P5"])
    listening.bind((b.address, lab.port(8080)))
    listening.listen(5)
    there = IP(src=a.address, dst=b.address) / TCP(sport=lab.port(9157), dport=lab.port(8080))

    lab.step("A connects to B and stops and waits: one segment of {size} bytes at a time.", size=MSS)
    client = Client(lab, there, MSS)
    p4, _peer = listening.accept()
    whole = client.write(2)
    lab.step("The link loses a segment. Then an acknowledgment: B has the data, and gets them again.")
    lost = client.write(2, [LOST, "", ACK_LOST])
    lab.step("The link corrupts a segment: its checksum is wrong. The next one arrives twice.")
    corrupt = client.write(2, [CORRUPT, "", REPEATED])

    lab.step(
        "Another connection with a window of {count} segments. Two of them overtake each other.", count=4
    )
    there[TCP].sport = lab.port(5775)
    client = Client(lab, there, 4 * MSS)
    p5, _peer = listening.accept()
    late = client.write(4, ["", LATE])
    lab.step("The link loses the first of four. Three duplicates come, and the timer is not needed.")
    fast = client.write(4, [LOST])
    lab.step("Which segment went to which socket:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("each segment waited for the acknowledgment of the one before", len(whole) == 2)
    lab.check("what was lost or corrupt was sent again by the timer", [len(lost), len(corrupt)] == [4, 3])
    lab.check("one duplicate acknowledgment made the sender send nothing", len(late) == 4)
    lab.check(
        "three made it send the first segment again, at once", len(fast) == 5 and fast[4][2] == fast[0][2]
    )
    received = p4.recv(65_536), p5.recv(65_536)
    lab.check("both streams arrived whole", received == (STREAM[:6000], STREAM[:8000]))


if __name__ == "__main__":
    main(__file__)
