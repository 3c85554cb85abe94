"""Lab 19's exercise: TCP's state machine, with sequence numbers and time. No data: labs 17 and 18 carry them.

Write `transition` first: a dictionary is enough. `Machine` asks it at each event, and goes where it says. The
checks call `listen` or `open`, then `receive` for each segment of the peer, and `poll` at the `deadline`.
`now` is the time in seconds; there is no other clock. Sources: RFC 9293, sections 3.3.2, 3.4, 3.5, 3.6 and
3.10; RFC 5961. Change no name and no argument. The Python standard library is all you need.
"""

from typing import NamedTuple


class Segment(NamedTuple):
    """A segment, given and returned. Make one by `Segment(seq, ack, window)`, `Segment(seq, rst=True)`, …"""

    seq: int = 0  # SEG.SEQ, 0 to 2**32 - 1
    ack: int | None = None  # SEG.ACK; None: the flag ACK is not set
    window: int = 0  # SEG.WND
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    mss: int | None = None  # the option of a SYN

    @property
    def length(self) -> int:
        """SEG.LEN: the bytes of data; SYN and FIN take a number each, too."""
        return len(self.data) + self.syn + self.fin


def add(number: int, count: int) -> int:
    """Return the sequence number `count` after another one: after 2**32 - 1 comes 0."""
    return (number + count) % 2**32


def distance(first: int, second: int) -> int:
    """Return how far `second` lies after `first`; negative where it lies before: the shorter way round."""
    return (second - first + 2**31) % 2**32 - 2**31


def transition(state: str, event: str) -> tuple[str, str] | None:
    """Return the next state and what is sent, as RFC 9293's figure 5 has it; None where it has no arrow.

    States: "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
    "CLOSING", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK". Events: "passive open", "active open", "close" (calls),
    "SYN" (without ACK), "SYN,ACK", "ACK of SYN", "FIN", "ACK of FIN" (what arrives), "2 MSL" (time). What is
    sent: "SYN", "SYN,ACK", "ACK", "FIN", or "". There are 18 arrows.

    transition("CLOSED", "active open") is ("SYN-SENT", "SYN"); ("LISTEN", "close") leads to ("CLOSED", "").
    """
    raise NotImplementedError("transition is still to be written")


class Machine:
    """One end of one connection. Every method that sends returns a list of segments, [] for nothing.

    `listen`, `open` and `close` are events of the table. Where it has no arrow, nothing happens.
    """

    def __init__(self, seq: int, window: int, mss: int) -> None:
        """Begin in CLOSED. `seq` is ISS, the number of the SYN; `window` is RCV.WND. What is sent:

        SYN      Segment(ISS, None, window, syn=True, mss=mss)
        SYN,ACK  Segment(ISS, RCV.NXT, window, syn=True, mss=mss)
        FIN      Segment(SND.NXT, RCV.NXT, window, fin=True), with SND.NXT as it was before the FIN
        ACK      Segment(SND.NXT, RCV.NXT, window)
        """
        raise NotImplementedError("Machine is still to be written")

    def state(self) -> str:
        """Return the state."""
        raise NotImplementedError("state is still to be written")

    def nxt(self) -> int:
        """Return SND.NXT, the next number to send: `seq` at first, one more after SYN, one more after FIN."""
        raise NotImplementedError("nxt is still to be written")

    def listen(self) -> None:
        """Passive open."""
        raise NotImplementedError("listen is still to be written")

    def open(self, now: float) -> list[Segment]:
        """Active open. Frame 31 of the capture: [Segment(2864901481, None, 65535, syn=True, mss=1460)]."""
        raise NotImplementedError("open is still to be written")

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent: the event "close"."""
        raise NotImplementedError("close is still to be written")

    def moved(self, nxt: int, rcv: int, window: int) -> None:
        """Set SND.NXT, RCV.NXT and RCV.WND: data were sent, or have arrived in order (labs 17 and 18)."""
        raise NotImplementedError("moved is still to be written")

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment of the peer; return what is sent. The first rule that applies decides.

        "Reset it": send Segment(SEG.ACK, rst=True); if the segment has no ACK, Segment(0, SEG.SEQ + SEG.LEN,
        rst=True). The state stays. A RST is never answered with RST: then send nothing.

        CLOSED    1. Reset it.
        LISTEN    1. RST: ignore it.  2. ACK: reset it.  3. SYN: RCV.NXT becomes SEG.SEQ + 1; answer by the
                  table.  4. Ignore anything else.
        SYN-SENT  1. ACK, and SEG.ACK is not SND.NXT: reset it.  2. RST: CLOSED if it has ACK; else ignore it.
                  3. SYN: as in LISTEN; with ACK it is the event "SYN,ACK".  4. Ignore anything else.

        All other states (an ACK sent by rules 2, 3, 4 and 6 is a challenge ACK):

        1. In SYN-RECEIVED, the peer's SYN once more (same SEG.SEQ). Without ACK: send SYN,ACK again, and let
           the timer go on. With ACK (both have opened): if SEG.ACK is SND.NXT, it is the event "ACK of SYN"
           and is answered with ACK; if not, reset it. What another SYN does here is not graded.
        2. No number of it is in the window: ignore RST, answer all else with ACK. FIN in TIME-WAIT restarts
           2 MSL, too. The window is RCV.NXT to RCV.NXT + RCV.WND - 1. Of a segment of length 0, SEG.SEQ must
           be in there, or be RCV.NXT where the window is 0; of a longer one, its first or last number.
        3. RST: if SEG.SEQ is exactly RCV.NXT, the connection is CLOSED. But in SYN-RECEIVED after `listen` it
           is LISTEN, and SND.NXT as at first. If SEG.SEQ is another number, answer with ACK.
        4. SYN: answer with ACK.
        5. No ACK: ignore it.
        6. ACK. In SYN-RECEIVED: SEG.ACK must be SND.NXT ("ACK of SYN"); if not, reset it. In all others: if
           SEG.ACK lies after SND.NXT, answer with ACK. If our FIN was sent and SEG.ACK is SND.NXT, it is the
           event "ACK of FIN". An older ACK is no event. Unless something was sent, rule 7 is next.
        7. FIN, whose number is that after the segment's data. If it is RCV.NXT: RCV.NXT becomes one more, and
           the table says the rest. If not, data before it are missing: answer with ACK.
        8. Data alone are not answered here.
        """
        raise NotImplementedError("receive is still to be written")

    def deadline(self) -> float | None:
        """Return the time at which `poll` must be called; None: no timer runs.

        SYN, SYN,ACK or FIN, the last of them that was sent, is sent again until it is acknowledged: 1 second
        after it was first sent, 2 seconds after that repetition, then 4, 8, 16 and 32. TIME-WAIT lasts 2 MSL,
        60 seconds. A connection that is CLOSED has no timer.
        """
        raise NotImplementedError("deadline is still to be written")

    def poll(self, now: float) -> list[Segment]:
        """Nothing before the deadline, or without one. At it or later: send again, with RCV.NXT as it is now.

        64 seconds after the 6th repetition, give up: CLOSED, and nothing is sent. At the end of TIME-WAIT:
        the event "2 MSL".
        """
        raise NotImplementedError("poll is still to be written")
