"""Text in the columns of a terminal: a Korean character takes two, and no line is wider than the terminal."""

import re
import shutil
from collections.abc import Iterator, Sequence

_WIDE = re.compile(
    r"[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60\U0001f300-\U0001faff]"
)
_MARK = re.compile(r"[✓✗-] |\d+\. ")
NO_BREAK = "\u00a0"
"""A space in a cell at which no line is broken."""
_GAP = "  "
_NARROWEST = 40
_MAX_TEXT = 100
"""Columns of running text at most: longer lines are hard to read."""


def terminal_width() -> int:
    """Return the columns of the terminal: COLUMNS, else the terminal's own, else 80."""
    return max(_NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def width_of(text: str) -> int:
    """Return how many columns a text takes."""
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def padded(text: str, columns: int) -> str:
    """Return a text with spaces behind it, up to so many columns."""
    return text + " " * (columns - width_of(text))


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text in lines of at most so many columns, broken at spaces, else within a word."""
    if width_of(text) <= columns:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width_of(lines[-1]) + 1 + width_of(word) <= columns:
            lines[-1] += f" {word}"
        else:
            lines += _pieces(word, columns)
    return lines


def paragraph(line: str, columns: int | None = None) -> str:
    """Return a line of running text, wrapped to the terminal; further lines begin below its first word.

    A mark or a number before that word stands alone at the left.
    """
    columns = columns or min(terminal_width(), _MAX_TEXT)
    if width_of(line) <= columns:
        return line
    body = line.lstrip(" ")
    first = " " * (len(line) - len(body))
    mark = found[0] if (found := _MARK.match(body)) else ""
    rest = first + " " * len(mark)
    return first + mark + f"\n{rest}".join(wrapped(body.removeprefix(mark), columns - len(rest)))


def heading(text: str) -> str:
    """Return a line as wide as the terminal, with a text in its middle."""
    free = terminal_width() - width_of(text) - 2
    return f"{'=' * (free // 2)} {text} {'=' * (free - free // 2)}"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], columns: int | None = None) -> str:
    """Return a table in lines, as wide as the terminal at most: cells are wrapped where they must be.

    It is drawn in ASCII: fonts with wide characters draw box characters twice as wide.
    """
    grid = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = _fitted(grid, columns or terminal_width())
    lines = [*_lines(grid[0], widths), _joined(["-" * width for width in widths], widths)]
    for row in grid[1:]:
        lines += _lines(row, widths)
    return "\n".join(lines)


def fits(headers: Sequence[str], rows: Sequence[Sequence[object]], columns: int | None = None) -> bool:
    """Tell whether a table can be drawn without a line break inside a word."""
    least = [
        max(width_of(word) for cell in column for word in str(cell).split(" "))
        for column in zip(headers, *rows, strict=True)
    ]
    return _total(least) <= (columns or terminal_width())


def _fitted(grid: Sequence[Sequence[str]], most: int) -> list[int]:
    """Return the widths of the columns: those are narrowed whose wrapped cells cost the fewest lines."""
    widths = [max(map(width_of, column)) for column in zip(*grid, strict=True)]
    while _total(widths) > most:
        narrower = [_narrowed(grid, widths, number) for number in range(len(widths))]
        possible = [each for each in narrower if each is not None]
        if not possible:
            # No cell has a space left to break at: narrow the widest column, and break inside its words.
            widest = widths.index(max(widths))
            widths[widest] = max(1, widths[widest] - (_total(widths) - most))
            break
        widths = min(
            possible,
            key=lambda each: (_height(grid, each) - _height(grid, widths)) / (sum(widths) - sum(each)),
        )
    return widths


def _narrowed(grid: Sequence[Sequence[str]], widths: list[int], number: int) -> list[int] | None:
    """Return the widths with one column narrowed to the next place where it can be broken at spaces."""
    column = [row[number] for row in grid]
    if widths[number] <= max(width_of(word) for cell in column for word in cell.split(" ")):
        return None
    lines = (line for cell in column for line in wrapped(cell, widths[number] - 1))
    return [*widths[:number], max(map(width_of, lines)), *widths[number + 1 :]]


def _height(grid: Sequence[Sequence[str]], widths: Sequence[int]) -> int:
    return sum(max(map(len, map(wrapped, row, widths))) for row in grid)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    parts = [wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, parts))):
        yield _joined([part[number] if number < len(part) else "" for part in parts], widths)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(map(padded, cells, widths)).rstrip().replace(NO_BREAK, " ")


def _pieces(word: str, columns: int) -> Iterator[str]:
    """Yield a word in pieces of at most so many columns; an endpoint is broken before its port."""
    while width_of(word) > columns:
        end = next(n for n in range(len(word), 0, -1) if n == 1 or width_of(word[:n]) <= columns)
        end = word.rfind(":", 1, end + 1) if ":" in word[1 : end + 1] else end
        yield word[:end]
        word = word[end:]
    yield word
