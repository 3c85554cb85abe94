"""The capture reader: files built here by hand from the drafts, whole, truncated, damaged and random."""

import errno
import gzip
import io
import math
import os
import struct
import threading
from importlib import import_module

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demuxlab.capture import source
from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.capture.reader import Capture, CaptureError, Frame
from demuxlab.capture.section import MAX_BLOCK
from demuxlab.wire.frame import ETHERNET, RAW

ORDERS = ["<", ">"]

try:
    zstd = import_module("compression.zstd")
except ImportError:
    zstd = import_module("backports.zstd")


def pcap(order="<", magic=0xA1B2C3D4, linktype=RAW, records=(), snaplen=65535):
    """Records are (seconds, fraction, data, original length)."""
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype)
    return head + b"".join(
        struct.pack(order + "IIII", seconds, fraction, len(data), original) + data
        for seconds, fraction, data, original in records
    )


def block(kind, body, order="<"):
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code, value, order="<"):
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order="<", linktype=RAW, options=b"", snaplen=0):
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def packet(data, order="<", index=0, ticks=0, options=b"", original=None):
    length = len(data) if original is None else original
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def simple_packet(data, original, order="<"):
    return block(3, struct.pack(order + "I", original) + data, order)


def obsolete_packet(data, order="<", index=0, ticks=0, options=b""):
    head = struct.pack(order + "HHII", index, 5, ticks >> 32, ticks & 0xFFFFFFFF)
    head += struct.pack(order + "II", len(data), len(data))
    return block(2, head + data + bytes(-len(data) % 4) + options, order)


@pytest.fixture
def read(tmp_path):
    """A function: read(content) returns (frames, damage)."""

    def act(content):
        path = tmp_path / "x.pcapng"
        path.write_bytes(content)
        with Capture(path) as capture:
            frames = list(capture)
            assert capture.frames == len(frames)
            return frames, capture.damage

    return act


@pytest.fixture
def refused(tmp_path):
    """A function: refused(content) returns the one-line message, without the file's folder."""

    def act(content):
        path = tmp_path / "x y.pcap"
        path.write_bytes(content)
        with pytest.raises(CaptureError) as caught:
            Capture(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return act


# pcap


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("magic", "fraction"), [(0xA1B2C3D4, 250_000), (0xA1B23C4D, 250_000_000)])
def test_pcap(read, order, magic, fraction):
    records = [(1_700_000_000, fraction, b"one", 3), (2**32 - 1, 0, b"", 1500)]
    frames, damage = read(pcap(order, magic, ETHERNET, records))
    assert frames == [
        Frame(1, 1_700_000_000.25, ETHERNET, b"one", 3),
        Frame(2, 4_294_967_295.0, ETHERNET, b"", 1500),
    ]
    assert damage == ""


@pytest.mark.parametrize("order", ORDERS)
def test_pcap_linktype_without_its_high_bits(read, order):
    [frame], _ = read(pcap(order, linktype=0x24000000 | 276, records=[(0, 0, b"x", 1)]))
    assert frame.linktype == 276


def test_pcap_without_packets(read):
    assert read(pcap()) == ([], "")


def test_pcap_cut_at_every_byte(read):
    records = [(1, 0, b"first", 5), (2, 0, b"second", 6)]
    content = pcap(records=records)
    ends = {24: 0, 45: 1, 67: 2}
    for size in range(4, len(content) + 1):
        frames, damage = read(content[:size])
        whole = sum(size >= end for end in (45, 67))
        assert [frame.data for frame in frames] == [b"first", b"second"][:whole]
        assert damage.startswith(f"cut at byte {size}: ") == (size not in ends)
        assert bool(damage) == (size not in ends)


def test_pcap_packet_of_an_impossible_length(read):
    good = pcap(records=[(0, 0, b"good", 4)])
    frames, damage = read(good + struct.pack("<IIII", 0, 0, 262_145, 60) + bytes(300_000))
    assert [frame.data for frame in frames] == [b"good"]
    assert damage == "damaged at byte 44: a packet of 262145 bytes; the one packet before it was read"


def test_pcap_with_packets_beyond_its_snaplen(read):
    frames, damage = read(pcap(snaplen=96, records=[(0, 0, bytes(1500), 1500)]))
    assert ([len(frame.data) for frame in frames], damage) == ([1500], "")


def test_pcap_whose_snaplen_allows_longer_packets(read):
    frames, damage = read(pcap(snaplen=300_000, records=[(0, 0, bytes(300_000), 300_000)]))
    assert ([len(frame.data) for frame in frames], damage) == ([300_000], "")


def test_no_snaplen_allows_more_than_the_largest_block(read):
    _, damage = read(pcap(snaplen=2**32 - 1) + struct.pack("<IIII", 0, 0, MAX_BLOCK + 1, 60))
    assert damage.startswith("damaged at byte 24: a packet of 67108865 bytes")


# pcapng


@pytest.mark.parametrize("order", ORDERS)
def test_pcapng_with_every_field(read, order):
    options = b"".join(
        [
            option(1, "é → P4".encode(), order),
            option(1, b"a second comment", order),
            option(2, struct.pack(order + "I", 0b01), order),
            option(5, struct.pack(order + "Q", 2**63 + 1), order),
            option(6, struct.pack(order + "I", 7), order),
            option(0, b"", order),
        ]
    )
    content = section(order) + interface(order, ETHERNET, option(2, b"wire", order))
    content += packet(b"abcde", order, ticks=1_700_000_000_500_000, options=options, original=99)
    frames, damage = read(content)
    assert damage == ""
    assert frames == [
        Frame(1, 1_700_000_000.5, ETHERNET, b"abcde", 99, 0, "wire", "é → P4", True, 7, 2**63 + 1)
    ]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("flags", "inbound"), [(0, None), (1, True), (2, False), (3, None), (0x6, False)])
def test_direction(read, order, flags, inbound):
    options = option(2, struct.pack(order + "I", flags), order)
    [frame], _ = read(section(order) + interface(order) + packet(b"", order, options=options))
    assert frame.inbound is inbound


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("resolution", "ticks", "time"),
    [
        (b"\x00", 7, 7.0),
        (b"\x03", 1500, 1.5),
        (b"\x09", 1_700_000_000_123_456_789, 1_700_000_000.123456789),
        (b"\x80", 7, 7.0),
        (b"\x8a", 1536, 1.5),
        (b"\xff", 2**64 - 1, (2**64 - 1) / 2**127),
        (b"\x7f", 2**64 - 1, (2**64 - 1) / 10**127),
        (b"", 1_500_000, 1.5),  # malformed, so the default
    ],
)
def test_time_resolution(read, order, resolution, ticks, time):
    content = section(order) + interface(order, options=option(9, resolution, order))
    [frame], damage = read(content + packet(b"", order, ticks=ticks))
    assert (frame.time, damage) == (time, "")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("offset", [1_600_000_000, -5, 2**63 - 1, -(2**63)])
def test_time_offset(read, order, offset):
    options = option(14, struct.pack(order + "q", offset), order)
    [frame], damage = read(
        section(order) + interface(order, options=options) + packet(b"", order, ticks=250_000)
    )
    assert (frame.time, damage) == (offset + 0.25, "")


def test_time_offset_with_the_finest_resolution(read):
    options = option(9, b"\x7f") + option(14, struct.pack("<q", 2**63 - 1))
    [frame], _ = read(section() + interface(options=options) + packet(b"", ticks=1))
    assert math.isclose(frame.time, 2.0**63)


@pytest.mark.parametrize("order", ORDERS)
def test_simple_packets_are_cut_to_the_snaplen(read, order):
    content = section(order) + interface(order, ETHERNET, option(2, b"a", order), snaplen=6)
    content += simple_packet(b"abcdef", 1500, order) + simple_packet(b"xyz", 3, order)
    frames, damage = read(content)
    assert frames == [
        Frame(1, 0.0, ETHERNET, b"abcdef", 1500, 0, "a"),
        Frame(2, 0.0, ETHERNET, b"xyz", 3, 0, "a"),
    ]
    assert damage == ""


@pytest.mark.parametrize("order", ORDERS)
def test_obsolete_packets(read, order):
    content = section(order) + interface(order) + interface(order, options=option(2, b"b", order))
    comment = option(1, b"old", order)
    frames, damage = read(content + obsolete_packet(b"abc", order, 1, 2_000_000, comment))
    assert frames == [Frame(1, 2.0, RAW, b"abc", 3, 1, "b", "old")]
    assert damage == ""


def test_other_blocks_are_skipped(read):
    names = block(4, option(1, b"\x0a\0\0\1A\0") + bytes(4))
    statistics = block(5, bytes(12))
    unknown = block(0x8000BEEF, b"whatever")
    empty = block(0x0BAD, b"")
    content = section() + names + interface() + unknown + empty + packet(b"x") + statistics + packet(b"y")
    frames, damage = read(content)
    assert [(frame.number, frame.data) for frame in frames] == [(1, b"x"), (2, b"y")]
    assert damage == ""


def test_sections_have_their_own_byte_order_and_interfaces(read):
    content = section("<") + interface("<", RAW, option(2, b"a")) + interface("<", ETHERNET, option(2, b"b"))
    content += packet(b"one", "<", 1)
    content += section(">") + interface(">", 276, option(2, b"c", ">")) + packet(b"two", ">", 0)
    content += section("<") + packet(b"three")
    frames, damage = read(content)
    seen = [(f.number, f.interface, f.interface_name, f.linktype, f.data) for f in frames]
    assert seen == [(1, 1, "b", ETHERNET, b"one"), (2, 0, "c", 276, b"two")]
    start = len(content) - len(packet(b"three"))
    assert damage == (
        f"damaged at byte {start}: a packet of interface 0, which is not described; "
        "the 2 packets before it were read"
    )


def test_what_follows_the_end_of_the_options_is_not_read(read):
    options = option(0, b"") + option(1, b"not a comment")
    [frame], damage = read(section() + interface() + packet(b"", options=options))
    assert (frame.comment, damage) == ("", "")


def test_numbers_of_a_wrong_length_are_bounded(read):
    options = option(5, b"\xff" * 65535) + option(6, b"\1")
    [frame], _ = read(section() + interface() + packet(b"", options=options))
    assert (frame.packet_id, frame.queue) == (2**64 - 1, 1)


def test_text_that_is_not_utf8_is_replaced(read):
    content = section() + interface(options=option(2, b"\xff")) + packet(b"", options=option(1, b"a\xc3"))
    [frame], _ = read(content)
    assert (frame.interface_name, frame.comment) == ("\ufffd", "a\ufffd")


# damage


def test_pcapng_cut_at_every_byte(read):
    parts = [section(), interface(), packet(b"first"), packet(b"second", options=option(1, b"c"))]
    content = b"".join(parts)
    ends = [sum(len(part) for part in parts[: n + 1]) for n in range(4)]
    for size in range(12, len(content) + 1):
        frames, damage = read(content[:size])
        whole = sum(size >= end for end in ends[2:])
        assert [frame.data for frame in frames] == [b"first", b"second"][:whole]
        assert bool(damage) == (size not in ends)
        if damage:
            counted = ["there is no packet before it", "the one packet before it was read"][whole]
            cut = f"cut at byte {size}: the last packet's block is not whole; {counted}"
            assert damage == cut


GOOD = section() + interface() + packet(b"good")


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (struct.pack("<III", 6, 8, 8), "a block of 8 bytes"),
        (struct.pack("<III", 6, 0, 0), "a block of 0 bytes"),
        (struct.pack("<II", 6, 33) + bytes(40), "a block of 33 bytes"),
        (struct.pack("<III", 6, (64 << 20) + 4, 0), "a block of 67108868 bytes"),
        (struct.pack("<III", 6, 2**32 - 4, 0), "a block of 4294967292 bytes"),
        (struct.pack("<IIII", 9, 16, 0, 20), "a block whose two lengths differ"),
        (block(6, bytes(16)), "a block too short for its fields"),
        (block(3, b""), "a block too short for its fields"),
        (block(2, bytes(8)), "a block too short for its fields"),
        (block(1, bytes(4)), "a block too short for its fields"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + bytes(4)), "a packet of 5 bytes in a block of 36"),
        (simple_packet(b"abcd", 6), "a packet of 6 bytes in a block of 20"),
        (packet(b"", index=1), "a packet of interface 1, which is not described"),
        (packet(b"", options=struct.pack("<HH", 1, 5) + bytes(4)), "an option longer than its block"),
        (interface(options=struct.pack("<HH", 2, 9) + bytes(8)), "an option longer than its block"),
    ],
)
def test_damage_ends_reading_and_is_reported(read, tail, what):
    frames, damage = read(GOOD + tail + packet(b"lost"))
    assert [frame.data for frame in frames] == [b"good"]
    assert damage == f"damaged at byte {len(GOOD)}: {what}; the one packet before it was read"


def test_a_block_longer_than_the_file_is_read_up_to_its_end(read):
    content = GOOD + struct.pack("<III", 6, 64 << 20, 0)
    frames, damage = read(content)
    assert len(frames) == 1
    assert damage.startswith(f"cut at byte {len(content)}: ")


def test_no_content_raises_anything_but_capture_error(tmp_path):
    path = tmp_path / "garbage"

    def survive(content):
        path.write_bytes(content)
        message = ""
        try:
            with Capture(path) as capture:
                frames = list(capture)
                assert capture.frames == len(frames)
        except CaptureError as error:
            frames, message = [], str(error)
        assert "\n" not in message
        assert all(len(frame.data) <= len(content) for frame in frames)
        assert all(math.isfinite(frame.time) for frame in frames)

    order = st.sampled_from(ORDERS)
    words = st.binary(max_size=80)
    kinds = st.sampled_from([1, 2, 3, 4, 5, 6, 9, 0x0A0D0D0A])
    some_block = st.builds(block, kinds, words, order)
    blocks = st.builds(
        lambda way, parts: section(way) + interface(way) + b"".join(parts),
        order,
        st.lists(some_block, max_size=4),
    )
    records = st.builds(lambda way, tail: pcap(way) + tail, order, words)
    mutated = st.builds(
        lambda content, at, byte: content[: at % len(content)] + byte + content[at % len(content) + 1 :],
        st.just(GOOD + packet(b"more", options=option(1, b"comment") + option(6, b"\1\0\0\0"))),
        st.integers(0, 1000),
        st.binary(min_size=1, max_size=1),
    )

    @settings(derandomize=True, deadline=None, max_examples=500)
    @given(st.one_of(st.binary(max_size=64), blocks, records, mutated))
    @example(b"")
    @example(section() + interface(options=option(9, b"\x7f") + option(14, b"\x7f" * 9000)) + packet(b""))
    def any_bytes(content):
        survive(content)

    any_bytes()


# what is refused


def test_a_text_file(refused):
    assert refused(b"hello, world") == (
        "x y.pcap is not a pcap or pcapng file (it starts with 0x68656c6c): "
        "give a capture saved by Wireshark, tcpdump or demuxlab"
    )


@pytest.mark.parametrize(
    "content", [b"\xa1", b"\n\r\r\n", b"\n\r\r\n" + bytes(20), section()[:11], bytes(100)]
)
def test_not_a_capture(refused, content):
    assert f"is not a pcap or pcapng file (it starts with 0x{content[:4].hex()})" in refused(content)


def test_an_empty_file(refused):
    assert refused(b"") == "x y.pcap is empty: capture again, nothing was written to it"


@pytest.mark.parametrize(
    ("content", "program"),
    [
        (b"\x04\x22\x4d\x18" + bytes(9), "lz4"),
        (b"\xfd7zXZ\0" + bytes(9), "xz"),
    ],
)
def test_a_compressed_file(refused, content, program):
    message = refused(content)
    assert message.startswith(f"x y.pcap is compressed with {program}: decompress it first, {program} -dc ")
    assert message.endswith(f"{program} -dc 'x y.pcap' > capture.pcapng")


@pytest.mark.parametrize("packed", [gzip.compress, zstd.compress])
def test_gzip_and_zstd_are_read(read, packed):
    content = packed(GOOD + packet(b"more"))
    frames, damage = read(content)
    assert ([frame.data for frame in frames], damage) == ([b"good", b"more"], "")
    frames, damage = read(packed(GOOD) + content[:-9])
    assert damage.startswith("unreadable at byte ")
    assert "the compressed data is cut" in damage


def snoop(records, kind=4):
    """Records are (seconds, data, original length, padding)."""
    content = b"snoop\0\0\0" + struct.pack(">II", 2, kind)
    for seconds, data, original, padding in records:
        head = (original, len(data), 24 + len(data) + padding, 0, seconds, 500_000)
        content += struct.pack(">IIIIII", *head) + data + bytes(padding)
    return content


def modified_pcap(order, records):
    """Kuznetzov's: the interface, the protocol and the type of each packet behind its lengths."""
    content = struct.pack(order + "IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, ETHERNET)
    for seconds, data, original in records:
        content += struct.pack(order + "IIIIIHBB", seconds, 500_000, len(data), original, 2, 8, 0, 0) + data
    return content


def test_snoop(read):
    frames, damage = read(snoop([(5, b"one", 3, 1), (6, b"two!", 1500, 0)]))
    assert frames == [Frame(1, 5.5, ETHERNET, b"one", 3), Frame(2, 6.5, ETHERNET, b"two!", 1500)]
    assert damage == ""
    frames, damage = read(snoop([(5, b"one", 3, 0)]) + struct.pack(">IIIIII", 9, 9, 20, 0, 0, 0) + bytes(99))
    assert [frame.data for frame in frames] == [b"one"]
    assert damage.startswith("damaged at byte 43: a packet of 9 bytes")


@pytest.mark.parametrize("order", ORDERS)
def test_modified_pcap(read, order):
    frames, damage = read(modified_pcap(order, [(5, b"one", 3), (6, b"two", 1500)]))
    assert frames == [Frame(1, 5.5, ETHERNET, b"one", 3), Frame(2, 6.5, ETHERNET, b"two", 1500)]
    assert damage == ""


def test_a_missing_file(tmp_path):
    with pytest.raises(CaptureError, match=r"there is no file .*/none: check the name and the folder"):
        Capture(tmp_path / "none")


def test_a_directory(tmp_path):
    with pytest.raises(CaptureError, match="is a directory: give one capture file in it"):
        Capture(tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            r"it's.pcap may not be read .*: .* 'it'\"'\"'s.pcap'",
        ),
        (OSError(errno.ELOOP, "Too many links"), r"it's.pcap cannot be opened \(Too many links\): give"),
    ],
)
def test_a_file_that_may_not_be_opened(monkeypatch, error, message):
    def refuse(*_, **_how):
        raise error

    monkeypatch.setattr(source, "open", refuse, raising=False)
    with pytest.raises(CaptureError, match=message):
        Capture("it's.pcap")


def test_file_names_with_control_characters_are_quoted():
    with pytest.raises(CaptureError, match=r"'a\\nb' is not a file name|there is no file 'a\\nb'"):
        Capture("a\nb")
    with pytest.raises(CaptureError, match=r"'a\\x00' is not a file name"):
        Capture("a\0")


class FailingFile(io.RawIOBase):
    """A file that returns its content, then fails as a broken disk does."""

    def __init__(self, content):
        self.content = content

    def readable(self):
        return True

    def readinto(self, room):
        if not self.content:
            raise OSError(errno.EIO, "Input/output error")
        taken, self.content = self.content[: len(room)], self.content[len(room) :]
        room[: len(taken)] = taken
        return len(taken)


def test_a_disk_that_fails_at_once(monkeypatch):
    file = FailingFile(b"")
    monkeypatch.setattr(source, "open", lambda *_, **_how: file, raising=False)
    with pytest.raises(CaptureError) as caught:
        Capture("x")
    assert str(caught.value) == "x cannot be read (Input/output error): give another copy of it"
    assert file.closed


def test_a_disk_that_fails_later(monkeypatch):
    monkeypatch.setattr(source, "open", lambda *_, **_how: FailingFile(GOOD), raising=False)
    with Capture("x") as capture:
        assert [frame.data for frame in capture] == [b"good"]
    assert capture.damage == (
        f"unreadable at byte {len(GOOD)}: Input/output error; the one packet before it was read"
    )


# the object


def test_iteration_is_once_and_can_be_continued(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap(records=[(0, 0, bytes([n]), 1) for n in range(5)]))
    with Capture(str(path)) as capture:
        for frame in capture:
            if frame.number == 2:
                break
        assert capture.frames == 2
        assert [frame.number for frame in capture] == [3, 4, 5]
        assert list(capture) == []


def test_the_file_is_closed_on_exit_and_when_it_is_refused(monkeypatch):
    files = []

    def remember(content):
        def act(*_, **_how):
            files.append(FailingFile(content))
            return files[-1]

        return act

    monkeypatch.setattr(source, "open", remember(GOOD), raising=False)
    with Capture("x"):
        assert not files[0].closed
    assert files[0].closed
    monkeypatch.setattr(source, "open", remember(b"not a capture at all"), raising=False)
    with pytest.raises(CaptureError):
        Capture("x")
    assert files[1].closed


def test_a_pipe_is_read_as_data_arrives(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def feed():
        with open(path, "wb", buffering=0) as file:
            for byte in GOOD:
                file.write(bytes([byte]))

    thread = threading.Thread(target=feed)
    thread.start()
    with Capture(path) as capture:
        assert [frame.data for frame in capture] == [b"good"]
    thread.join()
    assert capture.damage == ""


def test_round_trip_of_the_pcapng_writer(tmp_path):
    path = tmp_path / "x.pcapng"
    times = [0.0, 0.1, 1_700_000_000.123456, 18_446_744_073.0]
    with open(path, "wb", buffering=0) as file:
        writer = PcapngWriter(file, comment="a lab")
        writer.interface("wire", ETHERNET)
        writer.interface("P4", ETHERNET)
        writer.names({b"\x0a\0\0\1": "A"})
        for n, now in enumerate(times):
            writer.packet(
                bytes(n), now, interface=1, comment=f"é {n}", inbound=n % 2 == 0, queue=n, packet_id=n << 40
            )
        writer.statistics(1, times[-1], received=4, dropped=0)
    with Capture(path) as capture:
        assert list(capture) == [
            Frame(n + 1, now, ETHERNET, bytes(n), n, 1, "P4", f"é {n}", n % 2 == 0, n, n << 40)
            for n, now in enumerate(times)
        ]
        assert capture.damage == ""


@pytest.mark.parametrize("order", ORDERS)
def test_address_names_and_the_section_s_comment(tmp_path, order):
    v4 = struct.pack(order + "HH", 1, 6) + b"\x0a\x09\x00\x14B\0" + b"\0" * 2
    v6 = struct.pack(order + "HH", 2, 21) + bytes(15) + b"\x01" + b"lo\0x\0" + bytes(3)
    odd = struct.pack(order + "HH", 9, 3) + b"odd\0"
    cut = struct.pack(order + "HH", 1, 400) + b"\x0a\x09\x00\x14C\0"
    head = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, b"lab 04", order)
    path = tmp_path / "names.pcapng"
    path.write_bytes(block(0x0A0D0D0A, head, order) + block(4, v4 + v6 + odd + cut, order))
    with Capture(path) as capture:
        assert list(capture) == []
    assert capture.comment == "lab 04"
    assert capture.names == {bytes((10, 9, 0, 20)): "B", bytes(15) + b"\x01": "lo"}
    assert capture.damage == ""


def test_an_invalid_section_comment_is_ignored(tmp_path):
    head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + struct.pack("<HH", 1, 5000)
    path = tmp_path / "odd.pcapng"
    path.write_bytes(block(0x0A0D0D0A, head) + interface() + packet(b"data"))
    with Capture(path) as capture:
        assert [frame.data for frame in capture] == [b"data"]
    assert capture.comment == ""
