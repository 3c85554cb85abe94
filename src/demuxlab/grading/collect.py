"""Finds the submissions in files, folders and archives, also in those that learning systems export.

No link is followed and no archive is opened in this process (`unpack`). A submission that cannot be read is
its learner's own mistake: it is graded with a sentence about that. Files that are left out are listed.
"""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from demuxlab.errors import CallError
from demuxlab.files import reading
from demuxlab.grading import unpack
from demuxlab.grading.answers import neutral
from demuxlab.grading.learners import (
    Learner,
    Named,
    composed,
    in_gradescope,
    named,
    original,
    with_groups,
)
from demuxlab.grading.unpack import Unfit
from demuxlab.language import _, marked

EXERCISE = unpack.EXERCISE
_OF_THE_COURSE = ("lab.py", "conftest.py")
_WAIT = 60.0
"""Seconds that an archive's process may take on a busy machine; its own limit is processor time."""

PROBLEMS = marked(
    {
        "none": "there is no Python file in it: hand in one exercise.py",
        "several": "{count} files could be meant: hand in one exercise.py",
        "archives": "{count} archives could be meant: hand in one exercise.py",
        "empty": "the folder is empty: hand in one exercise.py",
        "link": "{file} is a link or a device: hand in the file itself",
        "special": "{file} is not a regular file",
        "large": "the file has more than {size} bytes",
        "many": "the archive has more than {count} files: hand in the exercise only",
        "crowd": "the folder has more than {count} files: hand in the exercise only",
        "outside": "{name!r} leads out of the archive: pack it again without such paths",
        "expands": "the archive expands to more than {size} MB: hand in the exercise only",
        "memory": "the archive takes more than {size} MB of memory: pack it again as .zip",
        "slow": "the archive takes more than {seconds} seconds to read: pack it again as .zip",
        "deep": "archives lie in archives more than {depth} deep: hand in one exercise.py",
        "foreign": "{format} archives are not read: hand in exercise.py, or a .zip",
        "damaged": "{file} cannot be read: {why}",
        "not python": "{file} is neither Python nor an archive: hand in one exercise.py",
    }
)
"""Why a submission cannot be taken, for its learner."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """One learner's file, or the reason why there is none."""

    name: str
    source: bytes
    problem: str = ""
    learner: Learner = field(default=Learner(""), compare=False)

    @property
    def digest(self) -> str:
        """The file's fingerprint."""
        return sha256(self.source + self.problem.encode()).hexdigest()


@dataclass(slots=True)
class _Upload:
    """What one learner handed in: entries with the names that the learner gave them."""

    learner: Learner
    entries: list[tuple[Named, Path]]

    def files(self) -> Iterator[tuple[str, int, Path]]:
        """Yield each file, those in folders too: its name, its order among several uploads, its path."""
        count = 0
        for entry, path in self.entries:
            if path.is_symlink() or not path.is_dir():
                yield entry.rest or path.name, entry.order, path
                continue
            for folder, folders, files in os.walk(path, onerror=_raise):
                folders.sort()
                for name in sorted(files):
                    count += 1
                    if count > unpack.MEMBERS:
                        raise Unfit("crowd", count=unpack.MEMBERS)
                    inside = Path(folder, name)
                    yield inside.relative_to(path).as_posix(), entry.order, inside


def collect(paths: Iterable[Path], lab: str = "", *, alone: bool = False) -> tuple[list[HandedIn], list[str]]:
    """Return the submissions of files and folders, by name, and what in the folders is none.

    `lab` is the name of the lab's folder: of a whole course that is handed in, its exercise is meant.
    `alone`: each path is one submission, a folder too.
    CallError where a path does not exist or may not be read.
    """
    uploads: list[_Upload] = []
    skipped: list[str] = []
    for path in paths:
        if not os.path.lexists(path):
            raise CallError(
                _("{path} does not exist", path=path), _("name a file or a folder of submissions")
            )
        with reading(path, _("name a file or a folder of submissions")):
            if not alone and _is_collection(path, lab):
                uploads += _in_folder(path, skipped)
            else:
                uploads.append(_alone(path))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each archive is read by a process of its own
        taken = list(pool.map(lambda upload: _take(upload, lab), uploads))
    found: dict[str, HandedIn] = {}
    for each in taken:
        name, number = each.name, 2
        while name in found:
            name, number = f"{each.name}-{number}", number + 1
        found[name] = HandedIn(name, each.source, each.problem, each.learner)
    return [found[name] for name in sorted(found)], [neutral(name) for name in skipped]


def _raise(error: OSError) -> None:
    raise error


def _is_collection(path: Path, lab: str) -> bool:
    """Tell whether a folder holds submissions, and is not one itself.

    One learner's folder has exercise.py with nothing beside it, or is a copy of the course.
    """
    if path.is_symlink() or not path.is_dir() or named(path.name):
        return False
    if lab and (path / "labs" / lab / EXERCISE).is_file():
        return False
    names = [entry.name for entry in path.iterdir()]
    if EXERCISE not in names:
        return True
    others = [name for name in names if name != EXERCISE and not name.startswith("test_")]
    return any(_could_be_one(path / name) and name not in _OF_THE_COURSE for name in others)


def _could_be_one(path: Path) -> bool:
    name = path.name
    return unpack.is_python(name) or unpack.is_archive(name) or (path.is_dir() and not unpack.is_junk(name))


def _alone(path: Path) -> _Upload:
    entry = named(path.name) or Named(Learner(_stem(path)), "")
    return _Upload(entry.learner, [(entry, path)])


def _in_folder(folder: Path, skipped: list[str]) -> list[_Upload]:
    """Return the uploads of a folder of submissions; of a learner's several entries, one upload."""
    known: dict[Learner, _Upload] = {}
    rest: list[_Upload] = []
    described = _described(folder / "submission_metadata.yml")
    for path in sorted(folder.iterdir()):
        entry = None if path.name.startswith(".") else named(path.name)
        if path.name in described:
            entry = Named(described[path.name], "")
        if entry is not None:
            known.setdefault(entry.learner, _Upload(entry.learner, [])).entries.append((entry, path))
        elif _is_export(path):
            rest += _in_folder(path, skipped)
        elif _could_be_one(path) or (path.is_symlink() and not unpack.is_junk(path.name)):
            rest.append(_alone(path))
        else:
            skipped.append(path.name)
    for learner, grouped in with_groups(known).items():
        known[learner].learner = grouped
    return [*known.values(), *rest]


def _described(metadata: Path) -> dict[str, Learner]:
    return in_gradescope(metadata.read_text("utf-8", "replace")) if metadata.is_file() else {}


def _is_export(path: Path) -> bool:
    """Tell whether a folder in a folder of submissions holds several learners' work: an export as it came."""
    if path.is_symlink() or not path.is_dir() or unpack.is_junk(path.name):
        return False
    names = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
    return "submission_metadata.yml" in names or any(map(named, names))


def _stem(path: Path) -> str:
    *folders, last = unpack.parts(path.name) or [path.name]  # Windows' paths as names: kim\\exercise.py
    if last == EXERCISE:
        return composed(folders[-1] if folders else path.resolve().parent.name)
    last = composed(last)
    if path.is_dir() and not path.is_symlink():
        return last
    for suffix in sorted((*unpack.SUFFIXES, ".py"), key=len, reverse=True):
        if last.lower().endswith(suffix):
            return last[: -len(suffix)]
    return last


def _take(upload: _Upload, lab: str) -> HandedIn:
    learner = upload.learner
    name = neutral(learner.submission).replace("\n", "�")
    path = upload.entries[0][1]
    try:
        with reading(path, _("make it readable for you")):
            return HandedIn(name, _source(upload, lab), learner=learner)
    except Unfit as error:
        said = _(PROBLEMS[error.kind], **{"file": path.name, **error.values})
    return HandedIn(name, b"", " ".join(neutral(said).split()), learner)


def _source(upload: _Upload, lab: str) -> bytes:
    latest: dict[str, tuple[int, Path]] = {}
    files = list(upload.files())
    for name, order, path in files:
        key = original(name)
        if key not in latest or latest[key][0] <= order:
            latest[key] = order, path
    if any(map(unpack.is_python, latest)):
        return _plain(latest[unpack.choose(list(latest), lab)][1])
    archives = [path for name, (_order, path) in latest.items() if unpack.is_archive(name)]
    if len(archives) == 1:
        return _unpacked(archives[0], lab)
    if archives:
        raise Unfit("archives", count=len(archives))
    if not files:
        raise Unfit("empty")
    if len(files) > 1:
        raise Unfit("none")
    _check_ordinary(files[0][2])
    raise Unfit("not python", file=files[0][0])


def _check_ordinary(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise Unfit("link", file=path.name)
    if not stat.S_ISREG(mode):
        raise Unfit("special", file=path.name)


def _open(path: Path) -> int:
    """Return a descriptor of an ordinary file; a link or a pipe that takes its place is not followed."""
    _check_ordinary(path)
    return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _plain(path: Path) -> bytes:
    with os.fdopen(_open(path), "rb") as file:
        source = file.read(unpack.SOURCE + 1)
    if len(source) > unpack.SOURCE:
        raise Unfit("large", size=unpack.SOURCE)
    return source


def _unpacked(path: Path, lab: str) -> bytes:
    """Return the file that is meant in an archive, read by a process with limits."""
    with os.fdopen(_open(path), "rb") as file:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-B", unpack.__file__, lab],
                stdin=file, capture_output=True, timeout=_WAIT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unfit("slow", seconds=int(_WAIT)) from None
    head, _newline, source = done.stdout.partition(b"\n")
    try:
        said = json.loads(head)
    except ValueError:
        if done.returncode < 0:  # ended by a signal: its processor time is used up
            raise Unfit("slow", seconds=unpack.SECONDS) from None
        raise Unfit("damaged", file=path.name, why=_("its reader failed")) from None
    if "wrong" in said:
        raise Unfit(said.pop("wrong"), **{"file": path.name, **said})
    return source
