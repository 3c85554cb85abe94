"""Finds the folder of labs, and a lab in it by number or name."""

import difflib
import os
from pathlib import Path

from demuxlab.course import next_steps
from demuxlab.errors import CallError
from demuxlab.labkit.folder import PACKAGE, SCRIPT, LabFolder
from demuxlab.language import _


class NoSuchLab(CallError):
    """No lab has this name; the cure is the most similar name."""


def course_folder() -> Path:
    """Return the folder of labs: the one below the current folder, else the package's own."""
    here = Path.cwd() / "labs"
    return here if _has_labs(here) else installed_folder()


def installed_folder() -> Path:
    """Return the folder of labs that came with the package, or that it was installed from."""
    for folder in (PACKAGE.parents[1] / "labs", PACKAGE / "course" / "labs"):
        if _has_labs(folder):
            return folder
    raise NoSuchLab(
        _("no labs are here"), _("run it in the folder that has labs/, or install demuxlab again")
    )


def _has_labs(folder: Path) -> bool:
    return any(folder.glob(f"[0-9][0-9]_*/{SCRIPT}"))


def labs(folder: Path | None = None) -> list[LabFolder]:
    """Return all labs in order, those of `course_folder` where no folder is given."""
    scripts = sorted((folder or course_folder()).glob(f"[0-9][0-9]_*/{SCRIPT}"))
    return [LabFolder(script.parent) for script in scripts]


def newest_capture() -> Path:
    """Return the capture that a run saved last; CallError where there is none."""
    runs = {path for folder in (labs()[0].captures, Path("captures")) for path in folder.glob("*-*.pcapng")}
    if not runs:
        raise CallError(_("no capture"), _("name one, or run a lab first"))
    return next_steps.shown(max(runs, key=lambda path: path.stat().st_mtime).resolve())


def references(lab: LabFolder) -> list[Path]:
    """Return a lab's reference captures: NN_name.pcapng, and others of its number that its checks read.

    The captures of a learner's runs, in the same folder, have a link and a time in their names, after a "-".
    """
    folder = lab.path.parents[1] / "captures"
    return sorted(path for path in folder.glob(f"{lab.name[:3]}*.pcapng") if "-" not in path.stem)


def find(word: str, folder: Path | None = None) -> LabFolder:
    """Return the lab meant by a number or a name: 04, 4, 04_tcp_four_tuple, tcp_four_tuple."""
    known = labs(folder)
    wanted = word.rstrip(os.sep)
    for lab in known:
        number, rest = lab.name.split("_", 1)
        if wanted in (lab.name, rest) or (wanted.isdecimal() and wanted.lstrip("0") == number.lstrip("0")):
            return lab
    names = [lab.name for lab in known]
    rests = {name.partition("_")[2]: name for name in names}
    near = difflib.get_close_matches(wanted, [*names, *rests], n=1, cutoff=0.3)
    if near:
        offered = rests.get(near[0], near[0])
        raise NoSuchLab(_("no lab is called {word!r}", word=word), _("did you mean {near}?", near=offered))
    first, last = names[0][:2], names[-1][:2]
    raise NoSuchLab(
        _("no lab is called {word!r}", word=word),
        _(
            "there are {first} to {last}: {command} lists them",
            first=first,
            last=last,
            command="demuxlab labs",
        ),
    )
