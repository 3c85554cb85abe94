"""The bytes of a capture, wherever they come from: a file, one compressed with gzip or zstd, standard input.

What a source is says its first bytes, not its name. Reading fills a buffer of the caller's, so that a file
larger than memory passes through a few megabytes.
"""

import errno
import gzip
import io
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Self

from demuxlab.capture.reader import open_file
from demuxlab.language import _

STANDARD_INPUT = "-"

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 18


class Source:
    """An open source: `fill` it into buffers, then close it, or use `with`.

    CaptureError if the file cannot be opened, OSError if it cannot be read. `size` is that of the file in
    bytes, None of what is no file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._is_file = os.fspath(path) != STANDARD_INPUT
        self._raw: Any = open_file(path).detach() if self._is_file else _standard_input()
        self.size = os.fstat(self._raw.fileno()).st_size if self._is_file and Path(path).is_file() else None
        self._failure: OSError | None = None
        head = b""
        try:
            while len(head) < 4 and (more := self._raw.read(4 - len(head))):
                head += more
        except OSError as error:
            self._failure = error
        self._read = _reading(_Rejoined(head, self._raw), head)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fill(self, room: memoryview) -> int:
        """Fill a buffer as far as there are bytes, and return how many; OSError where they are damaged."""
        filled = 0
        while filled < len(room) and self._failure is None:
            try:
                count = self._read(room[filled:])
            except EOFError:
                self._failure = OSError(errno.EIO, _("the compressed data is cut"))
            except Exception as error:  # zlib.error and ZstdError have no better name in common
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
        """How many bytes of the file itself were read: with `size`, how far this is."""
        return self._raw.tell() if self.size is not None else 0

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._is_file:
            self._raw.close()


class _Rejoined(io.RawIOBase):
    """The first bytes, already read, and then the rest: what cannot seek is looked at only once."""

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
    """Return what reads a file, decompressed; once a call, so that nothing read before an error is lost."""
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
