"""Calls of bind, listen and connect that may fail: each one is noted with its error, and shown in a table."""

import errno
from collections.abc import Callable, Iterable

from demuxlab import sockets
from demuxlab.host import Host
from demuxlab.labkit.lab import Lab
from demuxlab.labkit.program import NotedSocket
from demuxlab.wire.address import endpoint_text, from_text

OPTIONS = {
    "SO_REUSEADDR": (sockets.SOL_SOCKET, sockets.SO_REUSEADDR),
    "SO_REUSEPORT": (sockets.SOL_SOCKET, sockets.SO_REUSEPORT),
    "IPV6_V6ONLY": (sockets.IPPROTO_IPV6, sockets.IPV6_V6ONLY),
}
_NONE = "–"

Place = tuple[str, int]
"""An address, IPv4 or IPv6, and a port."""


class Attempts:
    """New sockets of programs on a host."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self._lab = lab
        self.host = host
        self._rows: list[tuple[str, str, str, str]] = []

    def bind(self, name: str, place: Place, *options: str, udp: bool = False) -> NotedSocket:
        """Set options by their names, bind, and make a TCP socket listen; return the socket in any case."""
        own = self._socket(name, place, udp)
        for option in options:
            own.setsockopt(*OPTIONS[option], 1)
        calls = (lambda: own.bind(place),) if udp else (lambda: own.bind(place), lambda: own.listen(5))
        self._note(name, "bind", place, udp, ", ".join(options), calls)
        return own

    def connect(self, name: str, place: Place, *, udp: bool = False) -> NotedSocket:
        """Connect; return the socket in any case."""
        own = self._socket(name, place, udp)
        self._note(name, "connect", place, udp, "", (lambda: own.connect(place),))
        return own

    def check(self, sentence: str, *errors: str) -> None:
        """Print the calls since the last check, and compare their errors: names of errno(3), "" for none."""
        self._lab.show_table(("socket", "call", "option", "error"), [*self._rows])
        self._lab.check(sentence, [row[3] for row in self._rows] == [error or _NONE for error in errors])
        self._rows.clear()

    def _socket(self, name: str, place: Place, udp: bool) -> NotedSocket:
        family = sockets.AF_INET6 if ":" in place[0] else sockets.AF_INET
        kind = sockets.SOCK_DGRAM if udp else sockets.SOCK_STREAM
        return self._lab.program(name, self.host).socket(kind, family=family)

    def _note(
        self, name: str, call: str, place: Place, udp: bool, options: str, calls: Iterable[Callable[[], None]]
    ) -> None:
        code = _NONE
        try:
            for each in calls:
                each()
        except OSError as error:
            code = errno.errorcode[error.errno or errno.EIO]
        what = f"{call} {'udp' if udp else 'tcp'} {endpoint_text(from_text(place[0]), place[1])}"
        self._rows.append((name, what, options or _NONE, code))
