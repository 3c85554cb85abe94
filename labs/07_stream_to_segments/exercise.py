"""Exercise 07: cut a stream into segments, and put it together again. Fill in the function and the methods.

Change no name and no argument. Check it with `.venv/bin/pytest labs/07_stream_to_segments`. The Python
standard library is all you need.
"""


def cut(data: bytes, mss: int) -> list[bytes]:
    """Return the data of the segments that carry `data`, in order.

    Each carries `mss` bytes, as many as fit; the last one carries what remains. A segment without data is not
    made. `mss` is 1 or more.

    Example, frames 4, 5, 6, 7 of the lab's capture: 5000 bytes with an `mss` of 1460 give four segments, of
    1460, 1460, 1460 and 620 bytes.
    """
    raise NotImplementedError("cut is still to be written")


class ReceiveBuffer:
    """The receive buffer of one TCP connection: takes segments as they come, gives the stream in order.

    Every byte of the stream has a sequence number, one more than that of the byte before. A number has 32
    bits: after 4294967295 (that is 2**32 - 1) comes 0.
    """

    def __init__(self, capacity: int, first: int) -> None:
        """Begin empty. `capacity` is the size in bytes; `first` the sequence number of the first byte.

        Write here what you want to keep.
        """

    def segment(self, sequence: int, data: bytes) -> int:
        """Take a segment whose first byte has the number `sequence`; return the acknowledgment number.

        The acknowledgment number is that of the next byte expected: of the first one that is still missing.

        A segment may come
            in order     it begins with the byte expected: its bytes can be read from now on
            too early    bytes before it are missing: keep it. When the gap is filled, it can be read as well.
            too late     all of its bytes were there before, read or not: it changes nothing
            overlapping  only some of its bytes are new: take those. A byte that comes again is the same.
        The window is `window()` bytes long and begins with the byte expected. Where a segment reaches beyond
        the window, take what is within, and throw away the rest: the sender will send it again.

        Before or after? Less than 2**31 bytes from the byte expected onwards is after it (or it itself); all
        other numbers lie before it.

        Example, frames 20 to 29 of the lab's capture. After `ReceiveBuffer(8192, 4294967288)`:

            segment(4294967288, b"the ")     → 4294967292   frame 20, acknowledged in frame 21
            segment(3, b"stays ")            → 4294967292   frame 22: too early
            segment(4294967292, b"stream ")  → 9            frame 24: fills the gap
        """
        raise NotImplementedError("segment is still to be written")

    def read(self, size: int) -> bytes:
        """Take at most `size` bytes out of the buffer, the oldest first; b"" where nothing can be read.

        Only bytes with none missing before them can be read. `size` is 1 or more.
        """
        raise NotImplementedError("read is still to be written")

    def window(self) -> int:
        """Return how many bytes may come, from the byte expected on: the capacity less what can be read.

        What came too early lies within the window, and does not make it smaller.
        """
        raise NotImplementedError("window is still to be written")
