"""Parser of packetdrill's script language, as far as tests/drill/README.md lists it.

A script is option lines, then events: a time and a system call, a packet, shell commands or assertions.
"""

from pathlib import Path

from demuxlab.drill import assertions, call_grammar, option_lines, packet_grammar
from demuxlab.drill.cursor import Cursor
from demuxlab.drill.lexer import CODE, END, NAME, NUMBER, OPTION, SHELL
from demuxlab.drill.script import (
    ABSOLUTE,
    ANY,
    MICROSECONDS,
    RELATIVE,
    Action,
    Call,
    Code,
    Event,
    Script,
    ScriptError,
    Shell,
    Time,
)
from demuxlab.language import _

_IMMEDIATELY = Time(RELATIVE)
_MAX_SECONDS = 1_000_000


def parse(text: str, path: Path) -> Script:
    """Parse a script; ScriptError names the line that is wrong and what was expected there."""
    cursor = Cursor(text)
    option_tokens = []
    while cursor.token.kind == OPTION:
        option_tokens.append(cursor.next())
    options, notes = option_lines.read((token.line, token.text) for token in option_tokens)
    events = []
    while cursor.token.kind != END:
        events.append(_event(cursor))
    return Script(path, options, tuple(events), tuple(f"{path}:{line}: {note}" for line, note in notes))


def _event(cursor: Cursor) -> Event:
    line = cursor.token.line
    if cursor.token.kind in (SHELL, CODE):
        return Event(line, _IMMEDIATELY, _action(cursor))
    time = _time(cursor)
    line = cursor.token.line
    action = _action(cursor)
    if time.returns is not None and not isinstance(action, Call):
        raise ScriptError(line, _("expected {what}, found a packet", what=_("a call that blocks")))
    return Event(line, time, action)


def _time(cursor: Cursor) -> Time:
    if cursor.accept("*"):
        return Time(ANY)
    kind = RELATIVE if cursor.accept("+") else ABSOLUTE
    start = _seconds(cursor)
    if cursor.accept("~"):
        cursor.accept("+")
        return Time(kind, start, latest=_not_before(cursor, start))
    if cursor.accept("..."):
        cursor.accept("+")
        return Time(kind, start, returns=_not_before(cursor, start))
    return Time(kind, start)


def _seconds(cursor: Cursor) -> int:
    token = cursor.token
    if token.kind != NUMBER or token.text[:2] in ("0x", "0X") or len(token.text) > 20:
        cursor.fail(_("a time in seconds"))
    seconds = float(token.text)
    if seconds > _MAX_SECONDS:
        cursor.fail(_("a time in seconds"))
    cursor.next()
    return round(seconds * MICROSECONDS)


def _not_before(cursor: Cursor, start: int) -> int:
    """Read a time in seconds that is not before `start`; return microseconds."""
    line = cursor.token.line
    end = _seconds(cursor)
    if end < start:
        raise ScriptError(line, _("expected a time that is not before the first"))
    return end


def _action(cursor: Cursor) -> Action:
    token = cursor.token
    if token.kind == SHELL:
        return Shell(cursor.next().text[1:-1])
    if token.kind == CODE:
        cursor.next()
        assertions.check(token.text[2:-2], token.line)
        return Code(token.text[2:-2])
    if cursor.at("<", ">"):
        return packet_grammar.read_packet(cursor, inbound=cursor.next().text == "<")
    if token.kind == NAME:
        return call_grammar.read_call(cursor)
    return cursor.fail(_("a call, a packet, `commands` or assertions"))
