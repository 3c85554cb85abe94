"""Header prediction: what most segments of an established stream are, told by their headers.

A segment that brings the next data, or acknowledges what is under way, and nothing else that is news, needs
few of the questions that RFC 9293, section 3.10.7.4 asks (Jacobson, "4BSD header prediction", CCR 1990;
RFC 7323, appendix C). Whatever is not so is `TCPConnection.handle_segment`'s, which does the same in full.
"""

from typing import TYPE_CHECKING

from demuxlab.transport.timers import NEVER
from demuxlab.wire import plain

if TYPE_CHECKING:
    from demuxlab.transport.tcp.connection import TCPConnection

_LARGE = 4096
"""Bytes of data that are kept in the packet which brought them, instead of being copied out of it."""


def take(connection: "TCPConnection", packet: bytes, now: float) -> bool:
    """Take the segment in a plain packet, if it is as predicted; the connection is established."""
    fields = plain.stream(packet)
    if fields is None:
        return False
    number, acknowledgment, window, stamp, echo, data = fields
    receiver, sender, output, size = connection.receiver, connection.sender, connection.output, len(data)
    following, unacked = receiver.next, sender.unacked
    advance = acknowledgment - unacked & 0xFFFFFFFF
    if (
        number != following & 0xFFFFFFFF
        or not (size or advance)
        or advance > sender.next - unacked
        or following + size > receiver.edge
        or connection.timestamps != (stamp >= 0)
        or receiver.early
        or receiver.fin is not None
        or sender.fin is not None
        or sender.recover is not None
        or sender.duplicates
        or connection.orphan
    ):
        return False
    if stamp >= 0:
        if stamp - connection.recent & 0xFFFFFFFF >= 1 << 31:
            return False
        if following <= output.acknowledged:
            connection.recent, connection.recent_at = stamp, now
    connection.heard_at = now
    connection.probes = 0
    sender.offered(following, unacked + advance, window << connection.scale_out)
    if advance:
        sender.acknowledge(unacked + advance, now, output.elapsed_since(echo, now) if stamp >= 0 else None)
        connection.retransmit_at = connection.stalled_since = NEVER
    if size:
        end = following + size  # before anything changes: memory may run out at every step
        receiver.data.append(data if size >= _LARGE else bytes(data))
        receiver.next = end
        output.data_arrived(size, now)
    if output.wants_to_acknowledge or sender.waits or not sender.idle:
        # After the batch of packets that this one came in: one acknowledgment, one burst of data for all.
        connection.services.unsettled[connection] = None
    elif connection.acknowledge_at < connection.deadline:
        connection.deadline = connection.acknowledge_at
        connection.services.timers.update(connection)
    return True
