# fails: test_ip_options_push_the_ports_further_back
"""Believes that every IP header has 20 bytes."""


def ports(header: bytes) -> tuple[int, int]:
    """Return the two ports of a header."""
    return int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")


def ports_in_packet(packet: bytes) -> tuple[int, int] | None:
    """Return the two ports of an IPv4 packet, or None."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    start = 20
    end = min(len(packet), int.from_bytes(packet[2:4], "big"))
    if start < 20 or end < start + 4:
        return None
    if int.from_bytes(packet[6:8], "big") & 0x1FFF or packet[9] not in (6, 17):
        return None
    return ports(packet[start:end])


def udp_datagram(source_port: int, destination_port: int, data: bytes) -> bytes:
    """Return a UDP datagram."""
    for port in (source_port, destination_port):
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is not 0 to 65535")
    fields = (source_port, destination_port, 8 + len(data), 0)
    return b"".join(field.to_bytes(2, "big") for field in fields) + data


def answer(datagram: bytes, data: bytes) -> bytes:
    """Return the UDP datagram that answers another one."""
    source_port, destination_port = ports(datagram)
    return udp_datagram(destination_port, source_port, data)
