"""Each benchmark runs with little data and the contenders that are installed; no test checks a time."""

import os
import shutil
from dataclasses import replace
from importlib import import_module

import pytest

from demuxlab.bench import NAMES, processes
from demuxlab.bench.machine import installed, machine, peer
from demuxlab.bench.measure import Effort, Goal, Unavailable, measure
from demuxlab.bench.programs import BARE, KERNEL, OFFLOAD, OURS

ONE_ROUND = Effort(1, 0.001, quick=True)
NETWORK = ("tun", "receive", "send", "connect", "latency")


def prepared(name, folder):
    benchmarks = import_module(f"demuxlab.bench.{name}").prepare(ONE_ROUND, folder)
    assert benchmarks
    return benchmarks


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NETWORK])
@pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")
def test_a_benchmark_runs(name, tmp_path, need_tool):
    if name == "serve":
        need_tool("wrk")
    for benchmark in prepared(name, tmp_path):
        report = measure(benchmark, ONE_ROUND)
        measured = {row.contender for row in report.rows}
        assert measured | report.left_out.keys() == set(benchmark.contenders)
        assert all(row.median > 0 for row in report.rows)
        # Other contenders may be missing, and numba; ours must run.
        ours = {name for name in benchmark.contenders if name.startswith("demuxlab")} - {"demuxlab, numba"}
        assert ours <= measured, report.left_out


@pytest.mark.parametrize("name", NETWORK)
@pytest.mark.long  # it looks at the devices of the machine, which other tests have too
def test_a_benchmark_through_a_network_runs_in_a_namespace_of_its_own(name, tmp_path, need_root):
    before = os.readlink("/proc/self/ns/net"), devices()
    [benchmark] = prepared(name, tmp_path)
    few = {side: make for side, make in benchmark.contenders.items() if side in (OURS, OFFLOAD, KERNEL, BARE)}
    report = measure(replace(benchmark, contenders=few), Effort(1, 0.01, quick=True))
    assert report.left_out.keys() <= {OFFLOAD}  # an older kernel has none
    assert {row.contender for row in report.rows} | report.left_out.keys() == few.keys()
    assert all(row.median > 0 for row in report.rows)
    assert (os.readlink("/proc/self/ns/net"), devices()) == before


def devices():
    return sorted(os.listdir("/sys/class/net"))


def test_the_peer_stack_answers_as_the_kernel_does(tmp_path, need_root):
    pytest.importorskip("pmd_net_addr")  # not the stack itself: that runs in a process of its own
    [benchmark] = prepared("send", tmp_path)
    kernel, theirs = (benchmark.contenders[side]() for side in (KERNEL, "pmd-pytcp"))
    assert theirs.answers() == kernel.answers()


def test_every_goal_names_existing_contenders(tmp_path):
    goals: list[Goal] = []
    for name in NAMES:
        for benchmark in prepared(name, tmp_path):
            names = {None, *benchmark.contenders, "1,000,000 sockets"}
            assert {benchmark.reference, *(goal.reference for goal in benchmark.goals)} <= names
            assert {goal.contender for goal in benchmark.goals} <= names
            goals += benchmark.goals
    assert len(goals) == 28


def test_a_peer_that_is_not_installed_is_named_with_its_command():
    with pytest.raises(Unavailable, match=r"nopeer is not installed: pip install 'demuxlab\[bench\]'"):
        peer("nopeer.layers")
    with pytest.raises(Unavailable, match="nopeer is not installed"):
        installed("nopeer")


def test_a_missing_tool_leaves_its_contender_out(tmp_path, monkeypatch):
    [benchmark] = prepared("flows", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    few = {name: benchmark.contenders[name] for name in ("demuxlab, numpy", "tshark", "cat")}
    report = measure(replace(benchmark, contenders=few), ONE_ROUND)
    assert report.left_out["tshark"] == "tshark is not installed: sudo apt install tshark"
    assert [row.contender for row in report.rows] == ["demuxlab, numpy"]


def test_every_contender_that_verifies_rejects_damaged_packets(tmp_path):
    [benchmark] = prepared("decide", tmp_path)
    entry = benchmark.contenders["demuxlab"]()
    answers = entry.answers()
    assert None not in answers[:200]
    assert set(answers[200:]) == {None}


def test_a_process_that_fails_is_reported_in_one_line():
    with pytest.raises(Unavailable, match=r"it failed: AttributeError: .*nothing"):
        processes.call("demuxlab.bench.memory:nothing")


def test_the_machine_has_a_name():
    found = machine()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["versions"].keys() >= {"demuxlab", "scapy"}
