"""The corpus, judged by tshark frame by frame: addresses and ports that `flows` and `demux` read."""

import gzip
import json
import shutil
import subprocess
from collections import Counter
from xml.etree import ElementTree

import pytest
from tests.capture.test_reader import modified_pcap, snoop
from tests.flows import mutated, zoo
from tests.flows.corpus import corpus
from tests.flows.reference import answer, reference
from tests.flows.test_tshark import by_tshark, by_us

from demuxlab.capture.reader import Capture
from demuxlab.cli import demux
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.flows.count import count
from demuxlab.flows.one_by_one import OneByOne, Record
from demuxlab.wire import ip
from demuxlab.wire.address import to_text
from demuxlab.wire.tunnels import Unwrapper

CORPUS = list(corpus())
FRAMES = [frame for made in CORPUS if made.linktype == 1 for frame in made.frames]
_TRANSPORT = {"tcp": "tcp", "udp": "udp", "udplite": "udplite", "sctp": "sctp", "dccp": "dccp"}
WAYS = {"outer": 0, "inner": -1}


def write(folder, made):
    """Write a capture of the corpus as a file of its own."""
    path = folder / "x.pcap"
    records = [(number, 0, frame, len(frame)) for number, frame in enumerate(made.frames)]
    path.write_bytes(zoo.pcap(linktype=made.linktype, records=records))
    return path


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """For each frame of each capture, the endpoints that tshark finds, from the outermost header inwards."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    content = zoo.section() + b"".join(zoo.interface(linktype=made.linktype) for made in CORPUS)
    for index, made in enumerate(CORPUS):
        content += b"".join(zoo.packet(frame, index=index, ticks=index * 10**9) for frame in made.frames)
    path = tmp_path_factory.mktemp("corpus") / "all.pcapng"
    path.write_bytes(content)
    called = subprocess.run(
        ["tshark", "-r", path, "-n", "-T", "pdml"], capture_output=True, check=True, timeout=60
    )
    packets = iter(ElementTree.fromstring(called.stdout).findall("packet"))
    return {made.name: [_endpoints(next(packets)) for _ in made.frames] for made in CORPUS}


def _endpoints(packet):
    found, source, destination = [], "", ""
    for header in packet.findall("proto"):
        name = header.get("name")
        fields = {field.get("name"): field.get("show") for field in header.iter("field")}
        if name in ("ip", "ipv6"):
            source, destination = fields.get(f"{name}.src"), fields.get(f"{name}.dst")
            # A type 0 routing header: tshark's conversations are with the last address.
            if fields.get("ipv6.routing.type") == "0" and fields.get("ipv6.routing.segleft") != "0":
                destination = fields["ipv6.routing.src.addr"]
        elif name in _TRANSPORT and (name not in ("tcp", "udp") or f"{name}.stream" in fields):
            ports = fields.get(f"{name}.srcport") or fields.get("udp.srcport")
            to = fields.get(f"{name}.dstport") or fields.get("udp.dstport")
            found.append((_TRANSPORT[name], source, int(ports), destination, int(to)))
    return found


def _frames(made):
    for number, data in enumerate(made.frames):
        yield Record(number, number * 10**9, made.linktype, data, len(data))


@pytest.mark.parametrize("way", WAYS)
def test_flows_reads_what_tshark_reads(theirs, way):
    wrong = {}
    for made in CORPUS:
        reader = OneByOne(inside_udp=way == "inner")
        for record, expected in zip(_frames(made), theirs[made.name], strict=True):
            found = reader.read(record)
            ours = None
            if not isinstance(found, str):
                a, b = (int.from_bytes(found.ports[at : at + 2], "big") for at in (0, 2))
                ends = (to_text(found.source), a, to_text(found.destination), b)
                ours = (ip.PROTOCOL_NAMES[found.protocol], *ends)
            if ours != (expected[WAYS[way]] if expected else None):
                wrong[made.name, record.offset] = (found if ours is None else ours, expected)
    assert wrong == {}


@pytest.mark.parametrize("way", WAYS)
def test_engines_and_the_readable_way_are_equal(tmp_path, way):
    for made in CORPUS:
        path = write(tmp_path, made)
        expected = reference(path, inside_udp=way == "inner")
        assert sum(expected.left_out.values()) <= len(made.frames)
        for engine in zoo.ENGINES:
            assert answer(count(path, engine, inside_udp=way == "inner")) == expected, made.name


@pytest.mark.parametrize("way", WAYS)
def test_demux_reads_what_tshark_reads(tmp_path, theirs, way):
    wrong, verdicts = {}, Counter()
    for made in CORPUS:
        path = write(tmp_path, made)
        with Capture(path) as frames:
            decided = demux._decide(frames, Demultiplexer(explain=True), Unwrapper(inside_udp=way == "inner"))
            rows = [json.loads(json.dumps(demux._as_json(*entry, explain=False))) for entry in decided]
        for row, expected in zip(rows, theirs[made.name], strict=True):
            verdicts[row["verdict"]] += 1
            seen = expected[WAYS[way]] if expected else None
            ours = None
            if row["source"]:
                ours = (row["protocol"], *row["source"], *row["destination"])
            if made.valid and ours != seen:
                wrong[made.name, row["frame"]] = (row, expected)
            if not made.valid and ours is not None:
                assert ours == seen, made.name
            if not made.valid:
                assert row.get("reason") or row["source"], made.name
    assert wrong == {}
    assert verdicts["no-socket"] > 200


FORMATS = {
    "snoop": snoop([(5, frame, len(frame), 3) for frame in FRAMES]),
    "modified pcap": modified_pcap("<", [(5, frame, len(frame)) for frame in FRAMES]),
    "modified pcap, big endian": modified_pcap(">", [(5, frame, len(frame)) for frame in FRAMES]),
    "pcap in nanoseconds": zoo.pcap(">", 0xA1B23C4D, 1, [(5, 7, frame, len(frame)) for frame in FRAMES]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path, name):
    path, packed = tmp_path / "x", tmp_path / "x.gz"
    path.write_bytes(FORMATS[name])
    packed.write_bytes(gzip.compress(FORMATS[name]))
    for engine in zoo.ENGINES:
        assert answer(count(path, engine)) == answer(count(packed, engine)) == reference(path)
        assert by_us(path, engine) == by_tshark(path)


def test_outer_headers_are_named(tmp_path):
    named = {}
    for made in CORPUS:
        with Capture(write(tmp_path, made)) as frames:
            for frame in frames:
                inner = Unwrapper(inside_udp=True).read(frame.linktype, frame.data, 0.0)
                named[made.name] = getattr(inner, "outer", ())
    assert named["pppoe, IPv4"] == ("PPPoE",)
    assert named["mpls, two labels, IPv4"] == ("MPLS 16 17",)
    [first, second] = named["ERSPAN II, IPv6"]
    assert first.startswith("GRE 10.")
    assert second == "ERSPAN"
    assert named["ethernet, IPv4"] == named["vlan, IPv6"] == ()


@pytest.mark.parametrize("engine", zoo.ENGINES)
def test_mutated_captures_raise_nothing(tmp_path, engine):
    mutated.run(tmp_path / "x.pcap", 60, engine, seed=len(engine))
