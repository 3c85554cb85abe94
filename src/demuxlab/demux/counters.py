"""Every packet is accounted for: received = delivered + dropped, by named reasons, + fragments that wait."""

from collections import Counter


class Counters:
    """Packet counts. A drop is counted under the name that `nstat` prints, if SNMP has one for it."""

    __slots__ = ("delivered", "dropped", "received")

    def __init__(self) -> None:
        self.received = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()

    def balance(self, held: int = 0) -> bool:
        """Return whether all packets are accounted for; `held` fragments still wait for the rest."""
        return self.received == self.delivered + self.dropped.total() + held
