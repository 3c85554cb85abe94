"""Packets inside of IP packets: find the innermost one, and name those around it.

Tunnels over IP are IP in IP, GRE with ERSPAN, EtherIP and MPLS; over UDP, each by its port, VXLAN, Geneve,
GTP-U and Teredo. Nothing is verified, as in `endpoints`.
"""

from typing import NamedTuple

from demuxlab.wire import endpoints, ip, layers
from demuxlab.wire.address import to_text
from demuxlab.wire.endpoints import Carried
from demuxlab.wire.fragments import Reassembler, Whole
from demuxlab.wire.frame import network_packet
from demuxlab.wire.ip import Fragment
from demuxlab.wire.layers import Next, NotIP, Reader, Step, truncated

_MAX_DEPTH = 8

VXLAN, GENEVE, GTP_U, TEREDO = 4789, 6081, 2152, 3544
_IPV4_IN_IP, _IPV6_IN_IP, _GRE, _ETHERIP, _MPLS_IN_IP = 4, 41, 47, 97, 137
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _ACKNOWLEDGMENT = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080


class Inner(NamedTuple):
    """The innermost IP packet of a frame, and the names of what it was inside of, the outermost first."""

    packet: bytes
    outer: tuple[str, ...]


class Unwrapper:
    """Finds the innermost IP packets of a capture's frames.

    Fragments of a tunnel's packets are put together. `inside_udp`: tunnels over UDP are followed, too.
    """

    def __init__(self, *, inside_udp: bool = False) -> None:
        self._inside_udp = inside_udp
        self._reassembler = Reassembler()

    def read(self, linktype: int, frame: bytes, now: float) -> Inner | NotIP:
        """Return the innermost packet of a frame captured at `now` (seconds), or why there is none.

        It may be a fragment.
        """
        names: list[str] = []
        packet = network_packet(linktype, frame, names)
        if isinstance(packet, NotIP):
            return packet
        for _ in range(_MAX_DEPTH):
            carried = endpoints.carried(packet)
            if isinstance(carried, Fragment):
                whole = self._whole(carried, now)
                if whole is None:
                    break
                packet = whole
                continue
            if isinstance(carried, str):
                break
            tunnel = self._tunnel(carried)
            if tunnel is None:
                break
            name, read, data = tunnel
            inside: list[str] = []
            found = layers.follow(read, data, inside)
            if isinstance(found, NotIP):
                if carried.protocol == ip.UDP:  # nothing in it has ports, or another program uses the port
                    break
                return found
            ends = f"{to_text(carried.source)} → {to_text(carried.destination)}"
            names += [f"{name} {ends}", *inside]
            packet = found
        else:
            return NotIP("too deep in tunnels", malformed=False)
        return Inner(packet, tuple(names))

    def _whole(self, fragment: Fragment, now: float) -> bytes | None:
        """Return the packet that a tunnel's fragment completes; other fragments are left alone."""
        if fragment.protocol not in _OVER_IP and not (self._inside_udp and fragment.protocol == ip.UDP):
            return None
        whole = self._reassembler.add(fragment, now)
        return whole.packet if isinstance(whole, Whole) else None

    def _tunnel(self, carried: Carried) -> tuple[str, Reader, bytes] | None:
        over_ip = _OVER_IP.get(carried.protocol)
        if over_ip is not None:
            return (*over_ip, carried.payload)
        if self._inside_udp and carried.protocol == ip.UDP:
            return over_udp(carried.payload)
        return None


def over_udp(datagram: bytes) -> tuple[str, Reader, bytes] | None:
    """Return the name of the tunnel that a UDP datagram belongs to, its reader and the data, or None."""
    for at in (2, 0):  # the destination port decides first
        found = OVER_UDP.get(int.from_bytes(datagram[at : at + 2], "big"))
        if found is not None and len(datagram) >= 8:
            return (*found, datagram[8:])
    return None


def _gre(data: bytes) -> Step:
    """GRE (RFC 2784, RFC 2890, RFC 1701), also version 1 (RFC 2637), ERSPAN and NVGRE (RFC 7637)."""
    if len(data) < 4:
        return truncated("GRE header")
    flags, protocol, at = data[0] << 8 | data[1], data[2] << 8 | data[3], 4
    if flags & (_CHECKSUM | _ROUTING):
        at += 4
    at += 4 * bool(flags & _KEY) + 4 * bool(flags & _SEQUENCE)
    if flags & 7 == 1:
        at += 4 * bool(flags & _ACKNOWLEDGMENT)
    elif flags & _ROUTING:  # source route entries (RFC 1701), each with its length, up to an empty one
        while at + 4 <= len(data) and data[at + 3]:
            at += 4 + data[at + 3]
        at += 4
    if at > len(data):
        return truncated("GRE header")
    if protocol == 0x88BE:
        return _erspan(data[at:], has_header=bool(flags & _SEQUENCE))
    if protocol == 0x22EB:
        return _erspan_iii(data[at:])
    if protocol == 0x883E and data[at : at + 1] and data[at] >> 4 != 4:  # WCCP version 2: a redirect header
        return Next(layers.ipv4, data[at + 4 :], "WCCP")
    return layers.after_ethertype(protocol, data[at:])


def _erspan(data: bytes, *, has_header: bool) -> Step:
    """ERSPAN type I, which has no header, or type II (draft-foschiano-erspan-03)."""
    size = 8 if has_header else 0
    if len(data) < size:
        return truncated("ERSPAN header")
    return Next(layers.ethernet, data[size:], "ERSPAN")


def _erspan_iii(data: bytes) -> Step:
    if len(data) < 12:
        return truncated("ERSPAN header")
    size = 20 if data[11] & 1 else 12  # O: a subheader for the platform
    is_ip = (data[10] >> 2 & 0x1F) == 2
    if len(data) < size:
        return truncated("ERSPAN header")
    return Next(layers.ip if is_ip else layers.ethernet, data[size:], "ERSPAN")


def _etherip(data: bytes) -> Step:
    """EtherIP (RFC 3378)."""
    return Next(layers.ethernet, data[2:]) if len(data) >= 2 else truncated("EtherIP header")


def _vxlan(data: bytes) -> Step:
    """VXLAN (RFC 7348, section 5): the I flag is set."""
    if len(data) < 8 or not data[0] & 0x08:
        return truncated("VXLAN header")
    return Next(layers.ethernet, data[8:])


def _geneve(data: bytes) -> Step:
    """Geneve (RFC 8926, section 3.4), version 0."""
    size = 8 + (data[0] & 0x3F) * 4 if len(data) >= 8 and not data[0] >> 6 else 0
    if not 8 <= size <= len(data):
        return truncated("Geneve header")
    return layers.after_ethertype(data[2] << 8 | data[3], data[size:])


def _gtp_u(data: bytes) -> Step:
    """GTP-U (3GPP TS 29.281, section 5.1): a G-PDU of version 1, with its extension headers."""
    if len(data) < 8 or data[0] >> 4 != 3 or data[1] != 0xFF:
        return truncated("GTP-U header")
    at = 8
    if data[0] & 7:  # E, S or PN: sequence number, N-PDU number, type of the next extension header
        at = 12
        following = data[11] if data[0] & 4 and len(data) >= 12 else 0
        while following:
            size = data[at] * 4 if at < len(data) else 0
            if not size or at + size > len(data):
                return truncated("GTP-U extension header")
            following, at = data[at + size - 1], at + size
    if at >= len(data) or data[at] >> 4 not in (4, 6):
        return NotIP("GTP-U", malformed=False)
    return Next(layers.ip, data[at:])


def _teredo(data: bytes) -> Step:
    """Teredo (RFC 4380, section 5.1.1): authentication and origin may come before the IPv6 packet."""
    if data[:2] == b"\0\1" and len(data) >= 13:
        data = data[13 + data[2] + data[3] :]
    if data[:2] == b"\0\0":
        data = data[8:]
    if not data or data[0] >> 4 != 6:
        return NotIP("Teredo", malformed=False)
    return Next(layers.ipv6, data)


_OVER_IP: dict[int, tuple[str, Reader]] = {
    _IPV4_IN_IP: ("IP", layers.ipv4),
    _IPV6_IN_IP: ("IP", layers.ipv6),
    _GRE: ("GRE", _gre),
    _ETHERIP: ("EtherIP", _etherip),
    _MPLS_IN_IP: ("MPLS", layers.mpls),
}
OVER_UDP: dict[int, tuple[str, Reader]] = {
    VXLAN: ("VXLAN", _vxlan),
    GENEVE: ("Geneve", _geneve),
    GTP_U: ("GTP-U", _gtp_u),
    TEREDO: ("Teredo", _teredo),
}
