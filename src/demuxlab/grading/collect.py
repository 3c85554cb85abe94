"""Finds what was handed in: files, folders, archives. Nothing is unpacked and no link is followed.

A submission that cannot be taken is its learner's own mistake: it is graded with a sentence about that.
"""

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from demuxlab.errors import CallError
from demuxlab.files import reading
from demuxlab.grading.answers import neutral
from demuxlab.grading.submission import MAX_SOURCE
from demuxlab.language import _

EXERCISE = "exercise.py"
_MAX_MEMBERS = 10_000
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class _NotTaken(Exception):
    """The submission cannot be graded; the message becomes its `problem`, for the learner."""


@dataclass(frozen=True, slots=True)
class HandedIn:
    """One learner's file, or the reason why there is none."""

    name: str
    source: bytes
    problem: str = ""

    @property
    def digest(self) -> str:
        """The file's fingerprint, from which its seed comes."""
        return sha256(self.source + self.problem.encode()).hexdigest()


def collect(paths: Iterable[Path]) -> tuple[list[HandedIn], list[str]]:
    """Return the submissions of files and folders, by name, and what in the folders is none.

    CallError where a path does not exist or may not be read.
    """
    found: dict[str, HandedIn] = {}
    skipped = []
    for path in paths:
        if not os.path.lexists(path):
            raise CallError(
                _("{path} does not exist", path=path), _("name a file or a folder of submissions")
            )
        with reading(path, _("name a file or a folder of submissions")):
            entries = sorted(path.iterdir()) if _is_collection(path) else [path]
        for entry in entries:
            if entry.name.startswith((".", "__")):
                continue
            if entry is not path and not _may_be_one(entry):
                skipped.append(neutral(entry.name))
                continue
            taken = _take(entry)
            name, number = taken.name, 2
            while name in found:
                name, number = f"{taken.name}-{number}", number + 1
            found[name] = HandedIn(name, taken.source, taken.problem)
    return [found[name] for name in sorted(found)], skipped


def _may_be_one(path: Path) -> bool:
    return path.name.endswith((".py", ".zip", *_TAR)) or path.is_symlink() or path.is_dir()


def _is_collection(path: Path) -> bool:
    """Tell whether a folder holds submissions, and is not one itself."""
    return path.is_dir() and not path.is_symlink() and not (path / EXERCISE).exists()


def _take(path: Path) -> HandedIn:
    name = neutral(_name(path)).replace("\n", "�")
    try:
        return HandedIn(name, _source(path))
    except _NotTaken as error:
        return HandedIn(name, b"", neutral(str(error)))
    except (OSError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
        why = " ".join(str(error).split())  # tarfile tells of each compression on a line of its own
        return HandedIn(name, b"", neutral(_("{file} cannot be read: {why}", file=path.name, why=why)))


def _name(path: Path) -> str:
    for suffix in (*_TAR, ".zip", ".py"):
        if path.name.endswith(suffix):
            stem = path.name.removesuffix(suffix)
            return path.resolve().parent.name if path.name == EXERCISE else stem
    return path.name


def _source(path: Path) -> bytes:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise _NotTaken(_("{file} is a link: hand in the file itself", file=path.name))
    if stat.S_ISDIR(mode):
        return _source(path / _choose([entry.name for entry in path.iterdir()]))
    if not stat.S_ISREG(mode):
        raise _NotTaken(_("{file} is no ordinary file", file=path.name))
    if path.name.endswith(".zip"):
        return _from_zip(path)
    if path.name.endswith(_TAR):
        return _from_tar(path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        return _bounded(file.read(MAX_SOURCE + 1))


def _from_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_names(member.filename for member in members)
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _NotTaken(_("{file} is a link: hand in the file itself", file=member.filename))
        wanted = _choose([member.filename for member in members])
        with archive.open(wanted) as file:
            return _bounded(file.read(MAX_SOURCE + 1))


def _from_tar(path: Path) -> bytes:
    with tarfile.open(path) as archive:
        members = []
        for member in archive:
            members.append(member)
            if len(members) > _MAX_MEMBERS:
                break
        _check_names(member.name for member in members)
        for member in members:
            if not (member.isreg() or member.isdir()):
                raise _NotTaken(_("{file} is a link or a device: hand in the file itself", file=member.name))
        wanted = _choose([member.name for member in members if member.isreg()])
        file = archive.extractfile(wanted)
        assert file is not None
        return _bounded(file.read(MAX_SOURCE + 1))


def _check_names(names: Iterator[str]) -> None:
    for number, name in enumerate(names):
        if number >= _MAX_MEMBERS:
            raise _NotTaken(
                _("the archive has more than {count} files: hand in the exercise only", count=_MAX_MEMBERS)
            )
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or path.drive:
            raise _NotTaken(
                _("{name!r} leads out of the archive: pack it again without such paths", name=name)
            )


def _choose(names: list[str]) -> str:
    """Return the one file that is meant: exercise.py, or the only Python file."""
    files = [name for name in names if name.endswith(".py") and "__MACOSX" not in name]
    exercises = [name for name in files if PurePosixPath(name).name == EXERCISE]
    chosen = exercises or files
    if len(chosen) != 1:
        if not chosen:
            raise _NotTaken(_("there is no Python file in it: hand in one exercise.py"))
        raise _NotTaken(_("{count} files could be meant: hand in one exercise.py", count=len(chosen)))
    return chosen[0]


def _bounded(source: bytes) -> bytes:
    if len(source) > MAX_SOURCE:
        raise _NotTaken(_("the file has more than {size} bytes", size=MAX_SOURCE))
    return source
