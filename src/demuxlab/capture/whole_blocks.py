"""What both capture writers stand on: a file gets whole blocks; a write error is told, not raised."""

import contextlib
import errno
from typing import BinaryIO


class WholeBlocks:
    """Write blocks to a binary file, best an unbuffered one: `open(path, "wb", buffering=0)`.

    Write errors are not raised, for a lab must not fall with its recorder: the first one stops the
    writing for good, a half block is cut off again where the file can seek, `error` holds the error
    and `lost` counts the packets not kept since; `frames` counts those kept. The file stays the caller's
    to close. Not safe for two threads at once.
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
                # Short on a nearly full disk or by a signal: writing the rest tells which.
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
            self._cut_back(written)
        return False

    def _cut_back(self, half: int) -> None:
        # A pipe is not seekable and cannot take back what it was given.
        with contextlib.suppress(OSError, ValueError):
            if self._file.seekable():
                self._file.truncate(self._file.seek(-half, 1))
