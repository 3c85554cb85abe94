"""Every packet is accounted for: received = delivered + dropped, by reason, + held fragments."""

from collections import Counter


class Counters:
    """Packet counts. Drops go under names that `nstat` prints, where SNMP has one."""

    __slots__ = ("delivered", "dropped", "received")

    def __init__(self) -> None:
        self.received = 0
        self.delivered = 0
        self.dropped: Counter[str] = Counter()

    def balance(self, held: int = 0) -> bool:
        """Tell whether nothing was lost without a reason; `held` fragments still wait."""
        return self.received == self.delivered + self.dropped.total() + held
