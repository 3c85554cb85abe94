"""Lab 20's exercise: how much may be under way? A congestion controller of four methods, and CUBIC's curve.

Each connection has a `Controller` of its own. The sender (lab 17's) tells it what happens, and sends as long
as no more than `window()` bytes are under way: sent and not acknowledged (FlightSize). Which segment is sent,
or sent again, is the sender's business. All sizes are whole numbers of bytes: divide with `//`. Arguments are

    mss      SMSS, the bytes of data that a full segment has
    count    how many bytes an ACK acknowledges for the first time
    flight   how many bytes were under way just before the ACK came or the timer expired
    now      the time in seconds (NewReno does not need it)

A controller keeps two sizes: the window, cwnd, and a threshold, ssthresh, which is infinite at first. Three
duplicate ACKs in a row are a loss: a *recovery* begins. It ends when all that was under way at its beginning,
`flight` bytes, is acknowledged; what is sent during it does not count. An ACK before that is a partial ACK.

Sources: RFC 5681, section 3; RFC 6582, section 3.2; RFC 9438, section 4.2. Take what helpers you like.
"""


class Controller:
    """NewReno: slow start, congestion avoidance, fast recovery, and one segment after a timeout."""

    def __init__(self, mss: int) -> None:
        """A connection begins. cwnd is 4 segments, 3 if `mss` is above 1095, 2 if it is above 2190 bytes."""
        raise NotImplementedError("Controller is still to be written")

    def window(self) -> int:
        """Return cwnd. Called before each segment that the sender would like to send."""
        raise NotImplementedError("window is still to be written")

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        """An ACK of new data has come. The first of these rules that applies decides:

        1. recovery, partial ACK: subtract `count` from cwnd; if `count` is `mss` or more, add `mss` to it
        2. recovery, and all is acknowledged: cwnd = ssthresh (RFC 6582's option 2), and the recovery is over
        3. cwnd < ssthresh (slow start): cwnd grows by `count`, but by no more than `mss`. It may end above
           ssthresh.
        4. otherwise (congestion avoidance): add `count` to a sum. If the sum has reached cwnd, subtract cwnd
           from it; then cwnd grows by `mss`: a segment for each window that was acknowledged. (Equation 3
           of RFC 5681 only comes near that.)

        An example: `mss` 100, three ACKs of 100 bytes. The window is 400, 500, 600, 700.
        """
        raise NotImplementedError("acknowledged is still to be written")

    def duplicate(self, flight: int, now: float) -> None:
        """A duplicate ACK has come: a segment has arrived, but not the one that the receiver waits for.

        1. in a recovery: cwnd grows by `mss`, for what has arrived is no longer in the network
        2. the third duplicate without an ACK of new data or a timeout between them: ssthresh becomes half of
           `flight`, but at least 2 segments; cwnd = ssthresh + 3 segments; a recovery begins. The sum of
           rule 4 of `acknowledged` is 0 again.
        3. otherwise: nothing. Two duplicates may come of segments that have overtaken each other.

        After a timeout rule 2 does not apply until all that was under way then is acknowledged: the sender
        sends it again, and what had arrived already makes duplicates.
        """
        raise NotImplementedError("duplicate is still to be written")

    def timeout(self, flight: int, now: float) -> None:
        """The retransmission timer has expired: nothing comes back any more.

        ssthresh becomes half of `flight`, but at least 2 segments; it stays as it is if the timer has expired
        before and no new data has been acknowledged since. cwnd = 1 segment. A recovery is over, and the sum
        of rule 4 of `acknowledged` is 0 again.
        """
        raise NotImplementedError("timeout is still to be written")


def cubic(largest: int, seconds: float) -> float:
    """Return CUBIC's window in segments, `seconds` after a loss at which it was `largest` segments.

    W(t) = C * (t - K) ** 3 + W_max, where C is 0.4, W_max is `largest`, and K is the cube root of
    W_max * 0.3 / C: a loss leaves 0.7 of the window (beta). In RFC 9438 these are figures 1 and 2. No round
    trip time occurs in it. `cubic(100, 0)` is 70.
    """
    raise NotImplementedError("cubic is still to be written")


def seconds_to_return(largest: int, round_trip: float) -> tuple[float, float]:
    """Return how many seconds after a loss Reno, and CUBIC, have the window of `largest` segments again.

    Reno: a loss leaves half of it, each round trip of `round_trip` seconds adds a segment. CUBIC: K seconds.
    `seconds_to_return(100, 0.1)` is about 5 and 4.22; over a round trip of 0.01 seconds, 0.5 and 4.22.
    (There CUBIC takes Reno's window, which is larger: RFC 9438, section 4.3. Leave that out here.)
    """
    raise NotImplementedError("seconds_to_return is still to be written")
