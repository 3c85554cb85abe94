"""The grammar of packets in a packet script: `< P. 1:11(10) ack 1 win 500 <mss 1000>`."""

from types import EllipsisType

from demuxlab.drill import icmp_errors
from demuxlab.drill.cursor import MAX_NUMBER, Cursor
from demuxlab.drill.lexer import NAME, NUMBER
from demuxlab.drill.script import ICMPPacket, Option, ScriptError, TCPPacket
from demuxlab.language import _
from demuxlab.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

_FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "W": CWR}
_NUMBERED_OPTIONS = {"mss": 0xFFFF, "wscale": 255}
_BARE_OPTIONS = ("nop", "eol", "sackOK")
_MAX_SIZE = 65_000


def read_packet(cursor: Cursor, *, inbound: bool) -> TCPPacket | ICMPPacket:
    """Read a packet after its "<" (inbound) or ">"."""
    if cursor.at("[", "icmp"):
        if not inbound:
            cursor.fail(_("a TCP packet: ICMP packets are sent only to the system under test"))
        return _icmp(cursor)
    ports = None
    if cursor.token.kind == NUMBER:
        source = cursor.number(0xFFFF)
        cursor.expect(">")
        ports = source, cursor.number(0xFFFF)
        cursor.accept(":")
    flags = _flags(cursor)
    sequence, size = _range(cursor)
    acknowledgment = cursor.number() if cursor.accept("ack") else None
    if acknowledgment is not None and not flags & ACK:
        cursor.fail(_("no ack without the flag ."))
    window = cursor.number(0xFFFF) if cursor.accept("win") else None
    urgent = cursor.number(0xFFFF) if cursor.accept("urg") else None
    options = _options(cursor) if cursor.accept("<") else ()
    return TCPPacket(inbound, flags, sequence, size, acknowledgment, window, urgent, options, ports)


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
    cursor.expect("(")
    size = cursor.number(_MAX_SIZE)
    cursor.expect(")")
    if (end - start) % (MAX_NUMBER + 1) != size:
        raise ScriptError(
            line, _("expected {start}:{end} to span {size} bytes", start=start, end=end, size=size)
        )
    return start, size


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
    return cursor.fail(_("one of the options mss, nop, eol, wscale, sackOK, TS val, sack, or ..."))


def _icmp(cursor: Cursor) -> ICMPPacket:
    quoted = _quoted(cursor)
    if not cursor.accept("icmp"):
        cursor.fail('"icmp"')
    kind = cursor.next().text
    code = cursor.next().text if cursor.token.kind == NAME and not cursor.at("mtu") else ""
    mtu = cursor.number() if cursor.accept("mtu") else 0
    quoted = quoted or _quoted(cursor)
    if not icmp_errors.is_known(kind, code):
        cursor.fail(_("an ICMP error such as unreachable port_unreachable"))
    return ICMPPacket(kind, code, mtu, *(quoted or (1, 0)))


def _quoted(cursor: Cursor) -> tuple[int, int] | None:
    if not cursor.accept("["):
        return None
    quoted = _range(cursor)
    cursor.expect("]")
    return quoted
