"""IEEE 802.11 frames, and the headers with which captures begin them: radiotap, Prism, AVS.

Source: IEEE 802.11-2016, section 9.2; https://www.radiotap.org; Wireshark for the others.
"""

from demuxlab.wire.layers import Next, NotIP, Step, llc, truncated

_MANAGEMENT, _CONTROL, _DATA = 0, 1, 2
_TO_DS, _FROM_DS, _PROTECTED, _ORDER = 0x01, 0x02, 0x40, 0x80
_NO_DATA, _QOS, _A_MSDU = 0x4, 0x8, 0x80
_TSFT, _FLAGS, _MORE_PRESENT = 0x1, 0x2, 0x8000_0000
_HAS_FCS, _IS_PADDED = 0x10, 0x20


def radiotap(data: bytes) -> Step:
    """A radiotap header, then an 802.11 frame."""
    size = int.from_bytes(data[2:4], "little") if len(data) >= 8 else 0
    if not 8 <= size <= len(data):
        return truncated("radiotap header")
    present = int.from_bytes(data[4:8], "little")
    at, more = 8, present
    while more & _MORE_PRESENT and at + 4 <= size:
        more, at = int.from_bytes(data[at : at + 4], "little"), at + 4
    if present & _TSFT:
        at = (at + 7 & ~7) + 8
    flags = data[at] if present & _FLAGS and at < size else 0
    end = len(data) - 4 if flags & _HAS_FCS else len(data)
    return _frame(data[size:end], padded=bool(flags & _IS_PADDED))


def prism(data: bytes) -> Step:
    """A Prism header, or AVS's in its place, then an 802.11 frame."""
    if data[:3] == b"\x80\x21\x10":
        return avs(data)
    if len(data) < 144:
        return truncated("Prism header")
    return _frame(data[144:])


def avs(data: bytes) -> Step:
    """An AVS header, then an 802.11 frame."""
    size = int.from_bytes(data[4:8], "big") if len(data) >= 8 else 0
    if not 8 <= size <= len(data):
        return truncated("AVS header")
    return _frame(data[size:])


def wlan(data: bytes) -> Step:
    """An 802.11 frame."""
    return _frame(data)


def _frame(data: bytes, *, padded: bool = False) -> Step:
    if len(data) < 2:
        return truncated("802.11 header")
    kind, subtype, flags = data[0] >> 2 & 3, data[0] >> 4, data[1]
    if kind != _DATA or subtype & _NO_DATA:
        names = {_MANAGEMENT: "802.11 management", _CONTROL: "802.11 control", _DATA: "802.11 without data"}
        return NotIP(names.get(kind, "802.11 extension"), malformed=False)
    size = 30 if flags & _TO_DS and flags & _FROM_DS else 24
    is_aggregate = False
    if subtype & _QOS:
        is_aggregate = len(data) > size and bool(data[size] & _A_MSDU)
        size += 6 if flags & _ORDER else 2
    if padded:
        size = size + 3 & ~3
    if len(data) < size:
        return truncated("802.11 header")
    if flags & _PROTECTED:
        return NotIP("802.11, encrypted", malformed=False)
    if is_aggregate:
        return NotIP("802.11 A-MSDU", malformed=False)
    return Next(llc, data[size:], "802.11")
