"""Fuzz target: one host's TCP with a random peer and a random user, in virtual time.

An input is two bytes of settings and a sequence of steps: a byte that chooses the step, then its data. Every
byte that either side sends is a function of its position in the stream, so that it can be checked wherever it
arrives.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

from tests.fuzz import obvious
from tests.fuzz.choices import Choices
from tests.fuzz.packets import A, B

from demuxlab.fast.path import FastPath
from demuxlab.host import Host
from demuxlab.transport.tcp.congestion import Cubic, NewReno
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.endpoint import TCPEndpoint
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import SYNCHRONIZED, State
from demuxlab.transport.timers import NEVER
from demuxlab.wire import icmp, ip, packet, tcp
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN, TCPSegment

MODULUS = 1 << 32
PATTERN = bytes((at * 31 + (at >> 8)) & 0xFF for at in range(1 << 16)) * 2
STEPS, MOST_WRITTEN = 48, 20_000
PORT, PEER_PORTS = 80, (9157, 9158)
FOREVER = 20_000.0
"""Seconds after which nothing may be left of connections that both sides have given up."""


def seeds() -> Iterator[bytes]:
    handshake = bytes((0, 1, 0x97))  # with every option, and an MSS of 1460
    data, fin, read, write = b"\x01\x10\x20", b"\x01\x11\x00", b"\x04\xff", b"\x03\x40"
    close, abort, wait = b"\x05\x01", b"\x05\x02", b"\x02\x40"
    for settings in (
        b"\x00\x00",
        b"\x07\x00",
        b"\x0f\xff",
        b"\x80\x00",
        b"\x87\x01",
        b"\x40\x07",
        b"\x07\x10",
    ):
        start = settings + handshake
        yield start + data + read + write + b"\x01\x10\x00" + fin + close + wait * 4
        yield start + write * 9 + b"\x06\x02" * 4 + wait + close + b"\x01\x11\x00" + b"\x02\xff"
        yield start + write + abort + data
        yield start + b"\x07\x12\x00\x00\x00\x00\x40\x00\x10\x01" + read
        yield start + write * 3 + b"\x08\x04\x02\x40" + wait
    yield b"\x07\x02" + handshake + b"\x01\x10\xff" * 3 + read * 3 + data
    yield b"\x00\x01" + handshake + b"\x01\x10\xff" * 4 + wait
    early = b"".join(bytes((7, 0x18, 8, 128 + at, 128, 100, 255, 255, 0)) for at in (3, 5, 1, 20, 2))
    yield b"\x07\x00" + handshake + early + data + b"\x01\x10\xff" + read + early + b"\x02\x40" + data
    all_but_the_fin = bytes((7, 0x10, 0, 128, 127, 0, 255, 255, 0))
    yield b"\x07\x00" + handshake + write + b"\x05\x00" + all_but_the_fin + b"\x01\x11\x00" + wait * 3
    yield b"\x20\x00" + b"\x00\x01" * 4 + data


def one(data: bytes) -> None:
    choices = Choices(data)
    game = Game(choices)
    steps: tuple[Callable[[Choices], None], ...] = (
        *(game.opens, game.sends, game.waits, game.writes, game.reads, game.ends, game.acknowledges),
        *(game.sends_oddly, game.icmp, game.sends_garbage, game.changes, game.accepts),
    )
    for _ in range(STEPS):
        if not choices.left:
            break
        choices.one_of(steps)(choices)
        game.check()
    game.end()


def stream(start: int, size: int) -> bytes:
    """Return the bytes at these positions of a stream."""
    start &= 0xFFFF
    return PATTERN[start : start + size]


class Game:
    """The host with its user, and the peer: what each of them knows."""

    def __init__(self, choices: Choices) -> None:
        how, size = choices.number(), choices.number()
        self.now = 100.0
        self.host = Host("B", ["10.9.0.20"])
        # Both entry points: the one that returns its decision, and the fast one.
        self.fast_path = FastPath(self.host) if size & 16 else None
        self.sent_next = dict.fromkeys(PEER_PORTS, 0)
        self.first: dict[int, int] = {}
        self.peer_next = dict.fromkeys(PEER_PORTS, 5000)
        self.stamps = how & 1
        self.written: dict[TCPEndpoint, int] = {}
        self.before: dict[object, tuple[int, ...]] = {}
        settings = Settings(
            timestamps=bool(how & 1),
            sack=bool(how & 2),
            window_scale=bool(how & 4),
            nodelay=bool(how & 8),
            keepalive=bool(how & 16),
            half_open=0 if how & 32 else 256,
            congestion=NewReno if how & 64 else Cubic,
            linger=0 if size & 128 else None,
            user_timeout=30.0 if size & 64 else 0.0,
            quickack=not size & 32,
        )
        settings.receive_buffer = (262_144, 4096, 600, 70_000)[size & 3]
        # A cookie's SYN,ACK offers as much as its field holds.
        self.biggest = max(settings.receive_buffer, 65_535 if how & 32 else 0)
        settings.send_buffer = (262_144, 4096, 600, 20_000)[size >> 2 & 3]
        self.listener = self.host.tcp_endpoint()
        self.listener.settings = settings
        self.listener.bind(B, PORT)
        self.listener.listen(0 if how & 32 else 4)
        self.user: TCPEndpoint | None = None
        if how & 128:
            self.user = self.host.tcp_endpoint()
            self.user.settings = settings
            self.user.bind(B, 81)
            self.user.connect(A, PEER_PORTS[0], self.now)
            self.written[self.user] = 0
        self.look()

    # What the peer does

    def deliver(self, port: int, flags: int, *, size: int = 0, **fields: int | bytes) -> None:
        """Send a segment; `port` is the peer's."""
        options = fields.pop("options", b"")
        start = fields.pop("sequence")
        assert isinstance(start, int)
        assert isinstance(options, bytes)
        segment = tcp.build(
            *(A, B, port, self.local_port(port), stream(start + (flags >> 1 & 1), size)),
            sequence=start % MODULUS,
            flags=flags,
            options=options[:40],
            **fields,  # type: ignore[arg-type]
        )
        self.receive(packet.build(A, B, ip.TCP, segment))
        self.look(flags)

    def local_port(self, port: int) -> int:
        """Return our port: where we called the peer, its first port is another than a client's."""
        return 81 if port == PEER_PORTS[0] and 81 in self.ports() else PORT

    def ports(self) -> set[int]:
        return {socket.local_port for socket in self.host.demultiplexer.table}

    def options(self, how: int, port: int) -> bytes:
        stamps = (int(self.now * 1000) & 0xFFFFFFFF, 0) if how & 1 and self.stamps else None
        edge = self.sent_next[port]
        sack = ((edge - 1000) % MODULUS, (edge - 400) % MODULUS) if how & 8 else None
        return tcp.build_options(
            tcp.Options(
                mss=(1, 536, 1460, 65535)[how >> 6] if how & 2 else None,
                window_scale=(0, 7, 14, 3)[how >> 4 & 3] if how & 4 else None,
                sack_permitted=bool(how & 16),
                timestamps=stamps,
                sack=(sack,) if sack else (),
            )
        )

    def opens(self, choices: Choices) -> None:
        """A handshake, whole or only its SYN."""
        how = choices.number()
        port = PEER_PORTS[how >> 1 & 1]
        self.deliver(
            port,
            SYN | (ACK if self.local_port(port) == 81 else 0),
            sequence=self.peer_next[port],
            acknowledgment=self.sent_next[port],
            window=0xFFFF,
            options=self.options(choices.number(), port),
        )
        self.peer_next[port] += 1
        if how & 1:
            self.good(port, ACK)
            self.accept()

    def good(self, port: int, flags: int, size: int = 0, window: int = 0xFFFF) -> None:
        self.deliver(
            port,
            flags,
            size=size,
            sequence=self.peer_next[port],
            acknowledgment=self.sent_next[port],
            window=window,
            options=self.options(self.stamps, port),
        )
        self.peer_next[port] += size + (flags & FIN)

    def sends(self, choices: Choices) -> None:
        """A segment as it should be."""
        how = choices.number()
        flags = ACK | (how & FIN) | (PSH if how & 8 else 0)
        self.good(PEER_PORTS[how >> 1 & 1], flags, choices.number() * 8, (0xFFFF, 0, 1, 600)[how >> 6])

    def acknowledges(self, choices: Choices) -> None:
        """An acknowledgment of less than all, perhaps with a SACK block."""
        how = choices.number()
        port = PEER_PORTS[how >> 1 & 1]
        self.deliver(
            port,
            ACK,
            sequence=self.peer_next[port],
            acknowledgment=(self.sent_next[port] - (how >> 2) * 100) % MODULUS,
            window=0xFFFF,
            options=self.options((how & 1) << 3 | self.stamps, port),
        )

    def sends_oddly(self, choices: Choices) -> None:
        """A segment with any flags and numbers near the right ones, or far from them."""
        flags, how = choices.number() & 0x3F, choices.number()
        port = PEER_PORTS[how >> 1 & 1]
        far = (1, 1, 100, 1 << 16)[how >> 2 & 3]
        start = self.peer_next[port] + (choices.number() - 128) * far
        acknowledged = self.sent_next[port] + (choices.number() - 128) * far
        if how & 1:
            start, acknowledged = self.peer_next[port], self.sent_next[port]
        self.deliver(
            port,
            flags,
            size=choices.number() * 4,
            sequence=start % MODULUS,
            acknowledgment=acknowledged % MODULUS,
            window=choices.number(2),
            options=choices.take(how >> 4) if how & 0x80 else self.options(choices.number(), port),
        )

    def icmp(self, choices: Choices) -> None:
        """An error about a segment near the last one."""
        kind, code, at = choices.number() & 15, choices.number() & 15, choices.number()
        sequence = (self.sent_next[PEER_PORTS[0]] - at * 64) % MODULUS
        port = self.local_port(PEER_PORTS[0])
        quoted = tcp.build(B, A, port, PEER_PORTS[0], sequence=sequence, flags=ACK)
        about = packet.build(B, A, ip.TCP, quoted)
        message = icmp.build(A, B, kind, code, choices.number() * 8, about)
        self.receive(packet.build(A, B, ip.ICMP, message))
        self.look()

    def sends_garbage(self, choices: Choices) -> None:
        """A segment without options and data, damaged anywhere, with its checksums right again."""
        port = PEER_PORTS[0]
        segment = tcp.build(
            *(A, B, port, self.local_port(port)),
            sequence=self.peer_next[port] % MODULUS,
            acknowledgment=self.sent_next[port],
            flags=ACK,
        )
        whole = bytearray(packet.build(A, B, ip.TCP, segment))
        for _ in range(choices.number() & 3):
            whole[choices.number() % len(whole)] = choices.number()
        self.receive(obvious.with_checksums(bytes(whole)))
        self.look()

    # What the user and the clock do

    def accepts(self, choices: Choices) -> None:
        self.accept()

    def accept(self) -> None:
        accepted = self.listener.accept() if self.listener.listening else None
        if accepted is not None:
            if self.user is not None:
                self.user.close(self.now)
            self.user = accepted
            self.written[accepted] = 0
            self.look()

    def writes(self, choices: Choices) -> None:
        size = choices.number() * 16
        if self.user is None or sum(self.written.values()) > MOST_WRITTEN:
            return
        with suppress(OSError):
            at = self.written[self.user]
            self.written[self.user] += self.user.write(stream(at, size), self.now)
        self.look()

    def reads(self, choices: Choices) -> None:
        size = choices.number() * 16
        if self.user is None:
            return
        with suppress(OSError):
            self.user.read(size, self.now)
        self.look()

    def ends(self, choices: Choices) -> None:
        how = choices.number() & 3
        if self.user is None:
            return
        calls = (self.user.shutdown_write, self.user.close, self.user.abort, self.user.shutdown_read)
        with suppress(OSError):
            calls[how](self.now)
        if how == 1:
            self.user = None
        self.look()

    def changes(self, choices: Choices) -> None:
        """Change settings while the connection is under way."""
        if self.user is None:
            return
        settings, how = self.user.settings, choices.number()
        settings.keepalive, settings.keepalive_idle = bool(how & 1), 1.0 + (how >> 4)
        settings.receive_buffer = 2048 << (how >> 4 & 7)
        settings.send_buffer = 2048 << (how >> 1 & 7)
        self.user.nodelay = bool(how & 2)
        self.biggest = max(self.biggest, settings.receive_buffer)
        self.user.changed_settings(self.now)
        self.look()

    def waits(self, choices: Choices) -> None:
        self.pass_time(choices.number() ** 2 / 100)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        for ticks in itertools.count():
            if self.host.next_tick > end:
                break
            assert ticks < 500 + seconds, "timers without an end"
            self.now = max(self.now, self.host.next_tick)
            self.host.tick(self.now)
            self.look(most=8)
        self.now = end

    def receive(self, data: bytes) -> None:
        """Let a packet arrive: by the readable way or by the fast path."""
        if self.fast_path is None:
            self.host.receive(data, self.now)
        else:
            self.fast_path.receive(data, self.now)
            self.fast_path.end_batch(self.now)

    # What must hold

    def look(self, came: int = 0, most: int = 2) -> None:
        """Look at what our host sends; `came` are the flags of the segment that it answers, if it does."""
        empty = 0
        for data in self.host.packets(self.now):
            sent = packet.read(data)
            if isinstance(sent, icmp.ICMPMessage):
                continue
            assert isinstance(sent, TCPSegment), f"{sent} was sent"
            if sent.destination != A:
                continue  # the answer to damaged addresses
            port = sent.destination_port
            assert not came & sent.flags & RST, "RST is answered with RST"
            empty += not sent.payload and not sent.flags & (SYN | FIN)
            if sent.flags & SYN:
                self.first[port] = sent.sequence
            if sent.payload:
                at = (sent.sequence - self.first[port] - 1) % MODULUS
                assert sent.payload == stream(at, len(sent.payload)), "not what the user wrote"
            if port in self.sent_next and not sent.flags & RST:
                end = sent.sequence + sent.length
                if sent.flags & SYN or (end - self.sent_next[port]) % MODULUS < 1 << 31:
                    self.sent_next[port] = end % MODULUS
        assert empty <= most, f"{empty} answers to one segment"

    def connections(self) -> list[TCPConnection]:
        handlers = [socket.handler for socket in self.host.demultiplexer.table]
        return [handler for handler in handlers if isinstance(handler, TCPConnection)]

    def check(self) -> None:
        counters = self.host.demultiplexer.counters
        assert counters.balance(self.host.demultiplexer.reassembler.held)
        for connection in self.connections():
            assert connection.state not in (State.CLOSED, State.TIME_WAIT, State.LISTEN)
            self.check_sender(connection)
            self.check_receiver(connection)
            assert connection.entered <= connection.deadline <= connection.deadlines.earliest
            if connection.sender.in_flight:
                assert connection.deadlines.retransmission < NEVER, "under way, and no timer"
            elif connection.sender.buffer.unsent(connection.sender.next) and connection.state in SYNCHRONIZED:
                assert connection.deadlines.persist < NEVER, "data waits, and no timer"

    def check_sender(self, connection: TCPConnection) -> None:
        sender = connection.sender
        queue = sender.recovery.queue
        in_flight = list(queue)
        assert sender.unacked <= sender.next
        if connection.state is State.FIN_WAIT_2:
            assert sender.buffer.fin is not None
            assert sender.unacked > sender.buffer.fin, "the peer has not seen our FIN"
        place = sender.unacked
        for sent in in_flight:
            assert sent.start == place < sent.end
            assert not (sent.in_pipe and (sent.lost or sent.sacked))
            place = sent.end
        assert place == sender.next
        assert queue.pipe == sum(queue.whole(len(sent)) * sent.in_pipe for sent in in_flight)
        assert queue.doubled == sum(sent.in_pipe > 1 for sent in in_flight)
        assert sender.congestion.cwnd >= 1
        assert sender.buffer.unsent(sender.next) <= len(sender.buffer)
        assert queue.sacked == sum(len(sent) for sent in in_flight if sent.sacked)
        if sender.recovery.episode is None and sender.unacked >= sender.buffer.start:
            assert not any(sent.lost for sent in in_flight), "lost, and nobody will send it again"
        self.grows(sender, sender.unacked, sender.next)

    def check_receiver(self, connection: TCPConnection) -> None:
        receiver = connection.receiver
        assert receiver.next <= receiver.right_edge + 1 or connection.state is State.SYN_SENT
        begin = receiver.next - receiver.finished - len(receiver.data)
        held = len(receiver.data)
        waiting = connection.read(1 << 16, self.now, peek=True)
        assert waiting == stream(begin, len(waiting)), "not what the peer sent"
        end = receiver.next
        for start, data in receiver._out_of_order:
            assert end < start or start == end > receiver.next
            assert data
            assert data == stream(start, len(data))
            end = start + len(data)
            held += len(data)
        assert end <= receiver.right_edge + 1
        assert held <= self.biggest, "more is kept than was ever offered"
        self.grows(receiver, receiver.next, receiver.right_edge)

    def grows(self, thing: object, *numbers: int) -> None:
        """Check that numbers never go back."""
        before = self.before.get(thing, numbers)
        assert all(a <= b for a, b in zip(before, numbers, strict=True)), f"{before} became {numbers}"
        self.before[thing] = numbers

    def end(self) -> None:
        """All let go, and the peer is silent from now on: nothing may stay."""
        for endpoint in (self.user, self.listener):
            if endpoint is not None:
                endpoint.close(self.now)
                self.look(most=8)
        self.check()
        self.pass_time(FOREVER)
        left = list(self.host.demultiplexer.table)
        assert not left, f"left over: {left}"
