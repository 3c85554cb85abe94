"""The pcapng writer: its bytes, compared with the draft, and its behaviour on a full disk."""

import errno
import io
import os
import struct

import pytest

from demuxlab.capture.pcapng import PcapngWriter
from demuxlab.wire.frame import ETHERNET, IPV4, RAW


def blocks(data):
    """Yield (kind, body) for each block, both lengths checked."""
    while data:
        kind, size = struct.unpack_from("<II", data)
        assert size % 4 == 0
        assert struct.unpack_from("<I", data, size - 4) == (size,)
        yield kind, data[8 : size - 4]
        data = data[size:]


def options(body):
    """Return [(code, value)] up to the end-of-options mark, which must be the body's last four bytes."""
    found = []
    while True:
        code, size = struct.unpack_from("<HH", body)
        if code == 0:
            assert (size, len(body)) == (0, 4)
            return found
        found.append((code, body[4 : 4 + size]))
        body = body[4 + size + -size % 4 :]


def written(act, **section):
    """Return the blocks that `act` writes after the section header and one Ethernet interface."""
    file = io.BytesIO()
    writer = PcapngWriter(file, **section)
    writer.interface("wire", ETHERNET)
    act(writer)
    assert writer.error is None
    return list(blocks(file.getvalue()))


def packet_block(data=b"", now=0.0, **fields):
    kind, body = written(lambda writer: writer.packet(data, now, **fields))[2]
    assert kind == 6
    return body


def test_section_header():
    [(kind, body), _] = written(lambda writer: None, comment="a lab", application="probe 1")
    assert kind == 0x0A0D0D0A
    assert body[:16] == struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    assert options(body[16:]) == [(1, b"a lab"), (4, b"probe 1")]


def test_section_header_without_comment_names_demuxlab():
    [(_, body), _] = written(lambda writer: None)
    assert options(body[16:]) == [(4, b"demuxlab")]


def test_interface_description():
    file = io.BytesIO()
    writer = PcapngWriter(file)
    assert writer.interface("wire", ETHERNET, snaplen=2000, description="the link") == 0
    assert writer.interface("P4", ETHERNET, snaplen=2000) == 1
    _, (kind, first), (_, second) = blocks(file.getvalue())
    assert kind == 1
    assert first[:8] == struct.pack("<HHI", 1, 0, 2000)
    assert options(first[8:]) == [(2, b"wire"), (3, b"the link"), (9, b"\x09")]
    assert options(second[8:]) == [(2, b"P4"), (9, b"\x09")]


@pytest.mark.parametrize(
    ("first", "second"),
    [((RAW, 100), (RAW, 100)), ((ETHERNET, 100), (IPV4, 100)), ((ETHERNET, 100), (ETHERNET, 99))],
)
def test_interfaces_that_libpcap_cannot_read_are_refused(first, second):
    file = io.BytesIO()
    writer = PcapngWriter(file)
    writer.interface("a", first[0], snaplen=first[1])
    before = file.getvalue()
    with pytest.raises(ValueError, match="one linktype, not RAW, and one snaplen"):
        writer.interface("b", second[0], snaplen=second[1])
    assert file.getvalue() == before


def test_names():
    v6 = bytes.fromhex("20010db8000000000000000000000001")
    _, _, (kind, body) = written(lambda writer: writer.names({b"\x0a\0\0\1": "A", v6: "Büro"}))
    assert kind == 4
    assert options(body) == [(1, b"\x0a\0\0\1A\0"), (2, v6 + "Büro".encode() + b"\0")]


def test_an_address_of_another_length_is_refused():
    with pytest.raises(ValueError, match="4 or 16 bytes, not 5"):
        written(lambda writer: writer.names({b"12345": "E"}))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 60])
def test_a_packet_alone(size):
    data = bytes(range(1, size + 1))
    body = packet_block(data, 3.5)
    assert body[:20] == struct.pack("<IIIII", 0, 0, 3_500_000_000, size, size)
    assert body[20:] == data + bytes(-size % 4)  # no options, so no end mark either


def test_a_packet_with_every_option():
    body = packet_block(b"abcd", comment="to P4", inbound=True, queue=4, packet_id=2**64 - 1, dropped=3)
    assert options(body[24:]) == [
        (1, b"to P4"),
        (2, b"\1\0\0\0"),
        (4, struct.pack("<Q", 3)),
        (5, b"\xff" * 8),
        (6, struct.pack("<I", 4)),
    ]


@pytest.mark.parametrize(
    ("field", "option"),
    [
        ({"inbound": True}, (2, b"\1\0\0\0")),
        ({"inbound": False}, (2, b"\2\0\0\0")),
        ({"queue": 0}, (6, bytes(4))),
        ({"packet_id": 0}, (5, bytes(8))),
        ({"dropped": 0}, (4, bytes(8))),
        ({"comment": "é"}, (1, b"\xc3\xa9")),
    ],
)
def test_a_field_is_written_when_given_even_if_zero(field, option):
    assert options(packet_block(**field)[20:]) == [option]


def test_epb_verdict_is_never_written():
    body = packet_block(b"", comment="c", inbound=False, queue=1, packet_id=1, dropped=1)
    assert 7 not in dict(options(body[20:]))


@pytest.mark.parametrize(
    ("now", "nanoseconds"),
    [
        (0.0, 0),
        (0.1, 100_000_000),
        (1e-6, 1_000),
        (0.9999999999, 1_000_000_000),
        (1_700_000_000.123456, 1_700_000_000_123_456_000),
        (1_000_000_000.001, 1_000_000_000_001_000_000),
        (18_446_744_073.0, 18_446_744_073_000_000_000),
    ],
)
def test_time_in_nanoseconds(now, nanoseconds):
    high, low = struct.unpack_from("<II", packet_block(now=now), 4)
    assert high << 32 | low == nanoseconds


@pytest.mark.parametrize("now", [-0.1, float("nan"), float("inf"), 18_446_744_074.0])
def test_a_time_that_the_format_cannot_hold_raises_value_error(now):
    with pytest.raises(ValueError, match="a capture's time runs from 0"):
        packet_block(now=now)


def test_a_packet_beyond_the_snaplen_is_truncated_and_keeps_its_original_length():
    file = io.BytesIO()
    writer = PcapngWriter(file)
    writer.interface("wire", ETHERNET, snaplen=5)
    assert [writer.packet(bytes(5), 0.0), writer.packet(memoryview(b"abcdef"), 0.0)] == [1, 2]
    *_, (_, exact), (_, cut) = blocks(file.getvalue())
    assert struct.unpack_from("<II", exact, 12) == (5, 5)
    assert struct.unpack_from("<II", cut, 12) == (5, 6)
    assert cut[20:] == b"abcde\0\0\0"


def test_snaplen_zero_is_no_limit():
    file = io.BytesIO()
    writer = PcapngWriter(file)
    writer.interface("wire", ETHERNET, snaplen=0)
    writer.packet(b"abcd", 0.0)
    assert list(blocks(file.getvalue()))[-1][1][20:] == b"abcd"


@pytest.mark.parametrize("character", ["x", "é", "한", "😀"])
def test_a_long_comment_is_cut_between_characters(character):
    [(_, comment)] = options(packet_block(comment="-" + character * 70_000)[20:])
    width = len(character.encode())
    assert comment.decode() == "-" + character * ((65_535 - 1) // width)


def test_a_comment_that_is_not_unicode_is_still_written():
    assert options(packet_block(comment="file \udcff")[20:]) == [(1, b"file ?")]


@pytest.mark.parametrize("interface", [-1, 1, 7])
def test_an_unknown_interface_raises_value_error(interface):
    with pytest.raises(ValueError, match=f"no interface {interface} in this capture"):
        written(lambda writer: writer.packet(b"", 0.0, interface=interface))
    with pytest.raises(ValueError, match=f"no interface {interface} in this capture"):
        written(lambda writer: writer.statistics(interface, 0.0, received=0, dropped=0))


def test_statistics():
    def act(writer):
        writer.packet(b"", 2.0)
        writer.packet(b"", 5.0)
        writer.statistics(0, 7.5, received=10, dropped=2**40)

    *_, (kind, body) = written(act)
    assert kind == 5
    assert struct.unpack_from("<III", body) == (0, 1, 7_500_000_000 - 2**32)
    assert options(body[12:]) == [
        (2, struct.pack("<II", 0, 2_000_000_000)),
        (3, struct.pack("<II", 1, 7_500_000_000 - 2**32)),
        (4, struct.pack("<Q", 10)),
        (5, struct.pack("<Q", 2**40)),
    ]


def test_statistics_without_a_packet_cover_no_time():
    *_, (_, body) = written(lambda writer: writer.statistics(0, 3.0, received=0, dropped=0))
    assert dict(options(body[12:]))[2] == dict(options(body[12:]))[3] == struct.pack("<II", 0, 3_000_000_000)


class Disk(io.BytesIO):
    """A file that takes `room` bytes more, then fails; writes are short at the edge, as on a real disk."""

    def __init__(self, room=1 << 30):
        super().__init__()
        self.room = room
        self.calls = 0

    def write(self, data):
        self.calls += 1
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = data[: self.room]
        self.room -= len(taken)
        return super().write(taken)


class Pipe(Disk):
    def seekable(self):
        return False

    def truncate(self, size=None):
        raise AssertionError("a pipe cannot be cut back")


def on(file):
    writer = PcapngWriter(file)
    writer.interface("wire", ETHERNET)
    return writer


def test_one_write_a_block():
    file = Disk()
    writer = on(file)
    assert file.calls == 2
    writer.packet(b"abc", 0.0, comment="c", queue=1)
    writer.names({b"1234": "A"})
    writer.statistics(0, 0.0, received=1, dropped=0)
    assert file.calls == 5


@pytest.mark.parametrize("room", range(52))
def test_a_full_disk_leaves_whole_blocks_and_is_counted(room):
    file = Disk()
    writer = on(file)
    assert [writer.packet(bytes(17), 0.0), writer.frames, writer.lost] == [1, 1, 0]  # 52 bytes
    whole = file.getvalue()
    file.room = room
    assert [writer.packet(bytes(17), 0.0) for _ in range(3)] == [0, 0, 0]
    assert file.getvalue() == whole
    assert (writer.frames, writer.lost) == (1, 3)
    assert writer.error is not None
    assert writer.error.errno == errno.ENOSPC


def test_after_the_first_failure_nothing_is_written_any_more():
    file = Disk()
    writer = on(file)
    file.room = 0
    writer.packet(b"", 0.0)
    first, whole, calls = writer.error, file.getvalue(), file.calls
    file.room = 1000
    assert writer.packet(b"", 0.0) == 0
    writer.names({b"1234": "A"})
    assert writer.interface("P4", ETHERNET) == 1
    writer.statistics(0, 0.0, received=0, dropped=0)
    assert (writer.error, file.getvalue(), file.calls) == (first, whole, calls)
    assert writer.lost == 1 + 1


def test_a_disk_full_from_the_start_does_not_raise():
    writer = on(Disk(room=0))
    assert writer.packet(b"", 0.0) == 0
    assert (writer.lost, writer.frames) == (1, 0)
    assert isinstance(writer.error, OSError)


def test_a_short_write_is_continued():
    class Short(io.BytesIO):
        def write(self, data):
            return super().write(data[:10])

    file, whole = Short(), io.BytesIO()
    for writer in (on(file), on(whole)):
        assert writer.packet(bytes(range(100)), 1.0, comment="c") == 1
        assert writer.error is None
    assert file.getvalue() == whole.getvalue()


def test_a_partial_block_stays_in_a_pipe():
    file = Pipe()
    writer = on(file)
    whole = file.getvalue()
    file.room = 9
    assert writer.packet(bytes(50), 0.0) == 0
    assert len(file.getvalue()) == len(whole) + 9
    assert (writer.lost, writer.error.errno) == (1, errno.ENOSPC)


@pytest.mark.parametrize("count", [0, None])
def test_a_file_that_writes_no_bytes_ends_the_writing(count):
    file = io.BytesIO()
    writer = on(file)
    file.write = lambda data: count
    assert writer.packet(b"", 0.0) == 0
    assert (writer.lost, writer.error.errno) == (1, errno.EAGAIN)


def test_a_closed_pipe_is_counted_not_raised():
    ours, theirs = os.pipe()
    with open(theirs, "wb", buffering=0) as file:
        writer = on(file)
        os.close(ours)
        assert writer.packet(b"", 0.0) == 0
        assert isinstance(writer.error, BrokenPipeError)
        assert writer.lost == 1


def test_a_closed_file_is_counted_not_raised(tmp_path):
    with open(tmp_path / "x.pcapng", "wb", buffering=0) as file:
        writer = on(file)
    assert writer.packet(b"", 0.0) == 0
    assert (writer.lost, writer.error.errno) == (1, errno.EBADF)


def test_the_unbuffered_file_is_whole_after_every_packet(tmp_path):
    path = tmp_path / "x.pcapng"
    with open(path, "wb", buffering=0) as file:
        writer = on(file)
        for number in range(1, 6):
            assert writer.packet(bytes(number), 0.0, comment="c" * number) == number
            # Read by another descriptor while it is still open, as after kill -9.
            assert len(list(blocks(path.read_bytes()))) == 2 + number


def test_a_partial_block_is_truncated_from_a_real_file(tmp_path):
    class Full(io.FileIO):
        full = False

        def write(self, data):
            if not self.full:
                return super().write(data)
            if len(data) < 40:
                raise OSError(errno.ENOSPC, "full")
            return super().write(data[:30])

    path = tmp_path / "x.pcapng"
    with Full(path, "w") as file:
        writer = on(file)
        writer.packet(b"kept", 0.0)
        whole = path.read_bytes()
        file.full = True
        assert writer.packet(bytes(20), 0.0) == 0
        assert path.read_bytes() == whole
        assert file.tell() == len(whole)


def test_the_same_packets_make_the_same_bytes():
    assert written(lambda w: w.packet(b"x", 1.5, queue=1)) == written(lambda w: w.packet(b"x", 1.5, queue=1))
