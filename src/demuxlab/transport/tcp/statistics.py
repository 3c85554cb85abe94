"""What a connection has sent and received, for TCP_INFO (tcp(7)). Counted from its first data on."""

from enum import IntEnum

from demuxlab.transport.timers import NEVER


class Limit(IntEnum):
    """What keeps a connection from sending more, beside the congestion window (Linux: tcp_chrono)."""

    NONE = 0
    WINDOW = 1
    """The peer's window."""
    BUFFER = 2
    """All is sent, and the application waits for room in the send buffer."""


class Statistics:
    """Counters of segments, as they are on the wire, and the times of the last data, in seconds."""

    __slots__ = (
        *("bytes_received", "bytes_retransmitted", "bytes_sent", "data_received_at"),
        *("data_segments_received", "data_segments_sent", "data_sent_at", "dsacks", "out_of_order"),
        *("_busy", "_limit_since", "_limited", "busy_since", "limit", "received", "sent"),
    )

    def __init__(self) -> None:
        self.sent = self.received = 0
        """Segments, with data or without."""
        self.data_segments_sent = self.data_segments_received = 0
        self.data_sent_at = self.data_received_at = 0.0
        self.bytes_sent = self.bytes_retransmitted = self.bytes_received = 0
        """Bytes of data: sent at all, sent again, received in order."""
        self.dsacks = 0
        """Duplicates that the peer has reported (RFC 2883)."""
        self.out_of_order = 0
        """Segments received behind a gap."""
        self.busy_since = NEVER
        """Since when data has not been acknowledged; `NEVER`: all is."""
        self._busy = 0.0
        self.limit = Limit.NONE
        self._limit_since = 0.0
        self._limited = [0.0, 0.0, 0.0]

    def idle(self, now: float) -> None:
        """All data is acknowledged."""
        self._busy += now - self.busy_since
        self.busy_since = NEVER
        if self.limit:
            self.limited_by(Limit.NONE, now)

    def limited_by(self, limit: Limit, now: float) -> None:
        """From now on this keeps the connection from sending more."""
        self._limited[self.limit] += now - self._limit_since
        self.limit, self._limit_since = limit, now

    def busy_for(self, now: float | None) -> float:
        """Return for how many seconds in all data was not acknowledged."""
        running = now is not None and self.busy_since != NEVER
        return self._busy + (now - self.busy_since if running and now is not None else 0.0)

    def limited_for(self, limit: Limit, now: float | None) -> float:
        """Return for how many seconds in all this was the limit."""
        running = now is not None and limit is self.limit
        return self._limited[limit] + (now - self._limit_since if running and now is not None else 0.0)

    def sent_data(self, size: int, mss: int, now: float) -> None:
        """Count a segment with so many bytes of data, which the link may cut."""
        pieces = 1 if size <= mss else -(-size // mss)
        self.bytes_sent += size
        self.sent += pieces
        self.data_segments_sent += pieces
        self.data_sent_at = now

    def received_data(self, size: int, in_order: int, mss: int, now: float) -> None:
        """Count a segment with data, which may be several of the peer's in one.

        `in_order`: bytes that can be read since.
        """
        self.bytes_received += in_order
        pieces = 1 if size <= mss else -(-size // mss)
        self.received += pieces
        self.data_segments_received += pieces
        self.data_received_at = now
