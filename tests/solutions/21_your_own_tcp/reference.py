"""The reference solution of lab 21; the parts that it lacks are ours."""
# ruff: noqa: F821

from typing import Any, NamedTuple


class Segment(NamedTuple):
    """See the exercise."""

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
        """SEG.LEN: the bytes of data, and one each for SYN and FIN."""
        return len(self.data) + self.syn + self.fin


class Connection:
    """See the exercise."""

    def __init__(self, seq: int, mss: int, capacity: int) -> None:
        self._iss, self._mss, self._capacity = seq, mss, capacity
        self._machine = Machine(seq, capacity, mss)
        self._sender: Any = None
        self._receiver: Any = None
        self._nxt = (seq + 1) % 2**32  # SND.NXT of the data
        self._early = b""  # written before the handshake was over
        self._is_closing = False
        self._has_fin = False

    def listen(self) -> None:
        """Wait for a SYN."""
        self._machine.listen()

    def open(self, now: float) -> list[Segment]:
        """Return the SYN."""
        return self._machine.open(now)

    def send(self, data: bytes, now: float) -> list[Segment]:
        """Write."""
        if self._sender is None or self.state() in ("SYN-SENT", "SYN-RECEIVED"):
            self._early += data
            return []
        return self._filled(self._sender.send(data, now))

    def close(self, now: float) -> list[Segment]:
        """Write no more."""
        self._is_closing = True
        return self._filled(self._fin(now))

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Let the parts have their turn."""
        self._tell()
        before = self.state()
        answers = self._machine.receive(segment._replace(fin=segment.fin and self._has_fin), now)
        if before in ("LISTEN", "SYN-SENT") and self.state() in ("SYN-RECEIVED", "ESTABLISHED"):
            self._begin(segment)
        elif self.state() == "LISTEN":
            self._sender = self._receiver = None
        refused = answers and before not in ("SYN-SENT", "SYN-RECEIVED")
        if refused or segment.rst or segment.ack is None or not self._is_open():
            return self._filled(answers)
        answers += self._sender.receive(segment._replace(syn=False), now)
        if self._early:
            early, self._early = self._early, b""
            answers += self._sender.send(early, now)
        if not segment.syn:
            answers += self._receiver.receive(segment, now)
        if self._receiver.finished() and not self._has_fin:
            self._has_fin = True
            number = (self._receiver.ack() - 1) % 2**32
            self._machine.moved(self._machine.nxt(), number, self._receiver.window() + 1)
            self._machine.receive(Segment(number, segment.ack, segment.window, fin=True), now)
        return self._filled(answers + self._fin(now))

    def read(self, count: int) -> bytes:
        """Read."""
        return self._receiver.read(count) if self._receiver is not None else b""

    def poll(self, now: float) -> list[Segment]:
        """Let the timers expire."""
        sent = self._machine.poll(now)
        if self._is_open():
            sent += self._sender.poll(now)
            sent += self._receiver.poll(now)
        return self._filled(sent)

    def deadline(self) -> float | None:
        """Return the earliest of three."""
        parts = [self._machine]
        if self._is_open():
            parts += [self._sender, self._receiver]
        times = [part.deadline() for part in parts]
        return min((time for time in times if time is not None), default=None)

    def state(self) -> str:
        """Return the state."""
        return self._machine.state()

    def finished(self) -> bool:
        """Tell whether the stream has ended."""
        return self._has_fin

    def waiting(self) -> int:
        """Return what is not acknowledged."""
        return len(self._early) + (self._sender.waiting() if self._sender is not None else 0)

    def _is_open(self) -> bool:
        """Tell whether data and ACKs go to sender and receiver."""
        return self.state() not in ("CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "TIME-WAIT")

    def _begin(self, syn: Segment) -> None:
        mss = min(self._mss, syn.mss or 536)
        self._nxt = (self._iss + 1) % 2**32
        self._sender = Sender((self._iss + 1) % 2**32, mss, Controller(mss))
        self._receiver = Receiver((syn.seq + 1) % 2**32, self._capacity, mss)

    def _fin(self, now: float) -> list[Segment]:
        if not self._is_closing or self.waiting():
            return []
        self._tell()
        return self._machine.close(now)

    def _tell(self) -> None:
        """Tell the machine what data has moved."""
        if self._receiver is None:
            return
        behind = self.state() in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK", "TIME-WAIT")
        nxt = (self._nxt + behind) % 2**32
        self._machine.moved(nxt, self._receiver.ack(), self._receiver.window())

    def _filled(self, segments: list[Segment]) -> list[Segment]:
        """Put the receiver's ack and window into what is sent."""
        if self._receiver is None:
            return segments
        for each in segments:
            end = (each.seq + len(each.data)) % 2**32
            if each.data and (end - self._nxt) % 2**32 < 2**31:
                self._nxt = end
        self._tell()
        ack, window, nxt = self._receiver.ack(), self._receiver.window(), self._machine.nxt()
        return [
            each
            if each.syn or each.rst
            else each._replace(seq=each.seq if each.data or each.fin else nxt, ack=ack, window=window)
            for each in segments
        ]
