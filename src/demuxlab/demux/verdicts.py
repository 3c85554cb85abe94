"""The values of a decision: verdict, rule, reply, and the reasons of the candidates that were not chosen.

The values of `Verdict`, `Rule` and `Reply` are those of the JSON that commands print.
"""

from enum import StrEnum


class Verdict(StrEnum):
    """What became of a packet."""

    DELIVERED = "delivered"
    QUEUE_FULL = "queue-full"
    NO_SOCKET = "no-socket"
    MALFORMED = "malformed"
    NOT_TRANSPORT = "not-transport"
    NOT_OURS = "not-ours"
    FORWARDED = "forwarded"


class Rule(StrEnum):
    """The values that have to match; `SocketTable.candidates` tries the rules in order."""

    CONNECTION = "connection"
    LISTENER = "listener"
    WILDCARD_LISTENER = "wildcard listener"
    CONNECTED_TWO_TUPLE = "connected two-tuple"
    TWO_TUPLE = "two-tuple"
    WILDCARD_TWO_TUPLE = "wildcard two-tuple"
    COPY = "copy to each"
    """Every matching UDP socket gets a copy of a broadcast or multicast datagram."""


class Reply(StrEnum):
    """What a host sends back for a segment that was not accepted."""

    RST = "rst"
    PORT_UNREACHABLE = "port-unreachable"
    """The ICMP message."""


class Reason(StrEnum):
    """Why a socket on a segment's port did not get it."""

    OTHER_DEVICE = "other-device"
    OTHER_PEER = "other-peer"
    OTHER_ADDRESS = "other-address"
    NO_IPV4 = "no-ipv4"
    NO_IPV6 = "no-ipv6"
    NOT_LISTENING = "not-listening"
    FOUR_TUPLE = "four-tuple"
    """The winner is a connection with all four values."""
    CONNECTED = "connected"
    """The winner is a UDP socket connected to the sender."""
    SPECIFIC_ADDRESS = "specific-address"
    """The winner is bound to the destination's address, this one to the wildcard."""
    BOUND_TO_DEVICE = "bound-to-device"
    """The winner is bound to the device, this one to none."""
    IPV4_ONLY = "ipv4-only"
    """The winner is an IPv4 socket, this one a dual-stack socket."""
    CONNECTED_EARLIER = "connected-earlier"
    BOUND_EARLIER = "bound-earlier"
    SAME_GROUP = "same-group"
    """The hash of the flow chose another member of the SO_REUSEPORT group."""
    LATER_GROUP = "later-group"
    """A SO_REUSEPORT group that was bound later comes first."""
    IPV6_GROUP = "ipv6-group"
    """IPv6 sockets of a SO_REUSEPORT group come after all others."""
    IPV6_GROUP_ORDER = "ipv6-group-order"
    """Of two IPv6 SO_REUSEPORT groups, the one that was bound first comes first."""
    QUEUE_FULL = "queue-full"
    """The socket was to get a copy of a broadcast or multicast datagram, but its queue is full."""
    NO_IPV4_MULTICAST = "no-ipv4-multicast"
    """A dual-stack socket gets no IPv4 multicast."""
    TCP_TO_MANY = "tcp-to-many"
    """TCP takes no segments to a broadcast or multicast address."""
    REPLACED_BY_OTHER = "replaced-by-other"
    """A demultiplexer in the table's place chose another socket."""
    REPLACED_BY_NONE = "replaced-by-none"
    """A demultiplexer in the table's place chose no socket."""
