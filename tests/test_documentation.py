"""README, docs/ and the handouts: links, commands and file names that exist."""

import re
from pathlib import Path

import click
import pytest

from demuxlab.cli.main import group

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "labs/*.md", "labs/*/README*.md", "tests/drill/README.md")
    for path in ROOT.glob(pattern)
)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
_COMMAND = re.compile(r"`(?:sudo )?demuxlab (\w+)")
_FILE = re.compile(r"`([\w./]+/[\w.]+\.(?:py|lua))`")


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page):
    broken = [link for link in _LINK.findall(_text(page)) if not (page.parent / link).exists()]
    assert broken == []


def test_the_readme_is_read_in_three_minutes():
    assert len(_text(ROOT / "README.md").splitlines()) <= 150


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs" / "commands.md"], ids=lambda page: page.name
)
def test_every_command_that_is_named_exists(page):
    named = set(_COMMAND.findall(_text(page)))
    assert named
    assert named <= set(group.list_commands(click.Context(group)))


def test_every_module_that_the_documentation_names_exists():
    package = ROOT / "src" / "demuxlab"
    named = {name for page in (ROOT / "docs").glob("*.md") for name in _FILE.findall(_text(page))}
    assert named
    assert (
        sorted(name for name in named if not (package / name).exists() and not (ROOT / name).exists()) == []
    )
