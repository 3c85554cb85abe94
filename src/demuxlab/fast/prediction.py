"""Header prediction: the usual segments of an established connection, recognised by their headers.

A segment that brings the next data, or acknowledges data that was sent, and changes nothing else, skips most
of the tests of RFC 9293, section 3.10.7.4 (Jacobson, "4BSD header prediction", CCR 1990; RFC 7323, appendix
C). All other segments are for `TCPConnection`, which does the same in full.

Full segments that follow one another and differ in nothing but their data are received as one (`Stretch`),
whether each came by itself or many in a packet of a link with offload. A batch of packets causes one ACK and
one burst of data for each connection.
"""

from demuxlab.fast import plain
from demuxlab.fast.plain import IPV4, TCP_HEADERS
from demuxlab.transport.tcp import prediction
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.retransmission_queue import EMPTY, segments_in
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.timers import NEVER
from demuxlab.wire import offload

_LARGE = 4096
"""Bytes of data from which on data stays in the packet that brought it, instead of being copied out of it."""
_MASK = 0xFFFFFFFF
_from_bytes = int.from_bytes  # in network order, which is its default


def _places(ip_at: int) -> tuple[slice, ...]:
    """Return where the header fields of a stretch are, in a packet whose IPv4 header begins at `ip_at`.

    All before the identification; fragment to protocol; the connection's key; sequence number;
    acknowledgment to window.
    """
    bounds = ((-ip_at, 4), (6, 10), (12, 24), (24, 28), (28, 36))
    return tuple(slice(ip_at + start, ip_at + end) for start, end in bounds)


_PLACES = {ip_at: _places(ip_at) for ip_at in (0, offload.HEADER_LENGTH)}
_IP_HEADER = slice(offload.HEADER_LENGTH, offload.HEADER_LENGTH + 20)
# What two ACKs have in common, behind a virtio-net header: all but identification, checksum, acknowledgment.
_ACK_LENGTH, _ACK_PROTOCOL, _ACK_ENDS, _ACK_NUMBER, _ACK_REST = (
    slice(start + offload.HEADER_LENGTH, end and end + offload.HEADER_LENGTH)
    for start, end in ((-offload.HEADER_LENGTH, 4), (6, 10), (12, 28), (28, 32), (32, None))
)
_ACK_PARTS = (_ACK_LENGTH, _ACK_PROTOCOL, _ACK_ENDS, _ACK_REST)


class Stretch:
    """Packets of one connection received as one, as Linux does (generic receive offload).

    Each is as long as the one before, and their headers differ in nothing but checksum, identification and
    sequence number, which is the next one each time. The first has been received by itself.
    """

    __slots__ = (
        *("_at", "_connection", "_count", "_data", "_first", "_key", "_key_at", "_length", "_length_at"),
        *("_next", "_now", "_options", "_options_at", "_protocol", "_protocol_at", "_queue", "_right_edge"),
        *("_sequence_at", "_window", "_window_at", "offload", "size"),
    )

    def __init__(self) -> None:
        self.size = 0
        """The size of each packet, its virtio-net header included; 0: there is no stretch."""
        self.offload = False
        """The packets have a virtio-net header, and each may be many segments."""

    def begin(self, connection: TCPConnection, packet: bytes | memoryview, size: int, now: float) -> None:
        """A connection has received `size` bytes of full segments in a packet: the next may continue it.

        A view is of what was read from a link with offload.
        """
        whole: bytes = packet if isinstance(packet, bytes) else packet.obj  # type: ignore[assignment]
        ip_at = len(whole) - len(packet)
        receiver = connection.receiver
        self._connection, self._now = connection, now
        self.size, self.offload, self._at = len(whole), ip_at > 0, len(whole) - size
        self._length_at, self._protocol_at, self._key_at, self._sequence_at, self._window_at = _PLACES[ip_at]
        self._options_at = slice(ip_at + TCP_HEADERS, self._at)
        self._length, self._protocol = whole[self._length_at], whole[self._protocol_at]
        self._key, self._window = whole[self._key_at], whole[self._window_at]
        self._options = whole[self._options_at]
        self._first = self._next = receiver.next
        self._right_edge = receiver.right_edge
        self._queue, self._count = receiver.data, 0
        self._data: list[bytes] = []
        """Small segments, which are joined at the end; large ones are received at once."""

    def takes(self, packet: bytes) -> bool:
        """Receive a packet if it continues the stretch; return whether it does.

        A plain one with TCP; or, behind a virtio-net header, any: it says that the checksum is unfinished.
        """
        next_ = self._next
        following = next_ + self.size - self._at
        if (
            len(packet) != self.size
            or packet[self._window_at] != self._window
            or packet[self._options_at] != self._options
            or packet[self._key_at] != self._key
            or _from_bytes(packet[self._sequence_at]) != next_ & _MASK
            or following > self._right_edge
            or packet[self._length_at] != self._length
            or packet[self._protocol_at] != self._protocol
        ):
            return False
        if not self.offload:
            self._data.append(packet[self._at :])
        elif _from_bytes(packet[_IP_HEADER]) % 0xFFFF:
            return False
        else:
            self._queue.append(memoryview(packet)[self._at :])
            self._connection.receiver.next = following
        self._next = following
        self._count += 1
        return True

    def end(self) -> None:
        """Hand the stretch to its connection."""
        if not self.size:
            return
        connection, data, size = self._connection, self._data, self.size - self._at
        self.size, self._data = 0, []
        if self._count:
            receiver, sender = connection.receiver, connection.sender
            if data:
                receiver.data.append(b"".join(data))
                receiver.next = self._next
            sender.update_window(self._next - size, sender.unacked, sender.window)
            connection.data_received(self._next - self._first, self._now, self._count)


class Acknowledgments:
    """ACKs off a link with offload received as one, the last: Linux does so with those in its backlog.

    They have no data, and their headers differ in nothing but the acknowledgment, which is a later one each
    time, identification and checksum. The first has been received by itself.
    """

    __slots__ = ("_connection", "_count", "_in_flight", "_last", "_number", "_parts", "_unacked", "active")

    def __init__(self) -> None:
        self.active = False

    def begin(self, connection: TCPConnection, packet: bytes) -> None:
        """A connection has received an ACK in a packet with a virtio-net header: more may follow.

        Not that of our FIN, nor any if this one has shown a loss: those are not predicted.
        """
        if prediction.is_disturbed(connection):
            return
        sender, fin = connection.sender, connection.sender.buffer.fin
        end = sender.next if fin is None else min(sender.next, fin)
        self._connection, self._unacked = connection, sender.unacked
        self._in_flight, self._number, self._count = end - sender.unacked, 0, 0
        self._parts = tuple(packet[at] for at in _ACK_PARTS)
        self.active = True

    def takes(self, packet: bytes) -> bool:
        """Receive a packet if it is the next ACK; return whether it is."""
        length, protocol, ends, rest = self._parts
        if (
            packet[_ACK_REST] != rest
            or packet[_ACK_ENDS] != ends
            or packet[_ACK_LENGTH] != length
            or packet[_ACK_PROTOCOL] != protocol
            or _from_bytes(packet[_IP_HEADER]) % 0xFFFF
        ):
            return False
        number = _from_bytes(packet[_ACK_NUMBER]) - self._unacked & _MASK
        if not self._number < number <= self._in_flight:
            return False
        self._number, self._last = number, packet
        self._count += 1
        return True

    def end(self, now: float) -> None:
        """Let the connection receive the last."""
        self.active = False
        if self._count:
            taken = _receive(self._connection, memoryview(self._last)[offload.HEADER_LENGTH :], now)
            assert taken == 0, "the first was as predicted, and nothing has changed since"
            statistics = self._connection.statistics
            if statistics is not None:
                statistics.received += self._count - 1


class Prediction:
    """Receives the predicted segments of one host's connections, and sends once for a batch of them."""

    def __init__(self) -> None:
        self.stretch, self.acknowledgments = Stretch(), Acknowledgments()
        self._touched: dict[TCPConnection, None] = {}
        """Connections that have received a predicted segment in this batch."""

    def receive(self, connection: TCPConnection, packet: bytes | memoryview, now: float) -> bool:
        """Receive the segment in a plain packet if it is as predicted; False, and nothing changed, if not."""
        if prediction.is_disturbed(connection):
            return False
        size = _receive(connection, packet, now)
        if size < 0:
            return False
        self._touched[connection] = None
        if size and not size % connection.sender.mss and packet[0] == IPV4:
            self.stretch.begin(connection, packet, size, now)
        elif (
            not size and connection.sender.link_cuts and isinstance(packet, memoryview) and packet[0] == IPV4
        ):
            self.acknowledgments.begin(connection, packet.obj)  # type: ignore[arg-type]
        return True

    def end_batch(self, now: float) -> None:
        """Send what the segments since the last call have caused, and notify those that wait for them."""
        if self._touched:
            self.stretch.end()
            if self.acknowledgments.active:
                self.acknowledgments.end(now)
            for connection in self._touched:
                _finish(connection, now)
                connection.notify()
            self._touched.clear()


def _receive(connection: TCPConnection, packet: bytes | memoryview, now: float) -> int:
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
