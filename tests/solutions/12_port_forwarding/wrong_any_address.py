# fails: test_what_no_rule_is_about_stays_as_it_is
"""Looks at the destination port only: forwards what is for another address."""

import socket

CHECKSUM_AT = {6: 16, 17: 6}
HEADER_LENGTH = {6: 20, 17: 8}

Place = tuple[str, int]


class Forwarder:
    """Hands on what arrives for one address and port to another, and translates the replies back."""

    def __init__(self, rules: list[tuple[str, int, str, int]]) -> None:
        self._rules = {port: (to, to_port) for _address, port, to, to_port in rules}
        self._asked: dict[tuple[int, Place, Place], Place] = {}

    def inbound(self, packet: bytes) -> bytes:
        """Translate what a rule is about."""
        read = ends(packet)
        if read is None or read[2][1] not in self._rules:
            return packet
        protocol, client, asked = read
        place = self._rules[asked[1]]
        self._asked[protocol, client, place] = asked
        return rewritten(packet, 16, 2, place)

    def outbound(self, packet: bytes) -> bytes:
        """Translate the replies of known flows back."""
        read = ends(packet)
        if read is None:
            return packet
        protocol, place, client = read
        asked = self._asked.get((protocol, client, place))
        return packet if asked is None else rewritten(packet, 12, 0, asked)


def ends(packet: bytes) -> tuple[int, Place, Place] | None:
    """Return protocol, source and destination of a whole packet of TCP or UDP."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    start, end, protocol = (packet[0] & 15) * 4, int.from_bytes(packet[2:4], "big"), packet[9]
    if start < 20 or end > len(packet) or protocol not in HEADER_LENGTH:
        return None
    if int.from_bytes(packet[6:8], "big") & 0x3FFF or end < start + HEADER_LENGTH[protocol]:
        return None
    source = socket.inet_ntoa(packet[12:16]), int.from_bytes(packet[start : start + 2], "big")
    destination = socket.inet_ntoa(packet[16:20]), int.from_bytes(packet[start + 2 : start + 4], "big")
    return protocol, source, destination


def rewritten(packet: bytes, address_at: int, port_at: int, place: Place) -> bytes:
    """Return the packet with another address and port, and its checksums right again."""
    data = bytearray(packet)
    start, end, protocol = (data[0] & 15) * 4, int.from_bytes(data[2:4], "big"), data[9]
    data[address_at : address_at + 4] = socket.inet_aton(place[0])
    data[start + port_at : start + port_at + 2] = place[1].to_bytes(2, "big")
    data[10:12] = bytes(2)
    data[10:12] = checksum(data[:start])
    at = start + CHECKSUM_AT[protocol]
    if protocol == 17 and data[at : at + 2] == bytes(2):
        return bytes(data)
    data[at : at + 2] = bytes(2)
    pseudo = data[12:20] + bytes([0, protocol]) + (end - start).to_bytes(2, "big")
    data[at : at + 2] = checksum(pseudo + data[start:end])
    if protocol == 17 and data[at : at + 2] == bytes(2):
        data[at : at + 2] = b"\xff\xff"
    return bytes(data)


def checksum(data: bytes) -> bytes:
    """Return the Internet checksum."""
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")
