"""The congestion window over time as a drawing of its own: a curve for each flow, a dot for each loss."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from demuxlab.report.svg import drawing, line, tag, text

WIDTH, HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 76, 40
COLOURS = ("#0b62a8", "#c2410c", "#4d7c0f", "#7c3aed")
_STYLE = "text{font:13px sans-serif;fill:#222}.axis{stroke:#888}.grid{stroke:#e4e4e4}.title{font-weight:bold}"


@dataclass(frozen=True, slots=True)
class Curve:
    """One flow's window: from each moment on a value. `losses` are moments; `expected` is drawn dashed."""

    name: str
    steps: Sequence[tuple[float, float]]
    losses: Sequence[float] = ()
    expected: bool = False


def picture(title: str, curves: Sequence[Curve], end: float, across: str, up: str) -> Markup:
    """Draw curves from 0 to `end`; `across` and `up` name the axes."""
    highest = max((value for curve in curves for _, value in curve.steps), default=0) or 1
    step = _step(highest)
    top = step * (int(highest / step) + 1)
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(moment: float) -> float:
        return _LEFT + wide * min(moment / end, 1)

    def y(value: float) -> float:
        return _TOP + high * (1 - value / top)

    parts = [tag("style", Markup(_STYLE)), tag("rect", width=WIDTH, height=HEIGHT, fill="#fff")]
    parts += [text(_LEFT, 20, title, "title"), text(WIDTH - _RIGHT, HEIGHT - 6, across, anchor="end")]
    parts.append(text(4, _TOP - 12, up))
    for place in range(int(top / step) + 1):
        parts.append(line(_LEFT, y(place * step), WIDTH - _RIGHT, y(place * step), "grid"))
        parts.append(text(_LEFT - 6, y(place * step) + 4, f"{place * step:g}", anchor="end"))
    every = max(_step(end), 1)  # seconds, and events, are not divided
    for place in range(int(end / every) + 1):
        moment = place * every
        parts.append(line(x(moment), _TOP + high, x(moment), _TOP + high + 5, "axis"))
        parts.append(text(x(moment), _TOP + high + 19, f"{moment:g}", anchor="middle"))
    parts.append(line(_LEFT, _TOP + high, WIDTH - _RIGHT, _TOP + high, "axis"))
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        path = "".join(
            f"{'H' if place else 'M'}{x(moment):.1f}{'V' if place else ' '}{y(value):.1f}"
            for place, (moment, value) in enumerate(curve.steps)
        )
        dashes = "5 4" if curve.expected else None
        parts.append(
            tag("path", d=f"{path}H{x(end):.1f}", fill="none", stroke=colour, stroke_width=1.6,
                stroke_dasharray=dashes)
        )  # fmt: skip
        at = _LEFT + number * wide / max(len(curves), 2)
        parts.append(
            tag("path", d=f"M{at:.0f} 36h22", stroke=colour, stroke_width=3, stroke_dasharray=dashes)
        )
        parts.append(text(at + 28, 40, curve.name))
        height = _TOP + high - 5 - 7 * number
        places = dict.fromkeys(round(x(loss)) for loss in curve.losses)  # a pixel has one dot at most
        parts += [tag("circle", cx=place, cy=height, r=2.2, fill=colour) for place in places]
    return drawing(WIDTH, HEIGHT, title, *parts)


def _step(most: float) -> float:
    """Return a round number of which four to nine reach `most`."""
    size = 10.0 ** (len(str(int(most * 1000))) - 5)
    return next(size * factor for factor in (1, 2, 5, 10, 20, 50, 100) if most / (size * factor) < 9)
