"""Parser of packetdrill's script language, as far as tests/drill/README.md lists it.

A script is option lines, shell commands that prepare it, events (a time and a system call, a packet, shell
commands or assertions), and shell commands that tidy up.
"""

from collections.abc import Iterable
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


def parse(text: str, path: Path, define: Iterable[str] = ()) -> Script:
    """Parse a script; ScriptError names the line that is wrong and what was expected there.

    `define` are definitions such as "SIZE=1000", which the script's own may replace.
    """
    cursor = Cursor(text.removeprefix("\ufeff"))
    option_tokens = []
    while cursor.token.kind == OPTION:
        option_tokens.append(cursor.next())
    given = [
        *((0, f"--define={text}") for text in define),
        *((token.line, token.text) for token in option_tokens),
    ]
    options, notes = option_lines.read(given)
    try:
        cursor.define(options.defined)
    except ScriptError as error:
        raise ScriptError(1, error.cure) from error
    events: list[Event] = []
    while cursor.token.kind != END:
        if cursor.token.kind == SHELL:
            prepares = not events or all(isinstance(event.action, Shell) for event in events)
            line, text = cursor.token.line, cursor.next().text[1:-1]
            events.append(Event(line, _IMMEDIATELY, Shell(text, prepares or cursor.token.kind == END)))
        else:
            events.append(_event(cursor))
    return Script(path, options, tuple(events), tuple(f"{path}:{line}: {note}" for line, note in notes))


def _event(cursor: Cursor) -> Event:
    line = cursor.token.line
    if cursor.token.kind == CODE:
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
        cursor.variables |= assertions.check(token.text[2:-2], token.line, cursor.variables)
        return Code(token.text[2:-2])
    if cursor.at("<", ">"):
        return packet_grammar.read_packet(cursor, inbound=cursor.next().text == "<")
    if token.kind == NAME:
        return call_grammar.read_call(cursor)
    return cursor.fail(_("a call, a packet, `commands` or assertions"))
