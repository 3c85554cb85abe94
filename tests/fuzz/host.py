"""Fuzz target: packets for a whole `Host` that forwards ports.

An input is a sequence of steps: a byte that chooses the step, then its data. The bytes sent are bounded by
the bytes received, and our own reader accepts every packet sent.
"""

from collections.abc import Iterator

from tests.fuzz import obvious, packets
from tests.fuzz.choices import Choices, chunk
from tests.fuzz.packets import A6, B6, A, B

from demuxlab.host import Host
from demuxlab.telling.comment import comment_of
from demuxlab.telling.steps import steps
from demuxlab.transport.forward import Forwarder, Rule
from demuxlab.wire import icmp, ip, packet, tcp, udp
from demuxlab.wire.address import from_text, to_text
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import ACK, RST, SYN

BEHIND, BEHIND6 = from_text("10.9.0.30"), from_text("fd09::30")
RULES = (
    Rule.of("tcp", to_text(B), 80, to_text(BEHIND), 8080),
    Rule.of("udp", to_text(B), 53, to_text(BEHIND), 5353),
    Rule.of("tcp", to_text(B), 81, to_text(B), 8081),
    Rule.of("udp", to_text(B6), 53, to_text(B6), 5353),
    Rule.of("tcp", to_text(B6), 80, to_text(BEHIND6), 8080),
)
LIMIT = 8
PACKET, TIME, SEND, CLOSE = range(4)


def seeds() -> Iterator[bytes]:
    for data in packets.samples():
        yield bytes((PACKET,)) + chunk(data)
    for a, b, behind in ((A, B, BEHIND), (A6, B6, BEHIND6)):
        there = packet.build(a, b, ip.TCP, tcp.build(a, b, 9157, 80, flags=SYN))
        back = packet.build(behind, b, ip.TCP, tcp.build(behind, b, 8080, 9157, flags=SYN | ACK))
        quoted = packet.build(b, behind, ip.TCP, tcp.build(b, behind, 9157, 8080, flags=SYN))
        protocol = ip.ICMP if len(a) == 4 else ip.ICMPV6
        error = packet.build(behind, b, protocol, icmp.port_unreachable(quoted, behind, b))
        yield b"".join(bytes((PACKET,)) + chunk(data) for data in (there, back, there, error, back))
        query = packet.build(a, b, ip.UDP, udp.build(a, b, 9157, 53, b"name?"))
        yield bytes((PACKET,)) + chunk(query) + bytes((SEND, 0, 5)) + bytes((TIME, 200))
        late = bytes((TIME, 255))
        answer = packet.build(behind, b, ip.UDP, udp.build(behind, b, 5353, 9157, b"name"))
        yield b"".join((bytes((PACKET,)) + chunk(data) + late) for data in (query, answer, answer, query))
        closed = packet.build(a, b, ip.TCP, tcp.build(a, b, 9157, 82, flags=RST))
        yield bytes((PACKET,)) + chunk(closed)
        for size in (28, 8, 24):
            cut = quoted[: len(quoted) - 20 + size - 8]
            error = icmp.build(behind, b, 3 if len(a) == 4 else 1, 3, 0, cut)
            yield b"".join(
                bytes((PACKET,)) + chunk(data) for data in (there, packet.build(behind, b, protocol, error))
            )
    yield b"".join(bytes((PACKET,)) + chunk(piece) for piece in packets.fragments())


def one(data: bytes) -> None:
    choices = Choices(data)
    host = Host("B", [to_text(B), to_text(B6)])
    host.demultiplexer.explain = True
    host.forward(*RULES)
    assert host.forwarder is not None
    host.forwarder.table.limit = LIMIT
    sockets = [host.udp(to_text(B), 5353), host.udp(to_text(B6), 5353), host.listen(8081, to_text(B))]
    now, came_in, went_out = 100.0, 0, 0
    for _ in range(64):
        if not choices.left:
            break
        how = choices.number()
        step = how & 3
        if step == PACKET:
            arrives = choices.chunk()
            arrives = arrives if how & 4 else obvious.with_checksums(arrives)
            delivery = host.receive(arrives, now, "lo" if how & 0x40 else "")
            assert comment_of(delivery)
            if delivery.reply == "rst":
                assert not delivery.segment.flags & RST, "RST is answered with RST"  # type: ignore[union-attr]
            assert steps(delivery)
            came_in += 1 + len(arrives)
        elif step == TIME:
            now += choices.number() ** 2
            host.tick(now)
        elif step == SEND:
            sent = _send(sockets[how >> 2 & 1], choices, now)
            came_in += sent
        else:
            sockets[(how >> 2) % 3].close(now)
        went_out += _sent(host, now)
        # An answer has a header or two more than what it answers; a SYN,ACK comes six times again.
        assert went_out <= 8 * came_in + 2000, "more comes out than one packet can ask for"
        _check(host, host.forwarder, now)
    for _ in range(1000):
        if host.next_tick > now + 100_000:
            break
        now = max(now, host.next_tick)
        host.tick(now)
        _sent(host, now)
    else:
        raise AssertionError("timers without an end")


def _send(socket, choices: Choices, now: float) -> int:  # type: ignore[no-untyped-def]
    """Send a datagram to a peer from which one was received, or to an address without a host."""
    try:
        asked = socket.receive()
        payload = choices.take(choices.number())
        to = (asked.address, asked.port) if asked else (A if socket.socket.family == 4 else A6, 9157)
        socket.send_to(payload, *to, now)
    except OSError:
        return 0  # an error that ICMP brought, or a closed socket's
    return len(payload) + 48


def _sent(host: Host, now: float) -> int:
    size = 0
    for data in host.packets(now):
        read = packet.read(data)
        assert not isinstance(read, Malformed), f"{read} was sent"
        assert isinstance(read, Fragment) or read.packet == data, "more bytes than the headers tell"
        size += len(data)
    return size


def _check(host: Host, forwarder: Forwarder, now: float) -> None:
    demultiplexer = host.demultiplexer
    assert demultiplexer.counters.balance(demultiplexer.reassembler.held)
    table = forwarder.table
    assert len(table) <= LIMIT
    assert table.opened - table.expired - table.evicted == len(table)
    for flow in forwarder.flows(now):
        assert flow.state.timeout > 0
    assert host.next_tick > now or host.next_tick >= 0
