"""`--live`: a run's capture is also written to a running Wireshark, packet by packet."""

import subprocess
from typing import BinaryIO

from demuxlab.language import _
from demuxlab.wireshark import program as wireshark


class Live:
    """Wireshark on a pipe; NoWireshark where it cannot be started."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] = wireshark.follow()
        assert self._process.stdin is not None
        self.pipe: BinaryIO = self._process.stdin  # type: ignore[assignment]
        """The pipe for the capture's bytes; the recorder closes it."""

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
