"""What a connection does when one of its times has come: retransmission, window probe, keepalive.

Each returns the errno that ends the connection, None where it goes on. Times are in seconds.
"""

import errno
from typing import TYPE_CHECKING

from demuxlab.transport.tcp.states import State
from demuxlab.transport.timers import NEVER

if TYPE_CHECKING:
    from demuxlab.transport.tcp.connection import TCPConnection

_SYN_TRIES, _DATA_TRIES, _ORPHAN_TRIES = 6, 15, 8


def due(connection: "TCPConnection", now: float) -> int | None:
    """Do the first thing that is due; 0 where the connection's time is over."""
    if connection.end_at <= now:
        return 0
    if connection.retransmit_at <= now:
        return _retransmission(connection, now)
    if connection.persist_at <= now:
        return _closed_window(connection, now)
    if connection.keepalive_at <= now:
        return _silence(connection, now)
    return None


def send_lost(connection: "TCPConnection", now: float) -> None:
    """Send the first of what was lost again, and give it a whole timeout."""
    connection.output.send_lost(now)
    connection.retransmit_at = now + connection.sender.round_trip.current


def _retransmission(connection: "TCPConnection", now: float) -> int | None:
    """Send again what nobody acknowledged (RFC 6298, section 5)."""
    connection.retransmit_at = NEVER
    round_trip, limit = connection.sender.round_trip, connection.settings.user_timeout
    tries = _SYN_TRIES if connection.state in (State.SYN_SENT, State.SYN_RECEIVED) else _DATA_TRIES
    stalled = 0.0 if connection.stalled_since == NEVER else now - connection.stalled_since
    if round_trip.backoff >= tries or (limit and stalled >= limit):
        return errno.ETIMEDOUT
    if connection.stalled_since == NEVER:
        connection.stalled_since = now - round_trip.current
    connection.sender.timed_out(now)
    send_lost(connection, now)
    return None


def _closed_window(connection: "TCPConnection", now: float) -> int | None:
    """Probe as long as the peer answers (RFC 9293, 3.8.6.1); nobody's data not for long (Linux)."""
    connection.persist_at = NEVER
    forgotten = connection.orphan and connection.sender.round_trip.backoff >= _ORPHAN_TRIES
    if connection.probes >= _DATA_TRIES or forgotten:
        return errno.ETIMEDOUT
    connection.probes += 1
    connection.output.probe_window(now)
    return None


def _silence(connection: "TCPConnection", now: float) -> int | None:
    """Probe a silent peer (RFC 9293, section 3.8.4)."""
    settings = connection.settings
    if now - connection.heard_at < settings.keepalive_idle or not connection.sender.idle:
        at = connection.heard_at + settings.keepalive_idle
        connection.keepalive_at = at if at > now else now + settings.keepalive_idle
        return None
    if connection.probes >= settings.keepalive_probes:
        connection.output.reset(now)
        return errno.ETIMEDOUT
    connection.probes += 1
    connection.output.probe(now)
    connection.keepalive_at = now + settings.keepalive_interval
    return None
