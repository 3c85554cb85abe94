"""Headers around a packet: IP in IP (RFC 2003, RFC 2473, RFC 4213) and GRE (RFC 2784)."""

import struct

from demuxlab.drill.script import Outer
from demuxlab.wire import ipv4, ipv6, rewrite
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text, to_text
from demuxlab.wire.ip import IPPacket
from demuxlab.wire.packet import Arrival

_GRE = 47
_IN_IP = {4: 4, 6: 41}
"""The protocol number of an IP packet inside another, by the inner version."""
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_GRE_LENGTH = 4
_HOPS = 64


class Mismatch(Exception):
    """A packet is not the one that the script expects; the message says in which field."""


def wrapped(packet: bytes, outer: tuple[Outer, ...]) -> bytes:
    """Return the packet inside the headers of `outer`, the outermost first."""
    protocol = _IN_IP[packet[0] >> 4]
    version = packet[0] >> 4
    for layer in reversed(outer):
        if layer.kind == "gre":
            packet, protocol = struct.pack("!HH", 0, _ETHERTYPES[version]) + packet, _GRE
            continue
        source, destination = from_text(layer.source), from_text(layer.destination)
        packet = wire_packet.build(source, destination, protocol, packet)
        hops = _HOPS if layer.header.hop_limit is None else layer.header.hop_limit
        packet = rewrite.with_ip_fields(packet, layer.header.sent_class, hops, layer.header.flow_label or 0)
        version = packet[0] >> 4
        protocol = _IN_IP[version]
    return packet


def unwrapped(outer: tuple[Outer, ...], actual: Arrival) -> Arrival:
    """Return the packet inside the headers that the script has; Mismatch where they are others."""
    if not outer:
        return actual
    packet: bytes = getattr(actual, "packet", b"")
    for layer in outer:
        if layer.kind == "gre":
            packet = packet[_GRE_LENGTH:]
            continue
        header = ipv4.read(packet) if packet[:1] and packet[0] >> 4 == 4 else ipv6.read(packet)
        if not isinstance(header, IPPacket):
            raise Mismatch(f"live packet has no {layer.kind} header where the script has one")
        for name, wanted, found in (
            ("src", layer.source, header.source),
            ("dst", layer.destination, header.destination),
        ):
            if from_text(wanted) != found:
                raise Mismatch(f"live packet field {layer.kind}_{name}: {wanted} vs actual: {to_text(found)}")
        packet = header.payload
    return wire_packet.read(packet)
