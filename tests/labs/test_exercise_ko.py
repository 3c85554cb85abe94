"""Each lab's exercise.ko.md tells in Korean what exercise.py says: every function, with the same numbers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.labs.runs import LABS

_DUMP = re.compile(r"^\s*(?:[0-9a-f]{2}\s){4,}")
"""A line of bytes: the Korean text refers to exercise.py for them."""
_NUMBER = re.compile(r"0x[0-9a-f]+|(?<![\w.])\d[\d,]*(?:\.\d+)*")


def explained(source: str) -> Iterator[tuple[str, list[str], str]]:
    """Yield each class and function of an exercise: its name, its arguments and its docstring."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, _arguments(node), ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            beginning = [ast.get_docstring(each) or "" for each in methods if each.name == "__init__"]
            yield node.name, [], "\n".join([ast.get_docstring(node) or "", *beginning])
            for each in methods:
                if each.name != "__init__":
                    yield f"{node.name}.{each.name}", _arguments(each)[1:], ast.get_docstring(each) or ""


def _arguments(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


def numbers(text: str) -> set[str]:
    lines = (line for line in text.splitlines() if not _DUMP.match(line))
    return {number.strip(",") for line in lines for number in _NUMBER.findall(line)}


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_korean_text_explains_the_same_functions_with_the_same_numbers(lab: Path) -> None:
    korean = (lab / "exercise.ko.md").read_text(encoding="utf-8")
    parts = re.split(r"^## `(.+)`\n", korean, flags=re.MULTILINE)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    wanted = {}
    for name, arguments, docstring in explained((lab / "exercise.py").read_text(encoding="utf-8")):
        is_class = name[0].isupper() and "." not in name
        wanted[name if is_class else f"{name}({', '.join(arguments)})"] = docstring
    assert list(sections) == list(wanted)
    for heading, docstring in wanted.items():
        missing = numbers(docstring) - numbers(re.sub("[가-힣]", " ", sections[heading]))
        assert not missing, f"{heading}: {sorted(missing)}"
    assert "(exercise.ko.md)" in (lab / "README.ko.md").read_text(encoding="utf-8")
