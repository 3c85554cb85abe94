"""The decisions of a run, packet by packet: the rows of its table and of its JSON."""

from dataclasses import dataclass
from typing import Any

from demuxlab.demux.delivery import Delivery
from demuxlab.language import marked
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text
from demuxlab.wire.segment import TCPSegment, flag_letters

HEADERS = marked(("frame", "host", "protocol", "from", "to", "segment", "verdict", "socket", "rule", "reply"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One packet that arrived, with its place in the capture and its decision."""

    frame: int
    delivery: Delivery
    host: str | None = None
    """The host that decided, where a run has several."""

    def as_json(self) -> dict[str, Any]:
        """Return the object that `demuxlab run --json` prints (contract 1)."""
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
        name = delivery.socket.name if delivery.socket else ""
        ending = (delivery.verdict, name, delivery.rule or "", delivery.reply or "")
        place = (str(self.frame), self.host or "")
        if segment is None:
            return (*place, "", "", "", delivery.reason, *ending)
        size = f"{len(segment.payload)} bytes" if segment.payload else ""
        flags = flag_letters(segment.flags) if isinstance(segment, TCPSegment) else ""
        return (
            *place,
            ip.PROTOCOL_NAMES[segment.protocol],
            endpoint_text(segment.source, segment.source_port),
            endpoint_text(segment.destination, segment.destination_port),
            " ".join(filter(None, (flags, size))),
            *ending,
        )


class Journal:
    """Keeps every decision, and counts the packets sent, numbered as in the capture."""

    def __init__(self) -> None:
        self.frames = 0
        self.entries: list[Entry] = []

    def received(self, delivery: Delivery, host: str | None) -> None:
        """Record a host's decision about a packet."""
        self.frames += 1
        self.entries.append(Entry(self.frames, delivery, host))

    def sent(self) -> None:
        """Count a packet that went out to a host whose packets are crafted."""
        self.frames += 1
