"""The decisions of a run, packet by packet."""

from demuxlab.demux.delivery import Delivery
from demuxlab.telling.rows import Entry


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
