"""Where the labs are, and which of them a word means."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

SCRIPT = "lab.py"
_PACKAGE = Path(__file__).resolve().parents[1]


class NoSuchLab(Exception):
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
        """The first line of the handout, without its mark."""
        try:
            return (self.path / "README.md").read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        except (OSError, IndexError):
            return self.name


def course_folder() -> Path:
    """Return the folder of labs: the one below the current folder, else the package's own."""
    candidates = (Path.cwd() / "labs", _PACKAGE.parents[1] / "labs", _PACKAGE / "course" / "labs")
    for folder in candidates:
        if any(folder.glob(f"[0-9][0-9]_*/{SCRIPT}")):
            return folder
    raise NoSuchLab("no labs are here: run it in the folder that has labs/, or install demuxlab again")


def labs() -> list[LabFolder]:
    """Return all labs in order."""
    return [LabFolder(script.parent) for script in sorted(course_folder().glob(f"[0-9][0-9]_*/{SCRIPT}"))]


def find(word: str) -> LabFolder:
    """Return the lab meant by a number or a name: 04, 4, 04_tcp_four_tuple, tcp_four_tuple."""
    known = labs()
    wanted = word.rstrip(os.sep)
    for lab in known:
        number, _, rest = lab.name.partition("_")
        if wanted in (lab.name, rest) or (wanted.isdigit() and int(wanted) == int(number)):
            return lab
    names = [lab.name for lab in known]
    rests = {name.partition("_")[2]: name for name in names}
    near = difflib.get_close_matches(wanted, [*names, *rests], n=1, cutoff=0.3)
    offer = f"did you mean {rests.get(near[0], near[0])}?" if near else f"there are {', '.join(names)}"
    raise NoSuchLab(f"no lab is called {word!r}: {offer}")
