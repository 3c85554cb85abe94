"""`demuxlab bench`: its tables, its JSON, its pictures and its error messages."""

import json
from functools import partial
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from demuxlab.bench import commits
from demuxlab.bench.measure import Benchmark, Entry, Goal, Report, Row, Unavailable
from demuxlab.bench.plot import draw
from demuxlab.cli import bench

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def call(command_line):
    """`call("decide")` → (exit status, standard output, standard error)."""
    return partial(command_line, "bench")


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
    assert second == "6.25 × dpkt ≥ 5 × dpkt ✓"
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


def test_markdown_is_one_table(call, contenders):
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
    assert call("decide", "start", "--quick", "--plot", tmp_path / "all.svg")[0] == 0
    folder = tmp_path / "each"
    status, _out, err = call("decide", "--quick", "--plot", folder)
    assert status == 0
    assert err.splitlines()[-1] == f"plot: {folder / 'decide.svg'}"
    for picture, panels in ((tmp_path / "all.svg", 2), (folder / "decide.svg", 1)):
        said = ["".join(text.itertext()) for text in ElementTree.parse(picture).iter(f"{_SVG}text")]
        assert said.count("decide, packets/s") == panels
        assert said.count("axis: times bare loop") == panels
        assert said.count("demuxlab") == panels


def test_a_ratio_and_its_goals_lie_where_the_axis_says():
    def row(contender, ratio, goal=None, reached=None):
        return Row(
            "decide", contender, "µs", 50.0, (40.0, 60.0), "<ref>", ratio, (ratio, ratio), goal, reached
        )

    met, missed = Goal("demuxlab", "<ref>", at_least=0.01), Goal("demuxlab", "<ref>", at_least=1)
    rows = [
        row("demuxlab", 0.1, met, True),
        row("demuxlab", 0.1, missed, False),
        row("<ref>", 1.0),
        row("b", 0.01),
    ]
    svg = draw([Report(Benchmark("decide", "µs", {}, "<ref>", note="n & m"), rows)], "here")
    assert svg == draw([Report(Benchmark("decide", "µs", {}, "<ref>", note="n & m"), rows)], "here")
    drawn = ElementTree.fromstring(svg)
    at = {
        text.text: int(float(text.get("x")))
        for text in drawn.iter(f"{_SVG}text")
        if text.get("class") == "s m"
    }
    assert list(at) == ["0.01", "0.1", "1"]
    assert [int(dot.get("cx")) for dot in drawn.iter(f"{_SVG}circle")] == [at["0.1"], at["1"], at["0.01"]]
    goals = {
        path.get("class"): path for path in drawn.iter(f"{_SVG}path") if path.find(f"{_SVG}title") is not None
    }
    assert goals["y"].get("d").startswith(f"M{at['0.01']} ")
    assert goals["x"].get("d").startswith(f"M{at['1']} ")
    assert goals["x"].findtext(f"{_SVG}title") == "≥ 1 × <ref>"


def test_a_picture_that_cannot_be_drawn_is_refused_before_measuring(call, contenders, tmp_path):
    (tmp_path / "file").touch()
    for plot, problem in (
        (tmp_path / "picture.png", "is no picture that can be drawn: name a .svg file or a folder"),
        (tmp_path / "file" / "a.svg", "cannot be written (File exists): give another --plot"),
    ):
        status, out, err = call("decide", "--plot", plot)
        assert (status, out) == (2, "")
        assert err == f"demuxlab: {plot} {problem}\n"


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


# An earlier commit

TURNS = """
import json, os, sys
FIGURE = 1000.0 if "commit" in os.environ["PYTHONPATH"] else 900.0
for line in sys.stdin:
    request = json.loads(line)
    response = {
        "benchmarks": [["decide", "packets/s", ["demuxlab", "dpkt"], "1,000 sockets"]],
        "answers": ["P4"],
        "turn": FIGURE,
    }[request[0]]
    print(json.dumps(response), flush=True)
"""


@pytest.fixture
def trees(monkeypatch, tmp_path):
    """Two trees whose turns have fixed figures; returns the script that stands in for both."""
    script = tmp_path / "turns.py"
    script.write_text(TURNS)

    monkeypatch.setattr(commits, "_TURNS", str(script))
    monkeypatch.setattr(commits, "_unpack", lambda _commit, _tree: None)
    return script


def test_an_earlier_commit_is_compared_with_ours_alone(call, trees):
    status, out, err = call("decide", "--quick", "--compare", "HEAD~1")
    assert status == 0
    assert [" ".join(line.split()) for line in out.splitlines() if "now" in line] == [
        "now 900 900 – 900 0.9 × HEAD~1 ≥ 0.95 × HEAD~1 ✗"
    ]
    assert "measuring decide: demuxlab: now, HEAD~1\n" in err
    assert err.endswith("slower than HEAD~1: decide: demuxlab\n")


def test_a_tree_that_breaks_down_is_left_out_with_its_last_words(call, trees):
    trees.write_text(
        TURNS.replace('"answers": ["P4"],', '"answers": ["P4"] * (1 + 1 // int(1000 - FIGURE)),')
    )
    status, out, _err = call("decide", "--quick", "--compare", "HEAD~1")
    assert status == 0
    assert "HEAD~1 left out: it failed: ZeroDivisionError" in out


def test_a_commit_that_git_does_not_know_is_named(call):
    status, _out, err = call("decide", "--quick", "--compare", "no-such-commit")
    assert status == 2
    assert "no-such-commit" in err
    assert err.rstrip().endswith("name a commit, and run demuxlab from a clone (pip install -e .)")
