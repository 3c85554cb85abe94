"""Fuzz target: a submission, which is a Python file, a zip or a tar archive.

An input is a byte for the file's kind, then the file.
"""

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from demuxlab.grading.collect import collect
from demuxlab.grading.unpack import SOURCE as MAX_SOURCE

KINDS = ("kim.zip", "kim.tar", "kim.tar.gz", "kim.py", "kim.tar.bz2", "kim.tar.xz")
SOURCE = b"def f():\n    return 1\n"


def seeds() -> Iterator[bytes]:
    for names in (("exercise.py",), ("a/exercise.py", "b.txt"), ("../exercise.py",), ("one.py", "two.py")):
        zipped, tarred = io.BytesIO(), io.BytesIO()
        with zipfile.ZipFile(zipped, "w") as archive, tarfile.open(fileobj=tarred, mode="w") as tape:
            for name in names:
                archive.writestr(name, SOURCE)
                member = tarfile.TarInfo(name)
                member.size = len(SOURCE)
                tape.addfile(member, io.BytesIO(SOURCE))
        yield b"\x00" + zipped.getvalue()
        yield b"\x01" + tarred.getvalue()[:2048]
    for number, mode in ((2, "w:gz"), (4, "w:bz2"), (5, "w:xz")):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode=mode) as tape:  # type: ignore[call-overload]
            member = tarfile.TarInfo("exercise.py")
            member.size = len(SOURCE)
            tape.addfile(member, io.BytesIO(SOURCE))
        yield bytes((number,)) + made.getvalue()
        yield bytes((number,)) + made.getvalue()[:-20]
    yield b"\x03" + SOURCE


def one(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KINDS[data[0] % len(KINDS) if data else 0]
        path.write_bytes(data[1:])
        found, skipped = collect([path])
        assert not skipped
        [taken] = found
        assert taken.name == "kim"
        assert bool(taken.problem) != bool(taken.source) or not taken.source
        assert len(taken.source) <= MAX_SOURCE
        assert "\n" not in taken.problem
        assert not set(taken.problem) & set("\x00\x07\x1b\x7f\u202e"), f"a terminal obeys {taken.problem!r}"
        assert len(taken.digest) == 64
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name], "something was unpacked"
