"""SYN cookies: the state of a half-open connection is in the SYN,ACK, which the peer returns (RFC 4987, 3.6).

The initial number of the SYN,ACK holds a time counter (5 bits), the peer's MSS out of eight (3 bits) and a
keyed hash (24 bits). Where timestamps are in use, the lowest bits of ours hold window scale, SACK and ECN.
"""

from hashlib import blake2b

from demuxlab.wire import tcp
from demuxlab.wire.segment import TCPSegment

_MSS = (536, 996, 1220, 1360, 1400, 1440, 1460, 8960)
_PERIOD = 64.0
"""Seconds between two steps of the counter; a cookie is valid for two of them."""
WINDOW = 0xFFFF
"""Bytes that a SYN,ACK with a cookie offers, unscaled."""
LIFETIME = 2 * _PERIOD
_NO_SCALE = 15


def make(syn: TCPSegment, options: tcp.Options, secret: bytes, now: float) -> int:
    """Return the initial sequence number that encodes a SYN."""
    mss = options.mss or _MSS[0]
    index = max((i for i, size in enumerate(_MSS) if size <= mss), default=0)
    counter = int(now / _PERIOD)
    return (counter % 32) << 27 | index << 24 | _hash(syn.key, syn.sequence, counter, index, secret)


def check(ack: TCPSegment, secret: bytes, now: float) -> int | None:
    """Return the MSS that a cookie encodes, or None if the ACK acknowledges none of ours."""
    cookie = (ack.acknowledgment - 1) & 0xFFFFFFFF
    index = cookie >> 24 & 7
    for counter in (int(now / _PERIOD), int(now / _PERIOD) - 1):
        if counter % 32 == cookie >> 27:
            first = (ack.sequence - 1) & 0xFFFFFFFF
            if cookie & 0xFFFFFF == _hash(ack.key, first, counter, index, secret):
                return _MSS[index]
    return None


def _hash(key: bytes, first: int, counter: int, index: int, secret: bytes) -> int:
    data = key + first.to_bytes(4, "big") + counter.to_bytes(8, "big") + bytes((index,))
    return int.from_bytes(blake2b(data, digest_size=3, key=secret, person=b"cookie").digest(), "big")


def stamp(clock: int, options: tcp.Options, *, ecn: bool) -> int:
    """Return a timestamp, near `clock`, whose lowest six bits encode window scale, SACK and ECN."""
    scale = _NO_SCALE if options.window_scale is None else options.window_scale
    return (clock & ~0x3F | ecn << 5 | options.sack_permitted << 4 | scale) & 0xFFFFFFFF


def decode_ecn(ack: TCPSegment) -> bool:
    """Tell whether ECN was agreed, by the echoed timestamp."""
    stamps = tcp.read_options(ack.options).timestamps
    return stamps is not None and bool(stamps[1] & 32)


def decode_options(ack: TCPSegment, mss: int) -> tcp.Options:
    """Return the SYN's options, as far as the cookie and the echoed timestamp encode them."""
    stamps = tcp.read_options(ack.options).timestamps
    if stamps is None:
        return tcp.Options(mss=mss)
    scale = stamps[1] & 15
    return tcp.Options(mss, None if scale == _NO_SCALE else scale, bool(stamps[1] & 16), (stamps[0], 0))
