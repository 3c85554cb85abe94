"""The live page: its language, and a label for each placeholder."""

import re
from pathlib import Path

import pytest

from demuxlab import language
from demuxlab.live import browser
from demuxlab.live.labels import LABELS

PAGE = (Path(browser.__file__).parent / "page.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("en;q=0.5, ko;q=0.9", "ko"),
        ("fr, ko;q=0.3", "ko"),
        ("ko;q=0, en;q=0.1", "en"),
        ("fr", "en"),
        ("", "en"),
        ("*", "en"),
        (";;q=,,ko;q=x," * 1000, "en"),
    ],
)
def test_the_language_is_the_reader_s(accepted, wanted):
    assert browser.preferred(accepted) == wanted


def test_without_an_available_language_the_page_has_that_of_the_process():
    language.use("ko")
    try:
        assert [browser.preferred(accepted) for accepted in ("", "fr", "en")] == ["ko", "ko", "en"]
    finally:
        language.use("en")


def test_every_placeholder_of_the_page_has_a_label():
    given = {*LABELS, "language", "as_json"}
    assert set(re.findall(r"\{\{(\w+)\}\}", PAGE)) <= given
    assert set(re.findall(r"texts\.(\w+)", PAGE)) <= given
    for listed in re.findall(r"= \[(.*?)\]\.map\(word", PAGE):
        assert set(re.findall(r'"(\w+)"', listed)) <= given


def test_the_page_loads_nothing_from_other_hosts():
    assert re.findall(r'(?:src|href)="([^"]*)"', PAGE) == ["data:,", "/live/events.js"]
