"""Whose file it is, as the name says that a learning system gave it.

Moodle (`mod/assign`, "Download all submissions"), Canvas (`ContentZipper`, "Download submissions"),
Blackboard ("Assignment File Download") and Brightspace put the learner's name, a number and the rest before
the name that the learner chose:

    Ann Ito_4711_assignsubmission_file_/exercise.py          a folder each
    Group A-Ann Ito_4711_assignsubmission_file_exercise.py   files, with groups
    itoann_LATE_98765_12345_exercise-2.py                    user 98765, attachment 12345, second upload
    Lab 4_aito_attempt_2026-11-29-09-30-00_exercise.py       and a ….txt of Blackboard's about the attempt
    4711-98 - Ann Ito - Nov 29, 2026 930 AM - exercise.py    or a folder each
"""

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

_MOODLE = re.compile(
    r"(?P<name>.+?)_(?P<number>\d+)_assign(?:submission|feedback)_[a-z]+(?:_(?P<rest>.*))?", re.DOTALL
)
_CANVAS = re.compile(
    r"(?P<name>.+?)_(?:(?P<late>LATE_)(?P<number>\d+)|(?P<number_>\d{3,}))_(?P<order>\d{3,})_(?P<rest>.+)",
    re.DOTALL,
)
"""Canvas's numbers have three digits or more: lab_04_2_kim.py is a name that a learner chose."""
_CANVAS_WITHOUT_NAME = re.compile(
    r"(?P<late>LATE_)?(?P<number>anon_[A-Za-z0-9]+)_(?P<order>\d+)_(?P<rest>.+)", re.DOTALL
)
_CANVAS_TEXT = re.compile(
    r"(?P<name>.+?)_(?P<late>LATE_)?(?P<number>\d+)_(?P<rest>(?:text|link)\.html)", re.DOTALL
)
_BLACKBOARD = re.compile(
    r".+_(?P<name>[^_]+)_attempt_(?P<date>\d{4}(?:-\d\d){5})(?:_(?P<rest>.+)|\.txt)", re.DOTALL
)
_BRIGHTSPACE = re.compile(
    r"(?P<number>\d+)-\d+ ?- ?(?P<name>.+?) ?- ?(?P<date>\w+ \d+, \d{4} \d{3,4} [AP]M)(?: ?- ?(?P<rest>.+))?",
    re.DOTALL,
)
_DATES = "%Y-%m-%d-%H-%M-%S", "%b %d, %Y %I%M %p", "%B %d, %Y %I%M %p"
_GRADESCOPE = re.compile(r"^(submission_\d+):\n((?:[ -].*(?:\n|$))*)", re.MULTILINE)
_FIELD = re.compile(r"^[ -]*:(name|sid): *(['\"]?)(.*?)\2 *$", re.MULTILINE)
_COPY = re.compile(r"(?:-\d+| ?\(\d+\)| - Copy| copy)(?=(?:\.[A-Za-z0-9]+)*$)")
"""What browsers and Canvas add to a name that is there already: exercise-2.py, exercise (1).py."""
_LIKE_A_GROUP = re.compile(
    r"\d|\b(?:group|team|gruppe|grupo|groupe|gruppo|groep|equipo|équipe)\b| \w$|조$", re.I
)


@dataclass(frozen=True, slots=True)
class Learner:
    """A learner as a system names them; empty where the name does not say it."""

    name: str
    number: str = ""
    """Canvas: the user's ID. Moodle: what its worksheet has behind "Participant"."""
    group: str = ""
    late: bool = False

    @property
    def submission(self) -> str:
        """What results are listed under: the same as long as the system's own name is."""
        return "_".join(part for part in (self.name, self.number) if part)


@dataclass(frozen=True, slots=True)
class Named:
    """One entry of a folder of submissions."""

    learner: Learner
    rest: str
    """The name that the learner gave it; empty for a learner's folder."""
    order: int = 0
    """Grows with each upload (Canvas)."""


def named(entry: str) -> Named | None:
    """Return what an entry's name says; None where no system gave it."""
    entry = composed(entry)
    if match := _MOODLE.fullmatch(entry):
        return Named(Learner(match["name"].strip(), match["number"]), match["rest"] or "")
    for pattern in (_CANVAS_WITHOUT_NAME, _CANVAS, _CANVAS_TEXT):
        if match := pattern.fullmatch(entry):
            fields = match.groupdict()
            number = fields["number"] or fields["number_"]
            learner = Learner(fields.get("name") or "", number, late=bool(fields["late"]))
            return Named(learner, fields["rest"], int(fields.get("order") or 0))
    if match := _BLACKBOARD.fullmatch(entry):
        return Named(Learner(match["name"]), match["rest"] or "attempt.txt", _moment(match["date"]))
    if match := _BRIGHTSPACE.fullmatch(entry):
        return Named(Learner(match["name"], match["number"]), match["rest"] or "", _moment(match["date"]))
    return None


def _moment(date: str) -> int:
    """Return a number that grows with a date."""
    date = re.sub(r" (\d{3}) ", r" 0\1 ", date)  # 930 AM
    for form in _DATES:
        with suppress(ValueError):
            return int(datetime.strptime(date, form).strftime("%Y%m%d%H%M%S"))
    return 0


def in_gradescope(metadata: str) -> dict[str, Learner]:
    """Return the learner of each folder that `submission_metadata.yml` of a Gradescope export names.

    Where several handed in together, the first.
    """
    found = {}
    for folder, about in _GRADESCOPE.findall(metadata):
        fields = {key: value for key, _quote, value in reversed(_FIELD.findall(about))}
        found[folder] = Learner(composed(fields.get("name") or folder), fields.get("sid", ""))
    return found


def composed(name: str) -> str:
    """Return a name with each letter as one character: macOS writes accents and Hangul in parts (NFD)."""
    return unicodedata.normalize("NFC", name)


def with_groups(found: Iterable[Learner]) -> dict[Learner, Learner]:
    """Return the learners with the group that Moodle puts before the name, "Group A-Ann Ito".

    A hyphen is also part of names. It ends a group where all have one and share groups, or where what is
    before it looks so.
    """
    learners = list(found)
    hyphened = [learner for learner in learners if "-" in learner.name]
    groups = {learner.name.partition("-")[0] for learner in hyphened}
    shared = len(hyphened) == len(learners) > len(groups)
    grouped = {learner: learner for learner in learners}
    for learner in hyphened:
        group, _hyphen, name = learner.name.partition("-")
        if name and (shared or _LIKE_A_GROUP.search(group)):
            grouped[learner] = replace(learner, name=name, group=group)
    return grouped


def original(name: str) -> str:
    """Return a name without what marks a copy: exercise-2.py is exercise.py."""
    return _COPY.sub("", name)
