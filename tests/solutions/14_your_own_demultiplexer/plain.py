"""Lab 14's exercise as a beginner may solve it: lists, and loops that walk through them."""


class Demultiplexer:
    """Finds the socket that owns a packet, and says what is answered where there is none."""

    def __init__(self) -> None:
        self.names = []
        self.places = []

    def bind(self, address: str, port: int, name: str) -> None:
        """Enter a UDP socket without a peer."""
        self._add(name, "udp", address, port, None, None)

    def listen(self, name: str, address: str, port: int) -> None:
        """Enter a listening TCP socket."""
        self._add(name, "tcp", address, port, None, None)

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
        self._add(name, protocol, destination_address, destination_port, source_address, source_port)

    def close(self, name: str) -> None:
        """Take a socket out."""
        number = self.names.index(name)
        self.names.pop(number)
        self.places.pop(number)

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket that gets the packet, or None."""
        values = values_of(packet)
        if values is None:
            return None
        protocol, source, source_port, destination, port = values
        for wanted in (
            (protocol, destination, port, source, source_port),
            (protocol, destination, port, None, None),
            (protocol, "0.0.0.0", port, None, None),
        ):
            for name, place in zip(self.names, self.places, strict=True):
                if place == wanted:
                    return name
        return None

    def reply(self, packet: bytes) -> str | None:
        """Return what is answered to a packet that no socket gets."""
        values = values_of(packet)
        if values is None:
            return None
        if self.deliver(packet) is not None:
            return None
        if packet[12] >= 224 or packet[16] >= 224 or values[1] == "0.0.0.0":
            return None
        if values[0] == "udp":
            return "port-unreachable"
        header = (packet[0] & 15) * 4
        if packet[header + 13] & 0x04:
            return None
        return "rst"

    def sockets(self) -> list[tuple[str, str, str, int, str | None, int | None]]:
        """Return the open sockets, in the order in which they were entered."""
        return [(name, *place) for name, place in zip(self.names, self.places, strict=True)]

    def _add(self, name, *place):
        if place in self.places:
            raise OSError("somebody has that already")
        self.names.append(name)
        self.places.append(place)


def values_of(packet):
    """Return protocol, source, source port, destination and port; None if this is no good packet."""
    if len(packet) < 20 or packet[0] // 16 != 4:
        return None
    header = (packet[0] & 15) * 4
    total = number(packet[2:4])
    if header < 20 or total < header or total > len(packet):
        return None
    if number(packet[6:8]) & 0x1FFF != 0:
        return None
    transport = packet[header:total]
    if packet[9] == 6 and len(transport) >= 20:
        protocol, smallest, size = "tcp", 20, transport[12] // 16 * 4
    elif packet[9] == 17 and len(transport) >= 8:
        protocol, smallest, size = "udp", 8, number(transport[4:6])
    else:
        return None
    if size < smallest or size > len(transport):
        return None
    return (
        protocol,
        dotted(packet[12:16]),
        number(transport[0:2]),
        dotted(packet[16:20]),
        number(transport[2:4]),
    )


def number(two):
    """Return two bytes as a number, the high byte first."""
    return two[0] * 256 + two[1]


def dotted(four):
    """Return four bytes as text, such as 10.9.0.20."""
    return ".".join(str(byte) for byte in four)
