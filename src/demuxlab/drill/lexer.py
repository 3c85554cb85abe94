"""Cuts a packet script into words."""

import re
from typing import NamedTuple

from demuxlab.drill.script import ScriptError
from demuxlab.language import _

NUMBER, NAME, TEXT, SHELL, CODE, MARK, OPTION, END = (
    *("number", "name", "text", "shell", "code", "mark", "option", "end"),
)
_WORD = re.compile(
    r"""(?P<space>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)
    |(?P<option>(?<![^\n])--[a-z_]+(?:=[^\s#]*)?)
    |(?P<shell>`[^`]*`)
    |(?P<code>%\{.*?\}%)
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<dots>\.\.\.)
    |(?P<number>0[xX][0-9a-fA-F]+|\d+\.\d+|\.\d+|\d+)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<mark>[-+*~<>=():;,.\[\]{}|&!])""",
    re.VERBOSE | re.DOTALL,
)
_UNFINISHED = {"`": "`", '"': '"', "%": "}%", "/": "*/"}


class Word(NamedTuple):
    """A word, the line that it begins on (from 1), and where in the text it begins and ends."""

    kind: str
    text: str
    line: int
    start: int
    end: int


def words(text: str) -> list[Word]:
    """Return a script's words, without comments; the last one is of the kind `END`."""
    found = []
    at, line = 0, 1
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise ScriptError(line, _wrong(text[at]))
        kind, word = match.lastgroup or "", match.group()
        if kind != "space":
            found.append(Word(MARK if kind == "dots" else kind, word, line, at, match.end()))
        line += word.count("\n")
        at = match.end()
    found.append(Word(END, "", line, at, at))
    return found


def _wrong(character: str) -> str:
    if closing := _UNFINISHED.get(character):
        return _("expected {what}, found the end of the file", what=repr(closing))
    return _("expected {what}, found {found}", what=_("a line of the script"), found=repr(character))
