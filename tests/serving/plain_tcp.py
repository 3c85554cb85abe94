"""Lab 21's connection as one class, without parts: lists, loops, no cleverness; it serves all the same."""

from typing import NamedTuple


class Segment(NamedTuple):
    seq: int = 0
    ack: int | None = None
    window: int = 0
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None


def after(first, second):
    """Return how far the second number lies after the first; negative: before it."""
    return (second - first + 2**31) % 2**32 - 2**31


class Connection:
    """All in one class. SYN, data and FIN are one list of segments that wait for their ACK."""

    def __init__(self, seq, mss, capacity):
        self.una = self.nxt = seq
        self.mss, self.capacity = mss, capacity
        self.rcv = None
        self.my_state = "CLOSED"
        self.unsent, self.waits = b"", []  # written and not sent; sent and not acknowledged
        self.peers_window, self.most = 1, 8  # bytes; segments under way
        self.ready, self.early = b"", []
        self.closing = self.has_fin = self.reads = False
        self.timer, self.seconds, self.repeated = None, 0.3, 0

    def listen(self):
        self.my_state = "LISTEN"

    def open(self, now):
        self.my_state = "SYN-SENT"
        return self.put(Segment(self.nxt, syn=True, mss=self.mss), now)

    def send(self, data, now):
        self.unsent += data
        return self.more(now)

    def close(self, now):
        self.closing = True
        return self.more(now)

    def put(self, segment, now):
        """Send a segment for the first time, and keep it."""
        self.waits.append(segment)
        self.nxt = (segment.seq + len(segment.data) + segment.syn + segment.fin) % 2**32
        if self.timer is None:
            self.timer = now + self.seconds
        return [self.filled(segment)]

    def filled(self, segment):
        if self.rcv is None:
            return segment
        return segment._replace(ack=self.rcv, window=self.capacity - len(self.ready))

    def more(self, now):
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

    def receive(self, segment, now):
        if self.my_state == "CLOSED":
            return []
        if segment.rst:
            if self.rcv == segment.seq or self.my_state == "SYN-SENT":
                self.my_state, self.timer = "CLOSED", None
            return []
        if segment.syn and self.my_state in ("LISTEN", "SYN-SENT"):
            self.rcv = (segment.seq + 1) % 2**32
            own, self.mss = self.mss, min(self.mss, segment.mss or 536)
            self.peers_window = segment.window
            if segment.ack is None:
                self.my_state = "SYN-RECEIVED"
                return self.put(Segment(self.nxt, syn=True, mss=own), now)
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

    def acknowledged(self, segment, now):
        """Forget what is acknowledged; send the first again at the third duplicate."""
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

    def take(self, segment):
        """Keep the segment, and append what is in order until nothing is."""
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

    def read(self, count):
        data, self.ready = self.ready[:count], self.ready[count:]
        self.reads = self.reads or bool(data)
        return data

    def poll(self, now):
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

    def deadline(self):
        if self.my_state == "CLOSED":
            return None
        return 0.0 if self.reads and not self.has_fin else self.timer

    def state(self):
        return self.my_state

    def finished(self):
        return self.has_fin

    def waiting(self):
        return len(self.unsent) + sum(len(each.data) for each in self.waits)
