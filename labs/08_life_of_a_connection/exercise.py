"""Exercise 08: write TCP's state machine. Fill in the four methods; change no name and no argument.

Check it with `.venv/bin/pytest labs/08_life_of_a_connection`. The Python standard library is all you need.
"""


class Connection:
    """One end of a TCP connection: in which state it is, and what it sends.

    The states, with their names in RFC 9293, and what each one means:

        CLOSED        there is no connection
        LISTEN        waits for anybody's SYN
        SYN-SENT      has sent its SYN, and waits for an answer
        SYN-RECEIVED  has got a SYN and sent its own; its own is not acknowledged yet
        ESTABLISHED   both SYNs are acknowledged: data can go both ways
        FIN-WAIT-1    has sent its FIN first; neither the acknowledgment nor the peer's FIN has come
        FIN-WAIT-2    its FIN is acknowledged; the peer has not closed yet, and may go on sending
        CLOSING       the two FINs crossed on the way: the peer's has come, its own is not acknowledged yet
        TIME-WAIT     sent its FIN before it got the peer's, both are acknowledged: waits for late segments
        CLOSE-WAIT    has got the peer's FIN first; its own application has not closed yet, and may still send
        LAST-ACK      has got the peer's FIN first, and sent its own, which is not acknowledged yet

    Segments are named by their flags: S (SYN), F (FIN) or R (RST), then A (ACK). There are "S", "SA", "A",
    "F", "FA" and "R". Numbers are left out: an A acknowledges everything sent so far, the SYN, and the FIN
    where one has been sent. (On the wire nearly every segment has the flag ACK. Here A means: the number
    covers all that we sent. A peer's FIN that crossed ours carries an older number, so here it is an "F".)
    """

    def __init__(self) -> None:
        """Begin in CLOSED. Write here what you want to keep."""

    def call(self, name: str) -> str:
        """Do what the application calls: "listen", "connect" or "close"; return what is sent, "" for nothing.

        listen   in CLOSED only. Nothing is sent.
        connect  in CLOSED only. A SYN is sent.
        close    says that nothing more will be sent. Where the peer's SYN has come, a FIN is sent, "FA".
                 Where it has not (LISTEN, SYN-SENT), nothing is sent, and the connection is CLOSED at once.
                 A connection is closed once: not in CLOSED, and not when its FIN has been sent already.

        A call that the state does not allow raises OSError and changes nothing.

        Example, frames 1 to 3 of the lab's capture, at the client:

            call("connect") → "S"      and then state() → "SYN-SENT"
            segment("SA")   → "A"      and then state() → "ESTABLISHED"
        """
        raise NotImplementedError("call is still to be written")

    def segment(self, flags: str) -> str:
        """Take a segment of the peer; return the segment that answers it, "" for nothing.

        Look at the flags in this order. The table of states says where each one leads.

        R  ends the connection, in whatever state, and is never answered. Only who listens goes on listening:
           in LISTEN, and in SYN-RECEIVED where that came from LISTEN.

        In CLOSED everything else is answered with "R".
        In LISTEN a SYN alone is answered with "SA"; all that carries an A with "R"; the rest is ignored.
        In SYN-SENT "SA" is answered with "A". A SYN alone (both sides connect at once) is answered with "SA".
        The rest is ignored.

        In all other states:

        S  "S" in SYN-RECEIVED: the peer has not got our "SA". Answer it with "SA" again.
           "SA" in SYN-RECEIVED counts as "A". (Both sides had connected at once.)
           Later on a SYN changes nothing and is answered with "A".
        A  acknowledges what was waiting for it, if anything was. This is never answered: data and their
           acknowledgments leave the state as it is, and nothing is sent for them here.
        F  is answered with "A", also where it comes once more. In "FA" the A counts first. An "F" without A
           does not come in SYN-RECEIVED, nor an "FA" in LAST-ACK: what you do then is up to you.
        """
        raise NotImplementedError("segment is still to be written")

    def timeout(self) -> str:
        """Let the time of TIME-WAIT pass (60 seconds in the lab); return what is sent: always "".

        Only TIME-WAIT ends by it. All other states stay.
        """
        raise NotImplementedError("timeout is still to be written")

    def state(self) -> str:
        """Return the name of the state."""
        raise NotImplementedError("state is still to be written")
