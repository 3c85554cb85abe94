"""Explicit congestion notification of one connection (RFC 3168): a router marks packets instead of dropping.

Where both ends agreed in the handshake, new data is sent as ECN-capable. A packet that arrives marked
(Congestion Experienced) is echoed with ECE until the peer's CWR says that its window has shrunk. As in Linux:
segments without data, and data that is sent again, are not ECN-capable.
"""

from demuxlab.wire import rewrite
from demuxlab.wire.ip import Fields
from demuxlab.wire.segment import CWR, ECE, TCPSegment

_NOT_CAPABLE, _CAPABLE, _MARKED, _FIELD = 0, 2, 3, 3
"""The ECN field of the IP header: Not-ECT, ECT(0), CE, and its bits (RFC 3168, section 5)."""
OFF, ASK, ACCEPT = 0, 1, 2
"""Values of the setting, as of Linux's net.ipv4.tcp_ecn: `ASK` accepts as well."""


class ECN:
    """The ECN state of a connection's sending and receiving half."""

    __slots__ = ("delivered", "echoes", "reduced", "seen")

    def __init__(self) -> None:
        self.echoes = False
        """A marked packet has arrived, and no CWR since: ECE is set in all that is sent (section 6.1.3)."""
        self.reduced = False
        """The congestion window has shrunk: the next new data carries CWR (section 6.1.2)."""
        self.seen = False
        """An ECN-capable packet has arrived."""
        self.delivered = 0
        """Segments that ACKs with ECE have acknowledged (tcpi_delivered_ce)."""

    def mark(self, flags: int, fields: Fields, *, new: bool) -> tuple[int, Fields]:
        """Return flags and IP fields of a segment that is sent; `new`: it has data that was never sent."""
        if self.echoes:
            flags |= ECE
        if not new:
            return flags, fields
        if self.reduced:
            self.reduced = False
            flags |= CWR
        return flags, fields._replace(traffic_class=fields.traffic_class & ~_FIELD | _CAPABLE)

    def arrived(self, segment: TCPSegment) -> bool:
        """Take a segment with data into account; return whether it is to be acknowledged without delay."""
        if segment.flags & CWR:
            self.echoes = False
        field = rewrite.traffic_class(segment.packet) & _FIELD
        soon = bool(segment.flags & CWR)
        if field == _MARKED:
            soon |= not self.echoes
            self.echoes = True
        elif field == _NOT_CAPABLE and self.seen:
            soon = True  # probably sent again
        self.seen |= field != _NOT_CAPABLE
        return soon


def offer(setting: int, *, again: bool) -> int:
    """Return the flags by which a SYN asks for ECN; a retransmitted SYN has none (section 6.1.1.1)."""
    return ECE | CWR if setting == ASK and not again else 0


def agreed(setting: int, syn: TCPSegment, *, answers: bool) -> bool:
    """Tell whether the peer's SYN agrees (section 6.1.1); `answers`: it is the SYN,ACK to ours."""
    flags = syn.flags & (ECE | CWR)
    if answers:
        return setting == ASK and flags == ECE
    # An ECN-capable SYN comes from a peer that has its own idea of ECN (Linux).
    return setting != OFF and flags == ECE | CWR and not rewrite.traffic_class(syn.packet) & _FIELD
