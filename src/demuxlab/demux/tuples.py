"""The two ways to name a socket: by four values for TCP, by two for UDP (Kurose and Ross, section 3.2)."""

from dataclasses import dataclass

from demuxlab.wire.address import endpoint_text, from_text, to_text


@dataclass(frozen=True, slots=True)
class FourTuple:
    """⟨source address, source port, destination address, destination port⟩ of an arriving segment.

    Addresses are text, ports are 0 to 65535. A data socket is named by its connection's four values.
    """

    source_address: str
    source_port: int
    destination_address: str
    destination_port: int

    @property
    def key(self) -> bytes:
        """The same four values as the bytes of the headers: both addresses, then both ports."""
        ports = self.source_port.to_bytes(2, "big") + self.destination_port.to_bytes(2, "big")
        return from_text(self.source_address) + from_text(self.destination_address) + ports

    @classmethod
    def from_key(cls, key: bytes) -> "FourTuple":
        """Return the four values of a 12-byte (IPv4) or 36-byte (IPv6) key."""
        half = (len(key) - 4) // 2
        return cls(
            to_text(key[:half]),
            int.from_bytes(key[-4:-2], "big"),
            to_text(key[half : 2 * half]),
            int.from_bytes(key[-2:], "big"),
        )

    def reversed(self) -> "FourTuple":
        """Return the 4-tuple of the reply: the same numbers with source and destination exchanged."""
        return FourTuple(
            self.destination_address, self.destination_port, self.source_address, self.source_port
        )

    def __str__(self) -> str:
        source = endpoint_text(from_text(self.source_address), self.source_port)
        destination = endpoint_text(from_text(self.destination_address), self.destination_port)
        return f"{source} → {destination}"


@dataclass(frozen=True, slots=True)
class TwoTuple:
    """⟨address, port⟩ of the destination: all that names a UDP socket."""

    address: str
    port: int

    @property
    def key(self) -> bytes:
        """The same two values as bytes: 6 on IPv4, 18 on IPv6."""
        return from_text(self.address) + self.port.to_bytes(2, "big")

    def __str__(self) -> str:
        return endpoint_text(from_text(self.address), self.port)
