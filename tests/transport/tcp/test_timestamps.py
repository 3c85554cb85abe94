"""The timestamps option (RFC 7323): our clock, TS.Recent, and PAWS across the wrap of 2^32 ms."""

import pytest

from demuxlab.transport.tcp.timestamps import Timestamps

DAY = 86_400.0
WRAP = 1 << 32


def test_our_clock_counts_milliseconds_from_its_offset_and_wraps():
    stamps = Timestamps(WRAP - 1500, 7, 0.0)
    assert stamps.option(1.0) == (WRAP - 500, 7)
    assert stamps.option(2.0) == (500, 7)


@pytest.mark.parametrize("offset", [0, WRAP - 1500])
def test_an_echo_measures_a_round_trip(offset):
    stamps = Timestamps(offset, 0, 0.0)
    echoed, _ = stamps.option(1.0)
    assert stamps.elapsed_since(echoed, 3.25) == 2.25
    assert stamps.elapsed_since(0, 3.25) is None, "0 echoes nothing"
    assert stamps.elapsed_since((echoed + 10_000) % WRAP, 3.25) is None, "we have not sent that yet"


def test_paws_refuses_what_is_older_than_the_tolerance():
    stamps = Timestamps(0, 1000, 0.0)
    assert stamps.is_old(998, 1, 1.0)
    assert not stamps.is_old(999, 1, 1.0)
    assert stamps.is_old(999, 0, 1.0)
    assert not stamps.is_old(1001, 0, 1.0)


def test_paws_compares_across_the_wrap_and_ends_after_24_days():
    stamps = Timestamps(0, 5, 0.0)
    assert stamps.is_old(WRAP - 5, 1, 1.0)
    assert not stamps.is_newer(WRAP - 5)
    assert stamps.is_newer(6)
    assert not stamps.is_old(WRAP - 5, 1, 25 * DAY)


def test_an_update_is_remembered_with_its_time():
    stamps = Timestamps(0, 5, 0.0)
    stamps.update(9, 4.0)
    assert (stamps.recent, stamps.recent_at) == (9, 4.0)
