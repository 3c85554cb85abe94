"""One lab: a folder with its script, its handout, its exercise and its questions."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from demuxlab import language

SCRIPT = "lab.py"
PACKAGE = Path(__file__).resolve().parents[1]
"""Where demuxlab is installed; in a wheel the labs are below it."""


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
        installed = PACKAGE in self.path.parents
        return beside if beside.is_dir() and not installed else Path("captures")

    @property
    def title(self) -> str:
        """The first line of the handout in the language in use, without its mark."""
        for name in (f"README.{language.code()}.md", "README.md"):
            with suppress(OSError, IndexError):
                return (self.path / name).read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        return self.name
