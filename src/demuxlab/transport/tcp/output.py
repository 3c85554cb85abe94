"""Builds and sends a connection's segments, and decides when to acknowledge."""

from typing import TypedDict

from demuxlab.transport.tcp import sequence
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.flight import Sent
from demuxlab.transport.tcp.states import State
from demuxlab.transport.timers import NEVER
from demuxlab.wire import ip, tcp
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

DELAYED_ACK = 0.04
"""Seconds that an acknowledgment may wait for data to travel with (RFC 9293, 3.8.6.3: below 0.5)."""
_QUICK_SEGMENTS = 16
"""The first segments are acknowledged at once, so that a peer in slow start does not wait."""
_CHALLENGES, _CHALLENGE_PERIOD = 10, 1.0
_MAX_FIELD = 0xFFFF
_DEFAULT_MSS = {4: 536, 16: 1220}
_HEADERS = {4: 40, 16: 60}
_MIN_MSS = 48
"""What a peer may ask for at the least, or its bytes would cost it little and us much (tcp_min_snd_mss)."""
_TIMESTAMPS_SIZE = 12
_SACK_HEAD, _SACK_BLOCK = 4, 8
_WORTH_OFFLOADING = 256
"""Bytes of data whose checksum costs more than to leave it to the link."""
_MIN_MTU = {4: 576, 16: 1280}


class _Fields(TypedDict):
    sequence: int
    acknowledgment: int
    flags: int
    window: int
    options: bytes


class Output:
    """The way out of one block."""

    __slots__ = (
        *("_ack_wanted", "_block", "_challenged_at", "_challenges", "_clock_offset", "_path_limit"),
        *("_quick", "_unacknowledged", "acknowledged", "peer_mss"),
    )

    def __init__(self, block: ControlBlock) -> None:
        self._block = block
        self.peer_mss: int | None = None
        self.acknowledged = 0
        """Last.ACK.sent, unwrapped (RFC 7323, section 4.3)."""
        self._path_limit = 0
        self._clock_offset: int | None = None
        self._ack_wanted = False
        self._unacknowledged = 0
        self._quick = _QUICK_SEGMENTS
        self._challenges = 0
        self._challenged_at = 0.0

    # Sizes

    def path_mss(self) -> int:
        """Return the largest segment that the path takes without options (RFC 9293, section 3.7.1)."""
        socket = self._block.socket
        mtu = self._block.services.mtu_for(socket.remote_address)
        if self._path_limit:
            mtu = min(mtu, self._path_limit)
        mss = mtu - _HEADERS[len(socket.remote_address)]
        return min(mss, self._block.settings.maximum_segment or mss)

    def send_mss(self) -> int:
        """Return how much data a segment carries: what peer and path take, less the timestamps."""
        peer = self.peer_mss or _DEFAULT_MSS[len(self._block.socket.remote_address)]
        size = max(min(peer, self.path_mss()), _MIN_MSS)
        return size - (_TIMESTAMPS_SIZE if self._block.timestamps else 0)

    def limit_path(self, mtu: int) -> bool:
        """Take a smaller path MTU; return whether it is news. What is absurdly small is bounded."""
        mtu = max(mtu, _MIN_MTU[len(self._block.socket.remote_address)])
        current = self._path_limit or self._block.services.mtu_for(self._block.socket.remote_address)
        if mtu >= current:
            return False
        self._path_limit = mtu
        return True

    def own_scale(self) -> int:
        """Return how far our window must be shifted to fit its field (RFC 7323, section 2.3)."""
        scale = 0
        while self._block.settings.receive_buffer >> scale > _MAX_FIELD:
            scale += 1
        return min(scale, 14)

    def clock(self, now: float) -> int:
        """Return the timestamp clock, in milliseconds."""
        if self._clock_offset is None:
            self._clock_offset = sequence.clock(self._block.socket.key, self._block.services.secret, 0.0)
        return (int(now * 1000) + self._clock_offset) % sequence.MODULUS

    def round_trip(self, options: tcp.Options | None, now: float) -> float | None:
        """Return the round trip by the timestamp that a segment echoed, in seconds (RFC 7323, 4.3)."""
        if options is None or not options.timestamps or not self._block.timestamps:
            return None
        return self.elapsed_since(options.timestamps[1], now)

    def elapsed_since(self, echoed: int, now: float) -> float | None:
        """Return how long ago, in seconds, our timestamp clock showed `echoed`; None where that is absurd."""
        if not echoed:
            return None  # it echoes nothing
        elapsed = (self.clock(now) - echoed) % sequence.MODULUS
        return elapsed / 1000 if elapsed < 1 << 31 else None

    # Segments

    def send(self, now: float) -> None:
        """Send all that may be sent now."""
        sender = self._block.sender
        while (sent := sender.take(now)) is not None:
            self.transmit(sent, now)

    def send_lost(self, now: float) -> None:
        """Send the first of what was lost, whatever the congestion window says."""
        sent = self._block.sender.take(now, force=True)
        if sent is not None:
            self.transmit(sent, now)

    def transmit(self, sent: Sent, now: float) -> None:
        """Send a segment that is under way."""
        block = self._block
        if sent.flags & SYN:
            answers = block.state is not State.SYN_SENT
            self._segment(sent.start, SYN | (ACK if answers else 0), (), now)
            return
        data = block.sender.payload(sent)
        if data and sent.end == block.sender.next and block.sender.unsent == 0:
            sent.flags |= PSH  # for good: sent again, it still ends what the application wrote
        self._segment(sent.start, ACK | (sent.flags & (FIN | PSH)), data, now)

    def acknowledge(self, now: float) -> None:
        """Send an ACK now."""
        self._segment(self._block.sender.acceptable, ACK, (), now)

    def reset(self, now: float) -> None:
        """Send RST."""
        self._segment(self._block.sender.acceptable, RST | ACK, (), now)

    def probe(self, now: float) -> None:
        """Send a segment just before the window, which the peer must answer with an ACK."""
        self._segment(self._block.sender.unacked - 1, ACK, (), now)

    def probe_window(self, now: float) -> None:
        """Ask whether a closed window has opened, or use the little that is open (RFC 9293, 3.8.6.1)."""
        sender = self._block.sender
        sent = sender.partial(now)
        if sent is not None:
            self.transmit(sent, now)
            return
        sender.round_trip.backoff += 1
        self.probe(now)

    # Acknowledgments

    def must_acknowledge(self) -> None:
        """Acknowledge with whatever is sent next, at the latest when the present segment is done with."""
        self._ack_wanted = True

    @property
    def wants_to_acknowledge(self) -> bool:
        """Tell whether an acknowledgment is to go with the next segment, or by itself."""
        return self._ack_wanted

    def challenge(self, now: float) -> None:
        """Acknowledge what cannot be believed, but seldom in a second (RFC 5961, section 7)."""
        if now - self._challenged_at >= _CHALLENGE_PERIOD:
            self._challenged_at, self._challenges = now, 0
        if self._challenges < _CHALLENGES or not self._block.settings.answer_period:
            self._challenges += 1
            self._ack_wanted = True
            self._block.services.counters["TcpExtTCPChallengeACK"] += 1
        else:
            self._block.services.counters["TcpExtTCPACKSkippedChallenge"] += 1

    def data_arrived(self, size: int, now: float) -> None:
        """Acknowledge data in order: every second full segment, or a little later (RFC 5681, section 4.2)."""
        block = self._block
        self._unacknowledged += size
        if self._quick > 0 and block.settings.quickack:
            self._quick -= 1
            self._ack_wanted = True
        elif self._unacknowledged >= 2 * min(block.sender.mss, block.receiver.limit // 4):
            self._ack_wanted = True
        elif block.acknowledge_at == NEVER:
            block.acknowledge_at = now + DELAYED_ACK

    def flush_acknowledgment(self, now: float) -> None:
        """Send the ACK that is wanted, unless a segment has carried it meanwhile."""
        if self._ack_wanted:
            self.acknowledge(now)

    def _segment(self, start: int, flags: int, data: tuple[Bytes, ...], now: float) -> None:
        block = self._block
        socket, receiver = block.socket, block.receiver
        acknowledgment = window = 0
        if flags & ACK:
            acknowledgment = receiver.next % sequence.MODULUS
            self.acknowledged = receiver.next
            self._ack_wanted = False
            self._unacknowledged = 0
            block.acknowledge_at = NEVER
        if flags & SYN:
            window = min(receiver.limit, _MAX_FIELD)
            if flags & ACK:
                receiver.edge = max(receiver.edge, receiver.next + window)
        elif not flags & RST:
            window = min(receiver.window(block.sender.mss) >> block.scale_in, _MAX_FIELD)
        size = sum(map(len, data))
        places = socket.local_address, socket.remote_address, socket.local_port, socket.remote_port
        fields: _Fields = {
            "sequence": start % sequence.MODULUS,
            "acknowledgment": acknowledgment,
            "flags": flags,
            "window": window,
            "options": self._options(flags, size, now),
        }
        multiplexer, route = block.services.multiplexer, (socket.process, *places[:2])
        if size > _WORTH_OFFLOADING and block.services.largest:
            header = tcp.unfinished_header(*places, size, **fields)
            multiplexer.submit_large(*route, header, data, block.sender.mss)
        else:
            multiplexer.submit(*route, ip.TCP, tcp.build(*places, b"".join(data), **fields))

    def _options(self, flags: int, size: int, now: float) -> bytes:
        """Return the options of a segment with `size` bytes of data; SACK blocks take only room left over."""
        block = self._block
        if flags & SYN:
            return tcp.build_options(self._syn_options(now))
        if not block.receiver.early:
            return tcp.build_timestamps(self.clock(now), block.recent) if block.timestamps else b""
        stamps = (self.clock(now), block.recent) if block.timestamps else None
        blocks: tuple[tuple[int, int], ...] = ()
        if block.sender.sacks and block.receiver.early and not flags & RST:
            most = min(3 if stamps else 4, (self.send_mss() - size - _SACK_HEAD) // _SACK_BLOCK)
            blocks = tuple(
                (left % sequence.MODULUS, right % sequence.MODULUS)
                for left, right in block.receiver.sack_blocks(max(most, 0))
            )
        return tcp.build_options(tcp.Options(timestamps=stamps, sack=blocks))

    def _syn_options(self, now: float) -> tcp.Options:
        """A SYN offers everything; a SYN,ACK what the peer offered too (RFC 7323, RFC 2018)."""
        block, settings = self._block, self._block.settings
        first = block.state is State.SYN_SENT
        scales = settings.window_scale if first else block.scale_in or block.scale_out
        stamps = settings.timestamps if first else block.timestamps
        return tcp.Options(
            mss=self.path_mss(),
            window_scale=self.own_scale() if scales else None,
            sack_permitted=settings.sack if first else block.sender.sacks,
            timestamps=(self.clock(now), block.recent) if stamps else None,
        )
