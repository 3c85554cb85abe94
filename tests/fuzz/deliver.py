"""Fuzz target: packets for a `Demultiplexer` with a table of sockets, and its decision on each.

An input is a sequence of packets: a byte that chooses the device, the time that passes and whether checksums
are corrected, two bytes of length, and the packet.
"""

from collections.abc import Iterator

from tests.fuzz import obvious, packets
from tests.fuzz.choices import Choices, chunk
from tests.fuzz.packets import A6, B6, A, B

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.demultiplexer import LOOPBACK, Demultiplexer
from demuxlab.demux.queue import OVERHEAD, HandlerQueue
from demuxlab.demux.socket import ESTABLISHED, LISTEN, Socket
from demuxlab.demux.verdicts import Reply, Verdict
from demuxlab.fast import plain
from demuxlab.fast.demultiplexer import FastDemultiplexer
from demuxlab.telling import comment, decision, html
from demuxlab.telling.steps import steps
from demuxlab.wire import ip, packet, tcp, udp
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, from_text, is_any, is_multicast
from demuxlab.wire.segment import RST as RST_FLAG
from demuxlab.wire.segment import Segment, TCPSegment

BROADCAST, GROUP = from_text("10.9.0.255"), from_text("224.0.0.251")
DEVICES = ("", "eth0", LOOPBACK, "eth0")
MEMORY = 20_000
VERDICTS = {"delivered", "no-socket", "malformed", "not-transport", "queue-full", "not-ours"}


def seeds() -> Iterator[bytes]:
    for data in (*packets.samples(), *packets.captured(4)):
        yield b"\x01" + chunk(data)
    yield b"".join(b"\x01" + chunk(piece) for piece in packets.fragments())
    for port in (4000, 4001, 9157):
        datagram = packet.build(A, B, ip.UDP, udp.build(A, B, 9157, port, b"hello"))
        yield b"".join(bytes((1 | device << 1,)) + chunk(datagram) for device in range(3))
    for source in (B, BROADCAST, GROUP, from_text("127.0.0.1"), bytes(4), from_text("240.0.0.1")):
        for target in (B, BROADCAST):
            datagram = packet.build(source, target, ip.UDP, udp.build(source, target, 9157, 53, b"hello"))
            yield b"\x03" + chunk(datagram) + b"\x05" + chunk(datagram)
    closed = packet.build(A, B, ip.TCP, tcp.build(A, B, 9157, 81, flags=RST_FLAG))
    yield b"\x01" + chunk(closed)
    for target in (BROADCAST, GROUP, from_text("127.0.0.1")):
        first = bytearray(next(iter(packets.samples())))
        first[16:20] = target
        yield b"\x01" + chunk(bytes(first))


def bench(explain: bool = True) -> Demultiplexer:
    """A demultiplexer with sockets of every kind, some of whose queues are soon full."""
    made = Demultiplexer([B, B6], broadcasts=[BROADCAST], explain=explain)
    made.reassembler.max_memory = MEMORY
    for name, protocol, address, port, options in (
        ("dns", ip.UDP, ANY_IPV4, 53, {"reuse_address": True}),
        ("dns here", ip.UDP, B, 53, {"reuse_address": True}),
        ("dns6", ip.UDP, ANY_IPV6, 53, {"v6only": True}),
        ("group", ip.UDP, GROUP, 53, {"reuse_address": True}),
        ("one", ip.UDP, ANY_IPV6, 5353, {"reuse_port": True}),
        ("two", ip.UDP, ANY_IPV6, 5353, {"reuse_port": True}),
        ("device", ip.UDP, ANY_IPV4, 9157, {"device": "eth0"}),
        ("web", ip.TCP, ANY_IPV6, 80, {"reuse_port": True}),
        ("web here", ip.TCP, B, 80, {"reuse_port": True}),
    ):
        family = 4 if len(address) == 4 else 6
        socket = Socket(protocol, name=name, family=family, **options)  # type: ignore[arg-type]
        socket.handler = HandlerQueue(2000) if protocol == ip.UDP else None
        made.table.bind(socket, address, port)
        if protocol == ip.TCP:
            made.table.listen(socket)
    peer = Socket(ip.UDP, name="to A", handler=HandlerQueue(500))
    made.table.bind(peer, B, 4000)
    made.table.connect(peer, B, A, 9157)
    on_device = Socket(ip.UDP, name="to A on eth0", handler=HandlerQueue(500), device="eth0")
    made.table.bind(on_device, B, 4001)
    made.table.connect(on_device, B, A, 9157)
    made.table.establish(Socket(ip.TCP, name="P4", handler=HandlerQueue(900)), (B, 80), (A, 9157))
    made.table.establish(Socket(ip.TCP, name="P5", family=6), (B6, 80), (A6, 9157))
    return made


def one(data: bytes) -> None:
    choices = Choices(data)
    demultiplexer, quick = bench(), bench(explain=False)
    fast = FastDemultiplexer(quick, {HandlerQueue: put})
    now, counters = 0.0, demultiplexer.counters
    for number in range(64):
        if not choices.left:
            break
        how = choices.number()
        now += (0.0, 0.5, 20.0, 40.0)[how >> 3 & 3]
        arrives = choices.chunk()
        device = DEVICES[how >> 1 & 3]
        arrives = obvious.with_checksums(arrives) if how & 1 else arrives
        delivery = demultiplexer.deliver(arrives, now, device)
        same(delivery, quick.deliver(arrives, now, device) if device else fast.deliver(arrives, now))
        assert quick.counters.dropped == counters.dropped
        assert quick.counters.delivered == counters.delivered
        assert counters.received == number + 1
        assert counters.balance(demultiplexer.reassembler.held), "received = delivered + dropped + held"
        assert demultiplexer.reassembler.memory <= MEMORY
        check(demultiplexer, delivery, device)
    demultiplexer.expire(now + 1000)
    assert demultiplexer.reassembler.held == demultiplexer.reassembler.memory == 0
    assert counters.balance()


def put(queue: HandlerQueue, data: bytes, _now: float) -> bool:
    """Queue a plain packet's segment where there is room for it."""
    segment = plain.read(data)
    full = queue.size + OVERHEAD + len(segment.payload) > queue.limit and queue.items
    return not full and queue.put(segment, len(segment.payload))


def same(slow: Delivery, quick: Delivery | None) -> None:
    """The fast path comes to the same decision; None from it is a delivery without an answer."""
    if quick is None:
        assert (slow.verdict, slow.reply, slow.counter) == (Verdict.DELIVERED, None, "")
        return
    assert (quick.verdict, quick.reply, quick.counter) == (slow.verdict, slow.reply, slow.counter)
    assert (quick.socket and quick.socket.name) == (slow.socket and slow.socket.name)


def check(demultiplexer: Demultiplexer, delivery: Delivery, device: str) -> None:
    """Compare a decision with a search through all sockets."""
    assert delivery.verdict in VERDICTS
    assert steps(delivery)
    assert html.of(delivery)
    made = decision.of(delivery)
    assert comment.read(comment.write(made)) == made
    segment = delivery.segment
    if delivery.verdict not in (Verdict.DELIVERED, Verdict.NO_SOCKET, Verdict.QUEUE_FULL):
        assert delivery.reply is None
        assert delivery.socket is None
        return
    assert segment is not None
    fitting = [socket for socket in demultiplexer.table if fits(socket, segment, device)]
    if delivery.socket is None:
        assert not fitting
    else:
        assert delivery.socket in fitting
        exact = [socket for socket in fitting if socket.remote_address]
        near = [socket for socket in fitting if not is_any(socket.local_address)]
        assert delivery.copies or delivery.socket in (exact or near or fitting)
    if is_multicast(segment.destination) or segment.destination == BROADCAST:
        assert delivery.reply is None
    if delivery.reply == Reply.RST:
        assert isinstance(segment, TCPSegment)
        assert not segment.flags & RST_FLAG
    if delivery.reply == Reply.PORT_UNREACHABLE:
        assert segment.protocol == ip.UDP


def fits(socket: Socket, segment: Segment, device: str) -> bool:
    """Tell whether a socket may have a segment at all."""
    if (socket.protocol, socket.local_port) != (segment.protocol, segment.destination_port):
        return False
    if socket.device not in ("", device):
        return False
    if socket.remote_address and (socket.remote_address, socket.remote_port) != (
        segment.source,
        segment.source_port,
    ):
        return False
    many = is_multicast(segment.destination) or segment.destination in (BROADCAST, b"\xff" * 4)
    if socket.protocol == ip.TCP and (many or socket.state not in (LISTEN, ESTABLISHED)):
        return False
    if not is_any(socket.local_address):
        return socket.local_address == segment.destination
    if len(segment.destination) == 4:
        dual = socket.family == 6 and not socket.v6only
        return socket.family == 4 or (dual and not is_multicast(segment.destination))
    return socket.family == 6
