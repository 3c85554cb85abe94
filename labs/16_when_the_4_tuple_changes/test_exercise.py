"""Checks of lab 16's exercise."""

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import addresses, drawing, ports, varying
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.wire import ipv4, udp
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import UDPDatagram

CAPTURES = Path(__file__).resolve().parents[2] / "captures"
INITIAL, ZERO_RTT, HANDSHAKE, RETRY = 0x00, 0x10, 0x20, 0x30
RESET, NEGOTIATION = "stateless reset", "version negotiation"


class Packets:
    """Draws connection IDs, senders and packets."""

    def __init__(self, words: str) -> None:
        self.draw: random.Random = drawing(words)
        self.own_length = self.draw.randrange(8, 13)

    def some(self, length: int) -> bytes:
        """Return random bytes."""
        return self.draw.randbytes(length)

    def own(self) -> bytes:
        """Return an ID of the server's length."""
        return self.some(self.own_length)

    def chosen(self) -> bytes:
        """Return an ID as a client chooses it, of another length than the server's."""
        return self.some(self.own_length + self.draw.randrange(1, 7))

    def senders(self, count: int) -> list[str]:
        """Return different senders, whose ports are different, too."""
        hosts = addresses(self.draw, count)
        return [f"{to_text(host)}:{port}" for host, port in zip(hosts, ports(self.draw, count), strict=True)]

    def long(self, number: bytes, kind: int = INITIAL, version: int = 1, size: int = 1200) -> bytes:
        """Return a datagram of `size` bytes that begins with a long header."""
        source = self.some(self.draw.randrange(8, 20))
        ids = bytes([len(number)]) + number + bytes([len(source)]) + source
        head = bytes([0xC0 | kind | self.draw.randrange(4)]) + version.to_bytes(4, "big") + ids
        return head + self.some(max(size - len(head), 0))

    def short(self, number: bytes, size: int = 0) -> bytes:
        """Return a datagram of `size` bytes, of 40 to 89 where it is 0, with a short header."""
        head = bytes([0x40 | self.draw.randrange(0x40)]) + number
        return head + self.some(max(size or self.draw.randrange(40, 90), len(head)) - len(head))


class Server(Packets):
    """The learner's server. With a seed others have sent to it before, so that the next name is not C1."""

    def __init__(self, submission: Submission, words: str) -> None:
        super().__init__(words)
        self._submission, self._opened = submission, 0
        self._seen: set[str] = set()
        submission.new("Server", self.own_length)
        if draw := varying(submission):
            for number in range(draw.randrange(4, 8)):
                sender = f"172.16.0.{number + 1}:{draw.randrange(1024, 49152)}"
                if draw.randrange(2):
                    self.open(sender)
                else:
                    datagram = self.long(self.chosen(), HANDSHAKE, size=draw.randrange(80, 1000))
                    self.deliver(datagram, sender, None, "rule 6: neither Initial nor short header")

    def deliver(self, datagram: bytes, sender: str, expected: str | None, hint: str) -> None:
        """Deliver a datagram, to which this must be the answer."""
        given = self.split(datagram)
        same(expected, hint, self._submission.call, "deliver", datagram, sender, given=given)

    def split(self, datagram: bytes) -> str:
        """Return the beginning of a datagram, up to the destination ID, field by field."""
        ends = [1, 1 + self.own_length]
        if datagram[:1] >= b"\x80" and len(datagram) > 5:
            ends = [1, 5, 6, 6 + datagram[5]]
        parts = [datagram[start:end].hex(" ") for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return " · ".join(filter(None, [*parts, "…" * (len(datagram) > ends[-1])]))

    def known(self, name: str, number: bytes, sender: str, hint: str) -> None:
        """Deliver a packet with a short header, which must reach its connection."""
        self.deliver(self.short(number), sender, name, hint)

    def open(self, sender: str, number: bytes = b"", hint: str = "") -> str:
        """Open a connection; return its name."""
        self._opened += 1
        name = f"C{self._opened}"
        hint = hint or (
            "the same sender, but another ID: another connection"
            if sender in self._seen
            else "a new ID of 8 bytes or more, in an Initial of 1,200 bytes or more, opens a connection"
        )
        self._seen.add(sender)
        self.deliver(self.long(number or self.chosen()), sender, name, hint)
        return name

    def issue(self, name: str) -> bytes:
        """Issue an ID for a connection, and return it."""
        number = self.own()
        hint = "the ID is new and has own_length bytes, and the connection is open"
        same(True, hint, self.call, "issue", name, number)
        return number

    def call(self, method: str, *arguments: object) -> object:
        """Call another method of the learner's server."""
        return self._submission.call(method, *arguments)

    def peer(self, name: str, expected: str | None, hint: str) -> None:
        """Ask where answers to a connection go."""
        same(expected, hint, self.call, "peer", name)


def same(
    expected: object, hint: str, ask: Callable[..., object], *arguments: object, given: str = ""
) -> None:
    """Ask the learner's code; also where it raised, the message has what was expected and a hint."""
    before = f"given {given}\n" if given else ""
    try:
        found = ask(*arguments)
    except SubmissionError as error:
        raise AssertionError(f"{before}expected {shown(expected)}, but {error}\nhint: {hint}") from None
    if found != expected:
        raise AssertionError(f"{before}expected {shown(expected)}, found {shown(found)}\nhint: {hint}")


def shown(value: object) -> str:
    """Return a value as the story writes those that the learner's code is called with."""
    return f"bytes {value.hex(' ')}" if isinstance(value, bytes) and value else repr(value)


def without_fixed_bit(datagram: bytes) -> bytes:
    """Return a datagram whose first byte has bit 0x40 = 0."""
    return bytes([datagram[0] & 0xBF]) + datagram[1:]


# destination_id


@pytest.mark.points(1)
def test_a_long_header_says_how_long_the_id_is(submission: Submission) -> None:
    packets = Packets("long")
    for length in (*packets.draw.sample(range(8, 21), 4), 0):
        number = packets.some(length)
        same(
            number,
            "byte 5 is the destination ID's length, which may be 0; the source ID comes after it",
            submission.function,
            "destination_id",
            packets.long(number),
            packets.own_length,
        )


@pytest.mark.points(1)
def test_a_short_header_has_an_id_of_the_servers_length(submission: Submission) -> None:
    packets = Packets("short")
    for length in packets.draw.sample(range(1, 21), 4):
        number = packets.some(length)
        same(
            number,
            "in a short header the ID begins at byte 1 and has own_length bytes",
            submission.function,
            "destination_id",
            packets.short(number),
            length,
        )


@pytest.mark.points(1)
def test_an_id_that_is_cut_off_is_none(submission: Submission) -> None:
    packets = Packets("cut")
    number, length = packets.own(), packets.own_length
    for whole, end in (packets.short(number), 1 + length), (packets.long(number), 6 + length):
        same(
            number,
            "the datagram ends where the ID ends: the ID is complete",
            submission.function,
            "destination_id",
            whole[:end],
            length,
        )
        for cut in (0, 1, 5, packets.draw.randrange(2, end - 1), end - 1):
            same(
                None,
                "the datagram ends before the ID",
                submission.function,
                "destination_id",
                whole[:cut],
                length,
            )


@pytest.mark.points(1)
def test_every_version_has_the_id_in_one_place(submission: Submission) -> None:
    packets = Packets("versions")
    for version in (0x6B3343CF, packets.draw.randrange(2, 1 << 32)):
        number = packets.some(packets.draw.randrange(21, 60))
        datagram = packets.long(number, version=version)
        same(
            number,
            "RFC 8999: other versions have it there, too, and may have longer ones",
            submission.function,
            "destination_id",
            datagram,
            packets.own_length,
        )


@pytest.mark.points(1)
def test_version_1_has_no_id_of_more_than_20_bytes(submission: Submission) -> None:
    packets = Packets("twenty")
    longest, longer = packets.some(20), packets.some(packets.draw.randrange(21, 60))
    for number, expected in (longest, longest), (longer, None):
        same(
            expected,
            "RFC 9000, section 17.2: 20 bytes are the most in version 1",
            submission.function,
            "destination_id",
            packets.long(number),
            packets.own_length,
        )


# Opening a connection


@pytest.mark.points(1)
def test_an_initial_opens_a_connection(submission: Submission) -> None:
    server = Server(submission, "initial")
    for sender in server.senders(3):
        server.open(sender)


@pytest.mark.points(1)
def test_a_repeated_initial_is_of_the_same_connection(submission: Submission) -> None:
    server = Server(submission, "repeated")
    home, other, moved, new = server.senders(4)
    first, second = server.chosen(), server.chosen()
    one, two = server.open(home, first), server.open(other, second)
    hint = "the client repeats its Initial, or goes on in another one: its ID is known by now"
    server.deliver(server.long(first), home, one, hint)
    server.deliver(server.long(second), moved, two, hint)
    handshake = server.long(first, HANDSHAKE, size=300)
    server.deliver(handshake, home, one, "any packet with a known ID is delivered")
    server.issue(one)
    server.deliver(handshake, home, one, "a further ID has been issued; the ID before it still belongs, too")
    like = first[:-1] + bytes([first[-1] ^ 1])
    server.open(new, like, "the whole ID counts: this one differs from a known one in its last byte alone")


@pytest.mark.points(1)
def test_only_an_initial_opens_a_connection(submission: Submission) -> None:
    server = Server(submission, "only")
    [sender] = server.senders(1)
    for kind in (HANDSHAKE, ZERO_RTT, RETRY):
        datagram = server.long(server.chosen(), kind)
        server.deliver(datagram, sender, None, "rule 6: neither Initial nor short header")
    server.open(sender)


@pytest.mark.points(1)
def test_an_initial_in_a_small_datagram_opens_nothing(submission: Submission) -> None:
    server = Server(submission, "small")
    [sender] = server.senders(1)
    for size in (server.draw.randrange(60, 1199), 1199):
        hint = "section 14.1: fewer than 1,200 bytes must not make the server send a large answer"
        server.deliver(server.long(server.chosen(), size=size), sender, None, hint)
    server.open(sender)


@pytest.mark.points(1)
def test_an_id_that_a_client_chooses_has_8_bytes_or_more(submission: Submission) -> None:
    server = Server(submission, "eight")
    [sender] = server.senders(1)
    for length in (0, server.draw.randrange(1, 7), 7):
        datagram = server.long(server.some(length))
        server.deliver(datagram, sender, None, "section 7.2: others could guess a shorter ID")
    server.open(sender, server.some(8), "an ID of 8 bytes is long enough, in a datagram of 1,200 bytes")


@pytest.mark.points(1)
def test_another_version_is_negotiated(submission: Submission) -> None:
    server = Server(submission, "negotiated")
    [sender] = server.senders(1)
    number, version = server.chosen(), server.draw.randrange(2, 1 << 32)
    large, small = (server.long(number, version=version, size=size) for size in (1200, 1199))
    server.deliver(large, sender, NEGOTIATION, "the server has version 1 only")
    like_1 = server.long(number, version=server.draw.randrange(1, 1 << 24) << 8 | 1)
    server.deliver(like_1, sender, NEGOTIATION, "the version has 4 bytes: 00 00 00 01 is version 1")
    server.deliver(small, sender, None, "rule 1: fewer than 1,200 bytes")
    handshake = server.long(number, HANDSHAKE, version=version)
    server.deliver(handshake, sender, NEGOTIATION, "rule 1: the four types are version 1's")
    zero = server.long(number, version=0)
    server.deliver(zero, sender, None, "version 0 is a version negotiation itself")
    hint = "rule 1 decides before rule 2: bit 0x40 is version 1's"
    server.deliver(without_fixed_bit(large), sender, NEGOTIATION, hint)
    server.open(sender, number)
    hint = "rule 1 decides before rule 3: the version is looked at before the ID"
    server.deliver(large, sender, NEGOTIATION, hint)


@pytest.mark.points(1)
def test_the_second_bit_is_1(submission: Submission) -> None:
    server = Server(submission, "fixed bit")
    [home] = server.senders(1)
    name = server.open(home)
    number = server.issue(name)
    whole = server.short(number)
    new, known = server.long(server.chosen()), server.long(number, HANDSHAKE, size=300)
    for datagram in (whole, new, known):
        server.deliver(without_fixed_bit(datagram), home, None, "rule 2: bit 0x40 is 0")
    for cut in (0, server.draw.randrange(1, 1 + server.own_length)):
        server.deliver(whole[:cut], home, None, "rule 2: there is no destination ID")
    server.deliver(whole, home, name, "rule 3: the ID is known")


# Addresses that change


@pytest.mark.points(2)
def test_two_connections_have_one_4_tuple(submission: Submission) -> None:
    server = Server(submission, "one 4-tuple")
    [sender] = server.senders(1)
    ids = {server.issue(name): name for name in (server.open(sender), server.open(sender))}
    for number in [*ids, *server.draw.choices([*ids], k=4)]:
        hint = "both connections come from the same address and port: only the ID tells them apart"
        server.known(ids[number], number, sender, hint)


@pytest.mark.points(2)
def test_a_nat_gives_the_client_another_port(submission: Submission) -> None:
    server = Server(submission, "rebinding")
    home, other = server.senders(2)
    address = home.split(":")[0]
    one, two = server.open(home), server.open(other)
    first, second = server.issue(one), server.issue(two)
    for port in ports(server.draw, 3):
        server.known(one, first, f"{address}:{port}", "the ID decides, whatever the port")
    server.known(two, second, home, "the NAT has given the first client's old port to the second one")


@pytest.mark.points(2)
def test_a_client_changes_its_network(submission: Submission) -> None:
    server = Server(submission, "network")
    home, *elsewhere = server.senders(4)
    name = server.open(home)
    ids = [server.issue(name) for _ in range(3)]
    server.known(name, ids[0], home, "the server has issued this ID")
    for number, sender in zip(ids, elsewhere, strict=True):
        server.known(name, number, sender, "an ID of this connection, from a new address")
    server.known(name, ids[0], home, "the client is back in its first network")


@pytest.mark.points(1)
def test_answers_go_to_the_last_sender(submission: Submission) -> None:
    server = Server(submission, "answers")
    home, mobile, stranger = server.senders(3)
    name = server.open(home)
    number = server.issue(name)
    server.peer(name, home, "the Initial came from there")
    server.deliver(server.long(number, HANDSHAKE, size=300), stranger, name, "rule 3: the ID is known")
    server.peer(name, stranger, "a datagram with a long header counts as any other")
    server.known(name, number, mobile, "an ID of this connection, from a new address")
    server.peer(name, mobile, "the last datagram of the connection came from there")
    server.deliver(server.short(server.own()), stranger, RESET, "no connection has this ID")
    server.peer(name, mobile, "a datagram that belongs to no connection changes nothing")
    server.peer("C99", None, "there is no such connection")


@pytest.mark.points(1)
def test_an_id_has_one_owner_and_the_servers_length(submission: Submission) -> None:
    server = Server(submission, "owner")
    home, other, elsewhere = server.senders(3)
    one, two = server.open(home), server.open(other)
    first, second = server.issue(one), server.issue(two)
    same(False, "the ID belongs to the other connection", server.call, "issue", one, second)
    same(False, "the ID belongs to this connection already", server.call, "issue", one, first)
    wrong = server.some(server.own_length + server.draw.choice((-1, 1)))
    same(False, "a short header says no length: all have own_length bytes", server.call, "issue", one, wrong)
    same(False, "there is no such connection", server.call, "issue", "C99", server.own())
    server.known(two, second, elsewhere, "nothing has changed: the ID still belongs to the second connection")
    server.known(one, first, elsewhere, "nothing has changed: the ID still belongs to the first connection")


@pytest.mark.points(2)
def test_a_retired_id_is_unknown(submission: Submission) -> None:
    server = Server(submission, "retired")
    home, mobile = server.senders(2)
    chosen = server.chosen()
    name = server.open(home, chosen)
    first, second = server.issue(name), server.issue(name)
    server.known(name, second, mobile, "an ID of this connection, from a new address")
    server.call("retire", name, first)
    hint = "the client has retired this ID; that the address is known does not help"
    server.deliver(server.short(first), home, RESET, hint)
    server.known(name, second, home, "only one of the two IDs was retired")
    server.call("retire", name, chosen)
    handshake = server.long(chosen, HANDSHAKE, size=300)
    server.deliver(handshake, home, None, "the client has retired the ID of its own choice as well")
    server.call("retire", name, second)
    server.peer(name, home, "all IDs are retired, and the connection is still open")
    server.known(name, server.issue(name), home, "the connection is still open: it has a new ID")


@pytest.mark.points(1)
def test_a_client_retires_only_its_own_ids(submission: Submission) -> None:
    server = Server(submission, "own ids")
    home, other, elsewhere = server.senders(3)
    one, two = server.open(home), server.open(other)
    first, second = server.issue(one), server.issue(two)
    server.call("retire", one, second)
    server.call("retire", one, server.own())
    server.known(two, second, elsewhere, "another connection's ID cannot be retired")
    server.known(one, first, elsewhere, "this ID was not retired")


# Unknown IDs


@pytest.mark.points(2)
def test_an_unknown_id_is_answered_with_a_reset(submission: Submission) -> None:
    server = Server(submission, "unknown")
    home, mobile = server.senders(2)
    name = server.open(home)
    number = server.issue(name)
    for sender in (home, mobile):
        hint = "no connection has this ID; a known sender does not change that"
        server.deliver(server.short(server.own()), sender, RESET, hint)
    server.known(name, number, mobile, "an ID of this connection, from a new address")


@pytest.mark.points(1)
def test_a_reset_is_shorter_than_what_it_answers(submission: Submission) -> None:
    server = Server(submission, "shorter")
    [sender] = server.senders(1)
    server.deliver(server.short(server.own(), 22), sender, RESET, "22 bytes: a reset of 21 is shorter")
    for size in (21, server.draw.randrange(server.own_length + 1, 21)):
        hint = "a reset has 21 bytes or more: two servers would answer each other's endlessly"
        server.deliver(server.short(server.own(), size), sender, None, hint)


@pytest.mark.points(2)
def test_a_closed_connection_has_no_ids(submission: Submission) -> None:
    server = Server(submission, "closed")
    home, other = server.senders(2)
    chosen = server.chosen()
    one, two = server.open(home, chosen), server.open(other)
    ids, second = [server.issue(one), server.issue(one)], server.issue(two)
    server.call("close", one)
    for number in ids:
        server.deliver(server.short(number), home, RESET, "the connection is closed: its IDs are forgotten")
    late = server.long(chosen, HANDSHAKE, size=300)
    server.deliver(late, home, None, "the ID that the client chose is forgotten as well")
    server.peer(one, None, "the connection is closed")
    same(False, "the connection is closed", server.call, "issue", one, server.own())
    server.known(two, second, home, "the other connection is still open")
    hint = "a new connection has a new name: no name is used twice"
    last = server.open(home, hint=hint)
    again = server.open(
        home, chosen, "the ID that the client chose is forgotten: an Initial may bring it again"
    )
    for name in (two, last, again):
        server.call("close", name)
    server.open(home, hint=hint)


# The balancer and the captures


@pytest.mark.points(2)
def test_a_balancer_reads_the_id(submission: Submission) -> None:
    packets = Packets("balancer")
    servers = packets.draw.randrange(3, 8)
    whatever_the_sender = "the ID's first byte modulo servers, whatever the sender"
    the_id_alone = "a balancer looks at the ID alone: at no type, no size, and no bit but 0x80"
    for sender in packets.senders(5):
        number = packets.own()
        asked = {
            packets.short(number): whatever_the_sender,
            packets.long(number, version=7, size=50): whatever_the_sender,
            packets.long(number, size=50): the_id_alone,
            without_fixed_bit(packets.short(number)): the_id_alone,
        }
        for datagram, hint in asked.items():
            arguments = datagram, sender, packets.own_length, servers
            same(number[0] % servers, hint, submission.function, "balance", *arguments)
    hints = {
        packets.short(b"", 1): "the datagram has no ID",
        packets.long(b"", size=50): "an ID of no bytes has no first byte",
    }
    for datagram, hint in hints.items():
        same(None, hint, submission.function, "balance", datagram, sender, packets.own_length, servers)


@pytest.mark.points(3)
def test_the_real_packets_reach_their_connections(submission: Submission) -> None:
    submission.new("Server", 8)
    delivered = 0
    for number, comment, segment in datagrams("16_real_quic"):
        name, *events = comment.split("; ")
        if segment.destination_port == 443:
            same(
                name,
                f"frame {number} of captures/16_real_quic.pcapng, whose comment says it",
                submission.call,
                "deliver",
                segment.payload,
                sender_of(segment),
            )
            delivered += 1
        for event in events:
            for each in re.findall("[0-9a-f]{16}", event):
                submission.call(event.split()[0].removesuffix("s"), name, bytes.fromhex(each))
        if "closes" in events:
            submission.call("close", name)
    assert delivered > 10


@pytest.mark.points(2)
def test_the_reference_capture_is_demultiplexed(submission: Submission) -> None:
    frames = list(datagrams("16_when_the_4_tuple_changes"))
    server = frames[0][2].destination
    submission.new("Server", 8)
    for (number, _, segment), (_, _, answer) in zip(frames, [*frames[1:], frames[0]], strict=True):
        if segment.destination != server:
            continue
        reset = answer.source == server and answer.payload[0] & 0x80 == 0
        hint = f"frame {number} of the reference capture: the next frame shows what the server did"
        same(RESET if reset else "C1", hint, submission.call, "deliver", segment.payload, sender_of(segment))
        if segment.payload[0] & 0x80:
            for each in ("00a1a1a1a1a1a1a1", "00b2b2b2b2b2b2b2"):
                submission.call("issue", "C1", bytes.fromhex(each))


def datagrams(name: str) -> Iterator[tuple[int, str, UDPDatagram]]:
    """Yield the UDP datagrams of a capture, with their frames' numbers and comments."""
    with Capture(CAPTURES / f"{name}.pcapng") as capture:
        for frame in capture:
            segment = udp.read(ipv4.read(frame.data))
            if isinstance(segment, UDPDatagram):
                yield frame.number, frame.comment, segment


def sender_of(segment: UDPDatagram) -> str:
    """Return the sender of a datagram as the exercise names it."""
    return f"{to_text(segment.source)}:{segment.source_port}"
