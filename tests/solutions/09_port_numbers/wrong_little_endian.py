# fails: test_ports_are_big_endian_behind_a_header_of_any_length
"""Reads the low byte of a port first."""

import errno


def kind(port: int) -> str:
    """Return what kind of number a port is."""
    if port < 1024:
        return "well-known"
    return "registered" if port < 49152 else "dynamic"


class Services:
    """The list of well-known ports."""

    def __init__(self, text: str) -> None:
        self._ports: dict[tuple[str, str], int] = {}
        self._names: dict[tuple[int, str], str] = {}
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if len(words) < 2:
                continue
            number, slash, protocol = words[1].partition("/")
            if not slash or not number.isdecimal() or protocol not in ("tcp", "udp"):
                continue
            self._names.setdefault((int(number), protocol), words[0])
            for name in (words[0], *words[2:]):
                self._ports.setdefault((name, protocol), int(number))

    def port(self, name: str, protocol: str) -> int | None:
        """Return the port of a service."""
        return self._ports.get((name, protocol))

    def name(self, port: int, protocol: str) -> str | None:
        """Return the name of the service on a port."""
        return self._names.get((port, protocol))


class EphemeralPorts:
    """Picks the local port of each connection."""

    def __init__(self, low: int, high: int) -> None:
        self._range = range(low, high + 1)
        self._in_use: set[tuple[int, str, int]] = set()

    def choose(self, remote_address: str, remote_port: int) -> int:
        """Return a free port."""
        for port in self._range:
            if (port, remote_address, remote_port) not in self._in_use:
                self._in_use.add((port, remote_address, remote_port))
                return port
        raise OSError(errno.EADDRNOTAVAIL, "no port is free")

    def release(self, port: int, remote_address: str, remote_port: int) -> None:
        """End the use of a port."""
        self._in_use.remove((port, remote_address, remote_port))


class Users:
    """A server process on one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._users: dict[tuple[bytes, int], str] = {}

    def connect(self, name: str, packet: bytes) -> None:
        """Enter a user."""
        place, _ = ends(packet)
        self._users[place] = name

    def user(self, packet: bytes) -> str | None:
        """Return the name of the user that a packet came from."""
        place, port = ends(packet)
        return self._users.get(place) if port == self._port else None


def ends(packet: bytes) -> tuple[tuple[bytes, int], int]:
    """Return where a packet came from, and the port that it is for."""
    start = (packet[0] & 15) * 4
    source_port = int.from_bytes(packet[start : start + 2], "little")
    return (packet[12:16], source_port), int.from_bytes(packet[start + 2 : start + 4], "little")
