"""Ephemeral ports: the local port that the protocol stack picks for a client (RFC 6056).

Algorithm 4, double hash: ports that are hard to guess, and that are seldom reused for one destination.
"""

import errno
from collections.abc import Callable
from hashlib import blake2b

FIRST, LAST = 49152, 65535
"""The dynamic ports of RFC 6335, section 6."""
_COUNT = LAST - FIRST + 1
_COUNTERS = 64


class EphemeralPorts:
    """Chooses free local ports; `secret` (1 to 64 bytes) makes them hard to guess."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._counters = [self._hash(b"counter", bytes([i])) for i in range(_COUNTERS)]

    def choose(self, free: Callable[[int], bool], purpose: bytes = b"") -> int:
        """Return a port for which `free(port)` is true.

        `purpose` is what the port is for: local address, remote address and remote port, as bytes. Raises
        OSError with EADDRNOTAVAIL when every ephemeral port is taken.
        """
        offset = self._hash(b"offset", purpose)
        which = self._hash(b"which", purpose) % _COUNTERS
        for _ in range(_COUNT):
            port = FIRST + (offset + self._counters[which]) % _COUNT
            self._counters[which] += 1
            if free(port):
                return port
        raise OSError(errno.EADDRNOTAVAIL, f"all ports from {FIRST} to {LAST} are in use: close some sockets")

    def _hash(self, person: bytes, data: bytes) -> int:
        return int.from_bytes(blake2b(data, digest_size=4, key=self._secret, person=person).digest(), "big")
