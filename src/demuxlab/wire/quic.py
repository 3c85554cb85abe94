"""QUIC packets as far as they are in clear: header form, version and connection IDs (RFC 8999, RFC 9000)."""

from collections.abc import Hashable
from typing import Any, NamedTuple

_LONG, _FIXED = 0x80, 0x40
VERSIONS = (0x00000001, 0x6B3343CF)  # RFC 9000, RFC 9369
DRAFTS = (0xFF0000, 0xFACEB0)
"""The first three bytes of the versions of drafts and of experiments, which have the same headers."""
_MAX_ID = 20
_SHORTEST = 21  # of a packet with a short header that an endpoint accepts (RFC 9000, section 10.3)


class LongHeader(NamedTuple):
    """A packet with a long header; the sender chose `source`, which the peer then sends as destination."""

    version: int
    destination: bytes
    source: bytes


def read_long(datagram: bytes) -> LongHeader | None:
    """Read the first packet of a UDP datagram's data; None if it is no QUIC packet with a long header."""
    if len(datagram) < 7 or datagram[0] & (_LONG | _FIXED) != _LONG | _FIXED:
        return None
    version = int.from_bytes(datagram[1:5], "big")
    if version not in VERSIONS and version >> 8 not in DRAFTS:
        return None
    at = 6 + datagram[5]
    if datagram[5] > _MAX_ID or at >= len(datagram) or datagram[at] > _MAX_ID:
        return None
    source = datagram[at + 1 : at + 1 + datagram[at]]
    return LongHeader(version, datagram[6:at], source) if len(source) == datagram[at] else None


def may_be_short(datagram: bytes) -> bool:
    """Tell whether a UDP datagram's data may be a packet with a short header."""
    return len(datagram) >= _SHORTEST and datagram[0] & (_LONG | _FIXED) == _FIXED


class Connection:
    """A QUIC connection: the 4-tuples, or their numbers, on which its connection IDs were seen."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.ids: list[bytes] = []
        self.paths: list[Any] = []


def destination_id(datagram: bytes, connection: Connection) -> bytes:
    """Return the ID that a datagram of a connection is for; b"" if it is none of those that were seen."""
    if header := read_long(datagram):
        return header.destination
    return next((each for each in connection.ids if datagram[1 : 1 + len(each)] == each), b"")


class Connections:
    """Follows connections by their IDs: a packet with a known ID on another 4-tuple is the same connection.

    IDs that a peer announces under encryption (NEW_CONNECTION_ID) are not known, nor are IDs of length 0.
    """

    MOST = 100_000

    def __init__(self) -> None:
        self._by_id: dict[bytes, Connection] = {}
        self._lengths: set[int] = set()
        self._by_path: dict[Hashable, Connection] = {}

    def add(self, path: Hashable, datagram: bytes) -> Connection | None:
        """Add the data of a UDP datagram on a path; return its connection, None if it is of none."""
        known = self._by_path.get(path)
        if header := read_long(datagram):
            connection = known or self._by_id.get(header.destination) or Connection(header.version)
            self._learn(connection, header.source)
            if known is None:
                self._learn(connection, header.destination)
        elif known is None and may_be_short(datagram):
            ids = (datagram[1 : 1 + length] for length in self._lengths)
            found = next((self._by_id[each] for each in ids if each in self._by_id), None)
            if found is None:
                return None
            connection = found
        else:
            return known
        if known is None and len(self._by_path) < self.MOST:
            self._by_path[path] = connection
            connection.paths.append(path)
        return connection

    def moved(self) -> list[Connection]:
        """Return the connections that were seen on more than one path."""
        return [found for found in dict.fromkeys(self._by_path.values()) if len(found.paths) > 1]

    def _learn(self, connection: Connection, each: bytes) -> None:
        if each and each not in self._by_id and len(self._by_id) < self.MOST:
            self._by_id[each] = connection
            self._lengths.add(len(each))
            connection.ids.append(each)
