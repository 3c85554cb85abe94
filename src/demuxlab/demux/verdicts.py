"""The values that a decision is made of: what became of a packet, by which rule, why others lost, the reply.

Each value is the string that the JSON of the commands has.
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
    """What a socket and a segment have in common; `demux.protocols` has the order in which they are tried."""

    CONNECTION = "connection"
    LISTENER = "listener"
    WILDCARD_LISTENER = "wildcard listener"
    CONNECTED_TWO_TUPLE = "connected two-tuple"
    TWO_TUPLE = "two-tuple"
    WILDCARD_TWO_TUPLE = "wildcard two-tuple"
    COPY = "copy to each"
    """Of a broadcast or multicast datagram, which every matching UDP socket gets."""


class Reply(StrEnum):
    """What a host sends back for a segment that no socket takes."""

    RST = "rst"
    PORT_UNREACHABLE = "port-unreachable"
    """The ICMP message."""
