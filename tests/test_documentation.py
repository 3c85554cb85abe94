"""README, docs/ and the handouts: links, commands, options and file names that exist."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from tests.test_house import FLOORS

import demuxlab
from demuxlab.cli.main import group
from demuxlab.site import scripts

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "demuxlab"
README, COMMANDS = ROOT / "README.md", ROOT / "docs" / "commands.md"
COMMANDS_KO = COMMANDS.with_suffix(".ko.md")
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


@pytest.mark.parametrize("page", [README, COMMANDS, COMMANDS_KO], ids=_name)
def test_the_table_of_commands_names_every_command_and_only_options_that_exist(page):
    named = set()
    for row in re.findall(r"^\| `.*$", _text(page), re.MULTILINE):
        spans = _SPAN.findall(row)
        if found := _COMMAND.search(spans[0]):
            named.add(found[1])
            options = {option for span in spans for option in _OPTION.findall(span)}
            assert options <= _options(_command(found[1])), row
    commands = set(group.list_commands(click.Context(group)))
    assert named | (commands & set(_SPAN.findall(_text(page)))) == commands


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


# The runs that a page shows


_SLOW = ("demuxlab bench start --quick", "demuxlab site public")
_ELSEWHERE = {"sudo": 'exec "$@"', "wireshark": "exit 0"}
"""Programs that a test replaces: it is root already, or must not be, and opens no window."""
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def _blocks(page: Path) -> list[list[tuple[str, str]]]:
    """Return each block's commands, with what they print."""
    return [_STEP.findall(block) for block in _BLOCK.findall(page.read_text(encoding="utf-8"))]


def _script(steps: list[tuple[str, str]], folder: Path) -> str:
    """Return a block for the shell; a file that it shows is written first, and a server is waited for."""
    lines = ["ip link set lo up"] if _needs_root(steps) else []
    for command, shown in steps:
        if command.startswith("cat "):
            (folder / command.removeprefix("cat ")).write_text(shown, encoding="utf-8")
        if command.endswith(" &"):
            count = f"$(wc -l < {folder}/server)"
            lines += [f"{command[:-2]} > {folder}/server & server=$!", "trap 'kill $server; wait' EXIT"]
            lines += [
                f"until [ {count} = {shown.count(chr(10))} ]; do sleep 0.02; done",
                f"cat {folder}/server",
            ]
        else:
            lines.append(command)
    return "\n".join(lines)


def _needs_root(steps: list[tuple[str, str]]) -> bool:
    return any(command.startswith("sudo ") for command, _shown in steps)


def _pattern(shown: str) -> re.Pattern[str]:
    """Return what an output must match: "…" is any text in a line, or any lines."""
    return re.compile(re.escape(shown).replace("…\\\n", "(?:.*\n)*?").replace("…", ".*"))


@pytest.mark.timeout(600)  # twenty processes, one after the other
@pytest.mark.parametrize(
    ("page", "left_out"),
    [(COMMANDS, _SLOW), (COMMANDS_KO, ()), pytest.param(COMMANDS, (), marks=pytest.mark.long)],
    ids=["commands.md", "commands.ko.md", "all of commands.md"],
)
def test_each_run_prints_what_the_page_shows(page: Path, left_out, tmp_path: Path, need_tool) -> None:
    places, course = tmp_path / "bin", tmp_path / "course"
    places.mkdir()
    for name, text in _ELSEWHERE.items():
        (places / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (places / name).chmod(0o755)
    path = os.pathsep.join([str(places), str(Path(sys.executable).parent), os.environ["PATH"]])
    language = "ko_KR.UTF-8" if page == COMMANDS_KO else "C.UTF-8"
    environment = {**os.environ, "PATH": path, "LANGUAGE": "", "LANG": language, "LC_ALL": language}
    environment |= {"COLUMNS": "80", "DISPLAY": ":none", "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    for steps in _blocks(page):
        alone = []
        if _needs_root(steps):
            if os.geteuid() != 0:
                continue
            need_tool("unshare", "ip", "nc")
            alone = ["unshare", "--net"]
        if steps[0][0] in left_out or (
            steps[0][0] == "demuxlab site public" and not (scripts.WEB / "node_modules").is_dir()
        ):
            continue
        folder = course if course.exists() else tmp_path
        done = subprocess.run(
            [*alone, "bash", "-c", _script(steps, folder)],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, check=False,
        )  # fmt: skip
        shown = "".join(text for _command, text in steps)
        if not _pattern(shown).fullmatch(done.stdout):
            pytest.fail(
                f"{steps[0][0]}: the page shows\n{shown}\nbut it printed\n{done.stdout}", pytrace=False
            )


def test_every_place_that_says_the_version_says_the_same():
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md")}
    assert f"\nversion: {demuxlab.__version__}\n" in texts["CITATION.cff"]
    [date] = re.findall(r'^date-released: "(.*)"$', texts["CITATION.cff"], re.MULTILINE)
    assert (
        re.search(r"^## .*", texts["CHANGELOG.md"], re.MULTILINE)[0] == f"## {demuxlab.__version__} ({date})"
    )
    wheels = {
        name for page in PAGES for name in re.findall(r"demuxlab-([\d.]+)-py3", page.read_text("utf-8"))
    }
    assert wheels == {demuxlab.__version__}
