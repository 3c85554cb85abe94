"""Everything a learner is shown fits 80 columns, in both languages, and uses more where there is more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.labs.runs import ROOT, quick_labs
from wcwidth import wcswidth

from demuxlab import language, layout
from demuxlab.cli.main import group
from demuxlab.labkit import Lab
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.runner import load
from demuxlab.links.memory import MemoryLink
from demuxlab.live.drawing import draw
from demuxlab.live.terminal import Watch


@pytest.fixture(params=["en", "ko"])
def spoken(request, monkeypatch):
    """Each language, on a terminal of 80 columns."""
    before = language.code()
    monkeypatch.setenv("COLUMNS", "80")
    language.use(request.param)
    yield request.param
    language.use(before)


@quick_labs
def test_a_run_and_its_live_view_fit_80_columns_with_whole_endpoints(lab: Path, spoken: str) -> None:
    shown: list[str] = []
    watch = Watch(shown.append)
    language.add(lab)
    made = Lab(lab.name, MemoryLink(), tell=shown.append, watcher=watch)
    load(LabFolder(lab))(made)
    made.finish()
    lines = "\n".join(shown).splitlines()
    assert len(lines) > 20
    assert max(map(wcswidth, lines)) <= 80
    states = [observer.snapshot() for observer in watch._observers.values()]
    console = Console(width=78, height=40)
    with console.capture() as capture:
        console.print(draw(states, 40, 78))
    assert max(map(wcswidth, capture.get().splitlines())) <= 78
    assert not re.search(r":\d+…", capture.get())


def test_labs_and_flows_fit_80_columns(spoken: str, tmp_path: Path) -> None:
    for words in (["labs"], *(["flows", str(path)] for path in (ROOT / "captures").glob("*.pcapng"))):
        done = CliRunner().invoke(group, words)
        assert done.exit_code == 0, done.output
        assert max(map(wcswidth, done.output.splitlines())) <= 80


def lines(folder: Path, columns: int) -> list[str]:
    """Return what lab 04's run prints on a terminal of so many columns."""
    environment = {**os.environ, "COLUMNS": str(columns), "LANGUAGE": "en"}
    command = [sys.executable, "-m", "demuxlab", "run", "04", "--link", "memory", "--captures", "c"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return [*done.stderr.splitlines(), *done.stdout.splitlines()]


def test_a_wider_terminal_is_used(tmp_path: Path) -> None:
    wide, narrow = lines(tmp_path, 120), lines(tmp_path, 80)
    assert len(wide) < len(narrow)
    assert any("tcp PA 17 bytes" in line for line in wide)
    assert not any("bytes" in line for line in narrow)


def test_cells_stand_below_each_other_in_korean_too() -> None:
    lines = layout.table(
        ("프레임", "소켓"), [("1", "P4"), ("둘", "데이터 소켓"), ("12345678", "")], 40
    ).splitlines()
    assert [wcswidth(line[: re.search(r"  (?=\S)", line).end()]) for line in lines[:-1]] == [10] * 4


def test_where_no_word_fits_an_endpoint_is_broken_before_its_port() -> None:
    assert layout.wrapped("192.168.0.1:8080", 12) == ["192.168.0.1", ":8080"]
    assert layout.wrapped("역다중화하는", 5) == ["역다", "중화", "하는"]
    table = layout.table(("a", "b"), [("192.168.0.1:8080", "x" * 30)], 40)
    assert max(map(wcswidth, table.splitlines())) <= 40


def test_cells_are_wrapped_where_that_costs_the_fewest_lines() -> None:
    rows = [("one two", "three four"), ("one", "three four"), ("one", "three four")]
    table = layout.table(("first", "second"), rows, 17)
    assert table.splitlines()[2:4] == ["one    three four", "two"]
