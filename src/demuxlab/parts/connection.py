"""A connection: state machine, sender and receiver together, and what breaks where they meet (lab 21)."""

from typing import Any, NamedTuple

from demuxlab.parts.controller import Controller
from demuxlab.parts.machine import Machine
from demuxlab.parts.receiver import Receiver
from demuxlab.parts.segment import Segment, add, distance
from demuxlab.parts.sender import Sender

_MSS = 536
"""Of a peer whose SYN names none (RFC 9293, section 3.7.1)."""
_DATA = ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "CLOSE-WAIT", "LAST-ACK")


class Parts(NamedTuple):
    """The classes that a connection is made of: ours, where a learner has not written one."""

    sender: Any = Sender
    receiver: Any = Receiver
    machine: Any = Machine
    controller: Any = Controller


NEEDED = {
    "Sender": ("send", "receive", "poll", "deadline", "waiting"),
    "Receiver": ("receive", "read", "ack", "window", "finished", "poll", "deadline"),
    "Machine": ("listen", "open", "close", "receive", "poll", "deadline", "state", "nxt", "moved"),
    "Controller": ("window", "acknowledged", "duplicate", "timeout"),
    "Connection": (
        *("listen", "open", "close", "send", "receive", "read"),
        *("poll", "deadline", "state", "finished", "waiting"),
    ),
}
"""By class of a learner's: the methods without which ours does its work."""

OURS = Parts()


class Connection:
    """One connection; `receive`, `send`, `close` and `poll` return the segments to send."""

    def __init__(self, seq: int, mss: int, capacity: int, parts: Parts = OURS) -> None:
        """`seq` is ISS, `mss` what a segment may carry at most, `capacity` the receive buffer's size."""
        self._parts = parts
        self._mss = mss
        self._capacity = min(capacity, 65_535)
        self._iss = seq
        self._machine = parts.machine(seq, self._capacity, mss)
        self._sender: Any = None
        self._receiver: Any = None
        self._snd_nxt = add(seq, 1)  # SND.NXT of the data, the number after all that has been sent
        self._unsent = b""
        self._closing = False
        self._fin_taken = False

    def listen(self) -> None:
        """Passive open."""
        self._machine.listen()

    def open(self, now: float) -> list[Segment]:
        """Active open: return the SYN."""
        return self._out(self._machine.open(now))

    def send(self, data: bytes, now: float) -> list[Segment]:
        """Put data into the stream; before the handshake is over they wait."""
        if self._sender is None or self._machine.state() == "SYN-RECEIVED":
            self._unsent += data
            return []
        return self._out(self._sender.send(data, now))

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent: FIN follows the last byte."""
        self._closing = True
        return self._out(self._finish(now))

    def read(self, count: int) -> bytes:
        """Take at most `count` bytes of the stream; b"" where nothing waits."""
        return self._receiver.read(count) if self._receiver is not None else b""

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment; return what is sent because of it."""
        if self._receiver is not None:
            self._move()
        before = self._machine.state()
        # A FIN counts when all data before it are there: the receiver knows. Once it has counted, the machine
        # sees it again: in TIME-WAIT it restarts two MSL.
        answers = self._machine.receive(segment._replace(fin=segment.fin and self._fin_taken), now)
        state = self._machine.state()
        if before in ("LISTEN", "SYN-SENT") and state in ("SYN-RECEIVED", "ESTABLISHED"):
            self._begin(segment)
        elif state == "LISTEN":
            self._sender = self._receiver = None  # RST in SYN-RECEIVED: the next SYN has another number
        if state not in _DATA or segment.rst or segment.ack is None:
            return self._out(answers)
        if answers and before not in ("SYN-SENT", "SYN-RECEIVED"):
            return self._out(answers)  # not acceptable: the machine has said so
        first, self._unsent = self._unsent, b""
        answers += self._sender.receive(segment._replace(syn=False), now)
        answers += self._sender.send(first, now) if first else []
        if not segment.syn:
            answers += self._receiver.receive(segment, now)
            if self._receiver.finished() and not self._fin_taken:
                self._fin_taken = True
                number = add(self._receiver.ack(), -1)
                # The window as it was before the FIN, which may have taken its last number.
                self._machine.moved(self._machine.nxt(), number, self._receiver.window() + 1)
                # Its ACK is the receiver's.
                self._machine.receive(Segment(number, segment.ack, segment.window, fin=True), now)
        return self._out(answers) + self._out(self._finish(now))

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now`: a timer has expired, or the window has opened."""
        answers = self._machine.poll(now)
        if self._sender is not None and self._machine.state() in _DATA:
            answers += self._sender.poll(now)
            answers += self._receiver.poll(now)
        return self._out(answers)

    def deadline(self) -> float | None:
        """Return when `poll` must be called; None: no timer runs."""
        timers = [self._machine.deadline()]
        if self._sender is not None and self._machine.state() in _DATA:
            timers += [self._sender.deadline(), self._receiver.deadline()]
        return min((each for each in timers if each is not None), default=None)

    def state(self) -> str:
        """Return the state as RFC 9293 writes it."""
        state: str = self._machine.state()
        return state

    def finished(self) -> bool:
        """Tell whether the peer has closed its direction and all its data can be read."""
        return self._fin_taken

    def waiting(self) -> int:
        """Return how many bytes are not acknowledged, sent or not."""
        return len(self._unsent) + (self._sender.waiting() if self._sender is not None else 0)

    def _begin(self, syn: Segment) -> None:
        """SYN has come: both numbers are known."""
        mss = min(self._mss, syn.mss or _MSS)
        self._snd_nxt = add(self._iss, 1)
        self._sender = self._parts.sender(add(self._iss, 1), mss, self._parts.controller(mss))
        self._receiver = self._parts.receiver(add(syn.seq, 1), self._capacity, mss)

    def _finish(self, now: float) -> list[Segment]:
        if not self._closing or self.waiting():
            return []
        if self._receiver is not None:
            self._move()
        sent: list[Segment] = self._machine.close(now)
        return sent

    def _move(self) -> None:
        """Give SND.NXT, RCV.NXT and RCV.WND to the machine; its FIN comes after the sender's last byte."""
        fin = self._machine.state() in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK", "TIME-WAIT")
        nxt = add(self._snd_nxt, int(fin))
        self._machine.moved(nxt, self._receiver.ack(), self._receiver.window())

    def _out(self, segments: list[Segment]) -> list[Segment]:
        """Put ACK and window, and into a bare ACK its number, into what is sent."""
        if self._receiver is None:
            return segments
        self._move()
        sent = []
        for each in segments:
            if each.rst or each.syn:
                sent.append(each)
                continue
            end = add(each.seq, len(each.data))
            if each.data and distance(self._snd_nxt, end) > 0:
                self._snd_nxt = end
                self._move()
            seq = each.seq if each.data or each.fin else self._machine.nxt()
            sent.append(each._replace(seq=seq, ack=self._receiver.ack(), window=self._receiver.window()))
        return sent
