"""Every message has its Korean, with the same values in it."""

import re
from pathlib import Path

import pytest
from tests import messages

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "demuxlab" / "messages"
FOLDERS = [PACKAGE, *(path.parent for path in sorted((ROOT / "labs").glob("[0-9][0-9]_*/lab.py")))]
CHECKED = [path.parent for path in sorted((ROOT / "labs").glob("[0-9][0-9]_*/checks.ko.po"))]

every_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
every_checked = pytest.mark.parametrize("lab", CHECKED, ids=lambda lab: lab.name)


@every_folder
def test_every_message_is_in_the_catalog(folder: Path) -> None:
    again = f"python -m tests.messages {folder.relative_to(ROOT)} ko"
    assert messages.missing(folder, "ko") == [], f"{again} prints them"


@every_folder
def test_no_entry_is_left_of_what_nobody_says(folder: Path) -> None:
    said = {text for path in messages.sources(folder) for text in messages.in_source(path)}
    assert messages.catalog(folder, "ko").keys() <= said


@every_folder
def test_translations_have_the_same_values(folder: Path) -> None:
    for text, translation in messages.catalog(folder, "ko").items():
        assert _values(text) == _values(translation), text


@every_checked
def test_every_check_and_hint_is_in_the_catalog_of_its_lab(lab: Path) -> None:
    again = f"python -m tests.messages {lab.relative_to(ROOT)} ko checks"
    assert messages.missing_of_checks(lab, "ko") == [], f"{again} prints them"
    for text, translation in messages.catalog(lab, "checks.ko").items():
        assert _values(text) == _values(translation), text


def _values(text: str) -> list[str]:
    return sorted(re.findall(r"\{.*?\}", text))
