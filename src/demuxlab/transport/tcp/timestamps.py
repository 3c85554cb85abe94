"""The timestamps option of one connection (RFC 7323): our clock, the peer's, and PAWS.

A connection has this only where both sides agreed on the option.
"""

from demuxlab.transport.tcp import sequence

_PAWS_EXPIRY = 24 * 24 * 3600.0
"""Seconds after which TS.Recent is too old to be compared with (section 5.5)."""


class Timestamps:
    """Our clock counts milliseconds from an offset that an off-path attacker cannot guess (section 5.4)."""

    __slots__ = ("_offset", "recent", "recent_at")

    def __init__(self, offset: int, recent: int, now: float) -> None:
        self._offset = offset
        self.recent = recent
        """TS.Recent: the peer's timestamp to be echoed (section 4.3)."""
        self.recent_at = now
        """When it was received, in seconds."""

    def option(self, now: float) -> tuple[int, int]:
        """Return TSval and TSecr of a segment that is sent now."""
        return self._clock(now), self.recent

    def elapsed_since(self, echoed: int, now: float) -> float | None:
        """Return the round trip by a TSecr, in seconds; None where it is 0 (no echo) or in the future."""
        if not echoed:
            return None
        elapsed = (self._clock(now) - echoed) % sequence.MODULUS
        return elapsed / 1000 if elapsed < 1 << 31 else None

    def is_old(self, value: int, tolerance: int, now: float) -> bool:
        """Tell whether a TSval is more than `tolerance` before TS.Recent (PAWS, section 5.3)."""
        age = (self.recent - value) % sequence.MODULUS
        return tolerance < age < 1 << 31 and now - self.recent_at < _PAWS_EXPIRY

    def is_newer(self, value: int) -> bool:
        """Tell whether a TSval is not before TS.Recent."""
        return (value - self.recent) % sequence.MODULUS < 1 << 31

    def update(self, value: int, now: float) -> None:
        """Set TS.Recent."""
        self.recent, self.recent_at = value, now

    def _clock(self, now: float) -> int:
        return (int(now * 1000) + self._offset) % sequence.MODULUS
