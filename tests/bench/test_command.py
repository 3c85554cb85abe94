"""`demuxlab bench`: its tables, its JSON, its pictures and its error messages."""

import json
from types import SimpleNamespace

import pytest

from demuxlab.bench.measure import Benchmark, Entry, Goal, Unavailable
from demuxlab.cli import bench
from demuxlab.cli.main import main


@pytest.fixture
def call(capsys, monkeypatch):
    """`call("decide")` → (exit status, standard output, standard error)."""
    monkeypatch.setattr("demuxlab.links.rights.drop", lambda: "rights: kept for the test")

    def run(*arguments):
        try:
            main(["bench", *map(str, arguments)])
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def missing():
    raise Unavailable("peer is not installed", "pip install 'demuxlab[bench]'")


@pytest.fixture
def contenders(monkeypatch):
    """Contenders with fixed figures in place of the real ones."""

    def entry(figure, answers=("P4",)):
        return lambda: Entry(lambda: answers, lambda _seconds: figure)

    found = {"demuxlab": entry(5000.0), "dpkt": entry(800.0), "scapy": missing, "bare loop": entry(10000.0)}
    goals = (Goal("demuxlab", "dpkt", at_least=5), Goal("demuxlab", "bare loop", at_least=0.7))

    def prepare(_effort, _folder):
        return [Benchmark("decide", "packets/s", dict(found), "bare loop", goals, "1,000 sockets")]

    monkeypatch.setattr(bench, "import_module", lambda _name: SimpleNamespace(prepare=prepare))
    return SimpleNamespace(found=found, entry=entry)


def test_the_table_has_ratios_targets_and_the_contenders_left_out(call, contenders):
    status, out, err = call("decide", "--quick")
    assert status == 0
    assert out.startswith("machine: ")
    [first, second] = [" ".join(line.split()) for line in out.splitlines() if line.endswith(("✓", "✗"))]
    assert first == "demuxlab 5 k 5 k – 5 k 0.5 × bare loop ≥ 0.7 × bare loop ✗"
    assert second == "6.2 × dpkt ≥ 5 × dpkt ✓"
    assert "decide: scapy left out: peer is not installed: pip install 'demuxlab[bench]'" in out
    assert err == "measuring decide: demuxlab, dpkt, scapy, bare loop\n"


def test_json_is_one_object_a_figure_and_nothing_else(call, contenders):
    status, out, err = call("decide", "--quick", "--json")
    machine, *figures, left_out = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert machine["machine"].keys() == {"cpu", "cores", "kernel", "congestion", "python", "versions"}
    assert figures[:2] == [
        {
            "benchmark": "decide",
            "contender": "demuxlab",
            "unit": "packets/s",
            "median": 5000.0,
            "spread": [5000.0, 5000.0],
            "ratio": 0.5,
            "ratio_spread": [0.5, 0.5],
            "reference": "bare loop",
            "target": {"at_least": 0.7},
            "reached": False,
        },
        {
            "benchmark": "decide",
            "contender": "demuxlab",
            "unit": "packets/s",
            "median": 5000.0,
            "spread": [5000.0, 5000.0],
            "ratio": 6.25,
            "ratio_spread": [6.25, 6.25],
            "reference": "dpkt",
            "target": {"at_least": 5},
            "reached": True,
        },
    ]
    assert [(row["contender"], row["target"], row["reached"]) for row in figures[2:]] == [
        ("dpkt", None, None),
        ("bare loop", None, None),
    ]
    assert left_out == {
        "benchmark": "decide",
        "contender": "scapy",
        "left_out": "peer is not installed: pip install 'demuxlab[bench]'",
    }
    assert "0.5 × bare loop" in err


def test_markdown_is_one_table_for_a_readme(call, contenders):
    status, out, _err = call("decide", "start", "--quick", "--markdown")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("| benchmark")
    assert sum("decide, packets/s" in line for line in lines) == 2
    assert "Medians of 2 rounds and their quartiles, measured by turns on " in out


def test_a_wrong_contender_ends_its_benchmark_and_the_others_go_on(call, contenders, monkeypatch):
    contenders.found["dpkt"] = contenders.entry(9e9, ["P5"])
    status, out, err = call("decide", "--quick")
    assert status == 1
    assert "demuxlab: decide: dpkt and demuxlab disagree, so nothing was timed" in err
    assert "dpkt" not in out.partition("\n")[2]


def test_ctrl_c_prints_the_rounds_so_far(call, contenders):
    def interrupted():
        turns = iter([2000.0])

        def turn(_seconds):
            for figure in turns:
                return figure
            raise KeyboardInterrupt

        return Entry(lambda: ["P4"], turn)

    contenders.found["dpkt"] = interrupted
    status, out, err = call("decide", "start", "--quick")
    assert status == 130
    assert "2.5 × dpkt" in out
    assert err.splitlines()[-1] == "demuxlab: interrupted"
    assert err.count("measuring") == 1


def test_a_picture_of_all_or_one_of_each(call, contenders, tmp_path):
    pytest.importorskip("matplotlib")
    assert call("decide", "--quick", "--plot", tmp_path / "all.png")[0] == 0
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    folder = tmp_path / "each"
    status, _out, err = call("decide", "--quick", "--plot", folder)
    assert status == 0
    assert err.splitlines()[-1] == f"plot: {folder / 'decide.svg'}"
    assert "times bare loop (packets/s)" in (folder / "decide.svg").read_text()


def test_a_picture_that_cannot_be_drawn_is_refused_before_measuring(call, contenders, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    for plot, problem in (
        (tmp_path / "picture.gif", "is no picture that can be drawn: name a .png, a .svg or a folder"),
        (tmp_path / "file" / "a.png", "cannot be written (File exists): give another --plot"),
    ):
        status, out, err = call("decide", "--plot", plot)
        assert (status, out) == (2, "")
        assert err == f"demuxlab: {plot} {problem}\n"
    monkeypatch.setattr(bench.util, "find_spec", lambda name: None)
    status, _out, err = call("decide", "--plot", tmp_path / "a.png")
    assert (status, err) == (2, "demuxlab: --plot needs matplotlib: pip install 'demuxlab[bench]'\n")


def test_a_full_disk_is_reported_in_one_line(call, contenders, monkeypatch):
    def full(_effort, _folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench, "import_module", lambda _name: SimpleNamespace(prepare=full))
    status, _out, err = call("decide")
    assert status == 2
    assert err.startswith("demuxlab: the benchmark's files cannot be kept in ")
    assert err.endswith("(No space left on device): set TMPDIR to a folder with room\n")


def test_an_unknown_name_is_refused(call):
    status, _out, err = call("speed")
    assert status == 2
    assert err.startswith("demuxlab: ")
    assert "'decide', 'scale'" in err
