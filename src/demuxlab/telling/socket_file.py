"""A table of sockets as JSON: what `demuxlab demux --sockets FILE` reads.

{"sockets": [{"name": "P4", "protocol": "tcp", "state": "established", "local": ["10.0.0.2", 80],
"remote": ["10.0.0.1", 9157]}, …]} in the order of binding. An error has its line.
"""

import difflib
import json
import re
from typing import Any, NoReturn

from demuxlab.demux.protocols import BY_NAME, TransportProtocol
from demuxlab.demux.socket import ESTABLISHED, LISTEN, SYN_RECEIVED, TIME_WAIT, Socket
from demuxlab.demux.table import SocketTable
from demuxlab.errors import CallError
from demuxlab.language import _
from demuxlab.wire import ip
from demuxlab.wire.address import from_text, unmapped

_NOT_SPACE = re.compile(r"[^ \t\r\n]")
_FIELDS = (
    *("name", "protocol", "state", "local", "remote"),
    *("reuse_address", "reuse_port", "v6only", "device"),
)


class SocketFileError(CallError):
    """The text is not a table of sockets: on which line, in which field, and what belongs there."""


def load(text: str, table: SocketTable) -> None:
    """Enter the sockets of a file's text into a table, in their order; raises SocketFileError."""
    entries = [_Entry(text, start, entry) for entry, start in _entries(text)]
    # Data sockets come last: accept(2) makes them, so that they never conflict with a bind.
    for entry in sorted(entries, key=lambda entry: entry.is_data_socket):
        entry.enter(table)


def _entries(text: str) -> list[tuple[Any, int]]:
    """Return the objects under "sockets", each with the place in the text where it begins."""
    try:
        whole = json.loads(text)
    except RecursionError:
        raise SocketFileError(
            _("the JSON is nested too deeply"), _("a table of sockets has three levels")
        ) from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            raise SocketFileError(
                _("line {line}, column {column}: not JSON", line=error.lineno, column=error.colno),
                error.msg,
            ) from error
        raise SocketFileError(_("not JSON"), str(error)) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("sockets"), list):
        raise SocketFileError(_("line {line}", line=1), _('the file must be an object with a list "sockets"'))
    decoder = json.JSONDecoder()
    at = _skip(text, text.index("{") + 1)
    entries: list[tuple[Any, int]] = []
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if key == "sockets" and text[at] == "[":  # of a key given twice, the last one counts
            entries = []
            inner = _skip(text, at + 1)
            while text[inner] != "]":
                start = inner
                entry, inner = decoder.raw_decode(text, inner)
                entries.append((entry, start))
                inner = _skip(text, inner)
                inner = _skip(text, inner + 1) if text[inner] == "," else inner
        _value, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
    return entries


def _skip(text: str, at: int) -> int:
    """Return the place of the next character that is no white space."""
    found = _NOT_SPACE.search(text, at)
    return found.start() if found else len(text)


class _Entry:
    """One object of the list, read field by field."""

    def __init__(self, text: str, start: int, fields: Any) -> None:
        self._text = text
        self._start = start
        if not isinstance(fields, dict):
            self._fail("", _("a socket is an object, such as {…}"))
        self._fields: dict[str, Any] = fields
        self._socket, self._local, self._remote, self._state = self._read()

    @property
    def is_data_socket(self) -> bool:
        return self._socket.protocol == ip.TCP and self._remote is not None

    def enter(self, table: SocketTable) -> None:
        socket, local, remote, state = self._socket, self._local, self._remote, self._state
        try:
            if socket.protocol == ip.TCP and remote is not None:
                table.establish(socket, (unmapped(local[0]), local[1]), remote, state)
                return
            table.bind(socket, *local)
            if state == LISTEN:
                table.listen(socket)
            elif remote is not None:
                if not any(local[0]):
                    self._fail("local", _("a connected socket has a local address, not the wildcard"))
                table.connect(socket, local[0], *remote)
        except OSError as error:
            self._fail("local", error.strerror or str(error))

    def _read(self) -> tuple[Socket, tuple[bytes, int], tuple[bytes, int] | None, str]:
        for field in self._fields:
            if field not in _FIELDS:
                near = difflib.get_close_matches(field, _FIELDS, n=1)
                if near:
                    self._fail(field, _("no such field: did you mean {near}?", near=near[0]))
                self._fail(field, _("no such field: {fields}", fields=", ".join(_FIELDS)))
        name = self._fields.get("name")
        if not isinstance(name, str) or not name:
            self._fail("name", _('a name, such as "P4", is needed'))
        protocol = BY_NAME.get(str(self._fields.get("protocol")))
        if protocol is None:
            self._fail("protocol", _('must be "tcp" or "udp"'))
        local = self._endpoint("local")
        if local is None:
            self._fail("local", _('an address and a port, such as ["10.0.0.2", 80], are needed'))
        remote = self._endpoint("remote")
        state = self._read_state(protocol, remote)
        family = 4 if len(local[0]) == 4 else 6
        if remote is not None:
            remote = (unmapped(remote[0]), remote[1])
            if len(remote[0]) != len(unmapped(local[0])):
                self._fail("remote", _("local and remote must be of one address family"))
        device = self._fields.get("device", "")
        if not isinstance(device, str):
            self._fail("device", _('must be a device\'s name, such as "eth0"'))
        socket = Socket(
            protocol.number,
            name=name,
            family=family,
            reuse_address=self._switch("reuse_address"),
            reuse_port=self._switch("reuse_port"),
            v6only=self._switch("v6only"),
            device=device,
        )
        return socket, local, remote, state

    def _read_state(self, protocol: TransportProtocol, remote: object) -> str:
        default = ESTABLISHED if remote else protocol.states[0]
        state = self._fields.get("state") or default
        if state not in protocol.states:
            self._fail("state", _("must be one of {states}", states=", ".join(protocol.states)))
        needs_remote = state in (ESTABLISHED, SYN_RECEIVED, TIME_WAIT)
        if needs_remote and remote is None:
            self._fail("remote", _("a socket in state {state} has a remote address and port", state=state))
        if remote is not None and not needs_remote:
            self._fail("state", _("a socket in state {state} has no remote address", state=state))
        return str(state)

    def _endpoint(self, field: str) -> tuple[bytes, int] | None:
        value = self._fields.get(field)
        if value is None:
            return None
        if not isinstance(value, list) or [type(part) for part in value] != [str, int]:
            self._fail(field, _('must be an address and a port, such as ["10.0.0.2", 80]'))
        address, port = value
        if not 1 <= port <= 65535:
            self._fail(field, _("port {port} is not between 1 and 65535", port=port))
        try:
            return from_text(address), port
        except ValueError:
            self._fail(field, _("{address!r} is not an IPv4 or IPv6 address", address=address))

    def _switch(self, field: str) -> bool:
        value = self._fields.get(field, False)
        if not isinstance(value, bool):
            self._fail(field, _("must be true or false"))
        return value

    def _fail(self, field: str, problem: str) -> NoReturn:
        """Raise the error with the line of the field, or of the object where the field is not there."""
        end = self._start
        if field:
            at = self._text.find(json.dumps(field), self._start)
            known = isinstance(getattr(self, "_fields", None), dict) and field in self._fields
            end = at if known and at >= 0 else self._start
        line = self._text.count("\n", 0, end) + 1
        if field:
            raise SocketFileError(_("line {line}: field {field}", line=line, field=field), problem)
        raise SocketFileError(_("line {line}", line=line), problem)
