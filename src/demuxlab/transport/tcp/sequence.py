"""Sequence numbers: 32 bits that wrap around (RFC 9293, section 3.4), and a connection's first one."""

from hashlib import blake2b

MODULUS = 1 << 32


def add(number: int, count: int) -> int:
    """Return the number `count` bytes further on."""
    return (number + count) % MODULUS


def distance(earlier: int, later: int) -> int:
    """Return how far `later` is beyond `earlier`: -2^31 to 2^31 - 1."""
    return (later - earlier + (1 << 31)) % MODULUS - (1 << 31)


def initial(key: bytes, secret: bytes, now: float) -> int:
    """Return an initial sequence number (RFC 6528, section 3): a clock of 4 µs plus a hash of the 4-tuple."""
    digest = blake2b(key, digest_size=4, key=secret).digest()
    return (int(now * 250_000) + int.from_bytes(digest, "big")) % MODULUS
