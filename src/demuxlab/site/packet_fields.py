"""A packet's header fields with the bytes that they are in, and its line in a list of packets.

RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP), RFC 792 and 4443 (ICMP).
"""

from collections.abc import Iterator
from typing import Any

from demuxlab.wire.address import to_text

Field = tuple[str, str, int, int]
"""Name, value, first byte and the byte behind the last one."""
_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_NAMES = {_TCP: "TCP", _UDP: "UDP", _ICMP: "ICMP", _ICMPV6: "ICMPv6"}
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def fields(packet: bytes) -> list[dict[str, Any]]:
    """Return the fields of an IP packet in order; of a packet that is cut short, those that are there."""
    return [
        {"name": name, "value": value, "start": start, "end": end}
        for name, value, start, end in _fields(packet)
        if end <= len(packet)
    ]


def summary(packet: bytes) -> dict[str, str]:
    """Return source, destination, protocol and what a list of packets says of it."""
    found = {name: value for name, value, _start, end in _fields(packet) if end <= len(packet)}
    source, destination = found.get("Source address", "?"), found.get("Destination address", "?")
    protocol = found.get("Protocol", "?").partition(" ")[0]
    info = ""
    if "Source port" in found:
        both = (source, found["Source port"]), (destination, found.get("Destination port", "?"))
        source, destination = (f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in both)
    if "Flags" in found and protocol == "TCP":
        info = f"[{found['Flags'].partition(' ')[2].strip('()')}] "
    if "Data" in found:
        info += found["Data"]
    if "Type" in found:
        info = f"type {found['Type']}, code {found.get('Code', '?')}"
    return {"source": source, "destination": destination, "protocol": protocol, "info": info}


def _fields(packet: bytes) -> Iterator[Field]:
    if not packet:
        return
    read = _Reader(packet)
    if packet[0] >> 4 == 6:
        yield "Version", "6", 0, 1
        yield read.number("Payload length", 4, 2)
        yield read.protocol("Protocol", 6)
        yield read.number("Hop limit", 7, 1)
        yield read.address("Source address", 8, 16)
        yield read.address("Destination address", 24, 16)
        protocol, header, end, fragment = read.value(6, 1), 40, 40 + read.value(4, 2), 0
    else:
        header = (packet[0] & 15) * 4
        yield "Version, header length", f"{packet[0] >> 4}, {header} bytes", 0, 1
        yield read.number("Total length", 2, 2)
        yield read.number("Identification", 4, 2)
        fragment = read.value(6, 2) & 0x1FFF
        yield "Flags, fragment offset", f"{read.value(6, 1) >> 5:03b}, {fragment * 8}", 6, 8
        yield read.number("Time to live", 8, 1)
        yield read.protocol("Protocol", 9)
        yield read.checksum("Header checksum", 10)
        yield read.address("Source address", 12, 4)
        yield read.address("Destination address", 16, 4)
        if header > 20:
            yield "IP options", f"{header - 20} bytes", 20, header
        protocol, end = read.value(9, 1), read.value(2, 2)
    if not fragment:
        yield from _transport(read, protocol, header, min(end, len(packet)))


def _transport(read: "_Reader", protocol: int, start: int, end: int) -> Iterator[Field]:
    if protocol in (_TCP, _UDP):
        yield read.number("Source port", start, 2)
        yield read.number("Destination port", start + 2, 2)
    data = start + 8
    if protocol == _UDP:
        yield read.number("Length", start + 4, 2)
        yield read.checksum("Checksum", start + 6)
    elif protocol == _TCP:
        yield read.number("Sequence number", start + 4, 4)
        yield read.number("Acknowledgment number", start + 8, 4)
        data = start + (read.value(start + 12, 1) >> 4) * 4
        yield "Data offset", f"{data - start} bytes", start + 12, start + 13
        bits = read.value(start + 13, 1)
        names = ", ".join(name for place, name in enumerate(_FLAGS) if bits >> place & 1)
        yield "Flags", f"0x{bits:02x} ({names})", start + 13, start + 14
        yield read.number("Window", start + 14, 2)
        yield read.checksum("Checksum", start + 16)
        yield read.number("Urgent pointer", start + 18, 2)
        if data > start + 20:
            yield "TCP options", f"{data - start - 20} bytes", start + 20, data
    elif protocol in (_ICMP, _ICMPV6):
        yield read.number("Type", start, 1)
        yield read.number("Code", start + 1, 1)
        yield read.checksum("Checksum", start + 2)
        data = start + 8
    else:
        data = start
    if data < end:
        yield "Data", f"{end - data} bytes", data, end


class _Reader:
    """Reads fields of a packet; what lies behind its end is 0, and is left out by the caller."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet

    def value(self, start: int, size: int) -> int:
        return int.from_bytes(self._packet[start : start + size], "big")

    def number(self, name: str, start: int, size: int) -> Field:
        return name, str(self.value(start, size)), start, start + size

    def checksum(self, name: str, start: int) -> Field:
        return name, f"0x{self.value(start, 2):04x}", start, start + 2

    def protocol(self, name: str, start: int) -> Field:
        value = self.value(start, 1)
        return name, f"{_NAMES[value]} ({value})" if value in _NAMES else str(value), start, start + 1

    def address(self, name: str, start: int, size: int) -> Field:
        packed = self._packet[start : start + size]
        return name, to_text(packed) if len(packed) == size else "?", start, start + size
