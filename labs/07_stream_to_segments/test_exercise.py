"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

import random
from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "07_stream_to_segments.pcapng"
MODULUS = 2**32
CAPACITY = 8192
_ALPHABET = b"0123456789pqrstuvwxyz"


# Cutting


@pytest.mark.points(1)
@pytest.mark.facts("S13")
def test_five_thousand_bytes_are_cut_into_four_segments(submission: Submission) -> None:
    data = stream(drawing("four segments"), 5000)
    hint = "1460, 1460, 1460, and the 620 that remain: the last segment is shorter"
    expect_cut(submission, data, 1460, hint)


@pytest.mark.points(1)
def test_no_segment_is_empty(submission: Submission) -> None:
    draw = drawing("no empty segment")
    mss = draw.randrange(500, 1461)
    for size in (3 * mss, mss, mss - 1, 1):
        hint = f"{size} bytes make {-(-size // mss)} segments of at most {mss}"
        expect_cut(submission, stream(draw, size), mss, hint)
    expect_cut(submission, b"", mss, "no data, no segment")


@pytest.mark.points(1)
def test_the_mss_is_not_always_1460(submission: Submission) -> None:
    draw = drawing("mss")
    hint = "the mss is the second argument: other links, and timestamps in the header, make it smaller"
    for mss in (1448, 536, 1, draw.randrange(88, 1460)):
        expect_cut(submission, stream(draw, 5 * mss + mss // 3), mss, hint)


# In order


@pytest.mark.points(1)
def test_the_acknowledgment_is_the_next_byte_expected(submission: Submission) -> None:
    draw = drawing("acknowledgment")
    first = opened(submission, draw)
    expected = first
    for size in (1460, 1, draw.randrange(100, 1000)):
        hint = f"{size} bytes from {expected} on have come, so the next is {expected + size}"
        expect(submission, expected + size, hint, "segment", expected, stream(draw, size))
        expected += size


@pytest.mark.points(1)
@pytest.mark.facts("S20")
def test_what_has_arrived_waits_until_it_is_read(submission: Submission) -> None:
    draw = drawing("waits")
    first, data = opened(submission, draw), stream(draw, 20)
    expect(submission, b"", "nothing has come yet", "read", 100)
    expect(submission, first + 20, "20 bytes have come", "segment", first, data)
    expect(submission, data, "what has come can be read", "read", 100)
    expect(submission, b"", "a read takes the bytes out of the buffer", "read", 100)


@pytest.mark.points(1)
def test_a_read_takes_no_more_than_it_asked_for(submission: Submission) -> None:
    draw = drawing("size")
    first, data = opened(submission, draw), stream(draw, 20)
    expect(submission, first + 20, "20 bytes have come", "segment", first, data)
    hint = "size is the most that one read may take; the rest waits for the next read"
    for begin, end in ((0, 7), (7, 8), (8, 20)):
        expect(submission, data[begin:end], hint, "read", end - begin)


@pytest.mark.points(2)
@pytest.mark.facts("S13")
def test_a_stream_has_no_boundaries(submission: Submission) -> None:
    draw = drawing("boundaries")
    first, data = opened(submission, draw), stream(draw, 5000)
    for at in range(0, 5000, 1460):
        piece = data[at : at + 1460]
        expect(submission, first + at + len(piece), "it came in order", "segment", first + at, piece)
    hint = "the stream has no boundaries: a read may begin and end anywhere in a segment"
    for at in range(0, 3000, 1000):
        expect(submission, data[at : at + 1000], hint, "read", 1000)
    expect(submission, data[3000:], "two segments, one read: all that waits comes out", "read", 4000)


@pytest.mark.points(1)
def test_the_window_shrinks_by_what_waits(submission: Submission) -> None:
    draw = drawing("window")
    first = opened(submission, draw)
    expect(submission, CAPACITY, "empty: the whole capacity is free", "window")
    sent = 0
    for size in (1460, 1460, 620):
        sent += size
        expect_taken(submission, first + sent - size, stream(draw, size))
        hint = f"{sent} bytes wait in a buffer of {CAPACITY}"
        expect(submission, CAPACITY - sent, hint, "window")
    submission.call("read", 1000)
    expect(submission, CAPACITY - sent + 1000, "1000 bytes were read: their place is free again", "window")


# Out of order


@pytest.mark.points(2)
def test_what_is_too_early_waits_for_what_is_missing(submission: Submission) -> None:
    draw = drawing("too early")
    first, data = opened(submission, draw), stream(draw, 30)
    expect_taken(submission, first, data[:10])
    hint = f"bytes {first + 10} to {first + 19} are missing: they are still the next ones expected"
    expect(submission, first + 10, hint, "segment", first + 20, data[20:])
    hint = "an application must never see the stream with a hole in it"
    expect(submission, data[:10], hint, "read", 100)
    expect(submission, b"", hint, "read", 100)


@pytest.mark.points(2)
def test_filling_the_gap_brings_what_waited_behind_it(submission: Submission) -> None:
    draw = drawing("gap")
    first, data = opened(submission, draw), stream(draw, 30)
    expect(submission, first, "the first 10 bytes are missing", "segment", first + 10, data[10:])
    hint = "the gap is filled, and 20 bytes wait behind it: the next byte expected is the one after those"
    expect(submission, first + 30, hint, "segment", first, data[:10])
    expect(submission, data, "all 30 bytes, in order", "read", 100)


@pytest.mark.points(1)
def test_segments_may_come_in_any_order(submission: Submission) -> None:
    draw = drawing("any order")
    first, data = opened(submission, draw), stream(draw, 100)
    there = set()
    for place in (5, 2, 9, 0, 1, 7, 4, 3, 8, 6):
        there.add(place)
        expected = next(place for place in range(11) if place not in there)
        hint = f"there are several gaps, and the first one begins at {first + 10 * expected}"
        piece = data[10 * place : 10 * place + 10]
        expect(submission, first + 10 * expected, hint, "segment", first + 10 * place, piece)
    expect(submission, data, "all 100 bytes, in order", "read", 1000)


@pytest.mark.points(1)
def test_a_duplicate_is_not_delivered_twice(submission: Submission) -> None:
    draw = drawing("duplicate")
    first, data = opened(submission, draw), stream(draw, 30)
    hint = "these bytes were there before: only the acknowledgment is repeated"
    for _ in range(2):
        expect(submission, first + 10, hint, "segment", first, data[:10])
    expect(submission, data[:10], "10 bytes came twice: they are read once", "read", 100)
    expect(submission, first + 10, "it was read already, and comes once more", "segment", first, data[:10])
    for _ in range(2):
        expect(submission, first + 10, "too early, twice", "segment", first + 20, data[20:])
    expect(submission, first + 30, "the gap is filled", "segment", first + 10, data[10:20])
    expect(submission, data[10:], "each byte once", "read", 100)


@pytest.mark.points(2)
def test_an_overlap_is_delivered_once(submission: Submission) -> None:
    draw = drawing("overlap")
    first, data = opened(submission, draw), stream(draw, 60)
    expect_taken(submission, first, data[:10])
    hint = "its first 5 bytes were there before, the others are new: take those"
    expect(submission, first + 20, hint, "segment", first + 5, data[5:20])
    expect(submission, data[:20], "each byte once", "read", 100)
    expect(submission, first + 20, "too early", "segment", first + 30, data[30:40])
    expect(submission, first + 20, "too early, and overlaps", "segment", first + 35, data[35:50])
    hint = "it fills the gap, and covers what waited behind it"
    expect(submission, first + 60, hint, "segment", first + 15, data[15:])
    expect(submission, data[20:], "each byte once", "read", 100)


@pytest.mark.points(1)
def test_a_segment_without_data_changes_nothing(submission: Submission) -> None:
    draw = drawing("no data")
    first, data = opened(submission, draw), stream(draw, 10)
    hint = "an ACK without data brings no byte: the next one expected stays"
    for number in (first, first + 5):
        expect(submission, first, hint, "segment", number, b"")
    expect_taken(submission, first, data)
    expect(submission, data, "the 10 bytes", "read", 100)


# The window


@pytest.mark.points(1)
def test_what_is_too_early_does_not_shrink_the_window(submission: Submission) -> None:
    draw = drawing("early window")
    first, data = opened(submission, draw), stream(draw, 300)
    expect_taken(submission, first, data[:100])
    expect(submission, first + 100, "too early", "segment", first + 200, data[200:])
    hint = "the window begins with the byte expected, so what came too early lies within it: 100 bytes wait"
    expect(submission, CAPACITY - 100, hint, "window")
    expect(submission, first + 300, "the gap is filled", "segment", first + 100, data[100:200])
    expect(submission, CAPACITY - 300, "now 300 bytes can be read", "window")


@pytest.mark.points(2)
def test_what_lies_beyond_the_window_is_thrown_away(submission: Submission) -> None:
    draw = drawing("beyond")
    first, data = opened(submission, draw, capacity=100), stream(draw, 150)
    expect_taken(submission, first, data[:60])
    hint = "the window is 40 bytes: of these 60 the first 40 are taken, the others must come again"
    expect(submission, first + 100, hint, "segment", first + 60, data[60:120])
    expect(submission, data[:100], "a buffer never holds more than its capacity", "read", 200)
    hint = "what was thrown away has come again, and there is room"
    expect(submission, first + 150, hint, "segment", first + 100, data[100:])
    expect(submission, data[100:], hint, "read", 200)


@pytest.mark.points(1)
def test_the_window_holds_for_what_is_too_early_as_well(submission: Submission) -> None:
    draw = drawing("beyond, early")
    first, data = opened(submission, draw, capacity=100), stream(draw, 120)
    expect_taken(submission, first, data[:30])
    expect(submission, first + 30, "too early", "segment", first + 80, data[80:])
    hint = f"the window ended at {first + 99}: the last 20 bytes lay beyond it"
    expect(submission, first + 100, hint, "segment", first + 30, data[30:80])
    expect(submission, data[:100], hint, "read", 200)


@pytest.mark.points(1)
def test_a_full_buffer_takes_nothing_until_it_is_read(submission: Submission) -> None:
    draw = drawing("full")
    first, data = opened(submission, draw, capacity=50), stream(draw, 70)
    expect_taken(submission, first, data[:50])
    expect(submission, 0, "50 bytes wait in a buffer of 50", "window")
    expect(submission, first + 50, "the window is closed", "segment", first + 50, data[50:])
    expect(submission, data[:20], "the oldest bytes", "read", 20)
    expect(submission, 20, "20 bytes were read", "window")
    expect(submission, first + 70, "now there is room", "segment", first + 50, data[50:])
    expect(submission, data[20:], "all the rest", "read", 100)


# Numbers have 32 bits


@pytest.mark.points(2)
def test_sequence_numbers_wrap_around(submission: Submission) -> None:
    draw = drawing("wrap")
    data = stream(draw, 60)
    submission.new("ReceiveBuffer", CAPACITY, MODULUS - 25)
    hint = "after 4294967295 comes 0: count modulo 2**32"
    for at, expected in ((0, MODULUS - 5), (20, 15), (40, 35)):
        number = (MODULUS - 25 + at) % MODULUS
        expect(submission, expected, hint, "segment", number, data[at : at + 20])
    expect(submission, data, "all 60 bytes, in order", "read", 100)
    submission.new("ReceiveBuffer", CAPACITY, MODULUS - 10)
    expect(submission, 0, "the last number was 4294967295", "segment", MODULUS - 10, data[:10])


@pytest.mark.points(1)
def test_before_and_after_hold_across_the_wrap(submission: Submission) -> None:
    draw = drawing("across")
    data = stream(draw, 40)
    submission.new("ReceiveBuffer", CAPACITY, MODULUS - 15)
    hint = "5 is 20 bytes after 4294967281: too early, for the distance is counted modulo 2**32"
    expect(submission, MODULUS - 15, hint, "segment", 5, data[20:])
    hint = "the gap is filled, and what waited behind it goes on with 5"
    expect(submission, 25, hint, "segment", MODULUS - 15, data[:20])
    hint = "4294967281 is 40 bytes before 25: a duplicate, though the number is larger"
    expect(submission, 25, hint, "segment", MODULUS - 15, data[:20])
    expect(submission, data, "each byte once, in order", "read", 100)


# The real thing


@pytest.mark.points(1)
def test_a_long_stream_through_a_bad_network_comes_out_whole(submission: Submission) -> None:
    draw = drawing("long")
    capacity, first, data = 2000, MODULUS - 5000, stream(draw, 20_000)
    submission.new("ReceiveBuffer", capacity, first)
    there, end, read = bytearray(len(data)), 0, 0
    with submission.summed_up("took 20,000 bytes in segments lost, repeated, cut otherwise and out of order"):
        while read < len(data):
            start = max(0, end + draw.randrange(-500, 1500))
            piece = data[start : start + draw.randrange(1, 700)]
            for place in range(max(start, end), min(start + len(piece), read + capacity)):
                there[place] = 1
            end = there.find(0) if 0 in there else len(data)
            number, expected = (first + start) % MODULUS, (first + end) % MODULUS
            hint = f"{end} bytes of the stream have come without a gap, and {read} were read"
            expect(submission, expected, hint, "segment", number, piece)
            if draw.random() < 0.3:
                size = draw.randrange(1, 2000)
                expect(submission, data[read : min(read + size, end)], hint, "read", size)
                read = min(read + size, end)
                expect(submission, capacity - (end - read), hint, "window")


@pytest.mark.points(2)
@pytest.mark.facts("S13", "S20")
def test_the_segments_of_the_reference_capture_give_the_streams(submission: Submission) -> None:
    with Capture(CAPTURE) as capture:
        frames = {frame.number: wire_packet.read(frame.data) for frame in capture}

    def came(numbers: tuple[int, ...], answers: tuple[int, ...], *, windows: bool) -> bytes:
        """Take segments of the capture, and compare with what B answered; return their data."""
        data = b""
        for number, answer in zip(numbers, answers, strict=True):
            segment, answered = frames[number], frames[answer]
            assert isinstance(segment, TCPSegment)
            assert isinstance(answered, TCPSegment)
            hint = f"frame {number} of captures/{CAPTURE.name} is acknowledged in frame {answer}"
            given = segment.sequence, segment.payload
            expect(submission, answered.acknowledgment, hint, "segment", *given)
            if windows:
                expect(submission, answered.window, f"{hint}, which offers this window", "window")
            data += segment.payload
        return data

    syn = frames[1]
    assert isinstance(syn, TCPSegment)
    submission.new("ReceiveBuffer", CAPACITY, (syn.sequence + 1) % MODULUS)
    data = came((4, 5, 6, 7), (8, 9, 10, 11), windows=True)
    for at in range(0, 5000, 1000):
        expect(submission, data[at : at + 1000], "P4 read 1000 bytes, five times", "read", 1000)
    data = came((13, 15), (14, 16), windows=True)
    expect(submission, data, "P4 read what two writes had written", "read", 1024)

    submission.new("ReceiveBuffer", CAPACITY, MODULUS - 8)
    came((20, 22, 24, 26, 28), (21, 23, 25, 27, 29), windows=False)
    expect(submission, b"the stream stays whole", "P5 read the stream whole", "read", 1024)


# How it is asked


def stream(draw: random.Random, size: int) -> bytes:
    """Return bytes in which a wrong place is seen."""
    return bytes(draw.choices(_ALPHABET, k=size))


def opened(submission: Submission, draw: random.Random, capacity: int = CAPACITY) -> int:
    """Make a buffer; return the number of the first byte, far from where the numbers wrap around."""
    first = draw.randrange(1000, 1 << 31)
    submission.new("ReceiveBuffer", capacity, first)
    return first


def expect(submission: Submission, expected: Any, hint: str, name: str, *arguments: Any) -> None:
    """Call a method of the buffer and compare."""
    try:
        found = submission.call(name, *arguments)
    except SubmissionError as error:
        raise AssertionError(f"expected {shown(expected)}, but {error}\nhint: {hint}") from None
    if found != expected or isinstance(found, bool):
        what = f"{name}({', '.join(map(shown, arguments))})"
        raise AssertionError(f"{what}: expected {shown(expected)}, found {shown(found)}\nhint: {hint}")


def expect_cut(submission: Submission, data: bytes, mss: int, hint: str) -> None:
    """Call `cut` and compare, first the sizes."""
    expected = [data[at : at + mss] for at in range(0, len(data), mss)]
    try:
        found = submission.function("cut", data, mss)
    except SubmissionError as error:
        raise AssertionError(f"expected {shown(expected)}, but {error}\nhint: {hint}") from None
    if found != expected:
        what = f"cut({shown(data)}, {mss})"
        if isinstance(found, list) and shown(found) == shown(expected):
            hint = "the sizes are right, but the bytes are not those of the stream in order"
        raise AssertionError(f"{what}: expected {shown(expected)}, found {shown(found)}\nhint: {hint}")


def shown(value: Any) -> str:
    """Return a value in few words: of long data the size and how it begins."""
    if isinstance(value, bytes) and len(value) > 32:
        return f"{len(value)} bytes {value[:12]!r}…"
    if isinstance(value, list) and all(isinstance(part, bytes) for part in value):
        return f"{len(value)} segments of {[len(part) for part in value][:8]} bytes"
    return repr(value)[:200]


def expect_taken(submission: Submission, start: int, data: bytes) -> None:
    """A segment that is in order and fits into the window."""
    hint = "it is in order and within the window: all of it is taken"
    expect(submission, start + len(data), hint, "segment", start, data)
