"""Many files: counting the pieces of a capture, in any order, gives the result of the whole."""

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
    random_numbers = random.Random(8)
    records = []
    for second in range(400):
        a, b = random_numbers.sample(range(1, 9), 2)
        packet = random_numbers.choice(SHAPES)(a, b)
        records.append(
            (second, random_numbers.randrange(10**6), packet, len(packet) + random_numbers.randrange(3))
        )
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
    random_numbers.shuffle(paths)
    return whole, paths


@pytest.mark.parametrize("engine", zoo.ENGINES)
def test_pieces_give_the_result_of_the_whole(pieces, engine):
    whole, paths = pieces
    assert paths != sorted(paths)
    assert flows(paths, engine) == flows([whole], engine)


def test_a_is_the_endpoint_with_the_earliest_packet(tmp_path):
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


def test_a_file_that_is_not_a_capture_raises_for_all(pieces, tmp_path):
    _whole, paths = pieces
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"not a capture")
    with pytest.raises(CaptureError, match=r"bad\.pcap is not a pcap"):
        flows([*paths, bad])


def test_on_a_cluster(pieces, monkeypatch):
    """The jobs and results of the workers, without a cluster: `tests/cli` starts a real one."""
    whole, paths = pieces

    def on_cluster(function, jobs, address, tell):
        tell(address)
        return [(key, function(job), None) for key, job in reversed(jobs.items())]

    monkeypatch.setattr(cluster, "on_cluster", on_cluster)
    dashboards: list[str] = []
    counted = many.on_cluster([str(path) for path in paths], "tcp://here", dashboards.append)
    assert dashboards == ["tcp://here"]
    merged = many.merged([path.name for path in paths], counted)
    assert list(merged.table.conversations()) == list(count(whole).table.conversations())
    assert merged.packets == 400
    assert merged.left_out == count(whole).left_out


def test_an_interrupt_does_not_wait_for_the_files(pieces):
    _whole, paths = pieces

    def interrupt(path: str, offset: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        many.on_this_machine([str(path) for path in paths], progress=interrupt)
