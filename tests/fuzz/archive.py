"""Fuzz target: a submission that is a zip or a tar archive, as the process with limits reads it.

An input is a byte for the kind, then the archive. Three kinds are compressed here, so that what is changed
in the tar is not lost in a checksum that no longer holds.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Iterator

from demuxlab.grading import unpack
from demuxlab.grading.collect import PROBLEMS

AS_IT_IS = bytes
COMPRESS = (AS_IT_IS, AS_IT_IS, gzip.compress, bz2.compress, lzma.compress)
SOURCE = b"def f():\n    return 1\n"


def zipped(*names: str, how: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name in names:
            archive.writestr(name, SOURCE)
    return made.getvalue()


def taped(*names: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tape:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(SOURCE)
            tape.addfile(member, io.BytesIO(SOURCE))
    return made.getvalue()[:2048]


def seeds() -> Iterator[bytes]:
    for names in (("exercise.py",), ("a/exercise.py", "b.txt"), ("../exercise.py",), ("one.py", "two.py")):
        yield b"\x00" + zipped(*names)
        yield b"\x01" + taped(*names)
    for how in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield b"\x00" + zipped("exercise.py", how=how)
    for kind, compress in enumerate(COMPRESS[2:], 2):
        yield bytes((kind,)) + taped("exercise.py", "._exercise.py")
        yield b"\x00" + compress(taped("exercise.py"))
        yield b"\x00" + compress(taped("exercise.py"))[:-20]


def one(data: bytes) -> None:
    compress = COMPRESS[data[0] % len(COMPRESS) if data else 0]
    try:
        name, source = unpack.take(io.BytesIO(compress(data[1:])), "04_tcp_four_tuple")
    except unpack.Unfit as error:
        PROBLEMS[error.kind].format(**{"file": "kim.zip", **error.values})
    else:
        assert unpack.is_python(name)
        assert len(source) <= unpack.SOURCE
