"""A decision as a row: the JSON object of the commands, and the cells of the printed table."""

from dataclasses import dataclass
from typing import Any

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.verdicts import Verdict
from demuxlab.language import marked
from demuxlab.telling.decision import reason
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text
from demuxlab.wire.segment import Segment, TCPSegment, flag_letters

HEADERS = marked(("frame", "host", "from", "to", "segment", "socket", "rule"))
FROM_AND_TO = marked("from → to")
RULE_AND_REPLY = marked("rule → reply")
"""Headings of two columns in one: where there is little room, and where packets were replied to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A packet that arrived, with its frame number and its decision."""

    frame: int
    delivery: Delivery
    host: str | None = None
    """The host that decided, if a run has several."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields of the JSON object."""
        delivery, segment = self.delivery, self.delivery.segment
        row: dict[str, Any] = {
            "frame": self.frame,
            "protocol": None,
            "source": None,
            "destination": None,
            "verdict": delivery.verdict,
            "socket": delivery.socket.name if delivery.socket else None,
            "rule": _rule(delivery) or None,
            "reply": delivery.reply,
        }
        if segment is not None:
            row["protocol"] = ip.PROTOCOL_NAMES[segment.protocol]
            row["source"] = [to_text(segment.source), segment.source_port]
            row["destination"] = [to_text(segment.destination), segment.destination_port]
        elif why := reason(delivery):
            row["reason"] = why
        if delivery.copies:
            row["copies"] = [socket.name for socket in delivery.copies]
        if self.host is not None:
            row["host"] = self.host
        return row

    def as_row(self) -> tuple[str, ...]:
        """Return the cells of the printed table, in the order of `HEADERS`."""
        delivery, segment = self.delivery, self.delivery.segment
        name = delivery.socket.name if delivery.socket else "–"
        rule = _rule(delivery)
        if delivery.verdict != Verdict.DELIVERED:
            rule = f"{delivery.verdict}: {rule}" if rule else delivery.verdict
        ending = (name, f"{rule} → {delivery.reply}" if delivery.reply else rule)
        place = (str(self.frame), self.host or "")
        if segment is None:
            return (*place, "", "", reason(delivery), *ending)
        return (
            *place,
            endpoint_text(segment.source, segment.source_port),
            endpoint_text(segment.destination, segment.destination_port),
            _contents(segment),
            *ending,
        )


def _rule(delivery: Delivery) -> str:
    """Return the lookup's rule, or that of port forwarding."""
    return delivery.rule or delivery.forwarded_by


def _contents(segment: Segment) -> str:
    flags = flag_letters(segment.flags) if isinstance(segment, TCPSegment) else ""
    size = f"{count} byte{'s' * (count > 1)}" if (count := len(segment.payload)) else ""
    return " ".join(filter(None, (ip.PROTOCOL_NAMES[segment.protocol], flags, size)))
