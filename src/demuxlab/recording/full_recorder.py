"""The full capture: every packet on the interface `wire`, and again on that of the queue that it reached.

Both frames have the same epb_packetid. A queue's interface is described when its first segment arrives.
Its frames have the queue's length in their comment, and in epb_dropcount the number of segments dropped
since the last frame.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from demuxlab.capture.pcapng import PcapngWriter, last_option, packet_options
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.socket import CLOSED, LISTEN, Socket
from demuxlab.demux.verdicts import Verdict
from demuxlab.recording.not_kept import not_kept
from demuxlab.telling.comment import comment_of, write_waiting
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text
from demuxlab.wire.frame import ETHERNET, ethernet_frame
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram

_MAX_CACHED = 4096
_SENT = packet_options(comment="sent", inbound=False)
_SEGMENTS = (TCPSegment, UDPDatagram)


class _Queue:
    """A queue's interface, and the counts for its statistics."""

    __slots__ = ("_said", "_socket", "_unit", "dropped", "frames", "interface", "title")

    def __init__(self, socket: Socket, interface: int, title: str) -> None:
        self.interface = interface
        self.title = title
        self.frames = self.dropped = 0
        self._socket: Socket | None = socket
        self._unit = _unit(socket)
        self._said = -2, b""

    def options(self, handler: object, number: int) -> bytes:
        """Return a frame's options: the queue's length as a comment, its number, the segments dropped."""
        waiting: int = getattr(handler, "waiting", -1)
        dropped: int = getattr(handler, "dropped", 0)
        if dropped != self.dropped:
            lost = dropped - self.dropped
            self.dropped, self._said = dropped, (-2, b"")
            return packet_options(
                comment=write_waiting(self.title, waiting, self._unit),
                inbound=True,
                dropped=lost,
                queue=number,
            )
        said, options = self._said
        if waiting != said:
            options = packet_options(
                comment=write_waiting(self.title, waiting, self._unit), inbound=True, queue=number
            )
            self._said = waiting, options
        return options

    def end(self) -> None:
        """Read the number of dropped segments for the last time, and release the socket."""
        if self._socket is not None:
            self.dropped = getattr(self._socket.handler, "dropped", 0)
            self._socket = None


class FullRecorder:
    """Writes each packet, in and out, into a pcapng file of several interfaces."""

    def __init__(self, path: Path, file: BinaryIO, *, comment: str, link: str) -> None:
        self.path = path
        self._file = file
        self._writer = PcapngWriter(file, comment=comment)
        self._wire = self._writer.interface("wire", ETHERNET, description=link)
        self._queues: dict[Socket, _Queue] = {}
        self._ended: list[_Queue] = []
        self._look_for_closed_at = 1000
        self._said: dict[bytes, tuple[tuple[object, ...], int, bytes]] = {}
        self._packets = self._lost = 0
        self._last = 0.0

    @property
    def problem(self) -> str:
        """Which packets are not in the file, and why; empty where all are."""
        return not_kept(self.path, self._writer, self._lost)

    def names(self, names: Mapping[bytes, str]) -> None:
        """Put host names into the capture, by address."""
        self._writer.names(names)

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """Write a packet that came in, with its decision, and what reached a queue once more."""
        self._last = now
        self._packets += 1
        identity = last_option(self._packets)
        arrival = delivery.arrival
        segment = arrival if isinstance(arrival, _SEGMENTS) else None
        frame = ethernet_frame(packet)
        seen = [(self._wire, frame, self._decision(delivery, segment) + identity)]
        if delivery.verdict == Verdict.DELIVERED and delivery.socket is not None and segment is not None:
            # A reassembled or forwarded packet differs from the frame that arrived: the queue gets that one.
            own = frame if segment.packet == packet else ethernet_frame(segment.packet)
            for socket in delivery.copies or (delivery.socket,):
                queue = self._queues.get(socket) or self._describe(socket)
                queue.frames += 1
                options = queue.options(socket.handler, socket.number)
                seen.append((queue.interface, own, options + identity))
        self._lost += not self._writer.packets(now, seen)

    def sent(self, packet: bytes, now: float) -> None:
        """Write a packet that went out."""
        self._last = now
        self._packets += 1
        options = _SENT + last_option(self._packets)
        self._lost += not self._writer.packets(now, [(self._wire, ethernet_frame(packet), options)])

    def close(self) -> None:
        """Finish the capture with the statistics of each interface."""
        statistics = self._writer.statistics
        statistics(self._wire, self._last, received=self._packets, dropped=self._lost)
        queues = [*self._ended, *self._queues.values()]
        for queue in sorted(queues, key=lambda queue: queue.interface):
            queue.end()
            counted = queue.frames + queue.dropped
            statistics(queue.interface, self._last, received=counted, dropped=queue.dropped)
        self._file.close()

    def _decision(self, delivery: Delivery, segment: Segment | None) -> bytes:
        """Return the options with the decision as a comment, which is kept for a flow's next segment."""
        number = delivery.socket.number if delivery.socket else None
        if segment is None or delivery.copies:
            return packet_options(comment=comment_of(delivery), inbound=True, queue=number)
        # The next segment of the flow with the same decision gets the same options.
        made = delivery.lookup, delivery.socket, delivery.rule, delivery.verdict, delivery.reply
        said = self._said.get(segment.key)
        if said is None or said[0] != made or said[1] != segment.protocol:
            options = packet_options(comment=comment_of(delivery), inbound=True, queue=number)
            if len(self._said) >= _MAX_CACHED:
                self._said.clear()
            said = self._said[segment.key] = made, segment.protocol, options
        return said[2]

    def _describe(self, socket: Socket) -> _Queue:
        """Describe a queue's interface in the capture."""
        if len(self._queues) >= self._look_for_closed_at:
            closed = [self._queues.pop(known) for known in [*self._queues] if known.state == CLOSED]
            for queue in closed:
                queue.end()
            self._ended += closed
            self._look_for_closed_at = 2 * len(self._queues) + 1000
        title = f"{socket.name} (queue {socket.number})" if socket.name else f"queue {socket.number}"
        interface = self._writer.interface(title, ETHERNET, description=_endpoints(socket))
        queue = self._queues[socket] = _Queue(socket, interface, title)
        return queue


def _unit(socket: Socket) -> str:
    if socket.protocol == ip.UDP:
        return "datagram"
    return "connection" if socket.state == LISTEN else "byte"


def _endpoints(socket: Socket) -> str:
    """Return an interface's description (if_description): "TCP 10.9.0.20:80 ← 10.9.0.10:9157"."""
    local = endpoint_text(socket.local_address, socket.local_port)
    remote = f" ← {endpoint_text(socket.remote_address, socket.remote_port)}" if socket.remote_address else ""
    return f"{ip.PROTOCOL_NAMES[socket.protocol].upper()} {local}{remote}"
