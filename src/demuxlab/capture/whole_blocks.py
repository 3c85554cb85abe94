"""The base of both capture writers: a file contains only whole blocks, and write errors are not raised."""

import contextlib
import errno
from typing import BinaryIO


class WholeBlocks:
    """Write blocks to a binary file, which should be unbuffered: `open(path, "wb", buffering=0)`.

    Write errors are not raised: a lab goes on when its capture cannot be written. After the first error,
    which is kept in `error`, nothing more is written, and a partial block is truncated where the file can
    seek. `frames` counts the packets written, `lost` those not written. Closing the file is left to the
    caller. Not thread-safe.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.frames = 0
        self.lost = 0
        self.error: OSError | None = None
        self._file = file

    def _write(self, block: bytes) -> bool:
        if self.error is not None:
            return False
        written = 0
        try:
            while True:
                # A short write means a nearly full disk or a signal: writing the rest fails in the first
                # case.
                count = self._file.write(block[written:] if written else block)
                if not count:
                    raise BlockingIOError(errno.EAGAIN, "the capture file takes no more bytes")
                written += count
                if written >= len(block):
                    return True
        except OSError as error:
            self.error = error
        except ValueError:  # how a Python file says that it is closed
            self.error = OSError(errno.EBADF, "the capture file is closed")
        if written:
            self._truncate(written)
        return False

    def _truncate(self, size: int) -> None:
        """Remove the last `size` bytes; nothing can be removed from a pipe."""
        with contextlib.suppress(OSError, ValueError):
            if self._file.seekable():
                self._file.truncate(self._file.seek(-size, 1))
