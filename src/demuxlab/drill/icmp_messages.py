"""The names that a script uses for ICMP messages: "unreachable port_unreachable"."""

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
    ("unreachable", "net_prohibited"): (icmp.UNREACHABLE, 9),
    ("unreachable", "host_prohibited"): (icmp.UNREACHABLE, 10),
    ("unreachable", "net_unreachable_for_tos"): (icmp.UNREACHABLE, 11),
    ("unreachable", "host_unreachable_for_tos"): (icmp.UNREACHABLE, 12),
    ("unreachable", "host_precedence_violation"): (icmp.UNREACHABLE, 14),
    ("unreachable", "precedence_cutoff"): (icmp.UNREACHABLE, 15),
    ("source_quench", ""): (4, 0),
    ("parameter_problem", ""): (12, 0),
    ("time_exceeded", ""): (icmp.TIME_EXCEEDED, 0),
    ("time_exceeded", "ttl_exceeded"): (icmp.TIME_EXCEEDED, 0),
    ("echo_request", ""): (icmp.ECHO, 0),
    ("echo_reply", ""): (icmp.ECHO_REPLY, 0),
    ("unreachable", ""): (icmp.UNREACHABLE, 0),
}
"""Type and code of an ICMP message (RFC 792) by its name, which is (type, code)."""
CODES_V6 = {
    ("unreachable", "net_unreachable"): (icmp.UNREACHABLE_V6, 0),
    ("unreachable", "admin_prohibited"): (icmp.UNREACHABLE_V6, 1),
    ("unreachable", "host_unreachable"): (icmp.UNREACHABLE_V6, 3),
    ("unreachable", "port_unreachable"): (icmp.UNREACHABLE_V6, icmp.PORT_UNREACHABLE_V6),
    ("unreachable", "address_unreachable"): (icmp.UNREACHABLE_V6, 3),
    ("unreachable", "protocol_unreachable"): (4, 1),  # parameter problem: unrecognized next header
    ("packet_too_big", ""): (icmp.TOO_BIG_V6, 0),
    ("unreachable", "frag_needed"): (icmp.TOO_BIG_V6, 0),
    ("time_exceeded", ""): (icmp.TIME_EXCEEDED_V6, 0),
    ("echo_request", ""): (icmp.ECHO_V6, 0),
    ("echo_reply", ""): (icmp.ECHO_REPLY_V6, 0),
    ("unreachable", ""): (icmp.UNREACHABLE_V6, 0),
}
"""The same for ICMPv6 (RFC 4443)."""


def is_known(kind: str, code: str) -> bool:
    """Tell whether ICMP or ICMPv6 has a message of this name."""
    return (kind, code) in CODES or (kind, code) in CODES_V6


def is_echo(kind: str) -> bool:
    """Tell whether a message is an echo, which quotes nothing."""
    return kind in ("echo_request", "echo_reply")


def name_of(number: tuple[int, int], *, ipv4: bool) -> tuple[str, str]:
    """Return the name of a type and code; their numbers where they have no name."""
    names = CODES if ipv4 else CODES_V6
    return next((name for name, known in names.items() if known == number), (str(number[0]), str(number[1])))
