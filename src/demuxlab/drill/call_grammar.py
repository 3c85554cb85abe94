"""The grammar of system calls in a packet script: `fcntl(4, F_SETFL, O_NONBLOCK) = 0`."""

import operator
from collections.abc import Callable

from demuxlab.drill import constants
from demuxlab.drill.calls import CALLS
from demuxlab.drill.cursor import Cursor
from demuxlab.drill.lexer import CODE, END, NAME, NUMBER, OPTION, SHELL, TEXT
from demuxlab.drill.script import Call, ScriptError, Value
from demuxlab.language import _

# The parser recurses with each bracket: a limit keeps a hostile script from exhausting the stack.
_MAX_DEPTH = 16
_CONVERSIONS = ("htons", "htonl", "inet_addr", "inet6_addr", "inet_pton", "sizeof")


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
    result = _value(cursor, 0)
    if not isinstance(result, int):
        cursor.fail(_("a whole number"))
    error = ""
    # A name on the next line is not an errno, but an event that lacks its time.
    # A note in brackets may follow: "(flags O_RDWR|O_NONBLOCK)".
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
        return _text(cursor)
    if cursor.at("NULL") and cursor.token.kind == NAME:
        cursor.next()
        return None
    return _number(cursor, depth)


def _text(cursor: Cursor) -> str:
    """Read a string; strings that follow each other are one, and "..." behind it says that more follows."""
    parts = ""
    while cursor.token.kind == TEXT:
        parts += cursor.next().text[1:-1].encode().decode("unicode_escape", "replace")
    cursor.accept("...")
    return parts


_OPERATORS: dict[str, Callable[[int, int], int]] = {
    **{"|": operator.or_, "&": operator.and_, "+": operator.add, "-": operator.sub, "*": operator.mul}
}


def _number(cursor: Cursor, depth: int) -> Value:
    """Read a number, or several with operators between them, which apply from left to right."""
    number = _term(cursor, depth)
    # A "+" or "*" on the next line begins the time of an event.
    while cursor.at(*_OPERATORS) and cursor.token.line == cursor.previous_line:
        apply = _OPERATORS[cursor.next().text]
        if not isinstance(number, int) or not isinstance(other := _term(cursor, depth), int):
            cursor.fail(_("a whole number"))
        number = apply(number, other)
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
    if token.text in _CONVERSIONS and cursor.accept("("):
        # Numbers stay in host order and addresses text: `calls` converts them as each call needs it.
        arguments = _values(cursor, ")", depth + 1)
        return arguments[-1] if arguments else ...
    number = constants.value(token.text)
    if number is None:
        raise ScriptError(token.line, _("expected a constant known here, found {found}", found=token.text))
    return number


def _fields(cursor: Cursor, depth: int) -> dict[str, Value] | tuple[Value, ...]:
    """Read `{fd=4, events=POLLIN}`, or without names `{..., 1000}`.

    The name of a field may have a length in brackets, `msg_iov(2)=[…]`, which its value shows as well.
    """
    fields: dict[str, Value] = {}
    places: list[Value] = []
    while not cursor.accept("}"):
        if cursor.token.kind == NAME and cursor.follows_mark("=", "("):
            name = cursor.next().text
            if cursor.accept("("):
                _values(cursor, ")", depth + 1)
            cursor.expect("=")
            fields[name] = _value(cursor, depth)
        else:
            places.append(_value(cursor, depth))
        if not cursor.at("}"):
            cursor.expect(",")
    return fields if fields or not places else tuple(places)
