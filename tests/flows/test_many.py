"""Many files: the pieces of a capture, in any order, are the whole of it."""

import random

import pytest
from tests.flows import zoo

from demuxlab import cluster
from demuxlab.capture.reader import CaptureError
from demuxlab.flows import many
from demuxlab.flows.count import count
from demuxlab.flows.many import flows

SHAPES = [zoo.tcp4, zoo.udp4, zoo.tcp6, zoo.udp6, zoo.options4, zoo.icmp4]


@pytest.fixture
def pieces(tmp_path):
    """A capture, and its packets in five files of both formats, in an order that is not theirs."""
    chance = random.Random(8)
    records = []
    for second in range(400):
        a, b = chance.sample(range(1, 9), 2)
        packet = chance.choice(SHAPES)(a, b)
        records.append((second, chance.randrange(10**6), packet, len(packet) + chance.randrange(3)))
    whole = tmp_path / "whole.pcap"
    whole.write_bytes(zoo.pcap(records=records))
    paths = []
    for number, first in enumerate(range(0, 400, 80)):
        some = records[first : first + 80]
        path = tmp_path / f"{number}.pcap"
        if number % 2:
            blocks = [zoo.packet(data, ticks=seconds * 10**6 + micros, original=original)
                      for seconds, micros, data, original in some]  # fmt: skip
            path.write_bytes(zoo.section() + zoo.interface() + b"".join(blocks))
        else:
            path.write_bytes(zoo.pcap(">", records=some))
        paths.append(path)
    chance.shuffle(paths)
    return whole, paths


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_the_pieces_are_the_whole(pieces, engine):
    whole, paths = pieces
    assert paths != sorted(paths)
    assert flows(paths, engine) == flows([whole], engine)


def test_who_sent_first_is_told_by_the_time(tmp_path):
    early, late = tmp_path / "early.pcap", tmp_path / "late.pcap"
    early.write_bytes(zoo.pcap(records=[(5, 0, zoo.tcp4(2, 1), 45)]))
    late.write_bytes(zoo.pcap(records=[(6, 0, zoo.udp4(1, 2), 33), (7, 0, zoo.tcp4(1, 2), 45)]))
    [tcp, udp] = flows([late, early])
    assert (tcp.a, tcp.b) == ((bytes((10, 0, 0, 2)), 1002), (bytes((10, 0, 0, 1)), 1001))
    assert tcp[3:] == (1, 45, 1, 45)
    assert udp.a == (bytes((10, 0, 0, 1)), 1001)


def test_packets_to_oneself_have_one_direction(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(zoo.pcap(records=[(5, n, zoo.tcp4(1, 1), 45) for n in range(3)]))
    [conversation] = flows([path])
    assert conversation[3:] == (3, 135, 0, 0)


def test_one_that_is_no_capture_spoils_all(pieces, tmp_path):
    _whole, paths = pieces
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"not a capture")
    with pytest.raises(CaptureError, match=r"bad\.pcap is not a pcap"):
        flows([*paths, bad])


def test_on_a_cluster(pieces, monkeypatch):
    """What the workers are sent and send back, without the cluster: `tests/cli` has a real one."""
    whole, paths = pieces

    def on_cluster(function, jobs, address, tell):
        tell(address)
        return [(key, function(job), None) for key, job in reversed(jobs.items())]

    monkeypatch.setattr(cluster, "on_cluster", on_cluster)
    told: list[str] = []
    counted = many.on_cluster([str(path) for path in paths], "tcp://here", told.append)
    assert told == ["tcp://here"]
    merged = many.merged([path.name for path in paths], counted)
    assert list(merged.table.conversations()) == list(count(whole).table.conversations())
    assert merged.packets == 400
    assert merged.left_out == {"ICMP": count(whole).left_out["ICMP"]}


def test_who_stops_does_not_wait_for_the_files(pieces):
    _whole, paths = pieces

    def interrupt(path: str, place: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        many.on_this_machine([str(path) for path in paths], tell=interrupt)
