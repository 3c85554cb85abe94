"""Exercise 02: write a multiplexer, and what undoes its work. Fill in the four methods and the function.

Change no name and no argument. Check it with `.venv/bin/pytest labs/02_multiplexing`. The Python standard
library is all you need.

A UDP datagram is a header of 8 bytes, then the data:

    bytes 0-1    source port: of the process that sends
    bytes 2-3    destination port: of the process that shall receive
    bytes 4-5    the length of header and data together
    bytes 6-7    the checksum: here always 0, which says that none was made (the capture's frames have one)

Numbers are big-endian: the high byte comes first.
"""


class Multiplexer:
    """Gathers what the processes of a host send, and gives it to the one link in fair turns.

    Whoever has something waiting stands in a line:
        - A process joins the line, at its end, when it sends and nothing of it is waiting.
        - `next` takes the process at the front and gives out its oldest datagram, one and no more.
        - If more of that process is waiting, it goes to the end of the line. Else it leaves the line.
    A process that sends while it stands in the line keeps its place.
    """

    def __init__(self) -> None:
        """Begin with no process. Write here what you want to keep."""

    def open(self, process: str, source_port: int) -> None:
        """Let a process send, from this port: the application decided for it.

        `process` is a name such as "browser"; none is opened twice. `source_port` is 1 to 65535. Raise
        OSError if another open process has this port, and change nothing: nobody could tell the answers
        to the two apart.
        """
        raise NotImplementedError("open is still to be written")

    def send(self, process: str, destination_port: int, data: bytes) -> None:
        """Take data of a process; it waits for the link with the header that was put on it.

        `destination_port` is 1 to 65535, another one each time if the process likes. `data` has 0 to 65,507
        bytes: without any it is a datagram all the same. Raise OSError if the process is not open.
        """
        raise NotImplementedError("send is still to be written")

    def close(self, process: str) -> None:
        """Let a process send no more. `process` is always an open one.

        Its port is free again. What it has sent before still takes its turns.
        """
        raise NotImplementedError("close is still to be written")

    def next(self) -> bytes | None:
        """Return the datagram that the link carries next, or None where nothing is waiting.

        Example, frames 5 to 13 of the lab's capture. The browser (port 9157) sends 6 pieces to port 80, then
        mail (9158) 2 to port 25, then the messenger (9159) 1 to port 8080. `next` gives the first of the
        browser, of mail, of the messenger, then the second of the browser and of mail, and then the other
        four of the browser. The messenger's, with the data "messenger 1", is

            23 c7 1f 90 00 13 00 00 6d 65 73 73 65 6e 67 65 72 20 31   0x23c7 = 9159, 0x0013 = 8 + 11
        """
        raise NotImplementedError("next is still to be written")


def split(datagrams: list[bytes]) -> list[tuple[int, list[bytes]]]:
    """Return what the link carried, split by destination port: (port, what arrived there) for each port.

    The ports stand in the order in which each got its first datagram. What arrived at a port is the data
    without the headers, in the order it came.

    Leave out a datagram of fewer than 8 bytes, and one whose length field says less than 8 or more than came.
    Bytes that come after the length are padding, and no data. A port without a datagram is not in the answer.

    Example: the datagrams to port 80 "a", to port 25 "b" and to port 80 "c" give
    [(80, [b"a", b"c"]), (25, [b"b"])].
    """
    raise NotImplementedError("split is still to be written")
