"""What a notebook shows of a lab: its ladder, made from its decisions and not from a capture."""

from collections.abc import Iterable, Iterator, Mapping

from demuxlab.report import page, story_builder
from demuxlab.report.story_builder import AnnotatedPacket
from demuxlab.telling import decision
from demuxlab.telling.rows import Entry


def ladder_of(title: str, entries: Iterable[Entry], names: Mapping[bytes, str]) -> str:
    """Return the ladder of what arrived in a run, as HTML for a notebook."""
    return page.fragment(story_builder.of_packets(_seen(entries), dict(names), title))


def _seen(entries: Iterable[Entry]) -> Iterator[AnnotatedPacket]:
    for entry in entries:
        delivery, segment = entry.delivery, entry.delivery.segment
        if segment is not None:
            number = delivery.socket.number if delivery.socket else None
            yield AnnotatedPacket(entry.frame, 0.0, segment.packet, decision.of(delivery), number)
