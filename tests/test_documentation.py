"""README, docs/ and the handouts: links, commands, options and file names that exist."""

import re
from functools import cache
from pathlib import Path

import click
import pytest
from tests.test_house import FLOORS

from demuxlab.cli.main import group

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "demuxlab"
README, COMMANDS = ROOT / "README.md", ROOT / "docs" / "commands.md"
ARCHITECTURE, CONTRIBUTING = ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "labs/*.md", "labs/*/README*.md", "tests/drill/README.md")
    for path in ROOT.glob(pattern)
)
TEXTS_ABOUT_CODE = [CONTRIBUTING, ROOT / "SECURITY.md", ROOT / "labs" / "WRITING.md", *ROOT.glob("docs/*.md")]
PICTURE_LIMIT = 150_000
"""Bytes."""
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"^(?:sudo )?(?:\.venv/bin/)?demuxlab ([a-z]+(?:-[a-z]+)*)")
_OPTION = re.compile(r"--[a-z][\w-]*")
_FILE = re.compile(r"^[\w./]*\w\.(?:py|lua)$")
_MODULE = re.compile(r"(?<![/\w])(?:demuxlab|tests)(?:\.\w+)+")
_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@cache
def _text(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """Return what GitHub calls a page's headings in addresses."""
    headings = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _command(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None, f"there is no command {name}"
    return command


def _options(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_to_a_file(page):
    links = [
        (page.parent / target if target else page, anchor) for target, anchor in _LINK.findall(_text(page))
    ]
    assert [str(target) for target, _ in links if not target.exists()] == []
    assert [
        f"{target}#{anchor}" for target, anchor in links if anchor and anchor not in _anchors(target)
    ] == []


def test_the_index_of_the_documentation_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()


def test_the_readme_is_read_in_three_minutes():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_has_the_two_commands_as_ci_looks_for_them():
    lines = re.findall(r"^    (python3 -m venv .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 2
    assert lines[0].endswith("demuxlab run")
    assert lines[1].endswith("pytest")


def test_the_pictures_are_small():
    pictures = list((ROOT / "docs" / "pictures").iterdir())
    assert {picture.suffix for picture in pictures} == {".png"}
    assert [picture.name for picture in pictures if picture.stat().st_size > PICTURE_LIMIT] == []


@pytest.mark.parametrize("page", [README, COMMANDS], ids=_name)
def test_the_table_of_commands_names_every_command_and_only_options_that_exist(page):
    named = set()
    for row in re.findall(r"^\| `.*$", _text(page), re.MULTILINE):
        spans = _SPAN.findall(row)
        if found := _COMMAND.search(spans[0]):
            named.add(found[1])
            options = {option for span in spans for option in _OPTION.findall(span)}
            assert options <= _options(_command(found[1])), row
    assert named == set(group.list_commands(click.Context(group)))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_that_is_named_exists_with_its_options(page):
    indented = re.findall(r"^    (\S.*)$", _text(page), re.MULTILINE)
    for call in (*_SPAN.findall(_text(page)), *indented):
        if found := _COMMAND.search(call):
            own = call.split(" -- ")[0]  # what follows is the program's, under exec
            assert set(_OPTION.findall(own)) <= _options(_command(found[1])) | {"--help"}, call


@pytest.mark.parametrize("page", TEXTS_ABOUT_CODE, ids=_name)
def test_every_module_that_is_named_exists(page):
    files = {span for span in _SPAN.findall(_text(page)) if "/" in span and _FILE.search(span)}
    assert {name for name in files if not _exists(name) and "NN" not in name} == set()
    assert {name for name in _MODULE.findall(_text(page)) if not _is_module_or_its_name(name)} == set()


def _exists(name: str) -> bool:
    return any((folder / name).exists() for folder in (PACKAGE, ROOT))


def _is_module_or_its_name(dotted: str) -> bool:
    module = (ROOT if dotted.startswith("tests.") else PACKAGE.parent) / dotted.replace(".", "/")
    if module.is_dir() or module.with_suffix(".py").exists():
        return True
    file = module.parent.with_suffix(".py")
    return file.exists() and re.search(rf"\b{module.name}\b", file.read_text(encoding="utf-8")) is not None


def test_the_tcp_modules_that_the_architecture_names_exist():
    section = _text(ARCHITECTURE).split("## TCP\n")[1].split("\n## ")[0]
    named = {span for span in _SPAN.findall(section) if _FILE.search(span)}
    assert len(named) > 10
    assert {name for name in named if not (PACKAGE / "transport" / "tcp" / name).exists()} == set()


def test_the_architecture_names_every_room():
    spans = set(_SPAN.findall(_text(ARCHITECTURE)))
    rooms = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= spans
    assert {span for span in spans if re.fullmatch(r"[a-z]+/", span)} <= rooms | {"messages/"}


def test_contributing_has_the_floors_that_are_checked():
    floors = _text(CONTRIBUTING).split("from the bottom up: ")[1].split(".\n")[0]
    written = [_SPAN.findall(floor) for floor in floors.split(";")]
    everywhere = {"errors", "files", "language", "layout", "cluster", "terminal"}
    checked = [[room for room in floor if room not in everywhere] for floor in FLOORS]
    assert [sorted(room.removesuffix(".py") for room in floor) for floor in written] == [
        sorted(floor) for floor in checked
    ]
