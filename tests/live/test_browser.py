"""The live page's language, and that the page has every word that it asks for."""

import re
from pathlib import Path

import pytest

from demuxlab import language
from demuxlab.live import browser
from demuxlab.live.words import WORDS

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


def test_who_names_no_language_gets_the_process_s():
    language.use("ko")
    try:
        assert [browser.preferred(accepted) for accepted in ("", "fr", "en")] == ["ko", "ko", "en"]
    finally:
        language.use("en")


def test_every_word_of_the_page_is_there():
    given = {*WORDS, "language", "as_json"}
    assert set(re.findall(r"\{\{(\w+)\}\}", PAGE)) <= given
    assert set(re.findall(r"words\.(\w+)", PAGE)) <= given
    for listed in re.findall(r"= \[(.*?)\]\.map\(word", PAGE):
        assert set(re.findall(r'"(\w+)"', listed)) <= given


def test_the_page_needs_nothing_from_elsewhere():
    assert re.findall(r'(?:src|href)="([^"]*)"', PAGE) == ["data:,", "/live/events.js"]
