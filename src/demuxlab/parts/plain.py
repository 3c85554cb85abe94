"""A TCP by another author, as one class without parts: lists, loops, no cleverness; it serves all the same.

It behaves otherwise than the parts of labs 17 to 20 where RFC 9293 leaves that open: each segment is
acknowledged at once, a fixed number of segments may be under way, the timer is not measured, and FIN is never
sent before all data is acknowledged. Lab 21 lets a learner's TCP talk to it.
"""

from demuxlab.parts.segment import Segment
from demuxlab.parts.segment import distance as after


class Connection:
    """All in one class. SYN, data and FIN are one list of segments that wait for their ACK."""

    def __init__(self, seq: int, mss: int, capacity: int) -> None:
        """`seq` is ISS, `mss` what a segment may carry at most, `capacity` the receive buffer's size."""
        self.una = self.nxt = seq  # SND.UNA, SND.NXT
        self.mss, self.capacity = mss, capacity
        self.rcv: int | None = None  # RCV.NXT
        self.my_state = "CLOSED"
        self.unsent = b""  # written and not sent
        self.waits: list[Segment] = []  # sent and not acknowledged
        self.peers_window, self.most = 1, 8  # bytes; segments under way
        self.ready = b""
        self.early: list[Segment] = []
        self.closing = self.has_fin = self.reads = False
        self.timer: float | None = None
        self.seconds, self.repeated = 0.3, 0

    def listen(self) -> None:
        """Passive open."""
        self.my_state = "LISTEN"

    def open(self, now: float) -> list[Segment]:
        """Active open: return the SYN."""
        self.my_state = "SYN-SENT"
        return self.put(Segment(self.nxt, syn=True, mss=self.mss), now)

    def send(self, data: bytes, now: float) -> list[Segment]:
        """Put data into the stream."""
        self.unsent += data
        return self.more(now)

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent: FIN follows the last byte."""
        self.closing = True
        return self.more(now)

    def put(self, segment: Segment, now: float) -> list[Segment]:
        """Send a segment for the first time, and keep it."""
        self.waits.append(segment)
        self.nxt = (segment.seq + len(segment.data) + segment.syn + segment.fin) % 2**32
        if self.timer is None:
            self.timer = now + self.seconds
        return [self.filled(segment)]

    def filled(self, segment: Segment) -> Segment:
        """Put ACK and window into a segment."""
        if self.rcv is None:
            return segment
        return segment._replace(ack=self.rcv, window=self.capacity - len(self.ready))

    def more(self, now: float) -> list[Segment]:
        """Send what may go: data while both windows have room, and FIN behind it."""
        if self.my_state not in ("ESTABLISHED", "CLOSE-WAIT"):
            return []
        sent = []
        while self.unsent and len(self.waits) < self.most:
            room = self.peers_window - after(self.una, self.nxt)
            size = min(self.mss, len(self.unsent))
            if room < size and (self.waits or room <= 0):
                break
            size = min(size, room)
            sent += self.put(Segment(self.nxt, data=self.unsent[:size]), now)
            self.unsent = self.unsent[size:]
        if self.unsent and self.timer is None:
            self.timer = now + self.seconds  # the window is closed: ask
        if self.closing and not self.unsent and not self.waits:
            self.my_state = "FIN-WAIT-1" if self.my_state == "ESTABLISHED" else "LAST-ACK"
            sent += self.put(Segment(self.nxt, fin=True), now)
        return sent

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment; return what is sent because of it."""
        if self.my_state == "CLOSED":
            return []
        if segment.rst:
            if self.rcv == segment.seq or self.my_state == "SYN-SENT":
                self.my_state, self.timer = "CLOSED", None
            return []
        if segment.syn and self.my_state in ("LISTEN", "SYN-SENT"):
            self.rcv = (segment.seq + 1) % 2**32
            self.mss = min(self.mss, segment.mss or 536)
            self.peers_window = segment.window
            if segment.ack is None:
                self.my_state = "SYN-RECEIVED"
                return self.put(Segment(self.nxt, syn=True, mss=self.mss), now)
            self.my_state = "ESTABLISHED"
            return [*self.acknowledged(segment, now), self.filled(Segment(self.nxt))]
        if segment.ack is None or self.rcv is None:
            return []
        sent = self.acknowledged(segment, now)
        if segment.data or segment.fin or segment.syn:
            self.take(segment)
            sent.append(self.filled(Segment(self.nxt)))
            if self.my_state == "TIME-WAIT":
                self.timer = now + 60
        return sent

    def acknowledged(self, segment: Segment, now: float) -> list[Segment]:
        """Forget what is acknowledged; send the first again at the third duplicate."""
        assert segment.ack is not None
        count = after(self.una, segment.ack)
        if count < 0 or after(self.nxt, segment.ack) > 0:
            return []
        same, self.peers_window = segment.window == self.peers_window, segment.window
        if count == 0:
            self.repeated += bool(self.waits and same and not segment.data and not segment.fin)
            if self.repeated == 3 and self.waits:
                return [self.filled(self.waits[0])]
            return self.more(now)
        self.una, self.repeated, self.seconds, self.timer = segment.ack, 0, 0.3, None
        self.most = min(self.most + 1, 40)
        old, self.waits = self.waits, []
        for each in old:
            if after(segment.ack, each.seq) >= 0:
                self.waits.append(each)
        if self.waits:
            self.timer = now + self.seconds
        elif self.my_state == "SYN-RECEIVED":
            self.my_state = "ESTABLISHED"
        elif self.my_state == "FIN-WAIT-1":
            self.my_state = "FIN-WAIT-2"
        elif self.my_state == "LAST-ACK":
            self.my_state = "CLOSED"
        elif self.my_state == "CLOSING":
            self.my_state, self.timer = "TIME-WAIT", now + 60
        return self.more(now)

    def take(self, segment: Segment) -> None:
        """Keep the segment, and append what is in order until nothing is."""
        assert self.rcv is not None
        if 0 <= after(self.rcv, segment.seq) + len(segment.data) <= self.capacity - len(self.ready):
            self.early.append(segment)
        found = True
        while found:
            found = False
            for each in list(self.early):
                skip = after(each.seq, self.rcv)
                if skip < 0:
                    continue
                self.early.remove(each)
                if skip < len(each.data):
                    self.ready += each.data[skip:]
                    self.rcv = (each.seq + len(each.data)) % 2**32
                    found = True
                if each.fin and not self.has_fin and self.rcv == (each.seq + len(each.data)) % 2**32:
                    self.rcv, self.has_fin = (self.rcv + 1) % 2**32, True
                    states = {"ESTABLISHED": "CLOSE-WAIT", "FIN-WAIT-1": "CLOSING", "FIN-WAIT-2": "TIME-WAIT"}
                    self.my_state = states.get(self.my_state, self.my_state)

    def read(self, count: int) -> bytes:
        """Take at most `count` bytes of the stream."""
        data, self.ready = self.ready[:count], self.ready[count:]
        self.reads = self.reads or bool(data)
        return data

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now`."""
        sent = []
        if self.reads and self.rcv is not None and not self.has_fin:
            self.reads = False
            sent.append(self.filled(Segment(self.nxt)))
        if self.timer is None or now < self.timer:
            return sent
        if self.my_state == "TIME-WAIT":
            self.my_state, self.timer = "CLOSED", None
            return []
        self.seconds = min(2 * self.seconds, 60)
        self.timer = now + self.seconds
        self.most = max(self.most // 2, 2)
        if self.waits:
            return [*sent, self.filled(self.waits[0])]
        if self.unsent:
            first, self.unsent = self.unsent[:1], self.unsent[1:]
            return sent + self.put(Segment(self.nxt, data=first), now)
        self.timer = None
        return sent

    def deadline(self) -> float | None:
        """Return when `poll` must be called; None: no timer runs."""
        if self.my_state == "CLOSED":
            return None
        return 0.0 if self.reads and not self.has_fin else self.timer

    def state(self) -> str:
        """Return the state as RFC 9293 writes it."""
        return self.my_state

    def finished(self) -> bool:
        """Tell whether the peer's FIN has come, with all data before it."""
        return self.has_fin

    def waiting(self) -> int:
        """Return how many bytes are not acknowledged, sent or not."""
        return len(self.unsent) + sum(len(each.data) for each in self.waits)
