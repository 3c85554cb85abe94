"""Fuzz target: frames and packets for every parser of `demuxlab.wire`.

An input is a sequence of frames: a byte for the linktype, whose highest bit means that checksums are
corrected, two bytes of length, and the frame.
"""

from collections.abc import Iterator

from tests.fuzz import obvious, packets
from tests.fuzz.choices import Choices, chunk

from demuxlab.fast import plain
from demuxlab.wire import fragments, frame, icmp, ip, malformed, packet, rewrite, tcp, udp
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.fragments import Reassembler, Whole
from demuxlab.wire.icmp import ICMPMessage
from demuxlab.wire.ip import Fragment
from demuxlab.wire.malformed import Malformed
from demuxlab.wire.segment import Segment, TCPSegment, UDPDatagram, flag_letters

LINKTYPES = (*frame.LINKTYPE_NAMES, 147)
MEMORY = 8000
KNOWN_FAULTS = {fault for fault in vars(malformed).values() if isinstance(fault, Malformed)}


def seeds() -> Iterator[bytes]:
    for link in (101, 1, 113, 0):
        how = bytes((0x80 | LINKTYPES.index(link),))
        for data in packets.samples():
            header = {
                101: b"",
                1: frame.ethernet_frame(data)[:14],
                113: bytes(14) + b"\x08\0",
                0: b"\2\0\0\0",
            }
            yield how + chunk(header[link] + data)
    how = bytes((0x80 | LINKTYPES.index(101),))
    yield b"".join(how + chunk(piece) for piece in packets.fragments())
    yield b"".join(how + chunk(piece) for piece in packets.overlapping())
    for link, at in ((1, 12), (113, 14), (276, 0)):
        header = bytes(at) + b"\x81\0" + bytes({1: 0, 113: 0, 276: 18}[link])
        for tagged in (b"\0\x07\x88\xa8\0\x08\x08\0" + data, b"\0", b"\0\x07\x81\0" * 10):
            yield bytes((0x80 | LINKTYPES.index(link),)) + chunk(header + tagged)


def one(data: bytes) -> None:
    choices = Choices(data)
    reassembler = Reassembler(max_memory=MEMORY, timeout=5.0)
    seen: set[Fragment] = set()
    gone = 0
    for number in range(64):
        if not choices.left:
            return
        how = choices.number()
        linktype = LINKTYPES[(how & 0x7F) % len(LINKTYPES)]
        captured = choices.chunk()
        found = frame.network_packet(linktype, captured)
        if isinstance(found, frame.NotIP):
            assert found.reason
            continue
        assert captured.endswith(found)
        whole = obvious.with_checksums(found) if how & 0x80 else found
        arrival = _check(whole)
        if isinstance(arrival, Fragment):
            seen.add(arrival)
            gone += _reassemble(reassembler, arrival, float(number // 4), seen)
            gone += reassembler.take_failed()
            assert gone + reassembler.held <= number + 1
        assert 0 <= reassembler.memory <= MEMORY
        assert reassembler.held >= 0


def _check(data: bytes) -> packet.Arrival:
    packet.destination(data)
    lax = packet.read(memoryview(data), Checksums.IGNORE)
    unfinished = packet.read(data, Checksums.UNFINISHED_TOO)
    arrival = packet.read(data)
    if plain.protocol(data):
        assert plain.read(data) == arrival
    if plain.protocol(data, checksum_unfinished=True):
        assert plain.read(data) == lax
    if not isinstance(arrival, Malformed):
        assert unfinished == lax == arrival
    else:
        assert arrival in KNOWN_FAULTS
    if isinstance(lax, TCPSegment | UDPDatagram):
        _check_segment(data, lax)
    if not isinstance(arrival, Malformed | Fragment):
        assert obvious.transport(data) is not None, f"{arrival} was read where the lengths do not fit"
    if isinstance(arrival, TCPSegment | UDPDatagram):
        _check_rewriting(arrival)
    if isinstance(arrival, ICMPMessage):
        _check_message(arrival)
    return arrival


def _check_segment(data: bytes, segment: Segment) -> None:
    """Check the fields against the offsets that follow from the length fields of the headers."""
    found = obvious.transport(data)
    assert found is not None, "a segment was read where the lengths do not fit"
    assert found.protocol == segment.protocol
    rest = data[found.at : found.end]
    assert segment.packet == data[: found.end]
    assert segment.key == segment.source + segment.destination + rest[:4]
    assert rest[:4] == segment.source_port.to_bytes(2, "big") + segment.destination_port.to_bytes(2, "big")
    if isinstance(segment, UDPDatagram):
        length = rest[4] * 256 + rest[5] or len(rest)
        assert len(segment.payload) == length - 8
        assert segment.payload == rest[8:length]
        built = udp.build(*_ends(segment), segment.payload)
    else:
        header = (rest[12] >> 4) * 4
        assert 20 <= header <= len(rest)
        assert segment.options == rest[20:header]
        assert segment.payload == rest[header:]
        assert segment.length == len(segment.payload) + len(set(flag_letters(segment.flags)) & set("SF"))
        options = tcp.read_options(segment.options)
        assert tcp.read_options(tcp.build_options(options)) == options
        built = tcp.build(
            *_ends(segment),
            segment.payload,
            sequence=segment.sequence,
            acknowledgment=segment.acknowledgment,
            flags=segment.flags,
            window=segment.window,
            urgent=segment.urgent,
            options=segment.options,
        )
    whole = packet.build(segment.source, segment.destination, segment.protocol, built)
    again = packet.read(whole)
    assert isinstance(again, TCPSegment | UDPDatagram), f"{again} was built"
    assert again._replace(packet=b"", hop_limit=0) == segment._replace(packet=b"", hop_limit=0)
    _check_splitting(whole)


def _ends(segment: Segment) -> tuple[bytes, bytes, int, int]:
    return segment.source, segment.destination, segment.source_port, segment.destination_port


def _check_splitting(whole: bytes) -> None:
    reassembler = Reassembler()
    for piece in fragments.split(whole, 576 if whole[0] >> 4 == 4 else 1280, 1):
        read = packet.read(piece)
        if not isinstance(read, Fragment):
            assert piece == whole
            return
        joined = reassembler.add(read, 0.0)
    assert isinstance(joined, Whole)
    again, before = packet.read(joined.packet), packet.read(whole)
    assert again._replace(packet=b"") == before._replace(packet=b"")  # type: ignore[union-attr, call-arg]


def _check_rewriting(segment: Segment) -> None:
    other = rewrite.turned(segment.key)
    changed = rewrite.readdressed(segment, other)
    assert packet.read(changed.packet) == changed
    assert changed.payload == segment.payload
    back = rewrite.readdressed(changed, segment.key)
    assert packet.read(back.packet) == back
    assert back._replace(packet=b"") == segment._replace(packet=b"")


def _check_message(message: ICMPMessage) -> None:
    quoted = icmp.read_quoted(message.data)
    protocol = ip.ICMP if len(message.source) == 4 else ip.ICMPV6
    built = icmp.build(
        message.source, message.destination, message.type, message.code, message.rest, message.data
    )
    again = packet.read(packet.build(message.source, message.destination, protocol, built))
    assert isinstance(again, ICMPMessage), f"{again} was built"
    assert again._replace(packet=b"") == message._replace(packet=b"")
    if quoted is not None and quoted.source == message.destination:
        key = rewrite.make_key(quoted.destination, quoted.destination_port, quoted.source, quoted.source_port)
        changed = rewrite.readdressed_error(message, key, message.destination, message.source)
        assert packet.read(changed.packet) == changed


def _reassemble(reassembler: Reassembler, fragment: Fragment, now: float, seen: set[Fragment]) -> int:
    """Add a fragment; return how many packets are done with. All bytes of a whole one were `seen`."""
    whole = reassembler.add(fragment, now)
    if whole is None:
        return 0
    if isinstance(whole, Malformed):
        assert whole in KNOWN_FAULTS
        return 1
    assert len(whole.packet) <= 65535 + 40
    datagram = (fragment.source, fragment.destination, fragment.identification)
    pieces = [one for one in seen if (one.source, one.destination, one.identification) == datagram]
    covered = {place for one in pieces for place in range(one.offset, one.offset + len(one.payload))}
    first = next(one for one in pieces if one.offset == 0)
    assert len(covered) >= len(whole.packet) - len(first.header), "a datagram with a hole"
    read = packet.read(whole.packet)
    assert not isinstance(read, Fragment) or read.header != fragment.header
    return whole.fragments
