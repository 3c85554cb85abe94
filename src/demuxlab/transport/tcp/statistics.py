"""What a connection has sent and received, for TCP_INFO (tcp(7)). Counted from its first data on."""


class Statistics:
    """Counters of segments, as they are on the wire, and the times of the last data, in seconds."""

    __slots__ = (
        *("bytes_received", "bytes_retransmitted", "bytes_sent", "data_received_at"),
        *("data_segments_received", "data_segments_sent", "data_sent_at", "dsacks", "out_of_order"),
        *("received", "sent"),
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

    def sent_data(self, size: int, mss: int, now: float) -> None:
        """Count a segment with so many bytes of data, which the link may cut."""
        pieces = -(-size // mss)
        self.bytes_sent += size
        self.sent += pieces
        self.data_segments_sent += pieces
        self.data_sent_at = now

    def received_data(self, size: int, in_order: int, mss: int, now: float) -> None:
        """Count a segment with data, which may be several of the peer's in one.

        `in_order`: bytes that can be read since.
        """
        self.bytes_received += in_order
        pieces = -(-size // mss)
        self.received += pieces
        self.data_segments_received += pieces
        self.data_received_at = now
