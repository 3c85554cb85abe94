"""Exercise 17: a reliable sender and its receiver. Fill in the two classes; change no name and no argument.

Begin with `Sender.send`: it is called when the application writes, and the first checks ask for nothing else.
Time is an argument, `now`, in seconds. Your code sends nothing itself: each method returns a list of the
segments to send, which may be empty. The link loses, repeats, reorders and corrupts (what is corrupt does not
arrive).

Check it with `.venv/bin/pytest labs/17_reliable_sender`. The Python standard library is all you need.
Sources: RFC 9293, 3.8; RFC 6298 (the timer); RFC 5681, 3.2, and RFC 6582 (duplicates). `Segment` and
`FixedWindow` are complete: labs 18 to 21 have them too.
"""

from typing import Any, NamedTuple


class Segment(NamedTuple):
    """A segment. Of these fields the sender needs `seq` and `data`; an acknowledgment has `ack` and `window`.

    Numbers count bytes and have 32 bits: after 4294967295 comes 0. `ack` is the next byte expected, so it
    covers everything before it; None: no acknowledgment. `window`: how many bytes from `ack` on may be sent.
    """

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


class FixedWindow:
    """A controller whose window never changes. Of one segment's size it makes the sender stop and wait."""

    def __init__(self, size: int) -> None:
        """`size` in bytes."""
        self._size = size

    def window(self) -> int:
        """Return how many bytes may be under way."""
        return self._size

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        """`count` new bytes were acknowledged; `flight` bytes were under way before that."""

    def duplicate(self, flight: int, now: float) -> None:
        """A duplicate acknowledgment came, with `flight` bytes under way."""

    def timeout(self, flight: int, now: float) -> None:
        """The timer has expired, with `flight` bytes under way."""


class Sender:
    """Sends a stream; keeps every byte until it is acknowledged.

    Under way is what has been sent and is not acknowledged. The timer runs while anything is under way.
    """

    def __init__(self, seq: int, mss: int, controller: Any) -> None:
        """`seq` is the first byte's number, `mss` the most bytes of a segment; `controller`: FixedWindow."""

    def send(self, data: bytes, now: float) -> list[Segment]:
        """The application writes `data`: the stream goes on with it. Return the segments that can go at once.

        A segment carries `mss` bytes, or all that is left. It goes if what is under way and the whole segment
        together fit into `controller.window()` and into the receiver's window, which is 65535 until an
        acknowledgment says another. What does not fit waits. Only if nothing is under way and the window is
        not 0 is a segment cut smaller to fit.
        The timer, if it does not run, is set to `now` + RTO: 1 second until a round trip has been measured.

        Example, frames 4, 5 and 6 of the lab's capture: `Sender(1001, 1000, FixedWindow(1000))` is given 2000
        bytes and returns one segment, 1001 with 1000 bytes. The other goes when `ack` 2001 has come.
        """
        raise NotImplementedError("send is still to be written")

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """An acknowledgment has come. Return what can go because of it.

        New: `ack` is behind the first byte under way, and at most behind the last byte ever sent. The bytes
        before `ack` are forgotten, `window` is the receiver's window, the back-off ends. The timer is set to
        `now` + RTO; it stops if nothing is under way. `controller.acknowledged(count, flight, now)` is
        called, before more goes.
        Measured is one segment at a time, from when it was sent to when it is acknowledged, never one that
        was sent twice (Karn). If another one goes again, the measurement may end or go on. With the first
        measurement R: SRTT = R, RTTVAR = R/2. With each later one RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, and
        then SRTT = 7/8 SRTT + 1/8 R. RTO = SRTT + 4 RTTVAR, but at least 0.2 and at most 60 seconds.

        Duplicate: `ack` is the first byte under way, nothing else is in the segment, its window is the same.
        `controller.duplicate(flight, now)` is called; what fits then goes, as lab 20's window may have grown.
        One or two may mean that segments have overtaken each other. At the third the first segment under way
        goes again, at once. All that was sent by then is in doubt now: as long as a new `ack` leaves some of
        it, the first segment under way goes again at once, and no duplicate sends it again.

        Another `ack`, older than the first byte under way or of bytes never sent, changes nothing. If only
        the window is another one, it is taken over, and what fits goes.
        """
        raise NotImplementedError("receive is still to be written")

    def poll(self, now: float) -> list[Segment]:
        """The time is `now`: if the timer has expired return what goes again, else an empty list.

        The first segment under way goes again, alone. What was sent behind it is under way no longer: what
        the next new `ack` leaves of it goes again, as if for the first time, but it is not measured. Until
        all of it is acknowledged, no duplicate sends anything. RTO is doubled (the back-off, to 60 seconds at
        most), the timer is set to `now` + RTO, and `controller.timeout(flight, now)` is called, with what was
        under way before.
        If nothing is under way, data waits and the receiver's window is 0, the timer runs all the same. When
        it expires one byte goes, the first that waits, to ask whether the window has opened (a probe). It
        counts as sent, so an `ack` may cover it, but not as under way. RTO is doubled and the timer set here,
        too; the controller is not called.
        """
        raise NotImplementedError("poll is still to be written")

    def deadline(self) -> float | None:
        """Return when the timer expires; None if it does not run."""
        raise NotImplementedError("deadline is still to be written")

    def waiting(self) -> int:
        """Return how many bytes are not acknowledged, sent or not."""
        raise NotImplementedError("waiting is still to be written")


class Receiver:
    """Takes what comes in order, and nothing else: whatever it leaves out is sent again."""

    def __init__(self, seq: int, capacity: int) -> None:
        """`seq` is the number of the first byte; `capacity` the most bytes that can wait to be read."""

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """A segment has come. Return one acknowledgment, if it has data: `Segment(ack=…, window=…)`.

        It is taken if `seq` is the next byte expected and all its data fit. `ack` is the next byte expected
        then, `window` how many bytes there is room for. What is not taken is acknowledged all the same.
        """
        raise NotImplementedError("receive is still to be written")

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes of the stream, in order, and make room; b"" if none waits."""
        raise NotImplementedError("read is still to be written")
