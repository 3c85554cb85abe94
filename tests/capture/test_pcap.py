"""The pcap writer: its bytes, and its behaviour on a full disk."""

import errno
import io
import struct

import pytest

from demuxlab.capture.pcap import PcapWriter
from demuxlab.wire.frame import RAW


def test_the_file_begins_with_its_header():
    file = io.BytesIO()
    PcapWriter(file, RAW, snaplen=96)
    assert file.getvalue() == struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, RAW)


def test_a_record_has_the_time_both_lengths_and_the_bytes():
    file = io.BytesIO()
    writer = PcapWriter(file, RAW)
    assert [writer.packet(b"abc", 1_700_000_000.25), writer.packet(b"", 0.0)] == [1, 2]
    record = struct.pack("<IIII", 1_700_000_000, 250_000, 3, 3) + b"abc"
    assert file.getvalue()[24:] == record + bytes(16)


def test_a_long_packet_is_truncated_and_keeps_its_original_length():
    file = io.BytesIO()
    PcapWriter(file, RAW, snaplen=4).packet(memoryview(b"abcdef"), 0.0)
    assert file.getvalue()[24:] == struct.pack("<IIII", 0, 0, 4, 6) + b"abcd"


def test_a_fraction_that_rounds_up_carries_into_the_seconds():
    file = io.BytesIO()
    PcapWriter(file, RAW).packet(b"", 1.9999999)
    assert struct.unpack("<II", file.getvalue()[24:32]) == (2, 0)


@pytest.mark.parametrize("now", [-0.001, 2.0**32, float("nan"), float("inf")])
def test_a_time_that_the_format_cannot_hold_raises_value_error(now):
    file = io.BytesIO()
    writer = PcapWriter(file, RAW)
    with pytest.raises((ValueError, OverflowError)):
        writer.packet(b"", now)
    assert (len(file.getvalue()), writer.frames, writer.lost) == (24, 0, 0)


def test_a_full_disk_is_counted_not_raised():
    with open("/dev/full", "wb", buffering=0) as file:
        writer = PcapWriter(file, RAW)
        assert [writer.packet(b"abc", 0.0), writer.packet(b"abc", 0.0)] == [0, 0]
    assert (writer.frames, writer.lost, writer.error.errno) == (0, 2, errno.ENOSPC)
