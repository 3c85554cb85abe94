"""The bytes of a capture from a file, a file compressed with gzip or zstd, or standard input.

Compression is recognised by the first bytes, not by the name. The caller's buffer is filled, so that a file
larger than memory is read in a few megabytes.
"""

import errno
import gzip
import io
import os
import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from demuxlab.errors import CallError
from demuxlab.language import _

STANDARD_INPUT = "-"

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 18


class CaptureError(CallError):
    """The file cannot be read as a capture."""


class Source(io.RawIOBase):
    """An open source: call `fill` until it returns 0, then close it, or use `with`.

    Raises CaptureError if the file cannot be opened. `size` is the size of the file in bytes, None for a
    pipe.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._is_file = False  # until the file is open: what cannot be opened is closed too, when it is freed
        is_file = os.fspath(path) != STANDARD_INPUT
        self._raw: Any = open_file(path) if is_file else _standard_input()
        self._is_file = is_file
        self.size = os.fstat(self._raw.fileno()).st_size if self._is_file and Path(path).is_file() else None
        self._failure: OSError | None = None
        head = b""
        try:
            while len(head) < 4 and (more := self._raw.read(4 - len(head))):
                head += more
        except OSError as error:
            self._failure = error
        self._read = _reading(_Rejoined(head, self._raw), head)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, room: Any) -> int:
        """Do what `fill` does."""
        return self.fill(memoryview(room))

    def fill(self, room: memoryview) -> int:
        """Fill a buffer as far as possible; return the number of bytes, 0 at the end.

        Raises OSError where the source cannot be read or decompressed, after the bytes before that were
        returned.
        """
        filled = 0
        while filled < len(room) and self._failure is None:
            try:
                count = self._read(room[filled:])
            except EOFError:
                self._failure = OSError(errno.EIO, _("the compressed data is cut"))
            except Exception as error:  # zlib.error and ZstdError have no other base class in common
                why = isinstance(error, OSError) and error.strerror
                self._failure = OSError(errno.EIO, why or _("the compressed data is damaged"))
            else:
                filled += count
                if not count:
                    return filled
        if self._failure is not None and not filled:
            raise self._failure
        return filled

    @property
    def position(self) -> int:
        """The bytes read of the file itself, compressed or not: the progress towards `size`."""
        return self._raw.tell() if self.size is not None else 0

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._is_file:
            self._raw.close()
        super().close()


class _Rejoined(io.RawIOBase):
    """The first bytes, which have been read already, followed by the rest: a pipe cannot seek back."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        if not self._head:
            return int(self._rest.readinto(room))
        count = min(len(room), len(self._head))
        room[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


def _standard_input() -> BinaryIO:
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _reading(file: io.RawIOBase, head: bytes) -> Callable[[memoryview], int]:
    """Return a function that reads a file, decompressed, into a buffer."""
    # readinto1 reads only once for each call, so that the bytes before an error are returned.
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=io.BufferedReader(file, _BUFFER)).readinto1
    if head.startswith(_ZSTD):
        return _zstd().ZstdFile(io.BufferedReader(file, _BUFFER)).readinto1  # type: ignore[no-any-return]
    return file.readinto


def _zstd() -> Any:
    try:
        return import_module("compression.zstd")  # of Python 3.14
    except ImportError:
        return import_module("backports.zstd")


def open_file(path: str | os.PathLike[str]) -> io.FileIO:
    """Open a file for reading; raises CaptureError if that is not possible."""
    name = printable(path)
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        wrong, cure = _("there is no file {file}", file=name), _("check the name and the folder")
    except IsADirectoryError:
        wrong, cure = _("{file} is a directory", file=name), _("give one capture file in it")
    except PermissionError:
        wrong = _("{file} may not be read by this user", file=name)
        cure = _("make it yours (sudo chown $USER {quoted})", quoted=shlex.quote(name))
    except OSError as error:
        wrong = _("{file} cannot be opened ({why})", file=name, why=error.strerror)
        cure = _("give a capture file")
    except ValueError as error:  # a NUL in the name
        wrong, cure = _("{file} is not a file name ({why})", file=name, why=error), _("give a capture file")
    raise CaptureError(wrong, cure)


def printable(path: str | os.PathLike[str]) -> str:
    """Return a path as it can be printed in a message."""
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)
