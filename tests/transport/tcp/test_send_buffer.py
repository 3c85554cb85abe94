"""The send buffer: bytes by sequence number, from the application to the last acknowledgment."""

import pytest

from demuxlab.transport.tcp.send_buffer import SendBuffer

FIRST = 1001


@pytest.fixture
def buffer():
    return SendBuffer(FIRST, limit=10)


def joined(parts):
    return b"".join(parts)


def test_it_takes_what_there_is_room_for(buffer):
    assert buffer.write(b"abcdef") == 6
    assert buffer.write(b"ghijkl") == 4
    assert (buffer.room, buffer.write(b"x")) == (0, 0)
    assert joined(buffer.segment(FIRST, FIRST + 10)) == b"abcdefghij"


def test_a_segment_is_found_by_its_numbers_after_others_are_acknowledged(buffer):
    buffer.write(b"abcdef")
    buffer.acknowledged(FIRST + 2)
    assert (buffer.start, len(buffer), buffer.room) == (FIRST + 2, 4, 6)
    assert joined(buffer.segment(FIRST + 3, FIRST + 5)) == b"de"


def test_an_acknowledgment_of_nothing_new_changes_nothing(buffer):
    buffer.write(b"abc")
    buffer.acknowledged(FIRST)
    assert (buffer.start, len(buffer)) == (FIRST, 3)


def test_unsent_is_what_lies_beyond_snd_nxt(buffer):
    buffer.write(b"abcdef")
    assert buffer.unsent(FIRST - 1) == 6, "the SYN is before the first byte"
    assert buffer.unsent(FIRST + 4) == 2
    assert buffer.unsent(FIRST + 6) == 0
    assert not buffer.has_unsent(FIRST + 6)


def test_fin_takes_the_number_after_the_last_byte(buffer):
    buffer.write(b"abc")
    buffer.finish()
    buffer.finish()
    assert buffer.fin == FIRST + 3
    assert buffer.has_unsent(FIRST + 3)
    assert not buffer.has_unsent(FIRST + 4)
    buffer.acknowledged(FIRST + 4)
    assert (buffer.start, len(buffer)) == (FIRST + 3, 0), "FIN is no byte of the buffer"


def test_what_the_application_changes_afterwards_is_not_sent(buffer):
    buffer.limit = 10_000
    data = bytearray(b"before" * 1000)
    buffer.write(data)
    data[:6] = b"after!"
    assert joined(buffer.segment(FIRST, FIRST + 6)) == b"before"
