"""The overview of a capture's conversations: endpoints, packets, bytes, time, and how each ended.

It is for captures without decisions of ours, and has the largest conversations.
"""

from heapq import nlargest
from typing import Any

from demuxlab.language import _
from demuxlab.report.conversations import Conversation
from demuxlab.report.ladder import milliseconds
from demuxlab.report.story import Story
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text

MOST = 40


def rows(story: Story) -> list[dict[str, Any]]:
    """Return the rows of the table, in the order of the capture; none for a single conversation."""
    if story.decided or len(story.tracker.conversations) < 2:
        return []
    drawn: dict[int, int] = {}
    for segment in story.segments:
        if segment.conversation:
            drawn.setdefault(segment.conversation.number, segment.number)
    start = story.tracker.conversations[0].start
    largest = nlargest(MOST, story.tracker.conversations, key=_wire)
    return [
        _row(each, drawn.get(each.number, 0), start) for each in sorted(largest, key=lambda each: each.number)
    ]


def summary(story: Story) -> str:
    """Return the sentence above the table."""
    every = story.tracker.conversations
    values = {"count": len(every), "refused": sum(each.refused for each in every)}
    if len(every) > MOST:
        said = _(
            "{shown} of {count} conversations, those of most bytes; refused: {refused}. The command "
            "demuxlab flows lists all.",
            shown=MOST,
            **values,
        )
    else:
        said = _("{count} conversations; refused: {refused}.", **values)
    return said


def most_telling(story: Story) -> Conversation | None:
    """Return the conversation to draw where not all can be: the one with most to see in it."""
    return max(
        story.tracker.conversations,
        key=lambda each: (min(each.packets, 100), len(each.marks), _wire(each)),
        default=None,
    )


def outcome(each: Conversation) -> str:
    """Return how a conversation went."""
    if each.refused:
        return _("refused")
    if each.silent:
        return _("no answer")
    if any(way.rst for way in each.ways):
        return _("reset")
    if any(way.fin for way in each.ways):
        return _("closed") if all(way.fin for way in each.ways) else _("half closed")
    if each.protocol != ip.TCP:
        return _("both directions") if all(way.packets for way in each.ways) else _("one direction")
    return _("open at the end")


def _wire(each: Conversation) -> int:
    return each.ways[0].wire + each.ways[1].wire


def _row(each: Conversation, drawn: int, start: float) -> dict[str, Any]:
    forth, back = each.ways
    protocol = ip.name(each.protocol)
    return {
        "number": each.number,
        "ends": f"{protocol} {endpoint_text(*each.a)} → {endpoint_text(*each.b)}",
        "packets": f"{forth.packets} / {back.packets}",
        "sizes": f"{forth.size} / {back.size}",
        "frames": f"{each.first} – {each.last}",
        "time": f"{milliseconds(max(0.0, each.start - start))} – {milliseconds(max(0.0, each.end - start))}",
        "drawn": drawn,
        "outcome": outcome(each),
    }
