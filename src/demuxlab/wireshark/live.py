"""`--live`: a run's capture is also written to a running Wireshark, packet by packet."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from demuxlab.language import _
from demuxlab.links import rights
from demuxlab.wireshark import program as wireshark


class Live:
    """Wireshark on a pipe; NoWireshark where it cannot be started."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] = wireshark.follow()
        assert self._process.stdin is not None
        self.pipe: BinaryIO = self._process.stdin  # type: ignore[assignment]
        """The pipe for the capture's bytes; the recorder closes it."""

    @property
    def pid(self) -> int:
        """Wireshark's process id."""
        return self._process.pid

    def ending(self) -> str:
        """Return that Wireshark was closed during the run; empty where it still runs."""
        status = self._process.poll()
        if status is None:
            # Wireshark outlives this process, which does not wait for it: no ResourceWarning then.
            self._process.returncode = 0
            return ""
        if status:
            return str(wireshark.ended_at_once(status))
        return _("Wireshark was closed during the run: the capture has all packets")

    def end(self) -> None:
        """End Wireshark, and wait for that."""
        self._process.terminate()
        self.pipe.close()
        self._process.wait()


@contextmanager
def ended_on_failure(live: Live | None) -> Iterator[None]:
    """End Wireshark again where the block, which prepares what it shall show, fails."""
    try:
        yield
    except BaseException:
        if live is not None:
            live.end()
        raise


def drop_rights(live: bool, keep: int = 0) -> tuple[Live | None, str]:
    """Drop root's rights but for `keep`, and where it is `live` start Wireshark.

    Under sudo that is done as the user that called sudo. Returns Wireshark, and a sentence about the rights
    that are left.
    """
    # For root without sudo, Wireshark drops the rights itself, and fails where they are dropped already.
    early = Live() if live and rights.remains_root() else None
    left = rights.drop(keep)
    return Live() if live and early is None else early, left
