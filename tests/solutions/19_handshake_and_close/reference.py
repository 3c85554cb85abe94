"""Lab 19's exercise, solved: the table, and a class that asks it at every change of its state."""

from typing import NamedTuple

TABLE = {
    ("CLOSED", "passive open"): ("LISTEN", ""),
    ("CLOSED", "active open"): ("SYN-SENT", "SYN"),
    ("LISTEN", "SYN"): ("SYN-RECEIVED", "SYN,ACK"),
    ("LISTEN", "close"): ("CLOSED", ""),
    ("SYN-SENT", "SYN"): ("SYN-RECEIVED", "SYN,ACK"),
    ("SYN-SENT", "SYN,ACK"): ("ESTABLISHED", "ACK"),
    ("SYN-SENT", "close"): ("CLOSED", ""),
    ("SYN-RECEIVED", "ACK of SYN"): ("ESTABLISHED", ""),
    ("SYN-RECEIVED", "close"): ("FIN-WAIT-1", "FIN"),
    ("ESTABLISHED", "close"): ("FIN-WAIT-1", "FIN"),
    ("ESTABLISHED", "FIN"): ("CLOSE-WAIT", "ACK"),
    ("FIN-WAIT-1", "ACK of FIN"): ("FIN-WAIT-2", ""),
    ("FIN-WAIT-1", "FIN"): ("CLOSING", "ACK"),
    ("FIN-WAIT-2", "FIN"): ("TIME-WAIT", "ACK"),
    ("CLOSING", "ACK of FIN"): ("TIME-WAIT", ""),
    ("CLOSE-WAIT", "close"): ("LAST-ACK", "FIN"),
    ("LAST-ACK", "ACK of FIN"): ("CLOSED", ""),
    ("TIME-WAIT", "2 MSL"): ("CLOSED", ""),
}
FIN_SENT = ("FIN-WAIT-1", "CLOSING", "LAST-ACK")  # and not acknowledged
RTO, REPETITIONS, MSL = 1.0, 6, 30.0


class Segment(NamedTuple):
    """A segment."""

    seq: int = 0
    ack: int | None = None
    window: int = 0
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None

    @property
    def length(self) -> int:
        """SEG.LEN."""
        return len(self.data) + self.syn + self.fin


def add(number: int, count: int) -> int:
    """Return the sequence number `count` after another one."""
    return (number + count) % 2**32


def distance(first: int, second: int) -> int:
    """Return how far `second` lies after `first`."""
    return (second - first + 2**31) % 2**32 - 2**31


def transition(state: str, event: str) -> tuple[str, str] | None:
    """Return the next state and what is sent."""
    return TABLE.get((state, event))


class Machine:
    """One end of one connection."""

    def __init__(self, seq: int, window: int, mss: int) -> None:
        self._state = "CLOSED"
        self._iss = self._nxt = seq  # SND.NXT
        self._irs = self._rcv = 0  # RCV.NXT
        self._window, self._mss = window, mss
        self._passive = False
        self._deadline: float | None = None
        self._repetitions = 0

    def state(self) -> str:
        """Return the state."""
        return self._state

    def nxt(self) -> int:
        """Return SND.NXT."""
        return self._nxt

    def listen(self) -> None:
        """Passive open."""
        self._passive = True
        self._event("passive open", 0.0)

    def open(self, now: float) -> list[Segment]:
        """Active open."""
        return self._event("active open", now)

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent."""
        return self._event("close", now)

    def moved(self, nxt: int, rcv: int, window: int) -> None:
        """Set SND.NXT, RCV.NXT and RCV.WND."""
        self._nxt, self._rcv, self._window = nxt, rcv, window

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment of the peer."""
        if self._state == "CLOSED":
            return _reset(segment)
        if self._state == "LISTEN":
            if segment.rst:
                return []
            if segment.ack is not None:
                return _reset(segment)
            return self._syn(segment, now)
        if self._state == "SYN-SENT":
            if segment.ack is not None and segment.ack != self._nxt:
                return _reset(segment)
            if segment.rst:
                if segment.ack is not None:
                    self._end("CLOSED")
                return []
            return self._syn(segment, now)
        return self._otherwise(segment, now)

    def _syn(self, segment: Segment, now: float) -> list[Segment]:
        if not segment.syn:
            return []
        self._irs, self._rcv = segment.seq, add(segment.seq, 1)
        return self._event("SYN" if segment.ack is None else "SYN,ACK", now)

    def _otherwise(self, segment: Segment, now: float) -> list[Segment]:
        repeated = segment.syn and not segment.rst and segment.seq == self._irs
        if self._state == "SYN-RECEIVED" and repeated:
            if segment.ack is None:
                return [self._unacknowledged()]
            if segment.ack != self._nxt:
                return _reset(segment)
            self._event("ACK of SYN", now)
            return [self._ack()]
        if not self._acceptable(segment):
            if self._state == "TIME-WAIT" and segment.fin:
                self._deadline = now + 2 * MSL
            return [] if segment.rst else [self._ack()]
        if segment.rst:
            if segment.seq != self._rcv:
                return [self._ack()]
            self._end("LISTEN" if self._state == "SYN-RECEIVED" and self._passive else "CLOSED")
            return []
        if segment.syn:
            return [self._ack()]
        if segment.ack is None:
            return []
        if self._state == "SYN-RECEIVED":
            if segment.ack != self._nxt:
                return _reset(segment)
            self._event("ACK of SYN", now)
        elif distance(self._nxt, segment.ack) > 0:
            return [self._ack()]
        elif self._state in FIN_SENT and segment.ack == self._nxt:
            self._event("ACK of FIN", now)
        return self._fin(segment, now) if segment.fin else []

    def _acceptable(self, segment: Segment) -> bool:
        first = distance(self._rcv, segment.seq)
        last = first + segment.length - 1
        if segment.length == 0:
            return first == 0 or 0 <= first < self._window
        return 0 <= first < self._window or 0 <= last < self._window

    def _fin(self, segment: Segment, now: float) -> list[Segment]:
        if add(segment.seq, len(segment.data)) != self._rcv:
            return [self._ack()]
        self._rcv = add(self._rcv, 1)
        return self._event("FIN", now)

    def deadline(self) -> float | None:
        """Return when `poll` must be called."""
        return self._deadline

    def poll(self, now: float) -> list[Segment]:
        """Send again what waits for its ACK."""
        if self._deadline is None or now < self._deadline:
            return []
        if self._state == "TIME-WAIT":
            return self._event("2 MSL", now)
        if self._repetitions == REPETITIONS:
            self._end("CLOSED")
            return []
        self._repetitions += 1
        self._deadline = now + RTO * 2**self._repetitions
        return [self._unacknowledged()]

    def _event(self, event: str, now: float) -> list[Segment]:
        """Go where the table leads; return what it says is sent."""
        arrow = transition(self._state, event)
        if arrow is None:
            return []
        self._state, sent = arrow
        if event in ("SYN,ACK", "ACK of SYN", "ACK of FIN"):
            self._deadline = None
        if self._state == "TIME-WAIT":
            self._deadline = now + 2 * MSL
        if self._state == "CLOSED":
            self._end("CLOSED")
        if sent in ("", "ACK"):
            return [self._ack()] if sent else []
        self._repetitions, self._deadline = 0, now + RTO
        self._nxt = add(self._nxt if sent == "FIN" else self._iss, 1)
        return [self._unacknowledged()]

    def _unacknowledged(self) -> Segment:
        """Return what waits for its ACK: SYN, SYN,ACK or FIN."""
        if self._state in FIN_SENT:
            return Segment(add(self._nxt, -1), self._rcv, self._window, fin=True)
        ack = None if self._state == "SYN-SENT" else self._rcv
        return Segment(self._iss, ack, self._window, syn=True, mss=self._mss)

    def _ack(self) -> Segment:
        return Segment(self._nxt, self._rcv, self._window)

    def _end(self, state: str) -> None:
        self._state, self._deadline = state, None
        if state == "LISTEN":
            self._nxt = self._iss


def _reset(segment: Segment) -> list[Segment]:
    if segment.rst:
        return []
    if segment.ack is not None:
        return [Segment(segment.ack, rst=True)]
    return [Segment(0, add(segment.seq, segment.length), rst=True)]
