"""The grammar of packets in a packet script: `< P. 1:11(10) ack 1 win 500 <mss 1000>`."""

from types import EllipsisType

from demuxlab.drill import icmp_messages
from demuxlab.drill.cursor import MAX_NUMBER, Cursor
from demuxlab.drill.lexer import ADDRESS, NAME, NUMBER
from demuxlab.drill.script import (
    NO_IP_HEADER,
    ICMPPacket,
    IPHeader,
    Option,
    Outer,
    Packet,
    ScriptError,
    TCPPacket,
    UDPPacket,
)
from demuxlab.language import _
from demuxlab.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

_FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "W": CWR}
_NUMBERED_OPTIONS = {"mss": 0xFFFF, "wscale": 255}
_BARE_OPTIONS = ("nop", "eol", "sackOK")
# RFC 3168, section 5.
_ECN = {"noecn": (0,), "ect0": (2,), "ect1": (1,), "ce": (3,), "ect01": (2, 1)}
_MAX_SIZE = 65_535
_MAX_OPTION = 40
_MAX_OUTER = 4


def read_packet(cursor: Cursor, *, inbound: bool) -> Packet:
    """Read a packet after its "<" (inbound) or ">"."""
    outer = _outer(cursor)
    # `[1:1(0)] icmp …` quotes a segment, `[ect0] …` is a codepoint.
    quotes = cursor.at("[") and cursor.follows(NUMBER)
    header = _ip_header(cursor) if not quotes and cursor.at("[", "(") else NO_IP_HEADER
    if quotes or cursor.at("icmp"):
        return _icmp(cursor, inbound, header, outer)
    if cursor.accept("udp"):
        ports = _ports(cursor)
        cursor.expect("(")
        size = cursor.number(_MAX_SIZE)
        cursor.expect(")")
        return UDPPacket(inbound, size, ports, header, outer)
    ports = _ports(cursor)
    flags = _flags(cursor)
    sequence, size = _range(cursor)
    # A number without the flag is in the header as well, though it acknowledges nothing.
    acknowledgment = cursor.number() if cursor.accept("ack") else None
    window = cursor.number(0xFFFF) if cursor.accept("win") else None
    urgent = cursor.number(0xFFFF) if cursor.accept("urg") else None
    options = _options(cursor) if cursor.accept("<") else ()
    if inbound and options is ...:
        cursor.fail(_("the options of a packet that is injected, not ..."))
    return TCPPacket(
        inbound, flags, sequence, size, acknowledgment, window, urgent, options, ports, header, outer
    )


def _outer(cursor: Cursor) -> tuple[Outer, ...]:
    """Read the headers around a packet: `ipv4 192.0.2.1 > 192.0.2.2: gre: …`."""
    found: list[Outer] = []
    while cursor.at("ipv4", "ipv6", "gre", "GREv0", "mpls"):
        kind = cursor.next().text
        if len(found) == _MAX_OUTER:
            cursor.fail(_("fewer headers around the packet"))
        if kind == "mpls":
            cursor.fail(_("ipv4, ipv6 or gre around the packet"))
        if kind.startswith("ipv"):
            header = _ip_header(cursor) if cursor.at("[", "(") else NO_IP_HEADER
            source = _address(cursor)
            cursor.expect(">")
            found.append(Outer(kind, source, _address(cursor), header))
        else:
            found.append(Outer("gre"))
        cursor.expect(":")
    return tuple(found)


def _address(cursor: Cursor) -> str:
    if cursor.token.kind != ADDRESS:
        cursor.fail(_("an IP address"))
    return cursor.next().text


def _ip_header(cursor: Cursor) -> IPHeader:
    """Read `[ce]`, `[tos 0x20]`, `[ttl 5]` or `[flowlabel 0x1]`, several after commas, also in ( )."""
    closing = {"[": "]", "(": ")"}[cursor.next().text]
    header: dict[str, int | tuple[int, ...]] = {}
    while True:
        token = cursor.token
        if token.text in _ECN:
            header["ecn"] = _ECN[cursor.next().text]
        elif cursor.accept("tos"):
            header["tos"] = cursor.number(0xFF)
        elif cursor.accept("ttl"):
            header["hop_limit"] = cursor.number(0xFF)
        elif cursor.accept("flowlabel"):
            header["flow_label"] = cursor.number(0xFFFFF)
        else:
            cursor.fail(_("noecn, ect0, ect1, ect01, ce, tos, ttl or flowlabel"))
        if not cursor.accept(","):
            break
    cursor.expect(closing)
    return IPHeader(**header)  # type: ignore[arg-type]


def _ports(cursor: Cursor) -> tuple[int, int] | None:
    if cursor.token.kind != NUMBER:
        return None
    source = cursor.number(0xFFFF)
    cursor.expect(">")
    ports = source, cursor.number(0xFFFF)
    cursor.accept(":")
    return ports


def _flags(cursor: Cursor) -> int:
    letters = ""
    if cursor.accept("-"):
        return 0
    if cursor.token.kind == NAME:
        letters = cursor.token.text
    if letters and set(letters) - set(_FLAGS):
        cursor.fail(_("flags out of {letters}", letters="FSRPUEW."))
    if letters:
        cursor.next()
    if cursor.accept("."):
        letters += "."
        if cursor.token.kind == NAME and not set(cursor.token.text) - set(_FLAGS):
            letters += cursor.next().text
    if not letters:
        cursor.fail(_("flags out of {letters}", letters="FSRPUEW."))
    return sum(_FLAGS[letter] for letter in set(letters))


def _range(cursor: Cursor) -> tuple[int, int]:
    """Read a sequence number, the one after the data, and the data's size: 1:1001(1000)."""
    line = cursor.token.line
    start = cursor.number()
    cursor.expect(":")
    end = cursor.number()
    size = _size(cursor)
    if (end - start) % (MAX_NUMBER + 1) != size:
        raise ScriptError(
            line, _("expected {start}:{end} to span {size} bytes", start=start, end=end, size=size)
        )
    return start, size


def _size(cursor: Cursor) -> int:
    cursor.expect("(")
    size = cursor.number(_MAX_SIZE)
    cursor.expect(")")
    return size


def _options(cursor: Cursor) -> tuple[Option, ...] | EllipsisType:
    if cursor.accept("..."):
        cursor.expect(">")
        return ...
    options = []
    while not cursor.accept(">"):
        options.append(_option(cursor))
        if not cursor.at(">"):
            cursor.expect(",")
    return tuple(options)


def _option(cursor: Cursor) -> Option:
    for name in _BARE_OPTIONS:
        if cursor.accept(name):
            return Option(name)
    for name, most in _NUMBERED_OPTIONS.items():
        if cursor.accept(name):
            return Option(name, (cursor.number(most),))
    if cursor.accept("TS"):
        if not cursor.accept("val"):
            cursor.fail('"val"')
        stamp = cursor.number()
        if not cursor.accept("ecr"):
            cursor.fail('"ecr"')
        return Option("TS", (stamp, cursor.number()))
    if cursor.accept("sack"):
        edges: list[int] = []
        while cursor.token.kind == NUMBER:
            edges.append(cursor.number())
            cursor.expect(":")
            edges.append(cursor.number())
        if not 2 <= len(edges) <= 8:
            cursor.fail(_("one to four blocks such as 1:1001"))
        return Option("sack", tuple(edges))
    for name in ("FOEXP", "FO", "md5"):
        if cursor.accept(name):
            return Option(name, _bytes(cursor))
    if cursor.accept("option"):
        return Option(f"option {cursor.number(0xFF)}", _bytes(cursor))
    return cursor.fail(
        _("one of the options mss, nop, eol, wscale, sackOK, TS val, sack, FO, FOEXP, md5, option, or ...")
    )


def _bytes(cursor: Cursor) -> tuple[int, ...]:
    """Read bytes in hexadecimal, without 0x; there may be none."""
    if cursor.token.kind not in (NAME, NUMBER):
        return ()
    text = cursor.token.text
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if not found or len(found) > _MAX_OPTION:
        cursor.fail(_("bytes in hexadecimal, at most {most}", most=_MAX_OPTION))
    cursor.next()
    return tuple(found)


def _icmp(cursor: Cursor, inbound: bool, header: IPHeader, outer: tuple[Outer, ...]) -> ICMPPacket:
    quoted = _quoted(cursor)
    if not cursor.accept("icmp"):
        cursor.fail('"icmp"')
    kind = cursor.next().text
    code = cursor.next().text if cursor.token.kind == NAME and not cursor.at("mtu", "id") else ""
    mtu = cursor.number() if cursor.accept("mtu") else 0
    identifier = cursor.number(0xFFFF) if cursor.accept("id") else 0
    quoted = quoted or _quoted(cursor)
    if not icmp_messages.is_known(kind, code):
        cursor.fail(_("an ICMP error such as unreachable port_unreachable"))
    sequence, size, protocol = quoted or (1, 0, "tcp")
    return ICMPPacket(kind, code, mtu, sequence, size, inbound, protocol, identifier, header, outer)


def _quoted(cursor: Cursor) -> tuple[int, int, str] | None:
    if not cursor.accept("["):
        return None
    if cursor.at("udp", "raw"):
        protocol = cursor.next().text
        sequence, size = 0, _size(cursor)
    else:
        protocol = "tcp"
        sequence, size = _range(cursor)
    cursor.expect("]")
    return sequence, size, protocol
