"""Exercise 18: write the receiving half of TCP. Fill in the methods of `Receiver`.

Change no name and no argument. Check it with `.venv/bin/pytest labs/18_stream_receiver`. The Python standard
library is all you need. Begin with `__init__`, `ack`, `window`, `receive` for segments in order, and `read`.
"""

from typing import NamedTuple


class Segment(NamedTuple):
    """A segment, as the labs 17 to 21 have it. Leave it as it is."""

    seq: int = 0
    ack: int | None = None
    window: int = 0
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None


class Receiver:
    """The receiving half of one connection: takes segments as they come, gives the stream in order.

    Every byte has a sequence number, one more than the byte before it; after 4294967295 (2**32 - 1) comes 0.
    FIN has a number, too: the one after the last byte. Whether a number comes after another one is counted
    around the circle: less than 2**31 further on is after it (or it itself), all others are before it.

    `ack()` is RCV.NXT, the first number that is still missing. From there on, the window has `window()`
    numbers. It ends at the right edge: at first that is `seq` plus `capacity`, then `ack` plus `window` of
    the last acknowledgment (ACK) that was made. The right edge never moves back.
    """

    def __init__(self, seq: int, capacity: int, mss: int) -> None:
        """Begin empty. `seq` is the number of the first byte, `capacity` the receive buffer's size in bytes.

        `mss` is how many bytes a full segment carries. Write here what you want to keep.
        """

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Take a segment that has come at `now` (seconds); return what is sent at once: one ACK, or nothing.

        Look at `seq`, `data` and `fin`: the other values are the sender's business, `syn` and `rst` not set.
        An ACK is `Segment(ack=self.ack(), window=self.window())`, made as `window` below says.

        What is taken: the data that is new and within the window. What is early waits until the gap before it
        is filled. What is before `ack()` has come before; what is at the right edge or beyond is thrown away:
        the sender sends it again. A byte that comes again is the same. FIN is taken if its number is within
        the window, and counts (`ack()` is one more) once all data before it is there: until then it waits.
        Nothing behind FIN is taken, no second FIN either. What is behind FIN and came earlier, which
        no correct sender sends, is thrown away when FIN comes.

        What is answered; the first rule that fits:
            1. No number of the segment is within the window: nothing is taken; an ACK at once. A segment with
               neither data nor FIN counts as one number, `seq`. Where the window is 0, `seq == ack()` passes
               as well. (RFC 9293, section 3.10.7.4)
            2. Neither data nor FIN: nothing. An ACK is not acknowledged.
            3. It has no FIN, moves `ack()`, and nothing early, data or FIN, waited when it came: the ACK
               waits. It is due 0.2 seconds later; if a second such segment comes before it is sent, one ACK
               for both at once. (RFC 5681, section 4.2)
            4. Everything else: an ACK at once.

        Example, the lab's capture, after `Receiver(4294963296, 4000, 1000)`; each segment has 1000 bytes:

            seq 4294963296 (frame 4)   → []; due 0.2 seconds later
            seq 4294964296             → ack 4294965296, window 2000, if that one has not been sent by then
        or, if it has been sent (frame 5), as in frames 6 to 11:
            seq 4294964296 (frame 6)   → []
            seq 4294965296 (frame 7)   → ack 4294966296, window 1000 (frame 8); then all is read (frame 9)
            seq 0 (frame 10)           → ack 4294966296, window 4000 (frame 11): it is early
        """
        raise NotImplementedError("receive is still to be written")

    def read(self, count: int) -> bytes:
        """Take at most `count` bytes out of the buffer, in order; b"" where nothing can be read.

        Only bytes with none missing before them can be read.
        """
        raise NotImplementedError("read is still to be written")

    def ack(self) -> int:
        """Return RCV.NXT, the first number that is still missing."""
        raise NotImplementedError("ack is still to be written")

    def window(self) -> int:
        """Return RCV.WND: how many numbers there are from `ack()` to the right edge.

        Whatever moves `ack()` makes it smaller. The right edge moves only when an ACK is made, before its
        `window` is written: to `ack()` plus `capacity` less the bytes that can be read, but only if that is
        further by `mss` or more, or by half of the capacity (`capacity // 2`) or more. What is early lies
        within the window, and does not count against it.
        """
        raise NotImplementedError("window is still to be written")

    def finished(self) -> bool:
        """Tell whether FIN has counted: it and all data before it have come, read or not."""
        raise NotImplementedError("finished is still to be written")

    def deadline(self) -> float | None:
        """Return when `poll` is to be called next, None where there is no reason to.

        0.0 (at once) where a read has made so much room that the right edge can move, whether an ACK waits or
        not, unless FIN has counted. Otherwise it is when the ACK that waits is due.
        """
        raise NotImplementedError("deadline is still to be written")

    def poll(self, now: float) -> list[Segment]:
        """Return an ACK if `deadline()` is not None and has been reached at `now`; otherwise nothing."""
        raise NotImplementedError("poll is still to be written")
