"""A section of a pcapng file: its interfaces, and the frames in its packet blocks.

Source: draft-ietf-opsawg-pcapng. Blocks are read from bytes; `reader` and `flows.batches` read the file.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Literal, NamedTuple

from demuxlab.language import _

# A longer block is damage, not data.
MAX_BLOCK = 64 << 20
LITTLE_ENDIAN, BIG_ENDIAN = b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"
# Block types. A Section Header Block begins with the same bytes in either byte order.
INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET, NAMES, PACKET, SECTION = 1, 2, 3, 4, 6, 0x0A0D0D0A
PACKETS = (PACKET, SIMPLE_PACKET, OBSOLETE_PACKET)
# Option codes: of any block, of an Interface Description Block, of an Enhanced Packet Block.
_END, _COMMENT = 0, 1
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14
_EPB_FLAGS, _EPB_PACKETID, _EPB_QUEUE = 2, 5, 6
# Record types of a Name Resolution Block with the length of their address.
_ADDRESS_LENGTH = {1: 4, 2: 16}
_DIRECTION = {0b01: True, 0b10: False}


class DamageError(Exception):
    """A record or a block is invalid; the message says what is wrong with it."""


class Frame(NamedTuple):
    """A captured packet, numbered from 1, with its fields and options in the capture.

    `time` is in seconds since the epoch, 0.0 where the file has none. `data` are the captured bytes, which
    may be fewer than the `original_length` on the link. `interface` counts from 0 in each section. `comment`
    is the first of several. `inbound`, `queue` and `packet_id` are None without their option (epb_flags,
    epb_queue, epb_packetid).
    """

    number: int
    time: float
    linktype: int
    data: bytes
    original_length: int
    interface: int = 0
    interface_name: str = ""
    comment: str = ""
    inbound: bool | None = None
    queue: int | None = None
    packet_id: int | None = None


class Interface(NamedTuple):
    """An Interface Description Block; a time is ticks / ticks_per_second + offset, in seconds."""

    name: str
    linktype: int
    snaplen: int
    ticks_per_second: int
    offset: int


class Section:
    """The state of a section: its byte order, "<" or ">", and the `interfaces` described so far."""

    def __init__(self, order: Literal["<", ">"]) -> None:
        self.block_head = Struct(order + "II").unpack_from
        self.order = order
        self._byteorder: Literal["little", "big"] = "little" if order == "<" else "big"
        self._interface_head = Struct(order + "HHI").unpack_from
        self._packet_head = Struct(order + "IIIII").unpack_from
        self._obsolete_head = Struct(order + "HHIIII").unpack_from
        self._simple_head = Struct(order + "I").unpack_from
        self._option_head = Struct(order + "HH").unpack_from
        self.interfaces: list[Interface] = []

    def comment(self, body: bytes) -> str:
        """Return the comment of a Section Header Block, "" without one."""
        # An invalid comment is ignored: the packets can be read without it.
        try:
            return _text(self._options(body, 16).get(_COMMENT, b""))
        except DamageError:
            return ""

    def names(self, body: bytes) -> Iterator[tuple[bytes, str]]:
        """Yield (address, first name) from a Name Resolution Block, up to a record that is not whole."""
        at = 0
        while at + 4 <= len(body):
            kind, size = self._option_head(body, at)
            record, length = body[at + 4 : at + 4 + size], _ADDRESS_LENGTH.get(kind, size)
            if kind == _END or len(record) < size:
                return
            if name := record[length:].partition(b"\0")[0]:
                yield record[:length], _text(name)
            at += 4 + size + (-size & 3)

    def describe(self, body: bytes) -> None:
        """Add the interface of an Interface Description Block."""
        linktype, _reserved, snaplen = self._interface_head(body)
        options = self._options(body, 8)
        # if_tsresol: a power of 2 where the highest bit is set, else of 10; 10**6 by default.
        resolution = (options.get(_IF_TSRESOL) or b"\x06")[0]
        ticks_per_second = 1 << (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        offset = int.from_bytes(options.get(_IF_TSOFFSET, b"")[:8], self._byteorder, signed=True)
        name = _text(options.get(_IF_NAME, b""))
        self.interfaces.append(Interface(name, linktype, snaplen, ticks_per_second, offset))

    def frame(self, kind: int, body: bytes, number: int) -> Frame:
        """Read an Enhanced, Simple or obsolete Packet Block; DamageError or struct.error if it is invalid."""
        if kind == SIMPLE_PACKET:
            return self._simple_frame(body, number)
        if kind == PACKET:
            index, high, low, size, original = self._packet_head(body)
        else:
            index, _drops, high, low, size, original = self._obsolete_head(body)
        interface = self._interface(index)
        end = 20 + size
        if end > len(body):
            raise _too_long(size, body)
        ticks = (high << 32 | low) + interface.offset * interface.ticks_per_second
        options = self._options(body, end + (-size & 3))
        return Frame(
            number,
            ticks / interface.ticks_per_second,
            interface.linktype,
            body[20:end],
            original,
            index,
            interface.name,
            _text(options.get(_COMMENT, b"")),
            _DIRECTION.get((self._number(options.get(_EPB_FLAGS)) or 0) & 0b11),
            self._number(options.get(_EPB_QUEUE)),
            self._number(options.get(_EPB_PACKETID)),
        )

    def _simple_frame(self, body: bytes, number: int) -> Frame:
        interface = self._interface(0)
        (original,) = self._simple_head(body)
        size = min(original, interface.snaplen or original)
        if 4 + size > len(body):
            raise _too_long(size, body)
        return Frame(number, 0.0, interface.linktype, body[4 : 4 + size], original, 0, interface.name)

    def _interface(self, index: int) -> Interface:
        if index >= len(self.interfaces):
            raise DamageError(_("a packet of interface {number}, which is not described", number=index))
        return self.interfaces[index]

    def _options(self, body: bytes, at: int) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        while at + 4 <= len(body):
            code, size = self._option_head(body, at)
            if code == _END:
                break
            at += 4
            if at + size > len(body):
                raise DamageError(_("an option longer than its block"))
            options.setdefault(code, body[at : at + size])
            at += size + (-size & 3)
        return options

    def _number(self, value: bytes | None) -> int | None:
        return None if value is None else int.from_bytes(value[:8], self._byteorder)


def check_block(size: int) -> None:
    """Raise DamageError unless this is a possible length of a block: 12 to `MAX_BLOCK`, a multiple of 4."""
    if size < 12 or size % 4 or size > MAX_BLOCK:
        raise DamageError(_("a block of {size} bytes", size=size))


def check_block_end(block: bytes) -> None:
    """Raise DamageError unless both length fields of a block are equal."""
    if block[-4:] != block[4:8]:
        raise DamageError(_("a block whose two lengths differ"))


def _too_long(size: int, body: bytes) -> DamageError:
    return DamageError(_("a packet of {size} bytes in a block of {whole}", size=size, whole=len(body) + 12))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
