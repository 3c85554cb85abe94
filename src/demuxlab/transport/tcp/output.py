"""Builds a TCP segment out of values, and submits it to the multiplexer."""

from demuxlab.demux.socket import Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.sequence import MODULUS
from demuxlab.wire import ip, tcp

_WORTH_OFFLOADING = 256
"""Bytes of data whose checksum costs more than leaving it to the link."""
_SACK_HEADER, _SACK_BLOCK = 4, 8
_MAX_SACK_BLOCKS, _MAX_SACK_BLOCKS_WITH_TIMESTAMPS = 4, 3


def submit(
    services: Services,
    socket: Socket,
    *,
    sequence: int,
    acknowledgment: int,
    flags: int,
    window: int,
    options: bytes = b"",
    data: tuple[Bytes, ...] = (),
    mss: int = 0,
    urgent: int = 0,
    fields: ip.Fields = ip.DEFAULT_FIELDS,
) -> None:
    """Send a segment of a socket with all four values; sequence numbers may be unwrapped.

    `window` is the field's value, `data` comes in parts; more than `mss` bytes of it are cut by the link.
    `urgent`: the urgent pointer, for a segment with URG. `fields`: what the socket sets in the IP header.
    """
    sequence %= MODULUS
    acknowledgment %= MODULUS
    source, destination = socket.local_address, socket.remote_address
    places = source, destination, socket.local_port, socket.remote_port
    if data and services.largest and not urgent and (size := sum(map(len, data))) > _WORTH_OFFLOADING:
        header = tcp.unfinished_header(
            *places,
            size,
            sequence=sequence,
            acknowledgment=acknowledgment,
            flags=flags,
            window=window,
            options=options,
        )
        services.multiplexer.submit_large(socket.process, source, destination, header, data, mss, fields)
        return
    segment = tcp.build(
        *places,
        b"".join(data) if data else b"",
        sequence=sequence,
        acknowledgment=acknowledgment,
        flags=flags,
        window=window,
        urgent=urgent,
        options=options,
    )
    services.multiplexer.submit(socket.process, source, destination, ip.TCP, segment, fields)


def sack_room(space: int, timestamps: bool) -> int:
    """Return how many SACK blocks fit into `space` bytes that data leaves in a segment (RFC 2018)."""
    most = _MAX_SACK_BLOCKS_WITH_TIMESTAMPS if timestamps else _MAX_SACK_BLOCKS
    return max(min(most, (space - _SACK_HEADER) // _SACK_BLOCK), 0)
