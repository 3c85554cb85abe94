"""The state machine of a connection as a table, and the class that walks it (RFC 9293, section 3.3.2)."""

from demuxlab.parts.segment import Segment, add, distance

MSL = 30.0
"""Maximum segment lifetime in seconds: TIME-WAIT lasts two."""
_RTO, _TRIES = 1.0, 6

TABLE = {
    ("CLOSED", "passive open"): ("LISTEN", ""),
    ("CLOSED", "active open"): ("SYN-SENT", "SYN"),
    ("LISTEN", "SYN"): ("SYN-RECEIVED", "SYN,ACK"),
    ("LISTEN", "close"): ("CLOSED", ""),
    ("SYN-SENT", "SYN,ACK"): ("ESTABLISHED", "ACK"),
    ("SYN-SENT", "SYN"): ("SYN-RECEIVED", "SYN,ACK"),
    ("SYN-SENT", "close"): ("CLOSED", ""),
    ("SYN-RECEIVED", "ACK of SYN"): ("ESTABLISHED", ""),
    ("SYN-RECEIVED", "close"): ("FIN-WAIT-1", "FIN"),
    ("SYN-RECEIVED", "FIN"): ("CLOSE-WAIT", "ACK"),
    ("ESTABLISHED", "close"): ("FIN-WAIT-1", "FIN"),
    ("ESTABLISHED", "FIN"): ("CLOSE-WAIT", "ACK"),
    ("FIN-WAIT-1", "ACK of FIN"): ("FIN-WAIT-2", ""),
    ("FIN-WAIT-1", "FIN"): ("CLOSING", "ACK"),
    ("FIN-WAIT-2", "FIN"): ("TIME-WAIT", "ACK"),
    ("CLOSING", "ACK of FIN"): ("TIME-WAIT", ""),
    ("CLOSE-WAIT", "close"): ("LAST-ACK", "FIN"),
    ("LAST-ACK", "ACK of FIN"): ("CLOSED", ""),
    ("TIME-WAIT", "FIN"): ("TIME-WAIT", "ACK"),
    ("TIME-WAIT", "2 MSL"): ("CLOSED", ""),
}
"""(state, event): (next state, what is sent). RST closes in every state but LISTEN."""


class Machine:
    """Opens and closes a connection; the segments carry no data here, or it is another part's matter."""

    def __init__(self, seq: int, window: int = 65_535, mss: int | None = None) -> None:
        """`seq` is ISS, the number of the SYN; `window` and `mss` are what the SYN says."""
        self._state = "CLOSED"
        self._iss = seq
        self._nxt = seq  # SND.NXT
        self._rcv = 0  # RCV.NXT
        self._irs = 0
        self._window = window  # RCV.WND
        self._mss = mss
        self._passive = False
        self._deadline: float | None = None
        self._tries = 0
        self._unacknowledged: Segment | None = None
        """The SYN or FIN that the timer sends again."""

    def state(self) -> str:
        """Return the state as RFC 9293 writes it."""
        return self._state

    def listen(self) -> None:
        """Passive open: wait for a SYN."""
        self._passive = True
        self._event("passive open", 0.0)

    def open(self, now: float) -> list[Segment]:
        """Active open: return the SYN."""
        return self._event("active open", now)

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent: return the FIN, where there is one to send."""
        return self._event("close", now) if (self._state, "close") in TABLE else []

    def moved(self, nxt: int, rcv: int, window: int) -> None:
        """Take over SND.NXT, RCV.NXT and RCV.WND, where data have moved them."""
        self._nxt, self._rcv, self._window = nxt, rcv, window

    def nxt(self) -> int:
        """Return SND.NXT: SYN and FIN have moved it by one each."""
        return self._nxt

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment (RFC 9293, section 3.10.7); return what is sent because of it."""
        if self._state == "CLOSED":
            return _reset(segment)
        if self._state == "LISTEN":
            return self._in_listen(segment, now)
        if self._state == "SYN-SENT":
            return self._in_syn_sent(segment, now)
        if self._state == "SYN-RECEIVED" and segment.syn and segment.seq == self._irs and not segment.rst:
            if segment.ack == self._nxt:  # simultaneous open: the peer's SYN again, and the ACK of ours
                return self._event("ACK of SYN", now)
            return [self._unacknowledged] if self._unacknowledged else []
        if not self._acceptable(segment):
            if self._state == "TIME-WAIT" and segment.fin:
                self._deadline = now + 2 * MSL
            return [] if segment.rst else [self._ack()]
        if segment.rst:
            # RFC 5961, section 3: only exactly at RCV.NXT it is believed.
            if segment.seq != self._rcv:
                return [self._ack()]
            self._closed("LISTEN" if self._state == "SYN-RECEIVED" and self._passive else "CLOSED")
            return []
        if segment.syn:
            return [self._ack()]  # challenge ACK (RFC 5961, section 4)
        if segment.ack is None:
            return []
        return self._acknowledged(segment, now)

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now` because the timer has expired."""
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        if self._state == "TIME-WAIT":
            return self._event("2 MSL", now)
        if self._unacknowledged is None:
            return []
        self._tries += 1
        if self._tries > _TRIES:
            self._closed("CLOSED")
            return []
        self._deadline = now + _RTO * 2**self._tries
        again = self._unacknowledged
        return [again if again.ack is None else again._replace(ack=self._rcv, window=self._window)]

    def deadline(self) -> float | None:
        """Return when the timer expires; None: it does not run."""
        return self._deadline

    def _in_listen(self, segment: Segment, now: float) -> list[Segment]:
        if segment.rst:
            return []
        if segment.ack is not None:
            return _reset(segment)
        if not segment.syn:
            return []
        self._irs, self._rcv = segment.seq, add(segment.seq, 1)
        return self._event("SYN", now)

    def _in_syn_sent(self, segment: Segment, now: float) -> list[Segment]:
        if segment.ack is not None and segment.ack != self._nxt:
            return _reset(segment)  # a half-open peer, or an old duplicate
        if segment.rst:
            if segment.ack is not None:
                self._closed("CLOSED")
            return []
        if not segment.syn:
            return []
        self._irs, self._rcv = segment.seq, add(segment.seq, 1)
        return self._event("SYN" if segment.ack is None else "SYN,ACK", now)

    def _acknowledged(self, segment: Segment, now: float) -> list[Segment]:
        """Process ACK and FIN of an acceptable segment."""
        assert segment.ack is not None
        if self._state == "SYN-RECEIVED":
            if segment.ack != self._nxt:
                return _reset(segment)
            self._event("ACK of SYN", now)
        elif distance(self._nxt, segment.ack) > 0:
            return [self._ack()]  # it acknowledges what was never sent
        if self._unacknowledged is not None and segment.ack == self._nxt:
            self._event("ACK of FIN", now)
        if not segment.fin or distance(self._rcv, segment.seq) + len(segment.data) != 0:
            return []
        self._rcv = add(self._rcv, 1)
        return self._event("FIN", now) if (self._state, "FIN") in TABLE else []

    def _acceptable(self, segment: Segment) -> bool:
        """RFC 9293, section 3.4: the segment has a number in the window, or begins there without length."""
        first, last = distance(self._rcv, segment.seq), distance(self._rcv, segment.end) - 1
        if not segment.length:
            return 0 <= first < self._window or first == 0
        return 0 <= first < self._window or 0 <= last < self._window

    def _event(self, event: str, now: float) -> list[Segment]:
        """Move by the table; return what it says is sent."""
        self._state, sent = TABLE[self._state, event]
        if event in ("ACK of SYN", "ACK of FIN", "SYN,ACK"):
            self._unacknowledged = self._deadline = None
        if self._state in ("CLOSED", "LISTEN"):
            self._closed(self._state)
        if self._state == "TIME-WAIT":
            self._deadline = now + 2 * MSL
        if sent == "ACK":
            return [self._ack()]
        if not sent:
            return []
        self._tries, self._deadline = 0, now + _RTO
        if sent == "FIN":
            self._unacknowledged = Segment(self._nxt, self._rcv, self._window, fin=True)
            self._nxt = add(self._nxt, 1)
        else:
            ack, window = (self._rcv if "ACK" in sent else None), self._window
            self._unacknowledged = Segment(self._iss, ack, window, syn=True, mss=self._mss)
            self._nxt = add(self._iss, 1)
        return [self._unacknowledged]

    def _ack(self) -> Segment:
        return Segment(self._nxt, self._rcv, self._window)

    def _closed(self, state: str) -> None:
        self._state, self._deadline, self._unacknowledged = state, None, None
        if state == "LISTEN":
            self._nxt = self._iss


def _reset(segment: Segment) -> list[Segment]:
    """Return the RST that answers a segment of no connection (RFC 9293, section 3.10.7.1)."""
    if segment.rst:
        return []
    if segment.ack is not None:
        return [Segment(segment.ack, rst=True)]
    return [Segment(0, ack=segment.end, rst=True)]
