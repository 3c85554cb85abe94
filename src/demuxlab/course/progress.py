"""The learner's points so far, in a file beside the labs; `demuxlab labs` shows them.

It is the learner's own record, not a mark: a teacher grades the submitted file itself.
"""

import json
import os
from contextlib import suppress
from hashlib import sha256
from typing import Any

from demuxlab.labkit.folder import LabFolder

NAME = ".progress.json"


class Progress:
    """The best points of one lab's exercise and quiz, in labs/.progress.json; a damaged file is replaced."""

    def __init__(self, lab: LabFolder) -> None:
        self._lab = lab
        self._path = lab.path.parent / NAME

    def note_exercise(self, points: int, most: int) -> None:
        """Record the points of the lab's exercise.py."""
        self._note("exercise", {"points": points, "of": most, "file": self._fingerprint()})

    def note_quiz(self, student: str, points: int, most: int) -> None:
        """Record the points of an answer sheet."""
        self._note("quiz", {"points": points, "of": most, "student": student})

    def exercise(self) -> str:
        """Return "21/25", with a star where exercise.py was changed since; "" where it was never graded."""
        kept = self._kept("exercise")
        if not kept:
            return ""
        changed = "" if kept.get("file") == self._fingerprint() else " *"
        return f"{kept.get('points')}/{kept.get('of')}{changed}"

    def is_solved(self) -> bool:
        """Tell whether the exercise had all points when it was graded last."""
        kept = self._kept("exercise")
        return bool(kept) and kept.get("points") == kept.get("of")

    def quiz(self) -> str:
        """Return "7/9", or "" where no sheet was marked."""
        kept = self._kept("quiz")
        return f"{kept.get('points')}/{kept.get('of')}" if kept else ""

    def _fingerprint(self) -> str:
        try:
            return sha256((self._lab.path / "exercise.py").read_bytes()).hexdigest()[:16]
        except OSError:
            return ""

    def _kept(self, what: str) -> dict[str, Any]:
        kept = self._read().get(self._lab.name, {}).get(what, {})
        return kept if isinstance(kept, dict) else {}

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return {k: v for k, v in kept.items() if isinstance(v, dict)} if isinstance(kept, dict) else {}

    def _note(self, what: str, value: dict[str, Any]) -> None:
        kept = self._read()
        before = self._kept(what)
        if before.get("of") == value["of"] and (before.get("points") or 0) > value["points"]:
            return
        kept.setdefault(self._lab.name, {})[what] = value
        new = self._path.with_name(f"{NAME}.{os.getpid()}")
        with suppress(OSError):  # a read-only course keeps no record
            new.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            os.replace(new, self._path)
