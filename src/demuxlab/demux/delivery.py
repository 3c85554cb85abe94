"""The decision about one packet, as data: the verdict, the socket, the rule, the reply.

`demuxlab.telling` turns it into text.
"""

from typing import NamedTuple

from demuxlab.demux.lookup import Lookup, Loser
from demuxlab.demux.socket import Socket
from demuxlab.demux.verdicts import Reply, Rule, Verdict
from demuxlab.wire.packet import Arrival
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram


class Delivery(NamedTuple):
    """The decision about one packet."""

    verdict: Verdict
    arrival: Arrival
    """The packet with its header fields: it is not parsed again."""
    socket: Socket | None = None
    rule: Rule | None = None
    reply: Reply | None = None
    """What the host sends back."""
    counter: str = ""
    """The counter under which the packet was dropped; empty where it was not."""
    lookup: Lookup | None = None
    """The other candidates; None unless the demultiplexer explains."""
    copies: tuple[Socket, ...] = ()
    """Every receiver of a broadcast or multicast datagram that had room for it, or all where none had any;
    `socket` is the first of them."""
    forwarded_by: str = ""
    """The port forwarding rule, of a packet that was forwarded."""

    @property
    def segment(self) -> Segment | None:
        """The TCP segment or UDP datagram, where the packet carried one."""
        return self.arrival if isinstance(self.arrival, TCPSegment | UDPDatagram) else None

    @property
    def losers(self) -> tuple[Loser, ...]:
        """The candidates that did not get the segment; empty unless the demultiplexer explains."""
        return self.lookup.losers if self.lookup else ()
