"""Our whole TCP as a peer of the learner's in virtual time (lab 21)."""

from demuxlab.grading.judge import HERE, PEER, packet
from demuxlab.host import Host
from demuxlab.parts.segment import Segment
from demuxlab.serving.transport import as_part
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.timers import NEVER
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import TCPSegment


class Whole:
    """Our whole TCP on a host of its own, with the methods of `parts.connection.Connection`.

    It shares nothing with the parts: it offers window scale, SACK and timestamps, begins with ten segments,
    and finds losses by RACK. Each segment that reaches it, or leaves it, is a packet with its checksums.
    """

    def __init__(self, secret: bytes) -> None:
        """The initial sequence number comes from `secret`."""
        self._host = Host("B", [to_text(PEER[0])], secret=secret)
        self._endpoint: TCPEndpoint | None = None
        self._listener: TCPEndpoint | None = None
        self._unsent = b""
        self._closing = self._finished = False
        self._now = 0.0

    def listen(self) -> None:
        """Passive open."""
        self._listener = self._host.listen(PEER[1])

    def open(self, now: float) -> list[Segment]:
        """Active open: return the SYN."""
        self._endpoint = self._host.tcp_endpoint()
        self._endpoint.bind(*PEER)
        self._endpoint.connect(*HERE, now)
        return self._sent(now)

    def send(self, data: bytes, now: float) -> list[Segment]:
        """Put data into the stream; before the handshake is over, it waits."""
        self._unsent += data
        return self._sent(now)

    def close(self, now: float) -> list[Segment]:
        """Nothing more will be sent: FIN follows the last byte."""
        self._closing = True
        return self._sent(now)

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """Process a segment; return what is sent because of it."""
        self._host.receive(packet(segment, inbound=False), now)
        if self._listener is not None and self._endpoint is None:
            self._endpoint = self._listener.accept()
        return self._sent(now)

    def read(self, count: int) -> bytes:
        """Take at most `count` bytes of the stream."""
        if self._endpoint is None or not self._endpoint.connected:
            return b""
        data = self._endpoint.read(count, self._now)
        self._finished = self._finished or data == b""
        return data or b""

    def poll(self, now: float) -> list[Segment]:
        """Return what is sent at `now`."""
        self._host.tick(now)
        return self._sent(now)

    def deadline(self) -> float | None:
        """Return when `poll` must be called; None: no timer runs."""
        due = self._now if self._host.has_outgoing else self._host.next_tick
        return None if due == NEVER else due

    def finished(self) -> bool:
        """Tell whether the stream of the peer was read to its end."""
        return self._finished

    def state(self) -> str:
        """Return the state as RFC 9293 writes it."""
        return "LISTEN" if self._endpoint is None else self._endpoint.state.value

    def _sent(self, now: float) -> list[Segment]:
        """Write what waits, and return the segments on the link."""
        self._now = now
        if self._endpoint is not None and self._endpoint.connected:
            if self._unsent:
                self._unsent = self._unsent[self._endpoint.write(self._unsent, now) :]
            if self._closing and not self._unsent:
                self._closing = False
                self._endpoint.shutdown_write(now)
        read = (wire_packet.read(each) for each in self._host.packets(now))
        return [as_part(each) for each in read if isinstance(each, TCPSegment)]
