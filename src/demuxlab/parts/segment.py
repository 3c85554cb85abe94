"""A segment as the parts see it, and the order of sequence numbers (RFC 9293, section 3.4)."""

from typing import NamedTuple, Protocol

MODULUS = 1 << 32
_HALF = MODULUS >> 1


class Segment(NamedTuple):
    """What labs 17 to 21 give to a part, and what it returns. A tuple, so that it travels as one."""

    seq: int = 0
    """SEG.SEQ, 0 to 2**32 - 1: the number of the first byte of the data, or of SYN or FIN."""
    ack: int | None = None
    """SEG.ACK, the next byte expected; None: the ACK flag is not set."""
    window: int = 0
    """SEG.WND: how many bytes from `ack` on may be sent."""
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None
    """The option of a SYN: the most bytes of data that a segment may carry."""

    @property
    def length(self) -> int:
        """SEG.LEN: the bytes of data, and one each for SYN and FIN."""
        return length(self)

    @property
    def end(self) -> int:
        """The sequence number after the segment's last."""
        return add(self.seq, self.length)

    def text(self, base: int = 0, ack_base: int = 0) -> str:
        """Return the segment as a packet script writes it, numbers counted from `base` and `ack_base`."""
        flags = "".join(
            letter for letter, on in zip("SFR", (self.syn, self.fin, self.rst), strict=True) if on
        )
        first = distance(base, self.seq)
        words = [f"{flags or '.'} {first}:{first + len(self.data)}({len(self.data)})"]
        if self.ack is not None:
            words.append(f"ack {distance(ack_base, self.ack)}")
        if self.ack is not None or self.syn:
            words.append(f"win {self.window}")
        if self.mss is not None:
            words.append(f"mss {self.mss}")
        return " ".join(words)


class End(Protocol):
    """One end of a connection, as `simulation` drives it."""

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """A segment has come; return what is sent because of it."""

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now` because a timer has expired, or because it may be sent."""

    def deadline(self) -> float | None:
        """Return when `poll` must be called at the latest; None: no timer runs."""


def length(segment: Segment) -> int:
    """Return SEG.LEN of a segment, also of a learner's, whose class has the fields alone."""
    return len(segment.data) + segment.syn + segment.fin


def add(number: int, count: int) -> int:
    """Return the sequence number `count` after another one, modulo 2**32."""
    return (number + count) % MODULUS


def distance(first: int, second: int) -> int:
    """Return how far `second` lies after `first`: -2**31 to 2**31 - 1, negative where it lies before."""
    return (second - first + _HALF) % MODULUS - _HALF
