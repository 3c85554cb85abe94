"""The language of what people read: English is the source, translations are in gettext catalogs.

The package's catalog is `messages/ko.po`; a lab's folder has one of its own, for what its script says. What
programs read (JSON, the comments in captures, verdicts and rules) is English everywhere.
"""

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

CODES = ("en", "ko")
_ENVIRONMENT = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
_PACKAGE = Path(__file__).with_name("messages")
_translations: dict[str, str] = {}
_code = "en"
_Texts = TypeVar("_Texts")

Say = Callable[..., str]
"""`_`, or `english`: say(text, **values) returns the text with its values."""


def code() -> str:
    """Return the language in use, "en" or "ko"."""
    return _code


def preferred() -> str:
    """Return the language that the environment asks for (gettext(3)), as far as there is a catalog of it."""
    for name in _ENVIRONMENT:
        if value := os.environ.get(name):
            wanted = re.split(r"[:_.@]", value, maxsplit=1)[0].lower()
            return wanted if wanted in CODES else "en"
    return "en"


def use(wanted: str) -> None:
    """Translate into a language from now on; ValueError where there is no catalog for this code."""
    global _code  # noqa: PLW0603 - a process speaks one language
    if wanted not in CODES:
        raise ValueError(f"no language {wanted!r}: there are {', '.join(CODES)}")
    _translations.clear()
    _code = wanted
    add(_PACKAGE)


def add(folder: Path, of: str = "") -> None:
    """Add a folder's catalog, where it has one: ko.po or, of its checks, checks.ko.po."""
    _translations.update(_catalog(folder / (f"{of}.{_code}.po" if of else f"{_code}.po")))


def translations(wanted: str) -> dict[str, str]:
    """Return the package's catalog of a language, for a viewer with another language than the process."""
    return _catalog(_PACKAGE / f"{wanted}.po")


@cache
def _catalog(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        messages = read_po(file, locale=path.stem)
    # The catalog's head is an entry as well, of the empty text.
    return {str(entry.id): str(entry.string) for entry in messages if entry.id and entry.string}


def with_values() -> dict[str, str]:
    """Return the translations of texts that have numbered values, {1}, {2}, in them."""
    return {text: translation for text, translation in _translations.items() if "{1}" in text}


def marked(texts: _Texts) -> _Texts:
    """Return a text, or several in a tuple or a dictionary's values, which `_` translates where printed."""
    return texts


def _(text: str, **values: object) -> str:
    """Return a text in the language in use, with `values` put where it says {name}."""
    return english(_translations.get(text, text), **values)


def english(text: str, **values: object) -> str:
    """Return a text as it is, with `values` put where it says {name}: for what programs read."""
    return text.format(**values) if values else text


use(preferred())
