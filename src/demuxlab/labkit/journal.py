"""What a run did, packet by packet: the rows of its table and of its JSON."""

from dataclasses import dataclass
from typing import Any

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.verdicts import Verdict
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text
from demuxlab.wire.segment import TCPSegment, flag_letters

HEADERS = marked(("frame", "host", "from", "to", "segment", "socket", "rule"))
FROM_AND_TO = marked("from → to")
RULE_AND_REPLY = marked("rule → reply")
"""Headings of two columns in one: where there is little room, and where packets were replied to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One packet that arrived, with its place in the capture and its decision."""

    frame: int
    delivery: Delivery
    host: str | None = None
    """Who decided, where a run has several hosts."""

    def as_json(self) -> dict[str, Any]:
        """Return the fields that scripts rely on."""
        delivery, segment = self.delivery, self.delivery.segment
        row: dict[str, Any] = {
            "frame": self.frame,
            "protocol": None,
            "source": None,
            "destination": None,
            "verdict": delivery.verdict,
            "socket": delivery.socket.name if delivery.socket else None,
            "rule": delivery.rule,
            "reply": delivery.reply,
        }
        if segment is not None:
            row["protocol"] = ip.PROTOCOL_NAMES[segment.protocol]
            row["source"] = [to_text(segment.source), segment.source_port]
            row["destination"] = [to_text(segment.destination), segment.destination_port]
        elif delivery.reason:
            row["reason"] = delivery.reason
        if delivery.copies:
            row["copies"] = [socket.name for socket in delivery.copies]
        if self.host is not None:
            row["host"] = self.host
        return row

    def as_row(self) -> tuple[str, ...]:
        """Return the cells of the table that people read, in the order of `HEADERS`."""
        delivery, segment = self.delivery, self.delivery.segment
        name = delivery.socket.name if delivery.socket else "–"
        rule = delivery.rule or ""
        if delivery.verdict != Verdict.DELIVERED:
            rule = f"{delivery.verdict}: {rule}" if rule else delivery.verdict
        ending = f"{rule} → {delivery.reply}" if delivery.reply else rule
        place = (str(self.frame), self.host or "")
        if segment is None:
            return (*place, "", "", delivery.reason, name, ending)
        size = f"{len(segment.payload)} bytes" if segment.payload else ""
        flags = flag_letters(segment.flags) if isinstance(segment, TCPSegment) else ""
        return (
            *place,
            endpoint_text(segment.source, segment.source_port),
            endpoint_text(segment.destination, segment.destination_port),
            " ".join(filter(None, (ip.PROTOCOL_NAMES[segment.protocol], flags, size))),
            name,
            ending,
        )


class Journal:
    """Keeps every decision, and counts the packets sent, numbered as in the capture."""

    def __init__(self) -> None:
        self.frames = 0
        self.entries: list[Entry] = []

    def received(self, delivery: Delivery, host: str | None) -> None:
        """Note a packet that a host decided about."""
        self.frames += 1
        self.entries.append(Entry(self.frames, delivery, host))

    def sent(self) -> None:
        """Count a packet that went out to a host whose packets are crafted."""
        self.frames += 1
