# fails: test_ten_thousand_connections_to_one_port_come_and_go
"""Keeps the latest 1,000 sockets and forgets the others."""

import errno
import socket

ANY = "0.0.0.0"
PROTOCOLS = {6: "tcp", 17: "udp"}

Key = tuple[str, str, int, str | None, int | None]
"""Protocol, local address, local port, remote address, remote port."""


class Demultiplexer:
    """Finds the socket that owns a packet, and says what is answered where there is none."""

    def __init__(self) -> None:
        self._names: dict[Key, str] = {}
        self._keys: dict[str, Key] = {}

    def bind(self, address: str, port: int, name: str) -> None:
        """Enter a UDP socket without a peer; OSError where it is in the way of another."""
        self._enter(name, ("udp", address, port, None, None))

    def listen(self, name: str, address: str, port: int) -> None:
        """Enter a listening TCP socket."""
        self._enter(name, ("tcp", address, port, None, None))

    def connect(
        self,
        name: str,
        source_address: str,
        source_port: int,
        destination_address: str,
        destination_port: int,
        protocol: str = "tcp",
    ) -> None:
        """Enter a socket that has a peer."""
        self._enter(name, (protocol, destination_address, destination_port, source_address, source_port))

    def close(self, name: str) -> None:
        """Take a socket out."""
        del self._names[self._keys.pop(name)]

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket that gets the packet, or None."""
        read = _read(packet)
        if read is None:
            return None
        protocol, address, port, source, source_port = read
        return (
            self._names.get((protocol, address, port, source, source_port))
            or self._names.get((protocol, address, port, None, None))
            or self._names.get((protocol, ANY, port, None, None))
        )

    def reply(self, packet: bytes) -> str | None:
        """Return what is answered to a packet that no socket gets."""
        read = _read(packet)
        if read is None or self.deliver(packet) is not None:
            return None
        if max(packet[12], packet[16]) >= 224 or read[3] == ANY:
            return None
        if read[0] == "udp":
            return "port-unreachable"
        flags = packet[(packet[0] & 15) * 4 + 13]
        return None if flags & 4 else "rst"

    def sockets(self) -> list[tuple[str, str, str, int, str | None, int | None]]:
        """Return the open sockets, in the order in which they were entered."""
        return [(name, *key) for name, key in self._keys.items()]

    def _enter(self, name: str, key: Key) -> None:
        if key in self._names:
            raise OSError(errno.EADDRINUSE, f"{key} is in use")
        self._names[key] = name
        self._keys[name] = key
        if len(self._keys) > 1000:
            self.close(next(iter(self._keys)))


def _read(packet: bytes) -> Key | None:
    """Return the packet's values, those of the socket that it looks for; None where it has none."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    start = (packet[0] & 15) * 4
    end = int.from_bytes(packet[2:4], "big")
    protocol = PROTOCOLS.get(packet[9])
    if protocol is None or start < 20 or end > len(packet) or int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return None
    smallest = 20 if protocol == "tcp" else 8
    if end < start + smallest:
        return None
    if protocol == "tcp":
        size = (packet[start + 12] >> 4) * 4
    else:
        size = int.from_bytes(packet[start + 4 : start + 6], "big")
    if not smallest <= size <= end - start:
        return None
    source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    source_port = int.from_bytes(packet[start : start + 2], "big")
    port = int.from_bytes(packet[start + 2 : start + 4], "big")
    return protocol, destination, port, source, source_port
