# fails: test_a_listening_socket_resets_an_ack_and_ignores_the_rest
"""Lets a listening socket ignore everything but a SYN."""

import hashlib
import socket

NUMBERS = 1 << 32
PERIOD = 64


def reply(
    flags: str, sequence: int, acknowledgment: int, length: int, listening: bool, first: int
) -> tuple[str, int, int] | None:
    """Return how a host answers a segment that belongs to none of its connections."""
    if "R" in flags:
        return None
    if "A" in flags and listening:
        return None
    if "A" in flags:
        return "R", acknowledgment, 0
    if not listening:
        return "RA", 0, (sequence + length + ("S" in flags) + ("F" in flags)) % NUMBERS
    if "S" in flags and "F" not in flags:
        return "SA", first, (sequence + 1) % NUMBERS
    return None


def judge(flags: str, sequence: int, length: int, next_expected: int, window: int) -> str:
    """Return what an established connection does with a segment that has its four values right."""
    offset = (sequence - next_expected) % NUMBERS
    if "R" in flags:
        return "reset" if offset == 0 else "challenge" if offset < window else "drop"
    if "S" in flags:
        return "challenge"
    size = length + ("F" in flags)
    if size == 0:
        return "accept" if offset < window or offset == 0 else "challenge"
    last = (offset + size - 1) % NUMBERS
    return "accept" if offset < window or last < window else "challenge"


class Scan:
    """Sees a port scan from inside."""

    def __init__(self, address: str, listening: list[int], threshold: int) -> None:
        self._address = socket.inet_aton(address)
        self._open = set(listening)
        self._threshold = threshold
        self._asked: dict[str, set[int]] = {}

    def packet(self, packet: bytes) -> None:
        """Take note of an IPv4 packet."""
        start = (packet[0] & 15) * 4
        if packet[9] != 6 or packet[16:20] != self._address or packet[start + 13] & 0x12 != 0x02:
            return
        port = int.from_bytes(packet[start + 2 : start + 4], "big")
        if port not in self._open:
            self._asked.setdefault(socket.inet_ntoa(packet[12:16]), set()).add(port)

    def scans(self) -> list[tuple[str, list[int]]]:
        """Return who scans, and what."""
        found = sorted(self._asked.items())
        return [(source, sorted(ports)) for source, ports in found if len(ports) >= self._threshold]


class Backlog:
    """The handshakes that one listening socket has under way."""

    def __init__(self, size: int, secret: bytes) -> None:
        self._size = size
        self._secret = secret
        self._half_open: dict[tuple[str, int, int], tuple[int, int]] = {}

    def syn(self, now: int, source: str, source_port: int, sequence: int) -> int:
        """Return the sequence number of the SYN ACK."""
        self._forget(now)
        key = source, source_port, sequence
        number = self._cookie(now // PERIOD, *key)
        if key in self._half_open:
            return self._half_open[key][1]
        if len(self._half_open) < self._size:
            self._half_open[key] = now, number
        return number

    def ack(self, now: int, source: str, source_port: int, sequence: int, acknowledgment: int) -> bool:
        """Tell whether this ACK completes a handshake."""
        self._forget(now)
        key = source, source_port, (sequence - 1) % NUMBERS
        number = (acknowledgment - 1) % NUMBERS
        if not any(number == self._cookie(now // PERIOD - ago, *key) for ago in (0, 1)):
            return False
        self._half_open.pop(key, None)
        return True

    def waiting(self, now: int) -> int:
        """Return how many handshakes are remembered."""
        self._forget(now)
        return len(self._half_open)

    def _forget(self, now: int) -> None:
        self._half_open = {key: kept for key, kept in self._half_open.items() if now - kept[0] <= 60}

    def _cookie(self, period: int, source: str, source_port: int, sequence: int) -> int:
        text = f"{period} {source} {source_port} {sequence}".encode()
        return int.from_bytes(hashlib.blake2b(text, key=self._secret, digest_size=4).digest(), "big")
