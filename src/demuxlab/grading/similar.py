"""Which submissions resemble each other, as compare50 finds it: a report for a person, never a mark."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from demuxlab.errors import CallError, DemuxlabError
from demuxlab.grading.collect import EXERCISE, HandedIn
from demuxlab.language import _


def compare(found: Sequence[HandedIn], starter: Path, folder: Path) -> Path | None:
    """Write a report of the most similar pairs into a new folder; return its first page, None without any.

    What all have from the starter does not count. CallError where they cannot be compared.
    """
    if importlib.util.find_spec("compare50") is None:
        raise CallError(_("compare50 is not installed"), "pip install 'demuxlab[similar]'")
    if folder.exists():
        raise CallError(_("{folder} is there already", folder=folder), _("name a new folder"))
    readable = [each for each in found if not each.problem and "/" not in each.name]
    if len(readable) < 2:
        raise CallError(
            _("there are not two submissions to compare"), _("name at least two that can be read")
        )
    with tempfile.TemporaryDirectory(prefix="demuxlab-") as place:
        for each in readable:
            (Path(place) / each.name).mkdir()
            (Path(place) / each.name / EXERCISE).write_bytes(each.source)
        done = subprocess.run(
            [sys.executable, "-m", "compare50", "-o", str(folder.resolve()), "-d", str(starter), "--"]
            + [str(Path(place) / each.name) for each in readable],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise DemuxlabError(_("compare50 failed"), " ".join(said))
    page = folder / "index.html"
    return page if page.is_file() else None
