"""The grammar of system calls in a packet script: `fcntl(4, F_SETFL, O_NONBLOCK) = 0`."""

from demuxlab.drill import constants
from demuxlab.drill.calls import CALLS
from demuxlab.drill.cursor import Cursor
from demuxlab.drill.lexer import CODE, END, NAME, NUMBER, OPTION, SHELL, TEXT
from demuxlab.drill.script import Call, ScriptError, Value
from demuxlab.language import _

# The parser recurses with each bracket: a limit keeps a hostile script from exhausting the stack.
_MAX_DEPTH = 16


def read_call(cursor: Cursor) -> Call:
    """Read a call with its arguments and the result that is expected of it."""
    token = cursor.next()
    if token.text not in CALLS:
        known = ", ".join(CALLS)
        raise ScriptError(
            token.line,
            _("expected a call known here ({known}), found {found}", known=known, found=token.text),
        )
    cursor.expect("(")
    arguments = _values(cursor, ")")
    least, most = CALLS[token.text]
    if not least <= len(arguments) <= most:
        raise ScriptError(
            token.line,
            _("expected {least} to {most} arguments of {call}", least=least, most=most, call=token.text),
        )
    cursor.expect("=")
    if cursor.accept("..."):
        return Call(token.text, arguments, ...)
    negative = cursor.accept("-")
    result = -cursor.number() if negative else cursor.number()
    error = ""
    # A name on the next line is not an errno, but an event that lacks its time.
    if cursor.token.kind == NAME and cursor.token.line == cursor.previous_line:
        if not constants.is_errno(cursor.token.text):
            cursor.fail(_("the name of an errno"))
        error = cursor.next().text
    if cursor.at("("):
        _skip_error_text(cursor)
    return Call(token.text, arguments, result, error)


def _skip_error_text(cursor: Cursor) -> None:
    """Skip the text of an errno: "(Operation now in progress)"."""
    cursor.expect("(")
    while not cursor.accept(")"):
        if cursor.token.kind in (END, OPTION, SHELL, CODE):
            cursor.fail('")"')
        cursor.next()


def _values(cursor: Cursor, closing: str, depth: int = 0) -> tuple[Value, ...]:
    values: list[Value] = []
    if cursor.accept(closing):
        return ()
    values.append(_value(cursor, depth))
    while cursor.accept(","):
        values.append(_value(cursor, depth))
    cursor.expect(closing)
    return tuple(values)


def _value(cursor: Cursor, depth: int) -> Value:
    if depth > _MAX_DEPTH:
        cursor.fail(_("fewer brackets"))
    if cursor.accept("..."):
        return ...
    if cursor.accept("["):
        return list(_values(cursor, "]", depth + 1))
    if cursor.accept("{"):
        return _fields(cursor, depth + 1)
    if cursor.token.kind == TEXT:
        return cursor.next().text[1:-1].encode().decode("unicode_escape", "replace")
    number = _term(cursor, depth)
    while cursor.accept("|"):
        if not isinstance(number, int) or not isinstance(other := _term(cursor, depth), int):
            cursor.fail(_("a whole number"))
        number |= other
    return number


def _term(cursor: Cursor, depth: int) -> Value:
    if cursor.accept("-"):
        return -cursor.number()
    token = cursor.token
    if token.kind == NUMBER:
        return cursor.number()
    if token.kind != NAME:
        cursor.fail(_("a value"))
    cursor.next()
    if token.text in ("htons", "htonl", "inet_addr", "inet_pton", "sizeof") and cursor.accept("("):
        # Numbers stay in host order and addresses text: `calls` converts them as each call needs it.
        arguments = _values(cursor, ")", depth + 1)
        return arguments[-1] if arguments else ...
    number = constants.value(token.text)
    if number is None:
        raise ScriptError(token.line, _("expected a constant known here, found {found}", found=token.text))
    return number


def _fields(cursor: Cursor, depth: int) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    while not cursor.accept("}"):
        if cursor.accept("..."):
            fields["..."] = ...
        else:
            if cursor.token.kind != NAME:
                cursor.fail(_("the name of a field"))
            name = cursor.next().text
            cursor.expect("=")
            fields[name] = _value(cursor, depth)
        if not cursor.at("}"):
            cursor.expect(",")
    return fields
