"""Link-layer headers: the IP packet of a frame, or the reason why there is none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demuxlab.wire import frame
from demuxlab.wire.frame import NotIP, ethernet_frame, network_packet

V4 = bytes.fromhex("4500001c000100004011000001020304050607080035270f00080000")
V6 = bytes.fromhex("6000000000000000") + bytes(32)
MACS = bytes(range(12))


def ethernet(ethertype: int, payload: bytes) -> bytes:
    return MACS + ethertype.to_bytes(2) + payload


def cooked(ethertype: int, payload: bytes) -> bytes:
    return bytes.fromhex("0000 0001 0006 020304050607 0000") + ethertype.to_bytes(2) + payload


def cooked2(ethertype: int, payload: bytes) -> bytes:
    return ethertype.to_bytes(2) + bytes.fromhex("0000 00000003 0001 00 06 020304050607 0000") + payload


ETHERTYPED = [
    pytest.param(frame.ETHERNET, ethernet, "Ethernet", id="ethernet"),
    pytest.param(frame.LINUX_SLL, cooked, "Linux cooked v1", id="sll"),
    pytest.param(frame.LINUX_SLL2, cooked2, "Linux cooked v2", id="sll2"),
]
ethertyped = pytest.mark.parametrize(("linktype", "build", "name"), ETHERTYPED)


@ethertyped
@pytest.mark.parametrize(("ethertype", "packet"), [(0x0800, V4), (0x86DD, V6)])
def test_ip_after_an_ethertype(linktype, build, name, ethertype, packet):
    assert network_packet(linktype, build(ethertype, packet)) == packet


@ethertyped
@pytest.mark.parametrize("tags", [(0x8100,), (0x88A8, 0x8100), (0x9100, 0x9100, 0x8100)])
@pytest.mark.parametrize(("ethertype", "packet"), [(0x0800, V4), (0x86DD, V6)])
def test_ip_after_vlan_tags(linktype, build, name, tags, ethertype, packet):
    inner = b"".join(b"\x20\x64" + following.to_bytes(2) for following in (*tags[1:], ethertype))
    assert network_packet(linktype, build(tags[0], inner + packet)) == packet


@ethertyped
def test_vlan_tags_are_bounded(linktype, build, name):
    last, tag = b"\0\1\x08\0" + V4, b"\0\1\x81\0"
    assert network_packet(linktype, build(0x8100, tag * (frame.MAX_VLAN_TAGS - 1) + last)) == V4
    too_many = network_packet(linktype, build(0x8100, tag * frame.MAX_VLAN_TAGS + last))
    assert too_many == NotIP("more than 8 VLAN tags", malformed=True)


@ethertyped
@pytest.mark.parametrize("size", range(4))
def test_truncated_vlan_tag(linktype, build, name, size):
    cut = build(0x8100, b"\0\1\x08\0"[:size])
    assert network_packet(linktype, cut) == NotIP("truncated VLAN tag", malformed=True)
    cut_second = build(0x88A8, b"\0\1\x81\0" + b"\0\1\x08\0"[:size])
    assert network_packet(linktype, cut_second) == NotIP("truncated VLAN tag", malformed=True)


@ethertyped
def test_truncated_header_at_every_length(linktype, build, name):
    whole = build(0x0800, b"")
    for size in range(len(whole)):
        expected = NotIP(f"truncated {name} header", malformed=True)
        assert network_packet(linktype, whole[:size]) == expected
    assert network_packet(linktype, whole) == b""


@ethertyped
@pytest.mark.parametrize(
    ("ethertype", "reason"),
    [
        (0x0806, "ARP"),
        (0x88CC, "ethertype 0x88cc"),
        (0x0600, "ethertype 0x0600"),
        (0x05FF, "LLC"),
        (0x0026, "LLC"),
    ],
)
def test_other_protocols_are_not_malformed(linktype, build, name, ethertype, reason):
    if reason == "LLC" and linktype != frame.ETHERNET:  # there it is no length, but a number of Linux
        reason = f"Linux protocol {ethertype}"
    assert network_packet(linktype, build(ethertype, V4)) == NotIP(reason, malformed=False)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("family", "packet"), [(2, V4), (10, V6), (24, V6), (28, V6), (30, V6)], ids=lambda value: str(value)[:2]
)
def test_null_in_either_byte_order(order, family, packet):
    assert network_packet(frame.NULL, family.to_bytes(4, order) + packet) == packet


@pytest.mark.parametrize(("family", "packet"), [(2, V4), (24, V6), (28, V6), (30, V6)])
def test_loop_is_big_endian_only(family, packet):
    assert network_packet(frame.LOOP, family.to_bytes(4, "big") + packet) == packet
    swapped = network_packet(frame.LOOP, family.to_bytes(4, "little") + packet)
    assert swapped == NotIP(f"address family {family << 24}", malformed=False)


def test_other_address_family():
    assert network_packet(frame.NULL, b"\x07\0\0\0" + V4) == NotIP("address family 7", malformed=False)
    assert network_packet(frame.NULL, b"\0\0\0\x07" + V4) == NotIP("address family 7", malformed=False)


@pytest.mark.parametrize(
    ("linktype", "name"), [(frame.NULL, "BSD loopback"), (frame.LOOP, "OpenBSD loopback")]
)
@pytest.mark.parametrize("size", range(4))
def test_truncated_family(linktype, name, size):
    cut = network_packet(linktype, b"\0\0\0\x02"[:size])
    assert cut == NotIP(f"truncated {name} header", malformed=True)


@pytest.mark.parametrize("linktype", [12, 14, frame.RAW])
@pytest.mark.parametrize("packet", [V4, V6, b"", b"\xff"])
def test_raw_is_the_packet(linktype, packet):
    assert network_packet(linktype, packet) == packet


@pytest.mark.parametrize(
    ("linktype", "before"),
    [
        (frame.IPV4, b""),
        (frame.ETHERNET, MACS + b"\x08\0"),
        (frame.NULL, b"\2\0\0\0"),
        (frame.LOOP, b"\0\0\0\2"),
    ],
)
def test_ipv6_header_where_ipv4_is_announced(linktype, before):
    assert network_packet(linktype, before + V4) == V4
    # A version other than 4 and 6 is reported by the reader of the IP header.
    assert network_packet(linktype, before + b"\x55") == b"\x55"
    expected = NotIP("IPv6 header in a frame marked IPv4", malformed=True)
    assert network_packet(linktype, before + V6) == expected


@pytest.mark.parametrize(
    ("linktype", "before"),
    [(frame.IPV6, b""), (frame.ETHERNET, MACS + b"\x86\xdd"), (frame.NULL, b"\x1e\0\0\0")],
)
def test_ipv4_header_where_ipv6_is_announced(linktype, before):
    assert network_packet(linktype, before + V6) == V6
    expected = NotIP("IPv4 header in a frame marked IPv6", malformed=True)
    assert network_packet(linktype, before + V4) == expected


def test_unknown_linktype():
    assert network_packet(147, V4) == NotIP("linktype 147", malformed=False)


def test_every_named_linktype_is_supported():
    assert set(frame.LINKTYPE_NAMES) == set(frame._READERS)


@pytest.mark.parametrize(
    ("packet", "ethertype"), [(V4, "0800"), (V6, "86dd"), (b"", "0800"), (b"\x50", "0800")]
)
def test_ethernet_frame(packet, ethertype):
    destination, source = b"\2DEMUX", b"\2LABOR"
    built = ethernet_frame(packet, destination, source)
    assert built == destination + source + bytes.fromhex(ethertype) + packet
    assert network_packet(frame.ETHERNET, built) == packet


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.sampled_from([*frame.LINKTYPE_NAMES, 147, -1]), st.binary(max_size=64))
def test_any_frame_has_an_answer(linktype, data):
    answer = network_packet(linktype, data)
    if isinstance(answer, NotIP):
        assert answer.reason
    else:
        assert data.endswith(answer)
