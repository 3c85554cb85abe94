"""Charts over the segments of a run: when a socket existed, and the length of its queue.

They are stretched to the width of the page, so they contain no text.
"""

from markupsafe import Markup

from demuxlab.language import _
from demuxlab.report.story import DATAGRAMS, LISTENING, Queue, Story
from demuxlab.report.svg import tag

_HEIGHT = 40


def life(story: Story, queue: Queue, colour: str) -> Markup:
    """Return a bar from a socket's first segment to its last, with a mark where one reached it."""
    places = max(1, len(story.segments))
    mark = max(0.15, places / 140)
    bar = tag("rect", x=queue.first, y=5, width=queue.last - queue.first + 1, height=6, class_="life")
    marks = [
        tag("rect", x=place + (1 - mark) / 2, y=0, width=mark, height=16, class_="mark")
        for place, _size in queue.arrivals
    ]
    first, last = story.segments[queue.first].number, story.segments[queue.last].number
    said = _("{socket}: frames {first} to {last}", socket=queue.name or queue.local, first=first, last=last)
    return _stretched(places, 16, said, colour, bar, *marks)


def depth(story: Story, queue: Queue, colour: str) -> Markup:
    """Return the chart of a queue's length, or of all that has arrived where the length is not known."""
    places = max(1, len(story.segments))
    steps = heights(queue)
    top = max((height for _place, height in steps), default=0) or 1
    path, level = f"M0 {_HEIGHT}", 0.0
    for place, height in steps:
        level = _HEIGHT - height / top * (_HEIGHT - 4)
        path += f"H{place + 0.5:g}V{level:.1f}"
    path += f"H{places}"
    area = tag("path", d=f"{path}V{_HEIGHT}H0Z", class_="area")
    edge = tag("path", d=path, class_="edge", vector_effect="non-scaling-stroke")
    return _stretched(places, _HEIGHT, most(queue), colour, area, edge)


def heights(queue: Queue) -> list[tuple[int, int]]:
    """Return the steps: place, and the value from there on."""
    if queue.depths:
        return [(depth.place, depth.waiting) for depth in queue.depths]
    steps, total = [], 0
    for place, size in queue.arrivals:
        total += size if counts_bytes(queue) else 1
        steps.append((place, total))
    return steps


def counts_bytes(queue: Queue) -> bool:
    """Return whether a queue's chart counts bytes of data instead of segments."""
    return queue.protocol == "tcp" and queue.size > 0


def most(queue: Queue) -> str:
    """Return a chart's highest step as text."""
    top = max((height for _place, height in heights(queue)), default=0)
    if queue.depths and queue.kind == LISTENING:
        return _("connections at most: {count}", count=top)
    if queue.depths and queue.kind == DATAGRAMS:
        return _("datagrams at most: {count}", count=top)
    if queue.depths:
        return _("bytes at most: {count}", count=top)
    if counts_bytes(queue):
        return _("bytes of data: {count}", count=top)
    return (
        _("datagrams: {count}", count=top) if queue.protocol == "udp" else _("segments: {count}", count=top)
    )


def _stretched(width: int, height: int, said: str, colour: str, *parts: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", said),
        *parts,
        viewBox=f"0 0 {width} {height}",
        preserveAspectRatio="none",
        class_=f"chart {colour}",
        role="img",
        aria_label=said,
    )
