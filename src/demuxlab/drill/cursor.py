"""A position in a script's tokens, with the steps of a recursive-descent parser."""

from collections.abc import Mapping
from typing import NoReturn

from demuxlab.drill import lexer
from demuxlab.drill.lexer import END, MARK, NAME, NUMBER, Token
from demuxlab.drill.script import ScriptError
from demuxlab.language import _

MAX_NUMBER = 0xFFFFFFFF


class Cursor:
    """Reads tokens one by one; every method that finds something else raises ScriptError."""

    def __init__(self, text: str) -> None:
        self._tokens = lexer.tokens(text)
        self._at = 0
        self.variables: set[str] = set()
        """The variables that the script's assertions have assigned so far."""

    def define(self, definitions: Mapping[str, str]) -> None:
        """Replace the names of `-D` and `--define` from here on by what they stand for."""
        rest, self._tokens = self._tokens[self._at :], self._tokens[: self._at]
        for token in rest:
            if token.kind == NAME and token.text in definitions:
                meant = lexer.tokens(definitions[token.text])[:-1]
                self._tokens += [part._replace(line=token.line) for part in meant]
            else:
                self._tokens.append(token)

    @property
    def token(self) -> Token:
        """The token that is read next."""
        return self._tokens[self._at]

    @property
    def previous_line(self) -> int:
        """The line of the token that was read last."""
        return self._tokens[self._at - 1].line

    def follows(self, kind: str) -> bool:
        """Tell whether the token after the next one is of a kind."""
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)].kind == kind

    def follows_mark(self, *marks: str) -> bool:
        """Tell whether the token after the next one is one of these marks."""
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        return following.kind == MARK and following.text in marks

    def next(self) -> Token:
        """Return the token and move on; the end of the file is never passed."""
        token = self.token
        self._at += token.kind != END
        return token

    def at(self, *marks: str) -> bool:
        """Tell whether the token is one of these marks or names."""
        return self.token.kind in (MARK, NAME) and self.token.text in marks

    def accept(self, *marks: str) -> bool:
        """Move on and return True where the token is one of these marks or names."""
        if self.at(*marks):
            self.next()
            return True
        return False

    def expect(self, mark: str) -> None:
        """Move on past this mark or name."""
        if not self.accept(mark):
            self.fail(f'"{mark}"')

    def number(self, most: int = MAX_NUMBER) -> int:
        """Read a whole number, decimal or hexadecimal, of at most `most`."""
        token = self.token
        if token.kind != NUMBER or "." in token.text:
            self.fail(_("a whole number"))
        number = int(token.text, 0 if token.text[:2] in ("0x", "0X") else 10)
        if number > most:
            self.fail(_("a number of at most {most}", most=most))
        self.next()
        return number

    def fail(self, expected: str) -> NoReturn:
        """Raise ScriptError: something else was expected in place of the token."""
        token = self.token
        found = _("the end of the file") if token.kind == END else f'"{token.text.splitlines()[0]}"'
        raise ScriptError(token.line, _("expected {what}, found {found}", what=expected, found=found))
