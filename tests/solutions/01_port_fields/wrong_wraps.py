# fails: test_a_port_outside_16_bits_is_refused
"""Cuts a port to its 16 low bits, so that 65536 becomes 0."""


def ports(header: bytes) -> tuple[int, int]:
    """Return the two ports of a header."""
    return int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")


def ports_in_packet(packet: bytes) -> tuple[int, int] | None:
    """Return the two ports of an IPv4 packet, or None."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    start = (packet[0] & 15) * 4
    end = min(len(packet), int.from_bytes(packet[2:4], "big"))
    if start < 20 or end < start + 4:
        return None
    if int.from_bytes(packet[6:8], "big") & 0x1FFF or packet[9] not in (6, 17):
        return None
    return ports(packet[start:end])


def udp_datagram(source_port: int, destination_port: int, data: bytes) -> bytes:
    """Return a UDP datagram."""
    fields = (source_port & 65535, destination_port & 65535, 8 + len(data), 0)
    return b"".join(field.to_bytes(2, "big") for field in fields) + data


def answer(datagram: bytes, data: bytes) -> bytes:
    """Return the UDP datagram that answers another one."""
    source_port, destination_port = ports(datagram)
    return udp_datagram(destination_port, source_port, data)
