"""Lexer of packet scripts.

A name may begin with a digit: the cookie of a Fast Open option is one (`FO 3021b9d889017eeb`).
"""

import re
from typing import NamedTuple

from demuxlab.drill.script import ScriptError
from demuxlab.language import _

NUMBER, NAME, TEXT, SHELL, CODE, MARK, OPTION, ADDRESS, END = (
    *("number", "name", "text", "shell", "code", "mark", "option", "address", "end"),
)
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<option>(?:\A|(?<=\n))[ \t]*(?:--[a-zA-Z][\w-]*|-D)
        (?:[= ](?:\w+=)?(?:"[^"\n]*"|`[^`]*`|[^\s\#"`]*))?)
    |(?P<shell>`(?:\\.|[^`\\])*`)
    |(?P<code>%\{.*?\}%)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<dots>\.\.\.)
    |(?P<address>\d+(?:\.\d+){3}|[0-9a-fA-F:]*::[0-9a-fA-F:.]*)
    |(?P<number>(?:0[xX][0-9a-fA-F]+|\d+\.\d+|\.\d+|\d+)(?!\w))
    |(?P<name>\w+)
    |(?P<mark>[-+*~<>=():;,.\[\]{}|&!])""",
    re.VERBOSE | re.DOTALL,
)
_UNFINISHED = {"`": "`", '"': '"', "%": "}%", "/": "*/"}


class Token(NamedTuple):
    """A token, and the line that it begins on, from 1."""

    kind: str
    text: str
    line: int


def tokens(text: str) -> list[Token]:
    """Return a script's tokens, without comments; the last one is of the kind `END`."""
    found = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ScriptError(line, _error(text[at]))
        kind, token = match.lastgroup or "", match.group()
        if kind != "space":
            found.append(Token(MARK if kind == "dots" else kind, token.strip(), line))
        line += token.count("\n")
        at = match.end()
    found.append(Token(END, "", line))
    return found


def _error(character: str) -> str:
    if closing := _UNFINISHED.get(character):
        return _("expected {what}, found the end of the file", what=repr(closing))
    return _("expected {what}, found {found}", what=_("a line of the script"), found=repr(character))
