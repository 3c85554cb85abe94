"""Exercise 21: your own TCP. Fill in the class `Connection`; change no name and no argument.

First copy in the classes that you wrote: `Sender` of lab 17 (not its receiver), `Receiver` of lab 18,
`Machine` of lab 19 with `transition`, `Controller` of lab 20. For each of the four that is not in this file,
or has a method still to be written, ours does its work: you can begin with `Connection` at once. Write what
is between the parts, and find what breaks there.

    machine = Machine(seq, window, mss)            knows the states; sends SYN, FIN, RST, and challenge ACKs
    sender = Sender(seq + 1, mss, controller)      sends data; gets every ACK of a connection that is open
    receiver = Receiver(peer's seq + 1, capacity, mss)   takes data and FIN, makes ACKs
    controller = Controller(mss)                   says how much may be under way

`mss` of the last three is the smaller of the two ends' MSS.

Check it with `.venv/bin/pytest labs/21_your_own_tcp`. Then let it serve curl and a browser:
`sudo .venv/bin/demuxlab serve http --transport labs/21_your_own_tcp/exercise.py`.
"""

from typing import NamedTuple


class Segment(NamedTuple):
    """A segment, as in labs 17 to 20."""

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


# Here are your classes of labs 17 to 20.


class Connection:
    """One connection. `open`, `send`, `close`, `receive` and `poll` return a list: the segments to send."""

    def __init__(self, seq: int, mss: int, capacity: int) -> None:
        """`seq` is ISS, the number of the SYN. `mss` is the most data that a segment may carry, and what the
        SYN says; the peer's SYN may ask for less, and means 536 if it says nothing. `capacity`, the size of
        the receive buffer, is the first window.
        """

    def listen(self) -> None:
        """Passive open: wait for a SYN."""
        raise NotImplementedError("listen is still to be written")

    def open(self, now: float) -> list[Segment]:
        """Active open: return the SYN."""
        raise NotImplementedError("open is still to be written")

    def send(self, data: bytes, now: float) -> list[Segment]:
        """The application writes. Return what can go; before the handshake is over everything waits.

        The sender, the receiver and the controller are made when the peer's SYN has come, for only then are
        both numbers and the MSS known. Every segment but SYN and RST carries ACK and window of the receiver,
        as it is now. One without data and FIN carries SND.NXT as its `seq`. No part knows SND.NXT but you:
        the number behind the last byte that the sender has ever returned, and behind our FIN, once it was
        sent.
        """
        raise NotImplementedError("send is still to be written")

    def close(self, now: float) -> list[Segment]:
        """The application writes no more: FIN goes once all data has been acknowledged. Reading goes on."""
        raise NotImplementedError("close is still to be written")

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """A segment has come. Return what is sent because of it.

        1. Tell the machine SND.NXT, RCV.NXT and RCV.WND, which data have moved (`moved`), and give it the
           segment, but without FIN: a FIN counts only when all data before it are there. Once it has
           counted (5), give it with FIN: the machine waits two MSL from the last one on.
        2. If a SYN has taken the machine out of LISTEN or SYN-SENT: make the other parts, anew for each such
           SYN, as a RST in SYN-RECEIVED leads back to LISTEN.
        3. If the machine has answered otherwise than with the handshake's ACK (the segment is not acceptable,
           or is reset), or the connection is not open, that is all. A RST, or a segment without ACK, reaches
           no other part either.
        4. The sender gets the ACK: the first one, that of our SYN, tells it the peer's window. The receiver
           gets data and FIN, but no SYN. What the application wrote before the handshake was over goes now.
        5. When `receiver.finished()` for the first time, the machine gets a segment with FIN, whose number is
           the one before `receiver.ack()`. By `moved` it must expect this number, and have a window for it.
           The receiver has acknowledged it, and one ACK is enough: what the machine answers is not sent.
        6. `close` may have waited for this ACK.
        """
        raise NotImplementedError("receive is still to be written")

    def read(self, count: int) -> bytes:
        """The application reads: at most `count` bytes, in order; b"" if nothing waits."""
        raise NotImplementedError("read is still to be written")

    def poll(self, now: float) -> list[Segment]:
        """Let the machine, the sender and the receiver do what is due at `now`."""
        raise NotImplementedError("poll is still to be written")

    def deadline(self) -> float | None:
        """Return the earliest deadline of the three; None if there is none. No part runs on after the end."""
        raise NotImplementedError("deadline is still to be written")

    def state(self) -> str:
        """Return the machine's state, such as "ESTABLISHED"."""
        raise NotImplementedError("state is still to be written")

    def finished(self) -> bool:
        """Tell whether the peer's FIN has come, with all data before it."""
        raise NotImplementedError("finished is still to be written")

    def waiting(self) -> int:
        """Return how many bytes of the application's are not acknowledged yet."""
        raise NotImplementedError("waiting is still to be written")
