"""Sources of a capture: files, compressed files, standard input; and the memory that reading takes."""

import gzip
import io
import subprocess
import sys
from importlib import import_module

import pytest
from tests.flows import zoo
from tests.flows.reference import answer, reference

from demuxlab.capture.reader import CaptureError
from demuxlab.flows import parallel_scan
from demuxlab.flows.count import count

try:
    zstd = import_module("compression.zstd")
except ImportError:
    zstd = import_module("backports.zstd")

CONTENT = zoo.pcap(records=[(second, 0, zoo.tcp4(1 + second % 7, 9), 80) for second in range(5000)])
PACKERS = {"gzip": gzip.compress, "zstd": zstd.compress}


@pytest.fixture
def expected(tmp_path):
    path = tmp_path / "plain.pcap"
    path.write_bytes(CONTENT)
    return reference(path)


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed(tmp_path, expected, kind):
    path = tmp_path / "x.pcap"  # compression is recognised by content, not by the file's name
    path.write_bytes(PACKERS[kind](CONTENT))
    assert answer(count(path)) == expected


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_in_several_pieces(tmp_path, expected, kind):
    path = tmp_path / "x.pcap"
    path.write_bytes(PACKERS[kind](CONTENT[:999]) + PACKERS[kind](CONTENT[999:]))
    assert answer(count(path)) == expected


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_and_cut(tmp_path, expected, kind):
    packed = PACKERS[kind](CONTENT)
    path = tmp_path / "x.pcap"
    path.write_bytes(packed[:-20])
    counted = count(path)
    assert 0 < counted.packets <= expected.packets
    assert "unreadable at byte" in counted.damage
    assert "the compressed data is cut" in counted.damage


def test_compressed_and_damaged(tmp_path):
    packed = bytearray(gzip.compress(CONTENT))
    packed[-6] ^= 1  # the checksum
    path = tmp_path / "x.pcap"
    path.write_bytes(packed)
    assert "the compressed data is damaged" in count(path).damage


def test_an_unsupported_compression_is_refused(tmp_path):
    path = tmp_path / "x.pcap.xz"
    path.write_bytes(b"\xfd7zXZ" + bytes(20))
    with pytest.raises(CaptureError, match="decompress it first, xz -dc"):
        count(path)


class Slow(io.RawIOBase):
    """A pipe whose writer writes a few bytes at a time."""

    def __init__(self, content):
        self._content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, room):
        return self._content.readinto(memoryview(room)[:7])


@pytest.mark.parametrize("content", [CONTENT, gzip.compress(CONTENT), zstd.compress(CONTENT)])
def test_standard_input(monkeypatch, expected, content):
    monkeypatch.setattr("demuxlab.capture.source._standard_input", lambda: Slow(content))
    assert answer(count("-")) == expected


def test_a_packet_longer_than_a_batch(tmp_path):
    frame = zoo.udp4(1, 2) + bytes(5 << 20)
    content = zoo.section() + zoo.interface() + zoo.packet(frame) + zoo.packet(zoo.udp4(2, 1))
    path = tmp_path / "x.pcapng"
    path.write_bytes(content)
    for engine in zoo.ENGINES:
        assert answer(count(path, engine)) == reference(path)


def test_wrong_guesses_do_not_change_the_result(tmp_path, monkeypatch):
    """A packet whose payload is a capture: records of it look like those of the file."""
    inner = zoo.pcap(records=[(5, 0, zoo.tcp4(1, 2), 45)] * 400)
    path = tmp_path / "x.pcap"
    path.write_bytes(zoo.pcap(records=[(5, n, zoo.udp4(3, 4, inner), len(inner) + 28) for n in range(9)]))
    found = []
    scan = parallel_scan.scan

    def watched(at, end, guesses, *rest):
        found.append(len(guesses))
        return scan(at, end, guesses, *rest)

    monkeypatch.setattr(parallel_scan, "scan", watched)
    counted = count(path, "numpy")
    assert max(found) > 16
    assert answer(counted) == reference(path)
    assert counted.packets == 9


@pytest.mark.parametrize("engine", zoo.ENGINES)
def test_memory_does_not_grow_with_the_file(tmp_path, engine):
    """Sixteen times the packets, of the same conversations, in the same memory."""

    def peak(times):
        path = tmp_path / f"{times}.pcap"
        with path.open("wb") as file:
            file.write(CONTENT)
            for _ in range(times):
                file.write(CONTENT[24:] * 8)
        program = (
            "import resource, sys; from demuxlab.flows.count import count; "
            f"count(sys.argv[1], {engine!r}); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        called = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
        )
        return int(called.stdout)

    small, large = peak(4), peak(64)
    assert (tmp_path / "64.pcap").stat().st_size > 30 << 20
    assert large - small < 4096  # KiB
