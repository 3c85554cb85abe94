"""Reads the one Python file that is meant out of an archive: in a process of its own, with limits.

`python -I -S -B unpack.py LAB < ARCHIVE`. The first line of the answer is JSON: `{"name": …}`, and the
file's bytes follow, or `{"wrong": KIND, …}`, a key of `collect.PROBLEMS` and its values. Standard library
only. What the archive is, its first bytes say, not its name. Nothing is written to a disk.

Limits: `SECONDS` of processor time, `MEMORY` bytes of memory, `EXPANDED` bytes out of the decompressor,
`MEMBERS` files, `DEPTH` archives inside each other, `SOURCE` bytes of the file.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any

SECONDS = 10
MEMORY = 512 << 20
EXPANDED = 64 << 20
MEMBERS = 10_000
DEPTH = 3
SOURCE = 1 << 20

EXERCISE = "exercise.py"
SUFFIXES = (
    *(".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"),
    *(".gz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".lz", ".z", ".alz", ".egg", ".cab"),
)
"""What an archive's name ends with, in small letters; those that cannot be opened get a sentence too."""
_MADE_BY_TOOLS = ("__macosx", "__pycache__", ".git", ".venv", "venv", "site-packages", "node_modules")
_STREAMS: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_FOREIGN = (
    *((b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07", "RAR"), (b"(\xb5/\xfd", "Zstandard")),
    *(
        (b"ALZ\x01", "ALZ"),
        (b"EGGA", "EGG"),
        (b"MSCF", "Cabinet"),
        (b"LZIP", "lzip"),
        (b"\x1f\x9d", "compress"),
    ),
)
_NAMES = "utf-8", "cp949", "cp932", "cp437"
"""What names in a zip file are written in that does not say so: macOS, Korean and Japanese Windows, DOS."""
_CHUNK = 1 << 16

_Member = tuple[str, "Callable[[], bytes] | None"]


class Unfit(Exception):
    """No file can be taken; `kind` is a key of `collect.PROBLEMS`, `values` are what its sentence names."""

    def __init__(self, kind: str, **values: Any) -> None:
        super().__init__(kind)
        self.kind, self.values = kind, values


class _Limited(io.RawIOBase):
    """A stream of which `budget` bytes can be read: a small archive may hold gigabytes."""

    def __init__(self, stream: IO[bytes], budget: list[int]) -> None:
        self._stream, self._budget = stream, budget

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, never more than a chunk: a header may ask for gigabytes."""
        data = self._stream.read(_CHUNK if size < 0 else min(size, _CHUNK))
        self._budget[0] -= len(data)
        if self._budget[0] < 0:
            raise Unfit("expands", size=EXPANDED >> 20)
        return data


def parts(name: str) -> list[str]:
    """Return a path's parts, with the backslashes of Windows taken as slashes."""
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]


def is_junk(name: str) -> bool:
    """Tell whether a path is hidden, or made by a tool: ._exercise.py of macOS, a virtual environment."""
    return any(part.startswith(".") or part.lower() in _MADE_BY_TOOLS for part in parts(name))


def is_python(name: str) -> bool:
    """Tell whether a path is a Python file that somebody wrote."""
    return name.lower().endswith(".py") and not is_junk(name)


def is_archive(name: str) -> bool:
    """Tell whether a path ends as an archive's does."""
    return name.lower().endswith(SUFFIXES) and not is_junk(name)


def choose(names: list[str], lab: str) -> str:
    """Return the one file that is meant: exercise.py, that of the lab if there are several, or the only one.

    Unfit where none or several could be meant.
    """
    files = [name for name in names if is_python(name)]
    exercises = [name for name in files if parts(name)[-1].lower() == EXERCISE]
    of_lab = [name for name in exercises if lab and lab in parts(name)[:-1]]
    chosen = (of_lab if len(exercises) > 1 else []) or exercises or files
    if not chosen:
        raise Unfit("none")
    if len(chosen) > 1:
        raise Unfit("several", count=len(chosen))
    return chosen[0]


def take(stream: IO[bytes], lab: str) -> tuple[str, bytes]:
    """Return the name and the bytes of the file that is meant; Unfit where there is none."""
    try:
        return _take(stream, lab, [EXPANDED], DEPTH)
    except MemoryError:
        raise Unfit("memory", size=MEMORY >> 20) from None
    except Unfit:
        raise
    except Exception as error:  # zipfile raises whatever comes to pass on some archives, IndexError too
        raise Unfit("damaged", why=_line(error)) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _take(stream: IO[bytes], lab: str, budget: list[int], depth: int) -> tuple[str, bytes]:
    """Take from an archive, or from the only archive in it where no Python file is there."""
    if depth == 0:
        raise Unfit("deep", depth=DEPTH)
    found: dict[str, Callable[[], bytes] | None] = {}
    for number, (name, read) in enumerate(_members(stream, budget)):
        if number >= MEMBERS:
            raise Unfit("many", count=MEMBERS)
        components = parts(name)
        if name.startswith(("/", "\\")) or ".." in components or (components and components[0][1:2] == ":"):
            raise Unfit("outside", name=name[:200])
        if is_python(name) or is_archive(name):
            found[name] = read  # a later version replaces an earlier one
    archives = [name for name in found if is_archive(name)]
    if archives and not any(map(is_python, found)):
        if len(archives) > 1:
            raise Unfit("archives", count=len(archives))
        return _take(io.BytesIO(_ordinary(archives[0], found)), lab, budget, depth - 1)
    wanted = choose(list(found), lab)
    source = _ordinary(wanted, found)
    if len(source) > SOURCE:
        raise Unfit("large", size=SOURCE)
    return wanted, source


def _ordinary(name: str, found: dict[str, Callable[[], bytes] | None]) -> bytes:
    read = found[name]
    if read is None:
        raise Unfit("link", file=name[:200])
    return read()


def _members(stream: IO[bytes], budget: list[int]) -> Iterator[_Member]:
    """Yield each member's name and a function that returns its bytes, None for a link or a device."""
    head = stream.read(512)
    for start, kind in _FOREIGN:
        if head.startswith(start):
            raise Unfit("foreign", format=kind)
    stream.seek(0)
    for start, opened in _STREAMS:
        if head.startswith(start):
            with opened(stream) as expanded:
                yield from _in_tar(_Limited(expanded, budget))
            return
    is_tar = head[257:262] == b"ustar"  # whose last member may be a zip file
    if head.startswith(b"PK") or (not is_tar and zipfile.is_zipfile(stream)):
        yield from _in_zip(stream, budget)
        return
    stream.seek(0)
    yield from _in_tar(_Limited(stream, budget))


def _in_zip(stream: IO[bytes], budget: list[int]) -> Iterator[_Member]:
    archive = zipfile.ZipFile(stream)  # stays open: the file that is meant is read last
    for member in archive.infolist():

        def read(member: zipfile.ZipInfo = member) -> bytes:
            with archive.open(member) as file:
                return _all(_Limited(file, budget), member.filename)

        if not member.is_dir():
            ordinary = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
            yield _name(member), read if ordinary else None


def _name(member: zipfile.ZipInfo) -> str:
    """Return a member's name; zipfile takes what is not marked as UTF-8 for cp437."""
    if member.flag_bits & 0x800:
        return member.filename
    raw = member.filename.encode("cp437", "replace")
    for encoding in _NAMES:
        with suppress(UnicodeDecodeError):
            return raw.decode(encoding)
    return member.filename


def _in_tar(stream: _Limited) -> Iterator[_Member]:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if (
                member.size < 0
            ):  # Python before 3.11.14, 3.12.12 and 3.13.6 goes back in the file (CVE-2025-8194)
                raise tarfile.ReadError("invalid size")
            if not member.isreg():
                if not member.isdir():
                    yield member.name, None
            elif is_python(member.name) or is_archive(member.name):
                data = _all(archive.extractfile(member), member.name)  # now: the stream does not go back
                yield member.name, io.BytesIO(data).getvalue
            else:
                yield member.name, bytes
    while stream.read(_CHUNK):  # a checksum stands at the end
        pass


def _all(file: Any, name: str) -> bytes:
    """Read a whole member: an archive's checksum is at its end. Of a source, one byte too many is enough."""
    most = EXPANDED if is_archive(name) else SOURCE
    data = b""
    while (more := file.read(_CHUNK)) and len(data) <= most:
        data += more
    return data


def confine() -> None:
    """Limit this process, and give up root's rights, before it reads a byte of the archive."""
    for encoding in _NAMES:
        "".encode(encoding)  # loaded while files can still be read
    with suppress(ImportError):
        import resource

        for name, value in (("CPU", SECONDS), ("AS", MEMORY), ("FSIZE", 0), ("CORE", 0), ("NOFILE", 16)):
            which = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(which)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (most, most))
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with suppress(OSError):  # a user namespace may have no other user
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)


def main() -> None:
    """Answer for the archive on standard input."""
    answers = sys.stdout.buffer
    confine()
    try:
        name, source = take(sys.stdin.buffer, sys.argv[1] if sys.argv[1:] else "")
    except Unfit as error:
        answers.write(json.dumps({"wrong": error.kind, **error.values}).encode() + b"\n")
    else:
        answers.write(json.dumps({"name": name}).encode() + b"\n" + source)
    answers.flush()
    os._exit(0)  # at once: half-read archives raise while they are taken apart


if __name__ == "__main__":
    main()
