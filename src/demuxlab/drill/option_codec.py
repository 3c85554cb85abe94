"""TCP options of a script as bytes, and those of a segment as a script has them: every kind, known or not."""

import struct

from demuxlab.drill.script import Option
from demuxlab.wire import tcp
from demuxlab.wire.segment import TCPSegment

PADDING = ("nop", "eol")
_KINDS = {"eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "TS": 8, "md5": 19, "FO": 34}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_FORMATS = {"mss": "!H", "wscale": "!B", "sackOK": "!", "TS": "!II"}
_EXPERIMENTAL, _FAST_OPEN_MAGIC = 254, b"\xf9\x89"
"""RFC 6994; the identifier of Fast Open before it had a kind of its own (RFC 7413, section 4.1.1)."""


def encoded(kind: str, values: tuple[int, ...]) -> bytes:
    """Return one option as bytes."""
    if kind in PADDING:
        return bytes((_KINDS[kind],))
    if kind == "sack":
        data = struct.pack(f"!{len(values)}I", *values)
    elif kind in _FORMATS:
        data = struct.pack(_FORMATS[kind], *values)
    else:
        data = (_FAST_OPEN_MAGIC if kind == "FOEXP" else b"") + bytes(values)
    number = _EXPERIMENTAL if kind == "FOEXP" else _KINDS.get(kind)
    if number is None:
        number = int(kind.removeprefix("option "))
    return bytes((number, len(data) + 2)) + data


def read(segment: TCPSegment) -> list[Option]:
    """Return a segment's options without padding, in their order; what has no name is `option KIND`."""
    return [_option(kind, data) for kind, data in tcp.split_options(segment.options)]


def _option(kind: int, data: bytes) -> Option:
    name = _NAMES.get(kind, "")
    if name in _FORMATS and len(data) == struct.calcsize(_FORMATS[name]):
        return Option(name, struct.unpack(_FORMATS[name], data))
    if name == "sack" and data and len(data) % 8 == 0:
        return Option(name, struct.unpack(f"!{len(data) // 4}I", data))
    if name in ("md5", "FO"):
        return Option(name, tuple(data))
    if kind == _EXPERIMENTAL and data[:2] == _FAST_OPEN_MAGIC:
        return Option("FOEXP", tuple(data[2:]))
    return Option(f"option {kind}", tuple(data))
