"""A data socket's connection: the passive side from SYN-RECEIVED on (RFC 9293, section 3.10.7.4).

Data is taken in order and acknowledged at once; what is sent is cut into segments of the peer's MSS and
bounded by the peer's window. Nothing is sent twice: see the package's note.
"""

from collections.abc import Callable

from demuxlab.demux import socket as table_state
from demuxlab.demux.socket import Refusal, Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp import sequence
from demuxlab.wire import ip, tcp
from demuxlab.wire import segment as flags
from demuxlab.wire.segment import Segment, TCPSegment

SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT, LAST_ACK = "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT", "LAST-ACK"
FIN_WAIT_1, FIN_WAIT_2, CLOSING, TIME_WAIT = "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "TIME-WAIT"
CLOSED = "CLOSED"
RECEIVE_BUFFER = 65535
DEFAULT_MSS = {4: 536, 16: 1220}
"""What to send where the peer named no MSS, by address length (RFC 9293, section 3.7.1)."""


class TCPConnection:
    """One connection, made by a listening socket for a SYN; the handler of its data socket."""

    __slots__ = (
        "_established",
        "_fin_wanted",
        "_services",
        "_unsent",
        "mss",
        "receive_next",
        "received",
        "segments_taken",
        "send_next",
        "send_unacknowledged",
        "send_window",
        "socket",
        "state",
    )

    def __init__(
        self,
        services: Services,
        socket: Socket,
        syn: TCPSegment,
        now: float,
        established: "Callable[[TCPConnection], None]",
    ) -> None:
        self._services = services
        self.socket = socket
        self._established = established
        self.state = SYN_RECEIVED
        self.mss = tcp.read_options(syn.options).mss or DEFAULT_MSS[len(syn.source)]
        self.receive_next = sequence.add(syn.sequence, 1)
        self.send_unacknowledged = sequence.initial(syn.key, services.secret, now)
        self.send_next = self.send_unacknowledged
        self.send_window = syn.window
        self.received = bytearray()
        self.segments_taken = 0
        self._unsent = bytearray()
        self._fin_wanted = False
        socket.handler = self
        self._send(flags.SYN | flags.ACK, options=tcp.build_options(tcp.Options(mss=self._own_mss())))
        self.send_next = sequence.add(self.send_next, 1)

    # What the application does

    def read(self, size: int = RECEIVE_BUFFER) -> bytes:
        """Take at most `size` bytes out of the receive buffer; empty when nothing waits."""
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    def write(self, data: bytes) -> int:
        """Hand over data to be sent, cut into segments; returns its size."""
        if self._fin_wanted or self.state not in (ESTABLISHED, CLOSE_WAIT):
            raise BrokenPipeError(f"{self.socket.name} is closing: nothing more can be sent")
        self._unsent += data
        self._send_what_fits()
        return len(data)

    def close(self) -> None:
        """Send FIN after the data that still waits (RFC 9293, section 3.10.4)."""
        if not self._fin_wanted and self.state in (SYN_RECEIVED, ESTABLISHED, CLOSE_WAIT):
            self._fin_wanted = True
            self._send_what_fits()

    # What arrives

    def take(self, segment: Segment, now: float) -> Refusal | None:  # noqa: ARG002
        """Process a segment of this connection (RFC 9293, section 3.10.7.4)."""
        assert isinstance(segment, TCPSegment)
        self.segments_taken += 1
        if not self._acceptable(segment):
            if not segment.flags & flags.RST:
                self._send(flags.ACK)
            return None
        if segment.flags & flags.RST:
            # RFC 5961, section 3.2: only the exact number resets; others are challenged.
            if segment.sequence == self.receive_next:
                self._end()
            else:
                self._send(flags.ACK)
            return None
        if segment.flags & flags.SYN:
            self._send(flags.ACK)
            return None
        if not segment.flags & flags.ACK:
            return None
        refusal = self._acknowledged(segment)
        if refusal is None:
            self._data(segment)
        return refusal

    def _acceptable(self, segment: TCPSegment) -> bool:
        """The sequence number test of RFC 9293, section 3.4, for a window that is never zero."""
        first = sequence.distance(self.receive_next, segment.sequence)
        window = self._window()
        if first >= window:
            return window == 0 and first == 0 and segment.length == 0
        return first >= 0 or first + segment.length > 0

    def _acknowledged(self, segment: TCPSegment) -> Refusal | None:
        newly = sequence.distance(self.send_unacknowledged, segment.acknowledgment)
        if newly > sequence.distance(self.send_unacknowledged, self.send_next):
            if self.state == SYN_RECEIVED:
                return Refusal(reply="rst")
            self._send(flags.ACK)
            return Refusal()
        if self.state == SYN_RECEIVED:
            if newly < 1:
                return Refusal(reply="rst")
            self.state = ESTABLISHED
            self.socket.state = table_state.ESTABLISHED
            self._established(self)
        if newly >= 0:
            self.send_unacknowledged = segment.acknowledgment
            self.send_window = segment.window
        if segment.acknowledgment == self.send_next and self._fin_wanted and not self._unsent:
            self._fin_acknowledged()
        self._send_what_fits()
        return None

    def _fin_acknowledged(self) -> None:
        if self.state == FIN_WAIT_1:
            self.state = FIN_WAIT_2
        elif self.state in (LAST_ACK, CLOSING):
            self._end()

    def _data(self, segment: TCPSegment) -> None:
        already = -sequence.distance(self.receive_next, segment.sequence)
        if already < 0:
            self._send(flags.ACK)
            return
        data = segment.payload[already : already + self._window()]
        if data and self.state in (ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2):
            self.received += data
            self.receive_next = sequence.add(self.receive_next, len(data))
        fin = segment.flags & flags.FIN and already + len(data) >= len(segment.payload)
        if fin:
            self.receive_next = sequence.add(self.receive_next, 1)
            self._peer_closed()
        if segment.length:
            self._send(flags.ACK)

    def _peer_closed(self) -> None:
        if self.state == ESTABLISHED:
            self.state = CLOSE_WAIT
        elif self.state == FIN_WAIT_1:
            self.state = CLOSING
        elif self.state == FIN_WAIT_2:
            self._send(flags.ACK)
            self._end()

    def _end(self) -> None:
        self.state = CLOSED
        self._services.table.close(self.socket)

    # What leaves

    def _send_what_fits(self) -> None:
        while self._unsent:
            in_flight = sequence.distance(self.send_unacknowledged, self.send_next)
            size = min(self.mss, len(self._unsent), self.send_window - in_flight)
            if size <= 0:
                return
            data = bytes(self._unsent[:size])
            del self._unsent[:size]
            self._send(flags.ACK | (0 if self._unsent else flags.PSH), data)
            self.send_next = sequence.add(self.send_next, size)
        if self._fin_wanted and self.state in (ESTABLISHED, CLOSE_WAIT):
            self._send(flags.FIN | flags.ACK)
            self.send_next = sequence.add(self.send_next, 1)
            self.state = LAST_ACK if self.state == CLOSE_WAIT else FIN_WAIT_1

    def _send(self, kind: int, data: bytes = b"", options: bytes = b"") -> None:
        socket = self.socket
        segment = tcp.build(
            socket.local_address,
            socket.remote_address,
            socket.local_port,
            socket.remote_port,
            data,
            sequence=self.send_next,
            acknowledgment=self.receive_next,
            flags=kind,
            window=self._window(),
            options=options,
        )
        self._services.multiplexer.submit(
            socket.process, socket.local_address, socket.remote_address, ip.TCP, segment
        )

    def _window(self) -> int:
        return max(0, RECEIVE_BUFFER - len(self.received))

    def _own_mss(self) -> int:
        return self._services.multiplexer.mtu - (40 if len(self.socket.local_address) == 4 else 60)
