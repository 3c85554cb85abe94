"""Exercise 13: answer what nobody waits for, and see through what is forged.

Fill in two functions and two classes; change no name and no argument. Check it with
`.venv/bin/pytest labs/13_unmatched_and_hostile`. The Python standard library is all you need.

Sequence numbers have 32 bits: after 4294967295 comes 0. Each byte of data has one, and so have SYN and FIN.
Flags are text: "S" is SYN, "A" ACK, "F" FIN, "R" RST, "P" PSH; "SA" is SYN and ACK, and so is "AS".
"""


def reply(
    flags: str, sequence: int, acknowledgment: int, length: int, listening: bool, first: int
) -> tuple[str, int, int] | None:
    """Return how a host answers a segment that belongs to none of its connections, or None for not at all.

    `sequence` and `acknowledgment` are the segment's numbers, `length` its bytes of data. `first` is the
    sequence number that the host would begin a connection with. `listening` tells
    whether a socket listens on its port. The answer is (flags, sequence number, acknowledgment number).

    A segment with RST is never answered. On a closed port all others are:
        with ACK     ("R", what the segment acknowledges, 0)
        without ACK  ("RA", 0, the number behind the segment's last: SYN, FIN and data count)
    A listening socket answers:
        with ACK                   as a closed port does
        SYN, without ACK and FIN   ("SA", `first`, the number behind the SYN); data with it does not count yet
        anything else              not at all

    Example, frames 3, 4 of the lab's capture: reply("PA", 5000, 7000, 3, False, 1) is ("R", 7000, 0).
    Frames 5, 6: reply("P", 5000, 0, 3, False, 1) is ("RA", 0, 5003).
    """
    raise NotImplementedError("reply is still to be written")


def judge(flags: str, sequence: int, length: int, next_expected: int, window: int) -> str:
    """Return what an established connection does with a segment that has its four values right.

    `next_expected` is the number that it waits for. The window begins there and is `window` numbers long
    (0 to 65535); it may run over 4294967295 to 0. A segment without RST and SYN always has ACK here, and what
    it acknowledges is right. In this order:

        with RST   at `next_expected` exactly, even where the window is 0: "reset", the connection is over;
                   elsewhere in the window: "challenge"; outside: "drop". Its data does not count.
        with SYN   "challenge", wherever it is
        all else   "accept" where its first or its last number is in the window, and "challenge" where not.
                   A segment with neither data nor FIN has a place and no length: "accept" where its sequence
                   number is in the window. Where the window is 0, only such a segment at `next_expected` is
                   accepted.

    "challenge" throws the segment away and sends an ACK with the number that is expected.

    Example, frame 37 of the lab's capture: 1006 is expected, and judge("R", 1007, 0, 1006, 65535) is
    "challenge": frame 38 is the ACK.
    """
    raise NotImplementedError("judge is still to be written")


class Scan:
    """Sees a port scan from inside: who asks for many ports that are closed?"""

    def __init__(self, address: str, listening: list[int], threshold: int) -> None:
        """Watch over the host with this `address`, "10.9.0.20", where these TCP ports are open."""

    def packet(self, packet: bytes) -> None:
        """Take note of an IPv4 packet from the host's link, in either direction. It is whole and correct.

        Only connection requests count: TCP (byte 9 of the IP header is 6), sent to the host's own address,
        with SYN and without ACK. Byte 0 of the IP header has its length in the low four bits, in words of 4
        bytes. Bytes 12-15 are the source address, bytes 16-19 the destination address. Behind the IP header,
        bytes 2-3 are the destination port, and byte 13 has the flags: SYN is 0x02, ACK is 0x10.
        """
        raise NotImplementedError("packet is still to be written")

    def scans(self) -> list[tuple[str, list[int]]]:
        """Return who scans, and what: for each such source its address and the closed ports it asked for.

        A source scans when it asked for `threshold` or more different closed ports. Sources are in the order
        of their addresses as text, ports from the lowest up, each of them once.

        Example: after all packets of the lab's capture, Scan("10.9.0.20", [80], 3) answers
        [("10.9.0.30", [25, 53, 8080, 8089])]. A asked for two closed ports only.
        """
        raise NotImplementedError("scans is still to be written")


class Backlog:
    """The handshakes that one listening socket has under way: some remembered, the others in cookies.

    `now` is the time in whole seconds; it never goes back. A handshake has 60 seconds from its SYN.
    """

    def __init__(self, size: int, secret: bytes) -> None:
        """Begin with none under way. `size`, 0 or more, is how many may be remembered at one time."""

    def syn(self, now: int, source: str, source_port: int, sequence: int) -> int:
        """Return the sequence number of the SYN ACK that answers this SYN.

        Remember the handshake if fewer than `size` are remembered. If not, keep nothing: then the number
        is a cookie. It is made of the source, the source port, the SYN's sequence number, the time and the
        secret in such a way that nobody can make it without the secret. The same SYN again (source, source
        port and sequence number), while its handshake is remembered, takes no second place, gets the same
        number, and gets no more time.
        """
        raise NotImplementedError("syn is still to be written")

    def ack(self, now: int, source: str, source_port: int, sequence: int, acknowledgment: int) -> bool:
        """Tell whether this ACK completes a handshake; the place of a remembered one is free again then.

        It does if source and source port are those of a SYN, `sequence` is the number behind that SYN, and
        `acknowledgment` the number behind the SYN ACK. A cookie must be good with nothing but the secret:
        in another process with the same secret too.

        Up to 60 seconds after the SYN the answer is True, more than 180 seconds after it False. Between them
        either will do, since a cookie need not know its time to the second.
        """
        raise NotImplementedError("ack is still to be written")

    def waiting(self, now: int) -> int:
        """Return how many handshakes are remembered: not completed, and not more than 60 seconds old."""
        raise NotImplementedError("waiting is still to be written")
