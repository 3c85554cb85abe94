"""Everything a learner is shown fits 80 columns, in both languages, and uses more where there is more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.labs.runs import LABS, ROOT
from wcwidth import wcswidth

from demuxlab import layout
from demuxlab.labkit import Lab
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.runner import load
from demuxlab.links.memory import MemoryLink
from demuxlab.live.drawing import draw
from demuxlab.live.terminal import Watch

every_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)


def lines(folder: Path, *words: str, columns: int = 80, code: str = "en") -> list[str]:
    """Return what a command prints on a terminal of so many columns."""
    environment = {**os.environ, "COLUMNS": str(columns), "LANGUAGE": code}
    command = [sys.executable, "-m", "demuxlab", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [*done.stderr.splitlines(), *done.stdout.splitlines()]


@every_lab
@pytest.mark.parametrize("code", ["en", "ko"])
def test_a_run_fits_80_columns(lab: Path, code: str, tmp_path: Path) -> None:
    shown = lines(tmp_path, "run", lab.name[:2], "--link", "memory", "--captures", "c", code=code)
    assert max(map(wcswidth, shown)) <= 80


@every_lab
def test_the_live_view_fits_80_columns_with_whole_endpoints(lab: Path) -> None:
    watch = Watch(lambda _line: None)
    made = Lab(lab.name, MemoryLink(), tell=lambda _line: None, watcher=watch)
    load(LabFolder(lab))(made)
    made.finish()
    states = [observer.snapshot() for observer in watch._observers.values()]
    console = Console(width=78, height=40)
    with console.capture() as capture:
        console.print(draw(states, 40, 78))
    assert max(map(wcswidth, capture.get().splitlines())) <= 78
    assert not re.search(r":\d+…", capture.get())


@pytest.mark.parametrize("code", ["en", "ko"])
def test_labs_and_flows_fit_80_columns(code: str, tmp_path: Path) -> None:
    for words in (("labs",), *(("flows", str(path)) for path in (ROOT / "captures").glob("*.pcapng"))):
        assert max(map(wcswidth, lines(tmp_path, *words, code=code))) <= 80


def test_a_wider_terminal_is_used(tmp_path: Path) -> None:
    wide = lines(tmp_path, "run", "04", "--link", "memory", "--captures", "c", columns=120)
    narrow = lines(tmp_path, "run", "04", "--link", "memory", "--captures", "c")
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
