"""Opening and closing a connection: the state machine as a table, and the class that walks it (lab 19).

RFC 9293, sections 3.3.2, 3.5, 3.6 and 3.10; which RST, SYN and ACK are believed: RFC 5961.
"""

from demuxlab.parts.segment import Segment, add, distance, length

MSL = 30.0
"""Maximum segment lifetime in seconds: TIME-WAIT lasts two."""
RTO = 1.0
"""Seconds before SYN, SYN,ACK or FIN is sent again; twice as many each time (RFC 6298, section 2)."""
REPETITIONS = 6
"""Then the connection is given up, as in Linux (tcp_syn_retries)."""

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
"""(state, event): (next state, what is sent), the arrows of figure 5. RST is not in it: it closes."""

_FIN_SENT = ("FIN-WAIT-1", "CLOSING", "LAST-ACK")
"""FIN is sent and not acknowledged."""


def transition(state: str, event: str) -> tuple[str, str] | None:
    """Return the next state and what is sent; None where the figure has no arrow."""
    return TABLE.get((state, event))


class Machine:
    """Opens and closes one connection; data are other parts' matter, which say by `moved` where they are."""

    def __init__(self, seq: int, window: int = 65_535, mss: int | None = None) -> None:
        """`seq` is ISS, the number of the SYN; `window` (RCV.WND) and `mss` are what the SYN says."""
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
        """Return SND.NXT: SYN and FIN have moved it by one each."""
        return self._nxt

    def listen(self) -> None:
        """Passive open."""
        self._passive = True
        self._event("passive open", 0.0)

    def open(self, now: float) -> list[Segment]:
        """Active open: return the SYN."""
        return self._event("active open", now)

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent: return the FIN, where the table has one."""
        return self._event("close", now)

    def moved(self, nxt: int, rcv: int, window: int) -> None:
        """Take over SND.NXT, RCV.NXT and RCV.WND, where data have moved them."""
        self._nxt, self._rcv, self._window = nxt, rcv, window

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment (RFC 9293, section 3.10.7); return what is sent because of it."""
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
            # Our SYN,ACK was lost; or both have opened, and this is the peer's (section 3.5, figure 7).
            if segment.ack is None:
                return [self._unacknowledged()]
            if segment.ack != self._nxt:
                return _reset(segment)
            self._event("ACK of SYN", now)
            return [self._ack()]
        if not self._acceptable(segment):
            # The peer's FIN again: our ACK of it was lost.
            if self._state == "TIME-WAIT" and segment.fin:
                self._deadline = now + 2 * MSL
            return [] if segment.rst else [self._ack()]
        if segment.rst:
            # Only RCV.NXT is believed; the challenge ACK asks a true peer for it (RFC 5961, section 3).
            if segment.seq != self._rcv:
                return [self._ack()]
            self._end("LISTEN" if self._state == "SYN-RECEIVED" and self._passive else "CLOSED")
            return []
        if segment.syn:
            return [self._ack()]  # a peer that has restarted answers with RST (RFC 5961, section 4)
        if segment.ack is None:
            return []
        if self._state == "SYN-RECEIVED":
            if segment.ack != self._nxt:
                return _reset(segment)
            self._event("ACK of SYN", now)
        elif distance(self._nxt, segment.ack) > 0:
            return [self._ack()]  # of what was never sent (RFC 5961, section 5)
        elif self._state in _FIN_SENT and segment.ack == self._nxt:
            self._event("ACK of FIN", now)
        return self._fin(segment, now) if segment.fin else []

    def _acceptable(self, segment: Segment) -> bool:
        """RFC 9293, section 3.4: a number of the segment is in the window."""
        first = distance(self._rcv, segment.seq)
        last = first + length(segment) - 1
        if length(segment) == 0:
            return first == 0 or 0 <= first < self._window
        return 0 <= first < self._window or 0 <= last < self._window

    def _fin(self, segment: Segment, now: float) -> list[Segment]:
        """Take the peer's FIN, unless data before it are missing."""
        if add(segment.seq, len(segment.data)) != self._rcv:
            return [self._ack()]
        self._rcv = add(self._rcv, 1)
        return self._event("FIN", now)

    def deadline(self) -> float | None:
        """Return when `poll` must be called; None: no timer runs."""
        return self._deadline

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now`, because the timer has expired."""
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
        if self._state in _FIN_SENT:
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
    """Return the RST that answers a segment of no connection (RFC 9293, section 3.10.7.1)."""
    if segment.rst:
        return []
    if segment.ack is not None:
        return [Segment(segment.ack, rst=True)]
    return [Segment(0, add(segment.seq, length(segment)), rst=True)]
