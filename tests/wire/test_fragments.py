"""Reassembly: any order, no overlap, bounded memory; and fragmentation to the MTU."""

import random

import pytest

from demuxlab.wire import fragments, ip, malformed, packet, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.fragments import Reassembler, Whole, split
from demuxlab.wire.ip import Fragment

V4 = (from_text("10.9.0.10"), from_text("10.9.0.20"))
V6 = (from_text("fd09::10"), from_text("fd09::20"))


def datagram(addresses, size=5000):
    return packet.build(*addresses, ip.UDP, udp.build(*addresses, 1, 2, random.Random(size).randbytes(size)))


def pieces(addresses=V4, size=5000, mtu=1500, identification=7):
    return [packet.read(piece) for piece in split(datagram(addresses, size), mtu, identification)]


def fragment(start, end, more=True, fill=b"x", identification=1):
    return Fragment(*V4, ip.UDP, identification, start, more, fill * (end - start), bytes(20), 0)


@pytest.mark.parametrize("addresses", [V4, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("seed", range(8))
def test_fragments_in_any_order_and_with_duplicates_are_reassembled(addresses, seed):
    reassembler = Reassembler()
    arriving = pieces(addresses)
    arriving += arriving[:1]
    last = arriving.pop(2)
    random.Random(seed).shuffle(arriving)
    assert [reassembler.add(piece, 0.0) for piece in arriving] == [None] * len(arriving)
    whole = reassembler.add(last, 0.0)
    assert isinstance(whole, Whole)
    assert whole.fragments == len(arriving) + 1
    assert packet.read(whole.packet)[1:7] == packet.read(datagram(addresses))[1:7]
    assert (reassembler.held, reassembler.memory, reassembler.take_failed()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (fragment(8, 24), malformed.FRAGMENT_OVERLAP),
        (fragment(0, 16, fill=b"y"), malformed.FRAGMENT_OVERLAP),
        (fragment(0, 8), malformed.FRAGMENT_OVERLAP),
        (fragment(16, 21), malformed.FRAGMENT_LENGTH),
        (fragment(65528, 65544), malformed.FRAGMENT_BEYOND),
    ],
)
def test_a_bad_fragment_discards_its_datagram(second, fault):
    reassembler = Reassembler()
    assert reassembler.add(fragment(0, 16), 0.0) is None
    assert reassembler.add(second, 0.0) == fault
    assert (reassembler.held, reassembler.take_failed()) == (0, 1)


def test_nothing_may_lie_beyond_the_last_fragment():
    reassembler = Reassembler()
    reassembler.add(fragment(32, 48), 0.0)
    assert reassembler.add(fragment(16, 20, more=False), 0.0) == malformed.FRAGMENT_BEYOND
    reassembler.add(fragment(16, 24, more=False), 0.0)
    assert reassembler.add(fragment(24, 32), 0.0) == malformed.FRAGMENT_BEYOND


def test_datagrams_are_distinguished_by_their_identification():
    reassembler = Reassembler()
    reassembler.add(fragment(0, 8, identification=1), 0.0)
    assert reassembler.add(fragment(8, 12, more=False, identification=2), 0.0) is None
    assert isinstance(reassembler.add(fragment(8, 12, more=False, identification=1), 0.0), Whole)
    assert reassembler.held == 1


def test_memory_is_bounded_and_discarded_fragments_are_counted():
    reassembler = Reassembler(max_memory=10_000)
    for identification in range(1000):
        reassembler.add(fragment(0, 1000, identification=identification), 0.0)
        assert reassembler.memory <= 10_000
    assert reassembler.held + reassembler.take_failed() == 1000


def test_a_duplicate_fragment_takes_no_memory():
    reassembler = Reassembler()
    reassembler.add(fragment(0, 8), 0.0)
    memory = reassembler.memory
    for _ in range(100):
        reassembler.add(fragment(0, 8), 0.0)
    assert (reassembler.memory, reassembler.held) == (memory, 101)


def test_an_incomplete_datagram_is_discarded_after_the_timeout():
    reassembler = Reassembler()
    reassembler.add(fragment(0, 8), 100.0)
    reassembler.expire(100.0 + fragments.TIMEOUT - 1)
    assert reassembler.held == 1
    reassembler.expire(100.0 + fragments.TIMEOUT)
    assert (reassembler.held, reassembler.take_failed()) == (0, 1)


@pytest.mark.parametrize("addresses", [V4, V6], ids=["ipv4", "ipv6"])
def test_no_fragment_is_larger_than_the_mtu(addresses):
    cut = split(datagram(addresses, 4000), 1280, 9)
    assert len(cut) == 4
    assert max(map(len, cut)) <= 1280
    assert split(datagram(addresses, 100), 1280, 9) == [datagram(addresses, 100)]
