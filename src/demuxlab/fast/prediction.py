"""Header prediction: the usual segments of an established connection, recognised by their headers.

A segment that brings the next data, or acknowledges data that was sent, and changes nothing else, skips most
of the tests of RFC 9293, section 3.10.7.4 (Jacobson, "4BSD header prediction", CCR 1990; RFC 7323, appendix
C). All other segments are for `TCPConnection`, which does the same in full.

Full segments that follow one another and differ in nothing but their data are received as one (`Stretch`),
and a batch of packets causes one ACK and one burst of data for each connection.
"""

from demuxlab.fast import plain
from demuxlab.fast.plain import IPV4, KEY, TCP_HEADERS
from demuxlab.transport.tcp import prediction
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.retransmission_queue import EMPTY, segments_in
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.timers import NEVER

_LARGE = 4096
"""Bytes of data from which on data stays in the packet that brought it, instead of being copied out of it."""
_SEQUENCE, _ACKNOWLEDGMENT_TO_WINDOW = slice(24, 28), slice(28, 36)
_MASK = 0xFFFFFFFF
_from_bytes = int.from_bytes  # in network order, which is its default


class Stretch:
    """Full segments of one connection received as one, as Linux does (generic receive offload).

    Their headers differ in nothing but checksum, identification and sequence number, which is the next one
    each time. The first has been received by itself.
    """

    __slots__ = (
        *("_acknowledgment_to_window", "_at", "_connection", "_data", "_key", "_next", "_now", "_options"),
        *("_right_edge", "_first_bytes", "size"),
    )

    def __init__(self) -> None:
        self.size = 0
        """The size of each packet; 0: there is none."""

    def begin(self, connection: TCPConnection, packet: bytes, size: int, now: float) -> None:
        """A connection has received `size` bytes in a packet: the next may continue it."""
        receiver = connection.receiver
        self._connection, self._now = connection, now
        self.size, self._at = len(packet), len(packet) - size
        self._key, self._first_bytes = packet[KEY], packet[:2]
        self._acknowledgment_to_window = packet[_ACKNOWLEDGMENT_TO_WINDOW]
        self._options = packet[TCP_HEADERS : self._at]
        self._next, self._right_edge = receiver.next, receiver.right_edge
        self._data: list[bytes] = []

    def takes(self, packet: bytes) -> bool:
        """Receive a plain packet with TCP if it continues the stretch; return whether it does."""
        at = self._at
        following = self._next + self.size - at
        if (
            len(packet) != self.size
            or packet[_ACKNOWLEDGMENT_TO_WINDOW] != self._acknowledgment_to_window
            or packet[TCP_HEADERS:at] != self._options
            or packet[KEY] != self._key
            or _from_bytes(packet[_SEQUENCE]) != self._next & _MASK
            or following > self._right_edge
            or packet[:2] != self._first_bytes
        ):
            return False
        self._data.append(packet[at:])
        self._next = following
        return True

    def end(self) -> None:
        """Hand the stretch to its connection."""
        if not self.size:
            return
        connection, data = self._connection, self._data
        size, self.size, self._data = self.size - self._at, 0, []
        if data:
            receiver, sender = connection.receiver, connection.sender
            stretch = b"".join(data)  # before anything changes: there may be no memory for it
            receiver.data.append(stretch)
            receiver.next = self._next
            sender.update_window(self._next - size, sender.unacked, sender.window)
            connection.data_received(len(stretch), self._now, len(data))


class Prediction:
    """Receives the predicted segments of one host's connections, and sends once for a batch of them."""

    def __init__(self) -> None:
        self.stretch = Stretch()
        self._touched: dict[TCPConnection, None] = {}
        """Connections that have received a predicted segment in this batch."""

    def receive(self, connection: TCPConnection, packet: bytes, now: float) -> bool:
        """Receive the segment in a plain packet if it is as predicted; False, and nothing changed, if not."""
        if prediction.is_disturbed(connection):
            return False
        size = _receive(connection, packet, now)
        if size < 0:
            return False
        self._touched[connection] = None
        if size == connection.sender.mss and packet[0] == IPV4:
            self.stretch.begin(connection, packet, size, now)
        return True

    def end_batch(self, now: float) -> None:
        """Send what the segments since the last call have caused, and notify those that wait for them."""
        if self._touched:
            self.stretch.end()
            for connection in self._touched:
                _finish(connection, now)
                connection.notify()
            self._touched.clear()


def _receive(connection: TCPConnection, packet: bytes, now: float) -> int:
    """Receive a segment if it is as predicted; return the size of its data, -1 if it is not."""
    fields = plain.stream(packet)
    if fields is None:
        return -1
    number, acknowledgment, window, stamp, echo, data = fields
    receiver, sender, timestamps = connection.receiver, connection.sender, connection.timestamps
    size, following, unacked = len(data), receiver.next, sender.unacked
    advance = acknowledgment - unacked & _MASK
    if (
        number != following & _MASK
        or not (size or advance)
        or advance > sender.next - unacked
        or following + size > receiver.right_edge
        or (timestamps is None) != (stamp < 0)
        or (sender.buffer.fin is not None and prediction.ends(connection, size, unacked + advance))
    ):
        return -1
    acknowledgments = connection.acknowledgments
    if timestamps is not None:
        if (stamp - timestamps.recent) & _MASK >= 1 << 31:
            return -1  # for PAWS
        if following <= acknowledgments.last_sent:
            timestamps.recent, timestamps.recent_at = stamp, now
    connection.last_received_at = now
    connection.unanswered_probes = connection.soft_error = 0
    window <<= connection.send_shift
    if advance and window == sender.window:
        sender.window_sequence = following
    else:
        sender.update_window(following, unacked + advance, window)
    if advance:
        if not _all_arrived(sender, unacked + advance, now):
            echoed = timestamps.elapsed_since(echo, now) if timestamps is not None else None
            sender.acknowledge(unacked + advance, now, echoed)
        connection.deadlines.acknowledged()
    elif sender.recovery.queue is EMPTY:
        connection.deadlines.window_reported(now, sender.rtt)
    if size:
        end = following + size  # before anything changes: memory may run out at every step
        receiver.data.append(data if size >= _LARGE else bytes(data))
        receiver.next = end
        connection.data_received(size, now)
    elif connection.statistics is not None:
        connection.statistics.received += 1
    return size


def _all_arrived(sender: Sender, number: int, now: float) -> bool:
    """Process an ACK of all that was sent, one segment, once; False, and nothing changed, for any other.

    What most ACKs of an interactive connection are; `Sender.acknowledge` has the rest.
    """
    queue, buffer = sender.recovery.queue, sender.buffer
    segment = queue.first
    if segment is None or segment is not queue.last or segment.transmissions > 1 or segment.sacked:
        return False
    if number != sender.next or number != buffer.end or number == buffer.start or sender.search is not None:
        return False
    sender.recovery.queue = EMPTY
    sender.unacked, sender.timeouts = number, 0
    buffer.clear()
    round_trip, control = now - segment.sent_at, sender.congestion
    sender.rtt.sample(round_trip, round_trip, number, number)
    control.measured(round_trip, number, number)
    sender.grow(segments_in(number - segment.start, sender.mss), now)
    return True


def _finish(connection: TCPConnection, now: float) -> None:
    """Send what there is to send, or at least set the deadline for a delayed ACK."""
    sender, statistics = connection.sender, connection.statistics
    if connection.acknowledgments.wanted or sender.has_unsent or sender.in_flight:
        connection.flush(now)
        return
    if statistics is not None and statistics.busy_since != NEVER:
        statistics.idle(now)
    if connection.deadlines.delayed_ack < connection.deadline:
        connection.deadline = connection.deadlines.delayed_ack
        connection.services.timers.update(connection)
