"""Captures and other programs: they read what we write, and we read what they write."""

import io
import json
import shutil
import subprocess
from decimal import Decimal
from ipaddress import ip_address

import pytest

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.capture.reader import Capture
from demuxlab.wire.frame import ETHERNET, RAW, ethernet_frame, network_packet

START = 1_700_000_000
V6_A, V6_B = (bytes.fromhex(f"fd00{host:028x}") for host in (1, 2))
NAMES = {b"\x0a\x09\x00\x0a": "A", b"\x0a\x09\x00\x14": "B", V6_A: "A6", V6_B: "B6"}
# python-pcapng warns of its own table of options.
python_pcapng = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")
COMMENTS = ["to P4 by connection", "é → 대기열 😀", "two\nlines", ""]


def run(program, *arguments, stdin=None):
    """Run an installed program and return its standard output; skip the test where it is absent."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [path, *map(str, arguments)], input=stdin, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def tshark(path, *arguments):
    """Return tshark's view of every frame: {"frame": {…}, "frame_raw": [hex, …], …}."""
    text = run("tshark", "-r", path, "-T", "json", "-x", *arguments)
    return [packet["_source"]["layers"] for packet in json.loads(text)]


@pytest.fixture(scope="module")
def packets():
    """Return IP packets of many lengths, IPv4 and IPv6, UDP and TCP."""
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    crafted = []
    for size in range(12):
        below = IPv6(src="fd00::1", dst="fd00::2") if size % 3 == 2 else IP(src="10.9.0.10", dst="10.9.0.20")
        above = TCP(sport=9157, dport=80, flags="PA") if size % 2 else UDP(sport=5000, dport=53)
        crafted.append(bytes(below / above / bytes(size)))
    return crafted


@pytest.fixture(scope="module")
def sent(packets):
    """Return what `ours` holds: (frame, time, fields) for each packet."""
    return [
        (
            ethernet_frame(packet),
            START + number + number / 8,
            {
                "interface": number % 2,
                "comment": COMMENTS[number % len(COMMENTS)],
                "inbound": (True, False, None)[number % 3],
                "queue": number * 1000,
                "packet_id": (number << 40) + 1,
            },
        )
        for number, packet in enumerate(packets)
    ]


@pytest.fixture(scope="module")
def ours(tmp_path_factory, sent):
    """Write the file that the others read: two Ethernet interfaces, names, statistics, every field."""
    path = tmp_path_factory.mktemp("ours") / "ours.pcapng"
    with open(path, "wb", buffering=0) as file:
        writer = PcapngWriter(file, comment="a lab's capture")
        writer.interface("wire", ETHERNET, description="before the demultiplexer")
        writer.interface("P4", ETHERNET)
        writer.names(NAMES)
        for frame, now, fields in sent:
            writer.packet(frame, now, dropped=5, **fields)
        writer.statistics(1, now + 1, received=6, dropped=30)
        assert (writer.lost, writer.error) == (0, None)
    return path


@pytest.fixture(scope="module")
def seen(ours):
    return tshark(ours, "-N", "n")


def fields(frame):
    """Return tshark's fields of a frame that come from the capture's block, as `sent` has them."""
    frame, comment = frame["frame"], frame.get("pkt_comment", {})
    direction = frame.get("frame.packet_flags_tree", {}).get("frame.packet_flags_direction", "0")
    return {
        "interface": int(frame["frame.interface_id"]),
        "comment": comment.get("frame.comment", ""),
        "inbound": {0: None, 1: True, 2: False}[int(direction, 16)],
        "queue": int(frame["frame.interface_queue"]),
        "packet_id": int(frame["frame.packet_id"]),
    }


# Other programs read our captures.


def test_tshark_reads_bytes_and_times(seen, sent):
    assert [bytes.fromhex(frame["frame_raw"][0]) for frame in seen] == [frame for frame, _, _ in sent]
    assert [float(frame["frame"]["frame.time_epoch"]) for frame in seen] == [now for _, now, _ in sent]
    assert {frame["frame"]["frame.drop_count"] for frame in seen} == {"5"}


def test_tshark_reads_comment_direction_queue_and_identity(seen, sent):
    assert [fields(frame) for frame in seen] == [expected for _, _, expected in sent]


def test_tshark_reads_the_interfaces_names(seen):
    points = [frame["frame"]["frame.interface_id_tree"] for frame in seen]
    assert [point["frame.interface_name"] for point in points] == ["wire", "P4"] * 6
    assert points[0]["frame.interface_description"] == "before the demultiplexer"


def test_tshark_resolves_the_names(seen):
    resolved = {
        (frame[layer][f"{layer}.src_host"], frame[layer][f"{layer}.dst_host"])
        for frame in seen
        for layer in ("ip", "ipv6")
        if layer in frame
    }
    assert resolved == {("A", "B"), ("A6", "B6")}


def tcpdump_bytes(content):
    """Return the frames in tcpdump's hexadecimal listing, and their time stamps."""
    # From standard input: started by root, tcpdump changes to a user that may not open our files.
    text = run("tcpdump", "-r", "-", "-nn", "-tt", "-xx", "--nano", stdin=content).decode()
    frames, times = [], []
    for line in text.splitlines():
        if line.startswith("\t0x"):
            frames[-1] += bytes.fromhex(line.partition(":")[2])
        elif line[:1].isdigit():
            frames.append(b"")
            times.append(Decimal(line.split()[0]))
    return frames, times


def test_tcpdump_reads_two_ethernet_interfaces(ours, sent):
    frames, times = tcpdump_bytes(ours.read_bytes())
    assert frames == [frame for frame, _, _ in sent]
    assert [float(time) for time in times] == [now for _, now, _ in sent]


def test_tcpdump_reads_one_raw_interface(packets):
    file = io.BytesIO()
    writer = PcapngWriter(file)
    writer.interface("tun0", RAW)
    for packet in packets:
        writer.packet(packet, float(START), comment="c")
    frames, _ = tcpdump_bytes(file.getvalue())
    assert frames == packets


def test_tcpdump_and_tshark_read_a_comment_of_the_greatest_length(tmp_path, packets):
    path = tmp_path / "long.pcapng"
    with open(path, "wb", buffering=0) as file:
        writer = PcapngWriter(file)
        writer.interface("wire", ETHERNET)
        writer.packet(ethernet_frame(packets[0]), 0.0, comment="x" * 70_000)
        writer.packet(ethernet_frame(packets[1]), 0.0)
    assert tcpdump_bytes(path.read_bytes())[0] == [ethernet_frame(packet) for packet in packets[:2]]
    first, second = tshark(path)
    assert first["pkt_comment"]["frame.comment"].startswith("x" * 60_000)
    assert bytes.fromhex(second["frame_raw"][0]) == ethernet_frame(packets[1])


def test_scapy_reads_ours(ours, sent):
    from scapy.utils import rdpcap

    read = list(rdpcap(str(ours)))
    assert [bytes(packet) for packet in read] == [frame for frame, _, _ in sent]
    assert [float(packet.time) for packet in read] == pytest.approx([now for _, now, _ in sent], abs=1e-6)
    assert [packet.sniffed_on for packet in read] == ["wire", "P4"] * 6
    assert [(packet.comment or b"").decode() for packet in read] == [f["comment"] for _, _, f in sent]


def test_dpkt_reads_ours(ours, sent):
    import dpkt

    with open(ours, "rb") as file:
        read = list(dpkt.pcapng.Reader(file))
    assert [data for _, data in read] == [frame for frame, _, _ in sent]
    assert [time for time, _ in read] == pytest.approx([now for _, now, _ in sent], abs=1e-6)


@python_pcapng
def test_python_pcapng_reads_every_block_of_ours(ours, sent):
    from pcapng import FileScanner, blocks

    with open(ours, "rb") as file:
        read = list(FileScanner(file))
    section, wire, queue, names, *middle, statistics = read
    assert isinstance(section, blocks.SectionHeader)
    assert section.options["shb_userappl"] == "demuxlab"
    assert section.options["opt_comment"] == "a lab's capture"
    assert [point.options["if_name"] for point in (wire, queue)] == ["wire", "P4"]
    assert isinstance(names, blocks.NameResolution)
    records = [(ip_address(record["address"]).packed, record["names"]) for record in names.records]
    assert records == [(address, [name]) for address, name in NAMES.items()]
    assert isinstance(statistics, blocks.InterfaceStatistics)
    assert (statistics.options["isb_ifrecv"], statistics.options["isb_ifdrop"]) == (6, 30)

    assert all(isinstance(packet, blocks.EnhancedPacket) for packet in middle)
    assert [packet.packet_data for packet in middle] == [frame for frame, _, _ in sent]
    assert [packet.timestamp for packet in middle] == pytest.approx([now for _, now, _ in sent], abs=1e-6)
    for packet, (_, _, expected) in zip(middle, sent, strict=True):
        assert packet.interface_id == expected["interface"]
        assert packet.options.get("opt_comment", "") == expected["comment"]
        assert packet.options["epb_packetid"] == expected["packet_id"]
        assert packet.options["epb_queue"] == expected["queue"]
        assert packet.options["epb_dropcount"] == 5


def test_what_editcap_saves_again_keeps_every_field(ours, sent, tmp_path):
    again = tmp_path / "again.pcapng"
    run("editcap", ours, again)
    with Capture(again) as capture:
        read = list(capture)
    assert capture.damage == ""
    assert [(frame.data, frame.time) for frame in read] == [(data, now) for data, now, _ in sent]
    assert [frame.interface_name for frame in read] == ["wire", "P4"] * 6
    names = ("interface", "comment", "inbound", "queue", "packet_id")
    kept = [{name: getattr(frame, name) for name in names} for frame in read]
    assert kept == [expected for _, _, expected in sent]


# We read captures of other programs.


def by_scapy(folder, frames):
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap, wrpcapng

    crafted = [Ether(frame) for frame in frames]
    for number, packet in enumerate(crafted):
        packet.time = START + number + Decimal("0.123456")
    wrpcap(str(folder / "scapy.pcap"), crafted)
    wrpcap(str(folder / "scapy-big.pcap"), crafted, endianness=">")
    wrpcap(str(folder / "scapy-nano.pcap"), crafted, nano=True)
    wrpcapng(str(folder / "scapy.pcapng"), crafted)


def by_dpkt(folder, frames):
    import dpkt

    with open(folder / "dpkt.pcapng", "wb") as file:
        writer = dpkt.pcapng.Writer(file, snaplen=65535)
        for number, frame in enumerate(frames):
            writer.writepkt(frame, START + number + 0.25)


def by_python_pcapng(folder, frames, order, name):
    from pcapng import FileWriter, blocks

    section = blocks.SectionHeader(endianness=order)
    options = {"if_name": "other", "if_tsresol": b"\x09"}
    point = section.new_member(blocks.InterfaceDescription, link_type=1, options=options)
    with open(folder / name, "wb") as file:
        writer = FileWriter(file, section)
        for number, frame in enumerate(frames):
            packet = point.section.new_member(blocks.EnhancedPacket, interface_id=0)
            ticks = (START + number) * 10**9 + 123_456_789
            packet.timestamp_high, packet.timestamp_low = ticks >> 32, ticks & 0xFFFFFFFF
            packet.packet_data = frame
            writer.write_block(packet)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory, ours, sent):
    """Return the files that others wrote of our frames, and tshark's reading of them all, in one list."""
    folder = tmp_path_factory.mktemp("theirs")
    frames = [frame for frame, _, _ in sent]
    by_scapy(folder, frames)
    by_dpkt(folder, frames)
    by_python_pcapng(folder, frames, "<", "python-little.pcapng")
    by_python_pcapng(folder, frames, ">", "python-big.pcapng")
    for kind in ("pcap", "nsecpcap", "pcapng"):
        run("editcap", "-F", kind, ours, folder / f"editcap.{kind}")
        run("editcap", "-F", kind, "-s", 30, ours, folder / f"editcap-cut.{kind}")
    (folder / "tcpdump.pcap").write_bytes(run("tcpdump", "-r", "-", "-w", "-", stdin=ours.read_bytes()))
    files = sorted(folder.iterdir())
    together = tmp_path_factory.mktemp("together") / "all.pcapng"
    run("mergecap", "-a", "-w", together, *files)  # one start of tshark for all of them
    return files, tshark(together, "-j", "frame")


@python_pcapng
def test_we_read_captures_of_other_programs(theirs, sent):
    files, expected = theirs
    assert len(files) == 14
    assert len(expected) == len(files) * len(sent)
    for start, path in enumerate(files):
        with Capture(path) as capture:
            read = list(capture)
        assert capture.damage == "", path.name
        by_tshark = expected[start * len(sent) :][: len(sent)]
        assert [frame.data for frame in read] == [bytes.fromhex(t["frame_raw"][0]) for t in by_tshark], (
            path.name
        )
        assert [frame.time for frame in read] == [float(t["frame"]["frame.time_epoch"]) for t in by_tshark], (
            path.name
        )
        assert [frame.original_length for frame in read] == [int(t["frame"]["frame.len"]) for t in by_tshark]
        assert [frame.number for frame in read] == list(range(1, len(sent) + 1))
        assert {frame.linktype for frame in read} == {ETHERNET}


@python_pcapng
def test_the_packets_of_others_captures_are_those_we_crafted(theirs, packets):
    for path in theirs[0]:
        if "cut" not in path.name:
            with Capture(path) as capture:
                assert [network_packet(frame.linktype, frame.data) for frame in capture] == packets, path.name
