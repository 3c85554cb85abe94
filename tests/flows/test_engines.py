"""Both engines give the result of the reference, on any input."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.flows import zoo
from tests.flows.reference import answer, reference

from demuxlab.capture.reader import CaptureError
from demuxlab.flows import parallel_scan, vectorised
from demuxlab.flows.count import count


@pytest.fixture(params=[True, False], ids=["small batches", "large batches"], autouse=True)
def _small(request, monkeypatch):
    """Make a few kilobytes many batches and many lanes."""
    if request.param:
        monkeypatch.setattr(vectorised.Vectorised, "batch", 3000)
        if "numba" in zoo.ENGINES:
            from demuxlab.flows import compiled

            monkeypatch.setattr(compiled.Compiled, "batch", 1000)
            monkeypatch.setattr(compiled, "_FIRST_ROWS", 2)
    monkeypatch.setattr(parallel_scan, "SHORTEST_LANE", 300)
    monkeypatch.setattr(parallel_scan, "_FEWEST", 2)


@st.composite
def frames(draw, linktype):
    shape = draw(st.sampled_from(zoo.PACKETS))
    a, b = draw(st.sampled_from([(1, 2), (2, 1), (3, 1), (2, 2)]))
    frame = zoo.framed(linktype, shape(a, b), draw(st.integers(0, 3)))
    cut = draw(st.one_of(st.just(len(frame)), st.integers(0, len(frame))))
    return frame[:cut], len(frame)


@st.composite
def pcaps(draw):
    order = draw(st.sampled_from(zoo.ORDERS))
    linktype = draw(st.sampled_from(zoo.LINKTYPES))
    magic = draw(st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]))
    seen = draw(st.lists(frames(linktype), max_size=60))
    times = draw(st.integers(0, 2**32 - 1))
    records = [(times, number, data, original) for number, (data, original) in enumerate(seen)]
    return zoo.pcap(order, magic, linktype, records)


@st.composite
def pcapngs(draw):
    content = b""
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.sampled_from(zoo.ORDERS))
        content += zoo.section(order)
        linktypes = draw(st.lists(st.sampled_from(zoo.LINKTYPES), min_size=1, max_size=3))
        for linktype in linktypes:
            resolution = zoo.option(9, bytes((draw(st.sampled_from([6, 9, 0x8A])),)), order)
            content += zoo.interface(order, linktype, resolution)
        for ticks in range(draw(st.integers(0, 30))):
            index = draw(st.integers(0, len(linktypes) - 1))
            data, original = draw(frames(linktypes[index]))
            options = draw(st.sampled_from([b"", zoo.option(1, b"why", order) + bytes(4)]))
            kind = draw(st.sampled_from("eeeeeeosn"))
            if kind == "e":
                content += zoo.packet(data, order, index, ticks, options, original)
            elif kind == "o":
                content += zoo.obsolete_packet(data, order, index, ticks, options)
            elif kind == "s" and len(data) % 4 == 0:
                content += zoo.simple_packet(data, len(data), order)
            else:
                content += zoo.block(4, bytes(8), order)
    return content


@st.composite
def damaged(draw, contents):
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content) - 1)) if content else 0
        match draw(st.sampled_from(["flip", "cut", "insert", "length"])):
            case "flip":
                content[at : at + 1] = bytes((draw(st.integers(0, 255)),))
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = draw(st.binary(max_size=9))
            case "length":
                content[at : at + 4] = struct.pack(
                    "<I", draw(st.sampled_from([0, 4, 12, 28, 2**31, 2**32 - 1]))
                )
    return bytes(content)


def check(path):
    answers = [
        result(reference, path),
        *(result(lambda path, name=name: answer(count(path, name)), path) for name in zoo.ENGINES),
    ]
    assert answers == answers[:1] * len(answers)


def result(read, path):
    """Return the answer, or the text of the CaptureError."""
    try:
        return read(path)
    except CaptureError as refused:
        return str(refused)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("flows") / "x.pcap"


anything = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@anything
@given(content=pcaps())
def test_pcap(path, content):
    path.write_bytes(content)
    check(path)


@anything
@given(content=pcapngs())
def test_pcapng(path, content):
    path.write_bytes(content)
    check(path)


@anything
@given(content=damaged(st.one_of(pcaps(), pcapngs())))
def test_damage(path, content):
    path.write_bytes(content)
    check(path)


@pytest.mark.parametrize("order", zoo.ORDERS)
@pytest.mark.parametrize("length", [4, 5, 8, 9, 65535])
def test_an_option_longer_than_its_block(path, order, length):
    code = struct.pack(order + "HH", 1, length) + bytes(8)
    accepted, bad = (zoo.packet(zoo.tcp4(1, 2), order, options=options) for options in (b"", code))
    path.write_bytes(zoo.section(order) + zoo.interface(order) + accepted + bad + accepted)
    check(path)
    assert reference(path).packets == (3 if length <= 8 else 1)
