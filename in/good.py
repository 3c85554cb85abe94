"""Lab 04's exercise, solved: a dictionary of connections, then a dictionary of listening sockets."""

import socket

ANY = "0.0.0.0"


class TCPDemultiplexer:
    """Finds the socket that owns a segment: a data socket by four values, or else a listening socket."""

    def __init__(self) -> None:
        self._connections: dict[tuple[str, int, str, int], str] = {}
        self._listeners: dict[tuple[str, int], str] = {}

    def listen(self, name: str, address: str, port: int) -> None:
        """Enter a listening socket."""
        self._listeners[address, port] = name

    def connect(
        self,
        name: str,
        source_address: str,
        source_port: int,
        destination_address: str,
        destination_port: int,
    ) -> None:
        """Enter a data socket."""
        self._connections[source_address, source_port, destination_address, destination_port] = name

    def close(self, name: str) -> None:
        """Take a socket out."""
        self._connections = {key: other for key, other in self._connections.items() if other != name}
        self._listeners = {key: other for key, other in self._listeners.items() if other != name}

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket that gets the packet, or None."""
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return None
        start = (packet[0] & 15) * 4
        end = int.from_bytes(packet[2:4], "big")
        if start < 20 or end > len(packet) or end < start + 20:
            return None
        if int.from_bytes(packet[6:8], "big") & 0x1FFF or packet[9] != 6:
            return None
        data_offset = (packet[start + 12] >> 4) * 4
        if not 20 <= data_offset <= end - start:
            return None
        source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        source_port = int.from_bytes(packet[start : start + 2], "big")
        port = int.from_bytes(packet[start + 2 : start + 4], "big")
        return (
            self._connections.get((source, source_port, destination, port))
            or self._listeners.get((destination, port))
            or self._listeners.get((ANY, port))
        )
