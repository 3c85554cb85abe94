"""Pacing: segments leave spread over the round trip rather than at once, where SO_MAX_PACING_RATE asks.

As Linux, which does not pace CUBIC by itself either, but the initial window as well. It pays where the queue
of the bottleneck is shorter than a burst: what does not fit is lost. Rates in bytes a second.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demuxlab.transport.tcp.sender import Sender

UNLIMITED = (1 << 64) - 1
_SLOW_START, _AVOIDANCE = 2.0, 1.2
"""How many windows a round trip has room for (Linux: tcp_pacing_ss_ratio, tcp_pacing_ca_ratio)."""


class Pacing:
    """When the next segment may leave."""

    __slots__ = ("next_at",)

    def __init__(self) -> None:
        self.next_at = 0.0

    def sent(self, size: int, sender: "Sender", now: float) -> None:
        """So many bytes leave; what they are late by makes up for half of the gap at most (Linux)."""
        gap = size / rate(sender)
        self.next_at = now + gap - min(gap / 2, now - self.next_at)


def rate(sender: "Sender") -> float:
    """Return the rate at which a sender paces, or would pace, its segments."""
    control, most = sender.congestion_to_read, sender.settings.max_pacing_rate or UNLIMITED
    ratio = _SLOW_START if control.cwnd < control.ssthresh // 2 else _AVOIDANCE
    return min(ratio * control.cwnd / sender.rtt.srtt, most) if sender.rtt.srtt else most
