"""Finds the messages that people read in the sources, and what a catalog lacks of them.

`python -m tests.messages labs/04_tcp_four_tuple ko` prints the entries that are missing, to be filled in;
with a third word, `checks`, those of the lab's checks (checks.ko.po).
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.pofile import read_po
from jinja2 import Environment

_TELLING = ("_", "marked", "say", "step", "check", "table", "show_table", "Refused", "Malformed")
_TEMPLATES: Any = Environment(extensions=["jinja2.ext.i18n"])  # whose methods types do not know


def in_source(path: Path) -> Iterator[str]:
    """Yield the texts that a Python file or a template says, in order."""
    if path.suffix == ".j2":
        said = _TEMPLATES.extract_translations(path.read_text(encoding="utf-8"))
        yield from (text for _line, _function, text in said if isinstance(text, str))
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in _TELLING:
                texts = [
                    text
                    for argument in node.args[: 2 if name == "Refused" else 1]
                    for text in _parts(argument)
                ]
                yield from (text.value for text in texts if isinstance(text, ast.Constant) if text.value)


def _parts(argument: ast.expr) -> list[ast.expr]:
    """Return what a tuple is made of, a dictionary's values, or what else there is."""
    if isinstance(argument, ast.Tuple):
        return argument.elts
    return argument.values if isinstance(argument, ast.Dict) else [argument]


def in_checks(path: Path) -> Iterator[str]:
    """Yield what the checks of an exercise say: their names as sentences, and their hints."""
    for check in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(check, ast.FunctionDef | ast.ClassDef):
            continue
        if check.name.startswith("test_"):
            yield check.name.removeprefix("test_").replace("_", " ")
        for node in ast.walk(check):
            inside = {id(part) for text in _hints(node) for part in ast.walk(text) if part is not text}
            for text in _hints(node):
                if isinstance(text, ast.Constant) and id(text) not in inside:
                    yield text.value
                elif isinstance(text, ast.JoinedStr) and _is_hint(_template(text)):
                    yield _template(text)


def _template(text: ast.JoinedStr) -> str:
    """Return an f-string with its values numbered: "{1} of {2} bytes came"."""
    values = 0
    parts = []
    for part in text.values:
        values += isinstance(part, ast.FormattedValue)
        parts.append(str(part.value) if isinstance(part, ast.Constant) else f"{{{values}}}")
    return "".join(parts)


def _hints(node: ast.AST) -> Iterator[ast.expr]:
    """Yield what is called a hint, or is the last argument of a call and a sentence."""
    if isinstance(node, ast.Assign) and any(getattr(to, "id", "").startswith("hint") for to in node.targets):
        yield from (part for part in ast.walk(node.value) if isinstance(part, ast.Constant | ast.JoinedStr))
    if isinstance(node, ast.Call):
        last = [*node.args[-1:], *(word.value for word in node.keywords if word.arg == "hint")]
        yield from (
            text
            for text in last
            if isinstance(text, ast.JoinedStr)
            or (isinstance(text, ast.Constant) and _is_sentence(text.value))
        )


def _is_hint(template: str) -> bool:
    """Tell whether an f-string is a sentence of its own: no comparison, no input, not told by the package."""
    return (
        _is_sentence(template)
        and "\n" not in template
        and not template.startswith(
            ("expected", "this is frame {1}", "only {1} of {2} bytes came: compare the")
        )
        and len([word for word in template.split() if word.isalpha()]) >= 3
    )


def _is_sentence(value: object) -> bool:
    return isinstance(value, str) and len(value) > 15 and " " in value


def sources(folder: Path) -> list[Path]:
    """Return the files whose messages a folder's catalog has: a lab's scripts, or the whole package."""
    script = folder / "lab.py"
    if script.is_file():
        return [script, *folder.glob("kernel.py"), *folder.glob("keep_alive.py")]
    return sorted([*folder.parent.rglob("*.py"), *folder.parent.rglob("*.j2")])


def catalog(folder: Path, language: str) -> dict[str, str]:
    """Return the messages of a folder's catalog, with their translations."""
    return _entries(folder / f"{language}.po")


def missing_of_checks(lab: Path, language: str) -> list[str]:
    """Return what has no translation in the catalog of a lab's checks."""
    there = _entries(lab / f"checks.{language}.po")
    said = dict.fromkeys(in_checks(lab / "test_exercise.py"))
    return [text for text in said if isinstance(text, str) and not there.get(text)]


def _entries(path: Path) -> dict[str, str]:
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
    lacking = missing_of_checks if sys.argv[3:] == ["checks"] else missing
    for text in lacking(Path(sys.argv[1]), sys.argv[2]):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        print(f'msgid "{quoted}"\nmsgstr ""\n')
