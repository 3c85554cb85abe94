"""The state of one host for live views: its sockets, their queues, its latest decisions, its counters.

A state is made of dictionaries and lists, as in JSON, and is bounded in size. Observing costs a few attribute
reads for each packet; everything else is done when a snapshot is taken.
"""

from collections import deque
from heapq import nsmallest
from typing import Any

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.queue import BoundedQueue
from demuxlab.demux.socket import Handler, Socket
from demuxlab.host import Host
from demuxlab.telling.decision import reason
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.listener import TCPListener
from demuxlab.wire import ip
from demuxlab.wire.address import to_text
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import FIN, RST, SYN, TCPSegment, flag_letters

SEGMENTS = 24
"""The number of latest decisions in a snapshot."""
SOCKETS = 100
"""The greatest number of sockets in a snapshot."""

Row = dict[str, Any]


class HostObserver:
    """An observer of a host. The caller holds the lock of the host's runtime, where it has one.

    `unlisted` are peers, (address, port), whose pure ACKs are not listed: those of live pages, whose own
    traffic would otherwise fill the list.
    """

    def __init__(self, host: Host, *, segments: int = SEGMENTS, sockets: int = SOCKETS) -> None:
        self.host = host
        self.number = 0
        """The number of decisions listed so far."""
        self.unlisted: set[tuple[bytes, int]] = set()
        self._sent = 0
        self._most = sockets
        self._recent: deque[tuple[int, float, Delivery, float]] = deque(maxlen=segments)
        self._shown = 0

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:  # noqa: ARG002
        """Record a decision, and how full the socket's queue is after it."""
        socket = delivery.socket
        if socket is None:
            filled = 0.0
        elif (socket.remote_address, socket.remote_port) in self.unlisted and _is_pure_ack(delivery):
            return
        else:
            filled = _queue(socket.handler)[2]
        self.number += 1
        self._recent.append((self.number, now, delivery, filled))

    def sent(self, packet: bytes, now: float) -> None:  # noqa: ARG002
        """Count a packet that was sent."""
        self._sent += 1

    def snapshot(self) -> Row:
        """Return the state of the host; a queue's `peak` (0 to 1) is its fullest since the last snapshot."""
        table, counters = self.host.demultiplexer.table, self.host.demultiplexer.counters
        peaks: dict[Socket, float] = {}
        for number, _, delivery, filled in self._recent:
            if number > self._shown and delivery.socket is not None:
                peaks[delivery.socket] = max(filled, peaks.get(delivery.socket, 0.0))
        self._shown = self.number
        listed = sorted(nsmallest(self._most, table, key=self._priority), key=lambda socket: socket.number)
        return {
            "host": {"name": self.host.name, "addresses": list(self.host.addresses)},
            "number": self.number,
            "received": counters.received,
            "delivered": counters.delivered,
            "dropped": {name: count for name, count in sorted(counters.dropped.items()) if count},
            "sent": self._sent,
            "sockets": [_socket_row(socket, peaks.get(socket, 0.0)) for socket in listed],
            "more_sockets": len(table) - len(listed),
            "segments": [_segment_row(number, now, delivery) for number, now, delivery, _ in self._recent],
        }

    def _priority(self, socket: Socket) -> tuple[bool, bool, int]:
        """Return a sort key: sockets without a peer come first, then those of viewers, then the newest."""
        peer = (socket.remote_address, socket.remote_port)
        return bool(socket.remote_address), peer not in self.unlisted, -socket.number


def _is_pure_ack(delivery: Delivery) -> bool:
    segment = delivery.arrival
    return isinstance(segment, TCPSegment) and not segment.payload and not segment.flags & (SYN | FIN | RST)


def _queue(handler: Handler | None) -> tuple[int, str, float]:
    """Return how much is queued for the process, its unit, and how full the queue is, 0 to 1."""
    if isinstance(handler, TCPConnection):
        waiting = len(handler.receiver.data)
        return waiting, "byte", min(1.0, waiting / max(1, handler.receiver.limit))
    if isinstance(handler, BoundedQueue):
        return len(handler), "datagram", min(1.0, handler.size / max(1, handler.limit))
    if isinstance(handler, TCPListener):
        # As on Linux, the accept queue holds one connection more than the backlog.
        return handler.waiting, "connection", min(1.0, handler.waiting / (handler.backlog + 1))
    return 0, "", 0.0


def _socket_row(socket: Socket, peak: float) -> Row:
    handler = socket.handler
    waiting, unit, filled = _queue(handler)
    connection = handler if isinstance(handler, TCPConnection) else None
    return {
        "number": socket.number,
        "name": socket.name,
        "protocol": ip.PROTOCOL_NAMES[socket.protocol],
        "state": connection.state.value if connection is not None else socket.state.upper(),
        "local": _endpoint(socket.local_address, socket.local_port),
        "remote": _endpoint(socket.remote_address, socket.remote_port),
        "waiting": waiting,
        "unit": unit,
        "filled": round(filled, 6),
        "peak": round(max(peak, filled), 6),
        "unsent": connection.sender.outstanding if connection is not None else 0,
        "dropped": handler.dropped if isinstance(handler, BoundedQueue) else 0,
    }


def _segment_row(number: int, now: float, delivery: Delivery) -> Row:
    segment, socket = delivery.segment, delivery.socket
    row: Row = {
        "number": number,
        "time": round(now, 6),
        "protocol": None,
        "source": None,
        "destination": None,
        "text": reason(delivery),
        "verdict": delivery.verdict,
        "socket": socket.name if socket is not None else None,
        "queue": socket.number if socket is not None else None,
        "rule": delivery.rule or delivery.forwarded_by or None,
        "reply": delivery.reply,
        "counter": delivery.counter,
    }
    if segment is not None:
        flags = flag_letters(segment.flags) if isinstance(segment, TCPSegment) else ""
        size = f"{len(segment.payload)} B" if segment.payload or not flags else ""
        row["protocol"] = ip.PROTOCOL_NAMES[segment.protocol]
        row["source"] = _endpoint(segment.source, segment.source_port)
        row["destination"] = _endpoint(segment.destination, segment.destination_port)
        row["text"] = " ".join(filter(None, (flags, size)))
    elif not isinstance(delivery.arrival, Malformed):
        row["source"] = [to_text(delivery.arrival.source), None]
        row["destination"] = [to_text(delivery.arrival.destination), None]
    return row


def _endpoint(address: bytes, port: int) -> list[Any] | None:
    return [to_text(address), port] if address else None


def endpoint_text(endpoint: list[Any] | None) -> str:
    """Return "10.9.0.20:80", "[fd09::2]:80", an address alone where there is no port, or "*"."""
    if endpoint is None:
        return "*"
    address, port = endpoint
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
