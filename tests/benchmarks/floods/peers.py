"""Peers that misbehave after the handshake, and many connections: the memory of each, and its bounds."""

import gc
from functools import partial

from tests.benchmarks.floods.forge import WEB, segment
from tests.benchmarks.floods.stage import Result, resident

from demuxlab.host import Host
from demuxlab.transport.tcp import time_wait
from demuxlab.wire import packet
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN, TCPSegment

DATA = bytes(100_000)
ROUNDS = 4
"""Answers to answers that a peer gives before time goes on."""


class Clients:
    """B with a listener whose program writes `data` to each connection, reads nothing, and may close it."""

    def __init__(self, data=b"", closes=False, half_open=None):
        self.now = 1000.0
        self.sent = 0
        self.late: list[TCPSegment] = []
        """B's replies to replies."""
        self.b = Host("B", ["10.9.0.20"])
        self.endpoints = []
        self.listener = self.b.listen(WEB)
        if half_open is not None:
            self.listener.settings.half_open = half_open

        def accept():
            while (endpoint := self.listener.accept()) is not None:
                endpoint.write(data, self.now)
                if closes:
                    endpoint.close(self.now)
                self.endpoints.append(endpoint)

        self.listener.on_change = accept

    def send(self, number, flags, sequence=0, acknowledgment=0, data=b"", window=65535):
        """Peer `number` sends a segment; return what B answers."""
        self.now += 0.00001
        self.sent += 1
        source = bytes((198, 18)) + (number // 50_000).to_bytes(2, "big")
        port = 1024 + number % 50_000
        forged = segment(source, port, flags, 1000 + sequence, acknowledgment, data, window)
        self.b.receive(forged, self.now)
        return self.answers()

    def answers(self):
        arrivals = [packet.read(answer) for answer in self.b.packets(self.now)]
        return [arrival for arrival in arrivals if isinstance(arrival, TCPSegment)]

    def connect(self, number, window=65535):
        """Shake hands; return B's next number and what B sent after the handshake."""
        [answer] = self.send(number, SYN, window=window)
        first = answer.sequence + 1
        return first, self.send(number, ACK, 1, first, window=window)

    def wait(self, seconds, answer=lambda segments: None):
        """Let time pass, timer by timer; `answer` gets what B sends."""
        end = self.now + seconds
        while self.b.next_tick <= end:
            self.now = max(self.now, self.b.next_tick)
            self.b.tick(self.now)
            answer(self.answers())
            for _ in range(ROUNDS):
                late, self.late = self.late, []
                answer(late)
        self.now = end

    def result(self, name, before, bound, kept=None):
        """Return what was measured; the memory is divided by the connections `kept`."""
        gc.collect()
        after = resident()
        counters = self.b.demultiplexer.counters
        assert counters.balance(), "a packet is not accounted for"
        noted = {"delivered": counters.delivered, **counters.dropped, **self.b.counters}
        each = (after - before) / kept if kept else None
        return Result(name, self.sent, before, after, each=each, counters=noted, bound=bound)


def begin():
    gc.collect()
    return resident()


def half_open(scale):
    clients, count, before = Clients(half_open=1 << 30), int(100_000 * scale), begin()
    for number in range(count):
        clients.send(number, SYN)
    return clients.result("half-open", before, "256 a listener unless asked for more", count)


def idle(scale):
    clients, count, before = Clients(), int(100_000 * scale), begin()
    for number in range(count):
        clients.connect(number)
    assert len(clients.endpoints) == count
    return clients.result("idle", before, "what the program accepts", count)


def waiting(scale):
    """B closes first, each time: TIME-WAIT."""
    clients, count, before = Clients(closes=True), int(100_000 * scale), begin()
    for number in range(count):
        first, _ = clients.connect(number)
        clients.send(number, FIN | ACK, 1, first + 1)
        clients.endpoints.clear()
    kept = len(clients.b.demultiplexer.table) - 1
    return clients.result("TIME-WAIT", before, f"{time_wait.LIMIT:,} of them, for 60 s", kept)


def reset_at_once(scale):
    """Connections with keepalive that are reset at once: nothing may stay until their timers run out."""
    clients, count, before = Clients(), int(100_000 * scale), begin()
    clients.listener.settings.keepalive = True
    for number in range(count):
        clients.connect(number)
        clients.send(number, RST, 1)
        clients.endpoints.clear()
    assert len(clients.b.demultiplexer.table) == 1
    return clients.result("connect and reset", before, "nothing is left, no timer either")


def closed_window(scale, window=0, name="zero window"):
    """Peers that take slowly or not at all what they asked for, and answer every probe; B has closed."""
    clients, count, before = Clients(DATA, closes=True), int(1_000 * scale), begin()
    numbers = {}
    for number in range(count):
        first, sent = clients.connect(number, window)
        numbers[1024 + number % 50_000] = (number, first)
        answer(clients, numbers, sent, window)
    clients.endpoints.clear()
    most = resident()
    clients.wait(1200, lambda segments: answer(clients, numbers, segments, window))
    left = len(clients.b.demultiplexer.table) - 1
    bound = f"send buffer of 256 KiB each; 20 minutes after the close {left:,} of {count:,} are left"
    result = clients.result(name, before, bound)
    result.after = max(most, result.after)
    return result


def answer(clients, numbers, segments, window):
    """Acknowledge what came of the stream, always with the same small window."""
    for got in segments:
        number, first = numbers[got.destination_port]
        size = (got.sequence + got.length - first) & 0xFFFFFFFF
        if got.flags & RST == 0 and size < 1 << 31:
            clients.late += clients.send(number, ACK, 1, first + size, window=window)


def optimistic(scale):
    """A peer that acknowledges at once whatever was sent, though nothing has arrived."""
    clients, before = Clients(bytes(262_144)), begin()
    first, sent = clients.connect(1)
    largest, total = 0, 0
    for _ in range(int(2_000 * scale)):
        clients.endpoints[0].write(DATA, clients.now)
        last = max([s.sequence + len(s.payload) for s in sent] or [first])
        largest = max(largest, sum(len(s.payload) for s in sent))
        total += sum(len(s.payload) for s in sent)
        sent = clients.send(1, ACK, 1, last) + clients.answers()
    bound = f"{largest:,} bytes went out for one ACK: never more than the window and the send buffer"
    return clients.result("optimistic ACKs", before, bound)


def gaps(scale):
    """A peer that sends every second byte of the window."""
    clients, before = Clients(), begin()
    first, _ = clients.connect(1)
    for number in range(int(100_000 * scale)):
        clients.send(1, ACK | PSH, 2 + 2 * (number % 30_000), first, b"x")
    return clients.result("one byte, one gap", before, "1,024 gaps a connection")


def floods(scale):
    yield "half-open", partial(half_open, scale)
    yield "idle", partial(idle, scale)
    yield "TIME-WAIT", partial(waiting, scale)
    yield "connect and reset", partial(reset_at_once, scale)
    yield "zero window", partial(closed_window, scale)
    yield "one-byte window", partial(closed_window, scale / 10, 1, "one-byte window")
    yield "optimistic ACKs", partial(optimistic, scale)
    yield "one byte, one gap", partial(gaps, scale)
