"""Header prediction: the usual segments of an established connection, recognised by their headers.

A segment that brings the next data, or acknowledges data that was sent, and changes nothing else, skips most
of the tests of RFC 9293, section 3.10.7.4 (Jacobson, "4BSD header prediction", CCR 1990; RFC 7323, appendix
C). All other segments are for `TCPConnection`, which does the same in full.
"""

from demuxlab.fast import plain
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.loss_recovery import Phase
from demuxlab.transport.tcp.states import State
from demuxlab.transport.timers import NEVER

_LARGE = 4096
"""Bytes of data from which on data stays in the packet that brought it, instead of being copied out of it."""


class Prediction:
    """Receives the predicted segments of one host's connections, and sends once for a batch of them."""

    def __init__(self) -> None:
        self._to_send: dict[TCPConnection, None] = {}
        """Connections that have data or an ACK to send at the end of the batch."""

    def receive(self, connection: TCPConnection, packet: bytes, now: float) -> bool:
        """Receive the segment in a plain packet if it is as predicted; False, and nothing changed, if not."""
        if connection.state is not State.ESTABLISHED or not _receive(connection, packet, now, self._to_send):
            return False
        if connection.on_change is not None:
            connection.on_change()
        return True

    def end_batch(self, now: float) -> None:
        """Send what the segments since the last call have caused: one ACK and one burst of data for all."""
        if self._to_send:
            for connection in self._to_send:
                connection.flush(now)
            self._to_send.clear()


def _receive(
    connection: TCPConnection, packet: bytes, now: float, to_send: dict[TCPConnection, None]
) -> bool:
    fields = plain.stream(packet)
    if fields is None:
        return False
    number, acknowledgment, window, stamp, echo, data = fields
    receiver, sender, timestamps, size = (
        connection.receiver,
        connection.sender,
        connection.timestamps,
        len(data),
    )
    following, unacked, recovery = receiver.next, sender.unacked, sender.recovery
    advance = acknowledgment - unacked & 0xFFFFFFFF
    if (
        number != following & 0xFFFFFFFF
        or not (size or advance)
        or advance > sender.next - unacked
        or following + size > receiver.right_edge
        or (timestamps is None) != (stamp < 0)
        or receiver.has_gap
        or receiver.fin is not None
        or sender.buffer.fin is not None
        or recovery.phase is not Phase.OPEN
        or recovery.probe is not None
        or sender.ecn is not None
        or connection.orphan
        or connection.urgent is not None
    ):
        return False
    acknowledgments, round_trip = connection.acknowledgments, None
    if timestamps is not None:
        if not timestamps.is_newer(stamp):
            return False
        if following <= acknowledgments.last_sent:
            timestamps.recent, timestamps.recent_at = stamp, now
        if advance:
            round_trip = timestamps.elapsed_since(echo, now)
    connection.last_received_at = now
    connection.unanswered_probes = 0
    sender.update_window(following, unacked + advance, window << connection.send_shift)
    if advance:
        sender.acknowledge(unacked + advance, now, round_trip)
        connection.deadlines.acknowledged()
    if size:
        end = following + size  # before anything changes: memory may run out at every step
        receiver.data.append(data if size >= _LARGE else bytes(data))
        receiver.next = end
        connection.data_received(size, now)
    elif connection.statistics is not None:
        connection.statistics.received += 1
    if acknowledgments.wanted or sender.has_unsent or sender.in_flight:
        to_send[connection] = None
        return True
    if connection.statistics is not None and connection.statistics.busy_since != NEVER:
        connection.statistics.idle(now)
    if connection.deadlines.delayed_ack < connection.deadline:
        connection.deadline = connection.deadlines.delayed_ack
        connection.services.timers.update(connection)
    return True
