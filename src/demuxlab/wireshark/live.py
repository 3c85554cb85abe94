"""`--live`: a run's capture goes to a running Wireshark as well, packet by packet."""

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
        """Takes the capture's bytes; who writes to it closes it."""

    def ending(self) -> str:
        """Say that Wireshark was closed during the run; empty where it is still there, and stays."""
        status = self._process.poll()
        if status is None:
            # It lives on without us, so nobody will wait for it.
            self._process.returncode = 0
            return ""
        if status:
            return str(wireshark.ended_at_once(status))
        return _("Wireshark was closed during the run: the capture has all packets")
