# fails: test_the_destination_decides_and_not_the_source
"""Takes the address that comes first in the header, the source address."""

import errno
import socket

ANY = "0.0.0.0"


class UDPDemultiplexer:
    """Finds the socket that owns a datagram, by two values: destination address and destination port."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, int], str] = {}
        self._places: dict[str, tuple[str, int]] = {}

    def bind(self, address: str, port: int, name: str) -> None:
        """Enter a socket; OSError where the two values are taken."""
        if (address, port) in self._names:
            raise OSError(errno.EADDRINUSE, f"{address}:{port} is in use")
        self._names[address, port] = name
        self._places[name] = (address, port)

    def close(self, name: str) -> None:
        """Take a socket out."""
        del self._names[self._places.pop(name)]

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket that gets the packet, or None."""
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return None
        start = (packet[0] & 15) * 4
        end = int.from_bytes(packet[2:4], "big")
        if start < 20 or end > len(packet) or end < start + 8:
            return None
        if int.from_bytes(packet[6:8], "big") & 0x1FFF or packet[9] != 17:
            return None
        length = int.from_bytes(packet[start + 4 : start + 6], "big")
        if not 8 <= length <= end - start:
            return None
        address = socket.inet_ntoa(packet[12:16])
        port = int.from_bytes(packet[start + 2 : start + 4], "big")
        return self._names.get((address, port)) or self._names.get((ANY, port))
