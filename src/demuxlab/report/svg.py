"""SVG. All text is escaped, so that no text of a capture becomes markup.

Lengths are in user units, which are CSS pixels where a drawing is shown in its own size.
"""

import unicodedata
from functools import cache
from importlib.resources import files

from markupsafe import Markup, escape

COLOURS = 8
_WIDEST_DIGIT = 0.7  # em: of a bold one


@cache
def style(name: str) -> Markup:
    """Return one of the package's style sheets."""
    return Markup(files("demuxlab.report").joinpath(name).read_text(encoding="utf-8"))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element; `class_` becomes class, `stroke_width` stroke-width; None omits it."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_number(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(escape(value))


def drawing(
    width: float, height: float, title: str, *children: Markup, description: str = "", class_: str = "figure"
) -> Markup:
    """Return a whole drawing, with title and description for screen readers."""
    head = [tag("title", title)]
    if description:
        head.append(tag("desc", description))
    return tag(
        "svg",
        *head,
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        class_=f"demuxlab {class_}",
        role="img",
        aria_label=title,
    )


def text(x: float, y: float, said: str, class_: str = "", *, anchor: str | None = None) -> Markup:
    """Return a line of text; `anchor` is "middle" or "end" if `x` is not its start."""
    return tag("text", said, x=x, y=y, class_=class_ or None, text_anchor=anchor)


def box(x: float, y: float, width: float, height: float, class_: str = "", *, radius: float = 5) -> Markup:
    """Return a rectangle with round corners."""
    return tag("rect", x=x, y=y, width=width, height=height, rx=radius, class_=class_ or None)


def line(x1: float, y1: float, x2: float, y2: float, class_: str = "") -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_ or None)


def arrow(x1: float, y1: float, x2: float, y2: float, class_: str = "arrow", *, head: float = 7) -> Markup:
    """Return a line with a head at its end."""
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 or 1.0
    along, across = (x2 - x1) / length, (y2 - y1) / length
    back_x, back_y = x2 - along * head, y2 - across * head
    wing_x, wing_y = -across * head * 0.5, along * head * 0.5
    points = [(x2, y2), (back_x + wing_x, back_y + wing_y), (back_x - wing_x, back_y - wing_y)]
    tip = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"
    return tag("g", line(x1, y1, back_x, back_y), tag("path", d=tip), class_=class_)


def chip(x: float, y: float, said: str, class_: str, *, most: float = 84, height: float = 18) -> Markup:
    """Return a filled label, centred at x, y."""
    width = chip_width(said, most)
    return tag(
        "g",
        box(x - width / 2, y - height / 2, width, height),
        text(x, y + 4, fit(said, most - 10, 12), anchor="middle"),
        class_=f"chip {class_}",
    )


def chip_width(said: str, most: float = 84) -> float:
    """Return the width of a chip."""
    return max(28.0, min(most, text_width(said, 12) + 18))


def text_width(said: str, size: float) -> float:
    """Return the approximate width of a text in a font of `size`."""
    return size * sum(_em(char) for char in said)


def fit(said: str, width: float, size: float) -> str:
    """Return a text truncated to about `width`, with … at its end if it was longer.

    Of an IPv6 address the middle is left out: hosts of one network differ at the end.
    """
    if said.count(":") > 2 and len(said) * size * _WIDEST_DIGIT > width:
        count = max(8, int(width / (size * _WIDEST_DIGIT)) - 1)
        return f"{said[: count // 2]}…{said[-(count - count // 2) :]}" if len(said) > count + 1 else said
    if text_width(said, size) <= width:
        return said
    room, kept = width - size * 0.6, ""
    for char in said:
        room -= size * _em(char)
        if room < 0:
            break
        kept += char
    return kept.rstrip() + "…"


def wrapped(said: str, width: float, size: float, most: int = 3) -> list[str]:
    """Return a text in at most `most` lines of about `width`."""
    lines = [""]
    for word in said.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return [fit(line, width, size) for line in lines]


@cache
def _em(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF":
        return 1.0
    if char in "il.,:;'|! jtfI[]()":
        return 0.33
    return 0.7 if char.isupper() or char in "mwMW→—" else 0.58
