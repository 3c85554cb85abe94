"""Finds the messages that people read in the sources, and what a catalog lacks of them.

`python -m tests.messages labs/04_tcp_four_tuple ko` prints the entries that are missing, to be filled in.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.pofile import read_po

_TELLING = ("_", "marked", "say", "step", "check", "table", "show_table", "_Refused")


def in_source(path: Path) -> Iterator[str]:
    """Yield the texts that a Python file says, in order."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _TELLING:
                texts = _parts(node.args[0])
                yield from (text.value for text in texts if isinstance(text, ast.Constant) if text.value)


def _parts(argument: ast.expr) -> list[ast.expr]:
    """Return what a tuple is made of, a dictionary's values, or what else there is."""
    if isinstance(argument, ast.Tuple):
        return argument.elts
    return argument.values if isinstance(argument, ast.Dict) else [argument]


def sources(folder: Path) -> list[Path]:
    """Return the files whose messages a folder's catalog has: a lab's script, or the whole package."""
    script = folder / "lab.py"
    return [script] if script.is_file() else sorted(folder.parent.rglob("*.py"))


def catalog(folder: Path, language: str) -> dict[str, str]:
    """Return the messages of a folder's catalog, with their translations."""
    path = folder / f"{language}.po"
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file) if message.id}


def missing(folder: Path, language: str) -> list[str]:
    """Return what has no translation in a folder's catalog."""
    there = catalog(folder, language)
    said = dict.fromkeys(text for path in sources(folder) for text in in_source(path))
    return [text for text in said if not there.get(text) and re.search(r"[a-z]{2}", text)]


if __name__ == "__main__":
    for text in missing(Path(sys.argv[1]), sys.argv[2]):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        print(f'msgid "{quoted}"\nmsgstr ""\n')
