"""Runs labs as a learner does, and looks at what comes out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABS = sorted(path.parent for path in (ROOT / "labs").glob("[0-9][0-9]_*/lab.py"))
QUICK = ("04", "09", "16", "21")
quick_labs = pytest.mark.parametrize(
    "lab",
    [pytest.param(lab, marks=[pytest.mark.long] * (lab.name[:2] not in QUICK), id=lab.name) for lab in LABS],
)
"""A test of all labs with --long; without it of these four, since it takes seconds for each."""


def run(folder: Path, *words: str) -> tuple[list[dict[str, Any]], bytes]:
    """Run a lab in another folder; return its decisions, and the capture's bytes."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, *words, "--captures", "mine", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "✗" not in done.stderr
    [capture] = (folder / "mine").iterdir()
    return [json.loads(line) for line in done.stdout.splitlines()], capture.read_bytes()


def delivered(decisions: list[dict[str, Any]], socket: str, rule: str | None = None) -> list[int]:
    """Return the frames that reached the sockets of a name."""
    found = [row for row in decisions if row["socket"] == socket and rule in (None, row["rule"])]
    return [row["frame"] for row in found]
