"""Markdown of the repository as HTML: headings that can be linked to, links that lead to the site's pages."""

import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SENTENCE_SIGNS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of a page, and the text below it up to the next heading."""

    level: int
    anchor: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page: its title, its HTML without the title's heading, and its sections for the search."""

    title: str
    html: str
    sections: tuple[Section, ...]


def render(text: str, at: str, resolve: Callable[[str], str | None]) -> Rendered:
    """Render the file at a path of the repository.

    `resolve` gets the path that a relative link or picture leads to, such as "docs/links.md", and returns its
    address; None where the site does not have it: then the text of the link stays, alone.
    """
    parser = _parser()
    tokens = parser.parse(text)
    sections = _sections(tokens)
    for token in tokens:
        if token.children:
            token.children = _linked(token.children, posixpath.dirname(at), resolve)
    if tokens and tokens[0].type == "heading_open":
        del tokens[:3]
    title = sections[0].title if sections else at
    return Rendered(title, parser.renderer.render(tokens, parser.options, {}), tuple(sections))


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    # A wide table or block scrolls by itself, also by keyboard.
    parser.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0"><table>')
    for kind in ("fence", "code_block"):
        parser.add_render_rule(kind, _block)
    parser.add_render_rule("table_close", lambda *_: "</table></div>")
    return parser


def _block(_renderer: object, tokens: Sequence["Token"], number: int, *_rest: object) -> str:
    return f'<pre tabindex="0"><code>{escape(tokens[number].content)}</code></pre>\n'


def _sections(tokens: Sequence["Token"]) -> list[Section]:
    """Return the sections, and give each heading the anchor that GitHub gives it."""
    found: list[Section] = []
    body: list[str] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            title = _words(tokens[number + 1])
            anchor = _SENTENCE_SIGNS.sub("", title.lower()).replace(" ", "-")
            token.attrSet("id", anchor)
            found.append(Section(int(token.tag[1]), anchor, title, ""))
            body = []
        elif token.type in ("fence", "code_block"):
            body.append(token.content)
        elif token.type == "inline" and tokens[number - 1].type != "heading_open":
            body.append(_words(token))
        if found and body:
            found[-1] = Section(found[-1].level, found[-1].anchor, found[-1].title, " ".join(body))
    return found


def _words(token: "Token") -> str:
    joined = "".join(
        " " if child.type == "softbreak" else child.content
        for child in token.children or ()
        if child.type in ("text", "code_inline", "softbreak")
    )
    return " ".join(joined.split())


def _linked(children: Sequence["Token"], folder: str, resolve: Callable[[str], str | None]) -> list["Token"]:
    kept: list[Token] = []
    dropped = False
    for token in children:
        if token.type == "image":
            _lead(token, "src", folder, resolve)
            token.attrSet("loading", "lazy")
        if token.type == "link_open":
            dropped = not _lead(token, "href", folder, resolve)
        if token.type in ("link_open", "link_close") and dropped:
            continue
        kept.append(token)
    return kept


def _lead(token: "Token", attribute: str, folder: str, resolve: Callable[[str], str | None]) -> bool:
    """Let a link lead to its page of the site; False where there is none."""
    target, _sign, anchor = str(token.attrGet(attribute)).partition("#")
    if not target or ":" in target:
        return True
    address = resolve(posixpath.normpath(posixpath.join(folder, target)))
    if address is None:
        return False
    token.attrSet(attribute, address + (f"#{anchor}" if anchor else ""))
    return True
