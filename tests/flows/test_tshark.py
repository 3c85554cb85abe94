"""The conversations of tshark, over every layout of packet: equal, except for a port that is reused."""

import random
import re
import shutil
import subprocess
import zlib
from collections import Counter

import pytest
from tests.flows import zoo
from tests.flows.corpus import TUNNELS, Hosts

from demuxlab.flows.count import count
from demuxlab.wire import ip, tcp
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import SYN

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

_LINE = re.compile(r"^(\S+):(\d+)\s+<-> (\S+):(\d+)\s+(\d+) (\d+) (\S+)\s+(\d+) (\d+) (\S+)", re.M)


def mixed(linktype: int, first_host: int, packets: int = 200) -> list[tuple[bytes, int]]:
    """Frames of all shapes between a few hosts, whole ones and cut ones, in up to two VLAN tags."""
    random_numbers = random.Random(linktype)
    frames = []
    while len(frames) < packets:
        a, b = random_numbers.sample(range(first_host, first_host + 5), 2)
        packet = random_numbers.choice(zoo.PACKETS)(a, b)
        if packet[0] >> 4 == {228: 6, 229: 4}.get(linktype):
            continue  # an IPv6 packet is not of linktype IPv4: tshark takes it all the same
        frame = zoo.framed(linktype, packet, random_numbers.choice((0, 0, 1, 2)))
        cut = random_numbers.choice((len(frame), len(frame), random_numbers.randrange(20, 80)))
        frames.append((frame[:cut], len(frame)))
    return frames


LINKTYPES = (0, 1, 101, 108, 113, 228, 229, 276)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One capture for one call of tshark: both byte orders, all linktypes, all kinds of packet block."""
    content = b""
    for order, first_host in (("<", 1), (">", 101)):
        content += zoo.section(order)
        content += b"".join(zoo.interface(order, linktype) for linktype in LINKTYPES)
        content += zoo.simple_packet(zoo.framed(0, zoo.tcp4(98, 99)) + bytes(3), 52, order)
        for index, linktype in enumerate(LINKTYPES):
            for number, (data, original) in enumerate(mixed(linktype, first_host + 10 * index)):
                if number % 50 == 49:
                    content += zoo.obsolete_packet(data, order, index, number * 10**6)
                else:
                    options = zoo.option(1, b"seen", order) + bytes(4)
                    content += zoo.packet(data, order, index, number * 10**6, options, original)
    path = tmp_path_factory.mktemp("flows") / "x.pcapng"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def theirs(path):
    return by_tshark(path)


def by_tshark(path) -> Counter:
    """Return (protocol, endpoints) → packets and bytes of each direction, as tshark counts them."""
    called = subprocess.run(
        ["tshark", "-r", path, "-q", "-n", "-z", "conv,tcp", "-z", "conv,udp"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: Counter = Counter()
    for part in called.stdout.split("=" * 80):
        protocol = {"TCP": "tcp", "UDP": "udp"}.get(part.strip()[:3])
        for a, a_port, b, b_port, back, bytes_back, _, there, bytes_there, _ in _LINE.findall(part):
            ends = (a, int(a_port)), (b, int(b_port))
            # tshark counts a reused port as another conversation; we do not.
            found[protocol, *ends, "packets"] += int(there)
            found[protocol, *ends, "bytes"] += int(bytes_there)
            found[protocol, *ends[::-1], "packets"] += int(back)
            found[protocol, *ends[::-1], "bytes"] += int(bytes_back)
    return +found


def by_us(path, engine) -> Counter:
    found: Counter = Counter()
    for conversation in count(path, engine).table.conversations():
        protocol = ip.PROTOCOL_NAMES[conversation.protocol]
        a, b = ((to_text(address), port) for address, port in (conversation.a, conversation.b))
        found[protocol, a, b, "packets"] += conversation.packets_ab
        found[protocol, a, b, "bytes"] += conversation.bytes_ab
        found[protocol, b, a, "packets"] += conversation.packets_ba
        found[protocol, b, a, "bytes"] += conversation.bytes_ba
    return +found


@pytest.mark.parametrize("engine", zoo.ENGINES)
def test_conversations_equal_those_of_tshark(path, theirs, engine):
    assert len(theirs) > 500
    assert by_us(path, engine) == theirs


def _ends(found: Counter) -> set:
    return {(protocol, a[0]) for protocol, a, _b, _what in found}


def test_a_tunnel_over_udp_counts_once(tmp_path):
    """tshark counts the datagram outside and the packet inside."""
    path = tmp_path / "x.pcap"
    hosts = Hosts(1)
    frame = TUNNELS["VXLAN"](hosts, 0x0800, hosts.tcp())
    path.write_bytes(zoo.pcap(linktype=101, records=[(1, 0, frame, len(frame))]))
    inner, outer = ("tcp", to_text(hosts.a)), ("udp", to_text(hosts.b))
    assert _ends(by_tshark(path)) == {inner, outer}
    assert _ends(by_us(path, "numpy")) == {outer}
    [conversation] = count(path, inside_udp=True).table.conversations()
    assert conversation.protocol == ip.TCP


def test_what_is_not_unpacked(tmp_path):
    """tshark reads what is in an 802.11 A-MSDU and in an IPComp packet; here it counts as left out."""
    hosts = Hosts(1)
    inside = b"\xaa\xaa\3\0\0\0\x08\0" + hosts.tcp()
    aggregate = b"\x88\1" + bytes(2) + bytes(range(18)) + bytes(2) + b"\x80\0"
    aggregate += bytes(range(12)) + len(inside).to_bytes(2, "big") + inside
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(hosts.udp()[20:]) + deflate.flush()
    path = tmp_path / "x.pcap"
    for linktype, frame, protocol in (
        (105, aggregate, "tcp"),
        (101, hosts.over(108, b"\x11\0\0\2" + packed), "udp"),
    ):
        path.write_bytes(zoo.pcap(linktype=linktype, records=[(1, 0, frame, len(frame))]))
        assert {each for each, _host in _ends(by_tshark(path))} == {protocol}
        counted = count(path)
        assert (len(counted.table.first), sum(counted.left_out.values())) == (0, 1)


def test_a_port_used_again_is_one_conversation(tmp_path):
    """Two SYNs of one 4-tuple, with other sequence numbers: two streams to tshark."""
    path = tmp_path / "x.pcap"
    frames = [zoo.tcp4(1, 2, b"", identification=number) for number in (1, 2)]
    for number, frame in enumerate(frames):
        segment = tcp.build(frame[12:16], frame[16:20], 1001, 1002, flags=SYN, sequence=9000 * number)
        frames[number] = frame[:20] + segment
    path.write_bytes(zoo.pcap(records=[(second, 0, frame, 40) for second, frame in enumerate(frames)]))
    [conversation] = count(path).table.conversations()
    assert conversation.packets_ab == 2
