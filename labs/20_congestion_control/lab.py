"""Lab 20: how much may be under way? A window that grows until something is lost, and two flows that share.

A sends a stream to B in segments of 100 bytes. On the way is a bottleneck, which loses one segment, and later
all of a round trip. What A may send is decided by a controller of four methods (`demuxlab.parts.controller`),
which is what the exercise asks for. B answers with its own TCP. Then two such flows meet at a bottleneck with
a queue: a minute of it is computed, and not recorded.
"""

from scapy.layers.inet import IP, TCP

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.parts.bottleneck import Bottleneck, Flow
from demuxlab.parts.controller import Controller, cubic, seconds_to_return
from demuxlab.parts.segment import Segment
from demuxlab.parts.sender import Sender

MSS, ROUND_TRIP = 100, 0.1
LOST = {4, *range(24, 30)}  # segments, by their place in the stream, that are lost when they are sent first


class Path:
    """A's way to B and back, a round trip at a time; keeps a row of the table for each."""

    def __init__(self, lab: Lab, sender: Sender, controller: Controller, first: IP, mss: int) -> None:
        self._lab, self._sender, self._controller, self._first = lab, sender, controller, first
        self._begin, self._mss, self._lost = first[TCP].seq, mss, set(LOST)
        self.rows: list[tuple[object, ...]] = []

    def round_trips(self, count: int, sent: list[Segment]) -> list[Segment]:
        """Carry what A sends, but for what is lost; return what A sends when the last ACKs are back."""
        for _ in range(count):
            window, answers, bar = self._controller.window(), list[IP](), ""
            frame = self._lab.journal.frames + 1
            for segment in sent:
                place = (segment.seq - self._begin) // self._mss
                bar += "░" if place in self._lost else "█"
                if place not in self._lost:
                    packet = self._first.copy()
                    packet[TCP].seq = segment.seq
                    answers += self._lab.send(packet / segment.data)
                self._lost.discard(place)
            begins = frame if "█" in bar else "–"
            self.rows.append((len(self.rows) + 1, begins, window, len(sent), bar.count("░"), bar))
            self._lab.wait(ROUND_TRIP)
            answers += self._lab.replies()  # delayed ACKs
            acks = [Segment(one[TCP].seq, one[TCP].ack, one[TCP].window) for one in answers]
            sent = [new for ack in acks for new in self._sender.receive(ack, self._lab.now())]
        return sent

    def expire(self) -> list[Segment]:
        """Wait until A's timer expires; return what A sends then."""
        deadline = self._sender.deadline() or 0.0
        self._lab.wait(deadline - self._lab.now())
        return self._sender.poll(max(deadline, self._lab.now()))


def run(lab: Lab) -> None:
    a, b = lab.sender("A", "10.9.0.10"), lab.host("B", "10.9.0.20")
    mss, first = lab.number(MSS, 101, 536), lab.number(1000, 1001, 60000)
    lab.step("A connects to B. Each of A's segments will carry {mss} bytes.", mss=mss)
    b.listen(lab.port(80), name="web")
    ports = TCP(sport=lab.port(9157), dport=lab.port(80), flags="S", seq=first - 1, window=65535)
    ports.options = [("MSS", mss)]
    [answer] = lab.send(IP(src=a.address, dst=b.address) / ports)
    ports.flags, ports.seq, ports.ack, ports.options = "A", first, answer[TCP].seq + 1, []
    lab.send(IP(src=a.address, dst=b.address) / ports)

    controller = Controller(mss)
    sender = Sender(first, mss, controller)
    path = Path(lab, sender, controller, IP(src=a.address, dst=b.address) / ports, mss)
    trips = lab.number(4, 4, 7)  # round trips after the timeout
    lab.step("Slow start: four segments, and a segment more for each ACK. One of the next eight is lost.")
    sent = path.round_trips(2, sender.send(bytes((24 + trips * (trips + 1) // 2) * mss), lab.now()))
    lab.step("Fast recovery: three duplicate ACKs are a loss. The window is halved, the segment sent again.")
    sent = path.round_trips(1, sent)
    lab.step("Congestion avoidance: a segment more for each round trip. Then a round trip is lost entirely.")
    path.round_trips(3, sent)
    lab.step("No ACK comes back. A's timer expires: one segment, slow start to half, then slowly.")
    path.round_trips(trips, path.expire())

    lab.step("Which segment went to which socket, and by which rule:")
    lab.show_decisions()
    lab.step("The window in bytes at each round trip, and the segments sent: arrived █, lost ░.")
    lab.show_table(("round trip", "frame", "window", "sent", "lost", "segments"), path.rows)

    lab.step("Two flows at a bottleneck of 50 segments a second with a queue of 10; the second begins later.")
    flows = [Flow("A", Controller(MSS)), Flow("C", Controller(MSS), starts=8.0)]
    Bottleneck(50, ROUND_TRIP, 10, MSS).run(flows, 80)
    tens = [(begin, begin + 10) for begin in range(0, 80, 10)]
    rows = [(f"{t} – {end}", *(flow.carried(t, end) // MSS for flow in flows)) for t, end in tens]
    lab.show_table(("seconds", "segments of A", "segments of C"), rows)
    share = flows[0].carried(20, 80) / sum(flow.carried(20, 80) for flow in flows)
    lab.step("After a loss at 100 segments: seconds until the window is back. CUBIC asks no round trip time.")
    times = [(trip, *(f"{s:.1f}" for s in seconds_to_return(100, trip))) for trip in (0.01, 0.1, 0.3)]
    lab.show_table(("round-trip time", "Reno", "CUBIC"), times)

    lab.step("What the theory says:")
    windows = [int(str(window)) // mss for _, _, window, *_ in path.rows]
    lab.check("slow start: twice as many segments after a round trip", windows[:2] == [4, 8])
    lab.check("after a loss: half of the 8 segments that were under way", windows[3] == 4)
    lab.check("congestion avoidance: a segment more for each round trip", windows[3:6] == [4, 5, 6])
    lab.check("after a timeout: one segment, and slow start up to half", windows[6:10] == [1, 2, 3, 4])
    lab.check("two flows share: after 20 seconds each has between 45 and 55 %", 0.45 < share < 0.55)
    lab.check("CUBIC begins with 70 of 100 segments", round(cubic(100, 0)) == 70)


if __name__ == "__main__":
    main(__file__)
