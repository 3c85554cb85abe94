"""Sequence numbers: 32 bits that wrap around (RFC 9293, section 3.4), and a connection's first one.

Inside a connection numbers are unwrapped: they start at the initial number and only grow, so that they are
compared with < and >. `unwrap` converts what a segment carries, `% MODULUS` what is sent.
"""

from hashlib import blake2b

MODULUS = 1 << 32
_HALF = 1 << 31


def unwrap(number: int, near: int) -> int:
    """Return the unwrapped number nearest to `near` that is `number` modulo 2^32."""
    return near + (number - near + _HALF) % MODULUS - _HALF


def clock(key: bytes, secret: bytes, now: float) -> int:
    """Return a timestamp clock: milliseconds with the connection's own offset (RFC 7323, section 5.4)."""
    return (int(now * 1000) + initial(key, secret, 0.0)) % MODULUS


def initial(key: bytes, secret: bytes, now: float) -> int:
    """Return ISS (RFC 6528, section 3): a clock of 4 µs plus a keyed hash of the 4-tuple."""
    digest = blake2b(key, digest_size=4, key=secret, person=b"isn").digest()
    return (int(now * 250_000) + int.from_bytes(digest, "big")) % MODULUS
