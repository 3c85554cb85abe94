"""UDP's fast path: plain packets go into the queue of a UDP endpoint."""

from demuxlab.demux.queue import OVERHEAD
from demuxlab.fast import plain
from demuxlab.fast.plain import IPV4, KEY, SOURCE, UDP_DATA
from demuxlab.transport.udp import UDPEndpoint

_COST, _COST_V6 = OVERHEAD - plain.UDP_HEADERS, OVERHEAD - plain.UDP_HEADERS_V6


def receive(endpoint: UDPEndpoint, packet: bytes, _now: float) -> bool:
    """Queue the datagram in a plain packet.

    False, and nothing has changed, where the queue is full or keeps details of the headers.
    """
    # As `BoundedQueue.put` and `plain.datagram` do it: each call would cost 2 % of what a datagram costs.
    is_ipv4 = packet[0] == IPV4
    size = endpoint.size + len(packet) + (_COST if is_ipv4 else _COST_V6)
    if (size > endpoint.limit and endpoint.items) or endpoint.details is not None:
        return False
    taken = endpoint.taken + 1
    # Before anything else changes: there may be no memory for it.
    endpoint.items.append(
        (packet[UDP_DATA], packet[SOURCE], packet[20] << 8 | packet[21])
        if is_ipv4
        else plain.datagram(packet)
    )
    endpoint.size, endpoint.taken = size, taken
    if endpoint.on_change is not None:
        endpoint.on_change()
    return True


class Datagrams:
    """Remembers, within a batch of packets, who received the last datagram: the next often has the same ends.

    While the host's lock is held, no socket appears or disappears that the next one could go to instead.
    """

    __slots__ = ("endpoint", "key")

    def __init__(self) -> None:
        self.key = b""
        """Addresses and ports of the last datagram over IPv4; empty: there is none."""
        self.endpoint: UDPEndpoint

    def receive(self, endpoint: UDPEndpoint, packet: bytes, now: float) -> bool:
        """Do what the function `receive` does, and remember it."""
        if not receive(endpoint, packet, now):
            return False
        if packet[0] == IPV4:
            self.key, self.endpoint = packet[KEY], endpoint
        return True


def receive_run(endpoint: UDPEndpoint, packet: bytes, size: int) -> tuple[int, int]:
    """Queue the datagrams of `size` bytes (the last may be shorter) that came as one plain packet.

    Returns how many there are and how many of them the queue had room for; it has counted the others.
    """
    data, source, port = plain.datagram(packet)
    count = -(-len(data) // size)
    if endpoint.size + OVERHEAD > endpoint.limit:  # there is not even room for an empty one
        endpoint.dropped += count
        return count, 0
    datagrams = [(data[at : at + size], source, port) for at in range(0, len(data), size)]
    cost = endpoint.size + len(data) + OVERHEAD * count
    if cost <= endpoint.limit:
        endpoint.items.extend(datagrams)
        endpoint.size = cost
        endpoint.taken += count
        fitting = count
    else:
        fitting = sum(endpoint.put(datagram, len(datagram[0])) for datagram in datagrams)
    if endpoint.on_change is not None:
        endpoint.on_change()
    return count, fitting
