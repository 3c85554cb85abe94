"""The names that a script uses for ICMP errors: "unreachable port_unreachable"."""

from demuxlab.wire import icmp

CODES = {
    ("unreachable", "net_unreachable"): (icmp.UNREACHABLE, 0),
    ("unreachable", "host_unreachable"): (icmp.UNREACHABLE, 1),
    ("unreachable", "protocol_unreachable"): (icmp.UNREACHABLE, 2),
    ("unreachable", "port_unreachable"): (icmp.UNREACHABLE, icmp.PORT_UNREACHABLE),
    ("unreachable", "frag_needed"): (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED),
    ("unreachable", "source_route_failed"): (icmp.UNREACHABLE, 5),
    ("unreachable", "net_unknown"): (icmp.UNREACHABLE, 6),
    ("unreachable", "host_unknown"): (icmp.UNREACHABLE, 7),
    ("unreachable", "admin_prohibited"): (icmp.UNREACHABLE, 13),
    ("time_exceeded", ""): (icmp.TIME_EXCEEDED, 0),
}
"""Type and code of an ICMP error (RFC 792) by its name, which is (type, code)."""
CODES_V6 = {
    ("unreachable", "net_unreachable"): (icmp.UNREACHABLE_V6, 0),
    ("unreachable", "admin_prohibited"): (icmp.UNREACHABLE_V6, 1),
    ("unreachable", "host_unreachable"): (icmp.UNREACHABLE_V6, 3),
    ("unreachable", "port_unreachable"): (icmp.UNREACHABLE_V6, icmp.PORT_UNREACHABLE_V6),
    ("packet_too_big", ""): (icmp.TOO_BIG_V6, 0),
    ("unreachable", "frag_needed"): (icmp.TOO_BIG_V6, 0),
    ("time_exceeded", ""): (icmp.TIME_EXCEEDED_V6, 0),
}
"""The same for ICMPv6 (RFC 4443)."""


def is_known(kind: str, code: str) -> bool:
    """Tell whether ICMP or ICMPv6 has an error of this name."""
    return (kind, code) in CODES or (kind, code) in CODES_V6
