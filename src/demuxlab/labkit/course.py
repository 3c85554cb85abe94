"""Where the labs are, and which of them a word means."""

import difflib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from demuxlab import language
from demuxlab.errors import CallError
from demuxlab.language import _

SCRIPT = "lab.py"
_PACKAGE = Path(__file__).resolve().parents[1]


class NoSuchLab(CallError):
    """No lab is called that; the message offers the nearest name."""


@dataclass(frozen=True, slots=True)
class LabFolder:
    """One lab of the course: a folder such as labs/04_tcp_four_tuple."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, "04_tcp_four_tuple"."""
        return self.path.name

    @property
    def script(self) -> Path:
        """The demonstration, lab.py."""
        return self.path / SCRIPT

    @property
    def captures(self) -> Path:
        """Where its captures go: captures/ beside labs/ in a checkout, else in the current folder."""
        beside = self.path.parent.parent / "captures"
        installed = _PACKAGE in self.path.parents
        return beside if beside.is_dir() and not installed else Path("captures")

    @property
    def title(self) -> str:
        """The first line of the handout in the language in use, without its mark."""
        for name in (f"README.{language.code()}.md", "README.md"):
            with suppress(OSError, IndexError):
                return (self.path / name).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        return self.name


def course_folder() -> Path:
    """Return the folder of labs: the one below the current folder, else the package's own."""
    here = Path.cwd() / "labs"
    return here if _has_labs(here) else installed_folder()


def installed_folder() -> Path:
    """Return the folder of labs that came with the package, or that it was installed from."""
    for folder in (_PACKAGE.parents[1] / "labs", _PACKAGE / "course" / "labs"):
        if _has_labs(folder):
            return folder
    raise NoSuchLab(
        _("no labs are here"), _("run it in the folder that has labs/, or install demuxlab again")
    )


def _has_labs(folder: Path) -> bool:
    return any(folder.glob(f"[0-9][0-9]_*/{SCRIPT}"))


def labs() -> list[LabFolder]:
    """Return all labs in order."""
    return [LabFolder(script.parent) for script in sorted(course_folder().glob(f"[0-9][0-9]_*/{SCRIPT}"))]


def find(word: str) -> LabFolder:
    """Return the lab meant by a number or a name: 04, 4, 04_tcp_four_tuple, tcp_four_tuple."""
    known = labs()
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
    raise NoSuchLab(_("no lab is called {word!r}", word=word), _("there are {labs}", labs=", ".join(names)))
