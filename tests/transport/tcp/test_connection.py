"""TCP as packet scripts: a crafted peer against one connection, in virtual time."""

import errno

import pytest

from demuxlab.fast.path import FastPath
from demuxlab.host import Host
from demuxlab.transport.tcp.path_mtu import Probing
from demuxlab.transport.tcp.states import State
from demuxlab.transport.tcp.time_wait import MAXIMUM_SEGMENT_LIFETIME
from demuxlab.wire import icmp, ip, packet, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import TCPSegment, flag_letters

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")
PLAIN = tcp.Options(mss=1460)
PEER_FIRST = 5000
"""The crafted peer's initial sequence number."""


@pytest.fixture(params=["readable way", "fast path"], autouse=True)
def way(request, monkeypatch):
    """By the readable way and by the fast path, with header prediction, everything is the same."""
    monkeypatch.setattr(Peer, "fast", request.param == "fast path")


class Peer:
    """A crafted peer at A:9157; `server` is our side at B:80. `send` returns what our side answered."""

    fast = False
    round_trip = 0.0
    """Seconds that the handshake's round trip takes."""

    def __init__(self, options=PLAIN, window=65535, tune=None):
        self.host = Host("B", ["10.9.0.20"])
        self.now = 100.0
        self.listener = self.host.tcp_endpoint()
        if tune:
            tune(self.listener.settings)
        self.listener.bind(B, 80)
        self.listener.listen(8)
        self.window = window
        self.sequence = PEER_FIRST
        self.acknowledgment = 0
        [syn_ack] = self.send("S", options=options, ack=None)
        assert flag_letters(syn_ack.flags) == "SA"
        assert syn_ack.acknowledgment == PEER_FIRST + 1
        self.syn_ack = syn_ack
        self.first = self.acknowledgment = syn_ack.sequence + 1 & 0xFFFFFFFF
        self.sequence += 1
        self.now += self.round_trip
        assert self.send("A") == []
        self.server = self.listener.accept()

    def send(self, flags, data=b"", *, seq=None, ack=0, window=None, options=None):
        """Send a segment `seq` and `ack` bytes beyond the usual numbers; return the answers."""
        segment = tcp.build(
            *(A, B, 9157, 80, data),
            sequence=(self.sequence + (seq or 0)) & 0xFFFFFFFF,
            acknowledgment=0 if ack is None else (self.acknowledgment + ack) & 0xFFFFFFFF,
            flags=sum(1 << "FSRPAU".index(letter) for letter in flags),
            window=self.window if window is None else window,
            options=tcp.build_options(options) if options else b"",
        )
        if self.fast:
            path = FastPath(self.host)
            path.receive(packet.build(A, B, ip.TCP, segment), self.now)
            path.end_batch(self.now)
        else:
            self.host.receive(packet.build(A, B, ip.TCP, segment), self.now)
        return self.sent()

    def sent(self):
        arrivals = [packet.read(data) for data in self.host.packets(self.now)]
        return [arrival for arrival in arrivals if isinstance(arrival, TCPSegment)]

    def wait(self, seconds):
        """Let time pass, timer by timer; return everything that is sent meanwhile, with its time."""
        end, out = self.now + seconds, []
        while self.host.next_tick <= end:
            self.now = max(self.now, self.host.next_tick)
            self.host.tick(self.now)
            out += [(round(self.now - end + seconds, 3), segment) for segment in self.sent()]
        self.now = end
        return out

    def write(self, data):
        self.server.write(data, self.now)
        return self.sent()

    def brief(self, segments):
        """Return segments as (flags, number from the first data byte on, size, acknowledged peer bytes)."""
        return [
            (
                flag_letters(s.flags),
                (s.sequence - self.first) & 0xFFFFFFFF,
                len(s.payload),
                s.acknowledgment - PEER_FIRST - 1,
            )
            for s in segments
        ]


def timestamps(value, echo=0, **more):
    return tcp.Options(timestamps=(value, echo), **more)


# How it ends


def test_the_peer_closes_first():
    peer = Peer()
    assert peer.brief(peer.send("FA")) == [("A", 0, 0, 1)]
    peer.sequence += 1
    assert peer.server.read(1, peer.now) == b""
    assert peer.server.state is State.CLOSE_WAIT
    assert peer.brief(peer.write(b"bye")) == [("PA", 0, 3, 1)]
    peer.server.close(peer.now)
    assert peer.brief(peer.sent()) == [("FA", 3, 0, 1)]
    assert peer.server.state is State.LAST_ACK
    peer.send("A", ack=4)
    assert peer.server.state is State.CLOSED
    assert len(peer.host.demultiplexer.table) == 1


def test_we_close_first_and_wait_for_two_segment_lifetimes():
    peer = Peer()
    peer.server.close(peer.now)
    assert peer.brief(peer.sent()) == [("FA", 0, 0, 0)]
    peer.send("A", ack=1)
    assert peer.server.state is State.FIN_WAIT_2
    assert peer.brief(peer.send("FA", ack=1)) == [("A", 1, 0, 1)]
    assert peer.server.state is State.TIME_WAIT
    assert len(peer.host.demultiplexer.table) == 2
    peer.wait(2 * MAXIMUM_SEGMENT_LIFETIME)
    assert len(peer.host.demultiplexer.table) == 1


def test_both_close_at_once():
    peer = Peer()
    peer.server.close(peer.now)
    peer.sent()
    assert peer.brief(peer.send("FA")) == [("A", 1, 0, 1)]
    assert peer.server.state is State.CLOSING
    peer.sequence += 1
    peer.send("A", ack=1)
    assert peer.server.state is State.TIME_WAIT


def test_half_closed_the_other_direction_still_carries_data():
    peer = Peer()
    peer.server.shutdown_write(peer.now)
    assert peer.brief(peer.sent()) == [("FA", 0, 0, 0)]
    assert peer.brief(peer.send("PA", b"more", ack=1)) == [("A", 1, 0, 4)]
    assert peer.server.read(10, peer.now) == b"more"
    with pytest.raises(BrokenPipeError):
        peer.server.write(b"x", peer.now)


def test_closing_with_data_unread_resets():
    peer = Peer()
    peer.send("PA", b"never read")
    peer.server.close(peer.now)
    assert [kind for kind, *_ in peer.brief(peer.sent())] == ["RA"]


def test_data_for_a_closed_socket_is_reset():
    peer = Peer()
    peer.server.close(peer.now)
    peer.sent()
    answers = peer.brief(peer.send("PA", b"too late", ack=1))
    assert [kind for kind, *_ in answers] == ["R"]


def test_linger_zero_resets():
    peer = Peer()
    peer.server.settings.linger = 0
    peer.server.close(peer.now)
    assert [kind for kind, *_ in peer.brief(peer.sent())] == ["RA"]


def test_simultaneous_open():
    host = Host("B", ["10.9.0.20"])
    client = host.tcp_endpoint()
    client.bind(B, 80)
    client.connect(A, 9157, 0.0)
    [syn] = [packet.read(data) for data in host.packets(0.0)]
    crossing = tcp.build(A, B, 9157, 80, sequence=5000, flags=2, window=1000)
    host.receive(packet.build(A, B, ip.TCP, crossing), 0.0)
    [syn_ack] = [packet.read(data) for data in host.packets(0.0)]
    assert flag_letters(syn_ack.flags) == "SA"
    assert (syn_ack.sequence, syn_ack.acknowledgment) == (syn.sequence, 5001)
    ack = tcp.build(
        A, B, 9157, 80, sequence=5001, acknowledgment=syn.sequence + 1 & 0xFFFFFFFF, flags=16, window=1000
    )
    host.receive(packet.build(A, B, ip.TCP, ack), 0.0)
    assert client.state is State.ESTABLISHED


def test_simultaneous_open_with_crossing_syn_acks():
    # RFC 9293, section 3.5, figure 7: the peer's SYN,ACK repeats a SYN that we have; its ACK is new.
    host = Host("B", ["10.9.0.20"])
    client = host.tcp_endpoint()
    client.bind(B, 80)
    client.connect(A, 9157, 0.0)
    [syn] = [packet.read(data) for data in host.packets(0.0)]
    for flags, number in ((2, 0), (18, syn.sequence + 1)):
        crossing = tcp.build(
            A, B, 9157, 80, sequence=5000, acknowledgment=number & 0xFFFFFFFF, flags=flags, window=1000
        )
        host.receive(packet.build(A, B, ip.TCP, crossing), 0.0)
        [answer] = [packet.read(data) for data in host.packets(0.0)]
    assert client.state is State.ESTABLISHED
    assert (flag_letters(answer.flags), answer.acknowledgment) == ("A", 5001)


# Opening


def test_a_connect_nobody_answers_is_tried_again_and_given_up():
    host = Host("B", ["10.9.0.20"])
    client = host.tcp_endpoint()
    client.connect(A, 80, 0.0)
    times = [0.0] * len(list(host.packets(0.0)))
    while host.next_tick < 1000:
        now = host.next_tick
        host.tick(now)
        times += [now] * len(list(host.packets(now)))
    assert times == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0]
    assert client.take_error() == errno.ETIMEDOUT


@pytest.mark.parametrize(
    ("flags", "shift", "refused"), [("RA", 1, True), ("RA", 2, False), ("R", 1, False), ("A", 2, False)]
)
def test_only_a_reset_of_our_own_syn_refuses(flags, shift, refused):
    host = Host("B", ["10.9.0.20"])
    client = host.tcp_endpoint()
    client.connect(A, 80, 0.0)
    [syn] = [packet.read(data) for data in host.packets(0.0)]
    answer = tcp.build(
        *(A, B, 80, syn.source_port),
        acknowledgment=syn.sequence + shift & 0xFFFFFFFF,
        flags=sum(1 << "FSRPA".index(letter) for letter in flags),
    )
    host.receive(packet.build(A, B, ip.TCP, answer), 0.0)
    assert (client.take_error() == errno.ECONNREFUSED) is refused
    assert client.connecting is not refused


def test_a_repeated_syn_gets_the_syn_ack_again():
    peer = Peer.__new__(Peer)
    peer.host, peer.now, peer.window, peer.sequence, peer.acknowledgment = (
        Host("B", ["10.9.0.20"]),
        0.0,
        100,
        PEER_FIRST,
        0,
    )
    peer.host.listen(80)
    first, second = peer.send("S"), peer.send("S")
    assert len(first) == len(second) == 1
    assert first[0].sequence == second[0].sequence


# RFC 5961 and what else must not be believed


@pytest.mark.parametrize(
    ("flags", "seq", "ack", "data", "answer"),
    [
        ("S", 0, 0, b"", "challenge"),
        ("SA", 10, 0, b"", "challenge"),
        ("R", 1, 0, b"", "challenge"),
        ("R", -1, 0, b"", None),
        ("R", 500_000, 0, b"", None),
        ("PA", -10, 0, b"old data", "challenge"),
        ("PA", 500_000, 0, b"far", "challenge"),
        ("A", 0, 1, b"", "challenge"),
        ("A", 0, -100_000, b"", "challenge"),
        ("", 0, None, b"no ACK", None),
        ("P", 0, None, b"no ACK", None),
    ],
)
def test_what_is_challenged_and_what_is_passed_over(flags, seq, ack, data, answer):
    peer = Peer()
    expected = [("A", 0, 0, 0)] if answer else []
    assert peer.brief(peer.send(flags, data, seq=seq, ack=ack)) == expected
    assert peer.server.state is State.ESTABLISHED
    assert peer.server.read(10, peer.now) is None


def test_an_exact_reset_ends_the_connection():
    peer = Peer()
    assert peer.send("R") == []
    with pytest.raises(ConnectionResetError):
        peer.server.read(1, peer.now)
    assert peer.server.read(1, peer.now) == b""
    with pytest.raises(BrokenPipeError):
        peer.server.write(b"x", peer.now)


def test_challenges_are_few():
    peer = Peer()
    assert sum(len(peer.send("S")) for _ in range(1000)) == 10
    peer.wait(1.0)
    assert len(peer.send("S")) == 1


def test_a_forged_icmp_error_changes_nothing_and_a_true_one_makes_segments_smaller():
    peer = Peer()
    [segment] = peer.write(bytes(1460))
    for shift, sizes in ((100_000, []), (0, [1236, 224])):
        quoted = bytearray(segment.packet[:28])
        quoted[24:28] = (segment.sequence + shift & 0xFFFFFFFF).to_bytes(4, "big")
        message = icmp.build(A, B, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, 1276, bytes(quoted))
        peer.host.receive(packet.build(A, B, ip.ICMP, message), peer.now)
        assert [len(again.payload) for again in peer.sent()] == sizes
    assert peer.server.mss == 1236


# Receiving


def test_early_data_waits_for_the_gap_to_close_and_is_reported_by_sack():
    peer = Peer(tcp.Options(mss=1460, sack_permitted=True))
    [answer] = peer.send("PA", b"cc", seq=4)
    assert tcp.read_options(answer.options).sack == ((PEER_FIRST + 5, PEER_FIRST + 7),)
    [answer] = peer.send("PA", b"ee", seq=8)
    assert tcp.read_options(answer.options).sack == (
        (PEER_FIRST + 9, PEER_FIRST + 11),
        (PEER_FIRST + 5, PEER_FIRST + 7),
    )
    assert peer.server.read(10, peer.now) is None
    assert peer.brief(peer.send("PA", b"aabb")) == [("A", 0, 0, 6)]
    assert peer.brief(peer.send("PA", b"dd", seq=6)) == [("A", 0, 0, 10)]
    assert peer.server.read(100, peer.now) == b"aabbccddee"


def test_a_fin_takes_a_number_of_the_peer_s_window():
    peer = Peer(window=10)
    assert peer.brief(peer.write(b"hello")) == [("PA", 0, 5, 0)]
    assert peer.write(b"again") == []  # Nagle's algorithm
    peer.server.close(peer.now)
    assert peer.brief(peer.sent()) == [("PA", 5, 5, 0)]
    assert peer.brief(peer.send("A", ack=10)) == [("FA", 10, 0, 0)]


def test_a_fin_that_comes_early_waits_too():
    peer = Peer()
    peer.send("FPA", b"end", seq=3)
    assert peer.server.state is State.ESTABLISHED
    assert peer.brief(peer.send("PA", b"the")) == [("A", 0, 0, 7)]
    assert peer.server.state is State.CLOSE_WAIT
    assert peer.server.read(100, peer.now) == b"theend"


def test_overlapping_and_repeated_data_is_taken_once():
    peer = Peer()
    for seq, data in ((2, b"cde"), (0, b"abc"), (0, b"abcdefg"), (4, b"efgh"), (-3, b"xyzabcdefghi")):
        peer.send("PA", data, seq=seq)
    assert peer.server.read(100, peer.now) == b"abcdefghi"


def test_a_server_that_never_reads_closes_its_window_and_keeps_no_more():
    peer = Peer(tune=lambda settings: setattr(settings, "receive_buffer", 10_000))
    answers = []
    for _ in range(20):
        answers = peer.send("PA", bytes(1000)) or answers
        peer.sequence += 1000
    assert answers[-1].window == 0
    assert answers[-1].acknowledgment == PEER_FIRST + 1 + 10_000
    peer.sequence = PEER_FIRST + 1 + 10_000
    assert len(peer.server.read(10_000, peer.now)) == 10_000
    [update] = peer.sent()
    assert update.window == 10_000
    assert peer.server.read(1, peer.now) is None


def test_the_window_opens_by_whole_segments_only():
    peer = Peer(tune=lambda settings: setattr(settings, "receive_buffer", 10_000))
    peer.send("PA", bytes(10_000))
    peer.server.read(1000, peer.now)
    assert peer.sent() == []
    peer.server.read(4000, peer.now)
    assert [segment.window for segment in peer.sent()] == [5000]


def test_reading_tells_of_the_window_only_when_it_grows_by_half():
    peer = Peer(tune=lambda settings: setattr(settings, "receive_buffer", 50_000))
    for _ in range(4):
        answers = peer.send("PA", bytes(10_000))
        peer.sequence += 10_000
    assert [segment.window for segment in answers] == [10_000]
    updates = []
    for _ in range(4):
        peer.server.read(10_000, peer.now)
        updates.append([segment.window for segment in peer.sent()])
    assert updates == [[20_000], [30_000], [], [50_000]]


def test_paws_refuses_old_timestamps():
    peer = Peer(timestamps(1000, mss=1460))
    peer.send("PA", b"a", options=timestamps(1010))
    peer.sequence += 1
    answers = peer.send("PA", b"b", options=timestamps(1005))
    assert peer.brief(answers) == [("A", 0, 0, 1)]
    assert tcp.read_options(answers[0].options).timestamps[1] == 1010
    peer.send("PA", b"c", options=timestamps(1010))
    assert peer.server.read(10, peer.now) == b"ac"


def test_acknowledgments_are_quick_at_first_and_delayed_later():
    peer = Peer()
    for _ in range(16):
        assert len(peer.send("PA", b"x")) == 1
        peer.sequence += 1
    assert peer.send("PA", b"x") == []
    peer.sequence += 1
    [(after, ack)] = peer.wait(1.0)
    assert after == pytest.approx(0.04)
    assert ack.acknowledgment == PEER_FIRST + 18
    assert peer.send("A", bytes(1460)) == []
    peer.sequence += 1460
    assert len(peer.send("A", bytes(1460))) == 1


def test_an_acknowledgment_travels_with_data_where_there_is_some():
    peer = Peer()
    for _ in range(16):
        peer.send("PA", b"x")
        peer.sequence += 1
    peer.send("PA", b"?")
    assert peer.brief(peer.write(b"!")) == [("PA", 0, 1, 17)]
    assert [segment for _, segment in peer.wait(0.1)] == []


# Sending


def test_nagle_holds_small_segments_back_and_nodelay_does_not():
    peer = Peer()
    assert peer.brief(peer.write(b"a")) == [("PA", 0, 1, 0)]
    assert peer.write(b"b") == []
    assert peer.write(b"c") == []
    assert peer.brief(peer.send("A", ack=1)) == [("PA", 1, 2, 0)]
    peer.server.nodelay = True
    assert peer.brief(peer.write(b"d")) == [("PA", 3, 1, 0)]


def test_a_lost_segment_is_sent_again_later_and_later():
    peer = Peer()
    peer.write(b"hello")
    again = peer.wait(10.0)
    assert [round(after, 1) for after, _ in again] == [0.2, 0.6, 1.4, 3.0, 6.2]
    assert set(peer.brief([segment for _, segment in again])) == {("PA", 0, 5, 0)}
    peer.send("A", ack=5)
    assert peer.wait(100.0) == []


def test_an_acknowledgment_ends_the_backing_off():
    peer = Peer()
    peer.write(b"hello")
    peer.wait(2.0)
    peer.send("A", ack=5)
    peer.acknowledgment += 5
    peer.write(b"again")
    peer.now += 0.1
    peer.send("A", ack=5)
    peer.write(b"third")
    assert peer.server.info()["tcpi_backoff"] == 0


def test_what_was_sent_twice_measures_no_round_trip():
    peer = Peer()
    peer.write(b"hello")
    before = peer.server.info()["tcpi_rtt"]
    peer.wait(5.0)
    peer.send("A", ack=5)
    assert peer.server.info()["tcpi_rtt"] == before


def test_ten_segments_leave_before_the_first_acknowledgment():
    peer = Peer(tcp.Options(mss=1460, window_scale=7))
    assert len(peer.write(bytes(100_000))) == 10
    assert len(peer.send("A", ack=2920)) == 4


def test_what_is_never_acknowledged_is_given_up():
    peer = Peer()
    peer.write(b"hello")
    peer.wait(2000.0)
    with pytest.raises(TimeoutError):
        peer.server.read(1, peer.now)


def test_the_user_timeout_gives_up_sooner():
    peer = Peer(tune=lambda settings: setattr(settings, "user_timeout", 5.0))
    peer.write(b"hello")
    peer.wait(8.0)
    assert peer.server.take_error() == errno.ETIMEDOUT


def test_three_duplicates_bring_a_fast_retransmission():
    peer = Peer()
    peer.write(bytes(1460 * 6))
    assert [peer.brief(peer.send("A")) for _ in range(2)] == [[], []]
    assert peer.brief(peer.send("A")) == [("A", 0, 1460, 0)]
    assert peer.brief(peer.send("A", ack=1460 * 2))[:1] == [("A", 1460 * 2, 1460, 0)]


def test_sack_tells_exactly_what_is_missing(monkeypatch):
    monkeypatch.setattr(Peer, "round_trip", 0.1)
    peer = Peer(tcp.Options(mss=1460, sack_permitted=True))
    peer.write(bytes(1460 * 8))
    start = peer.first
    peer.now += 0.1

    def block(left, right):
        return tcp.Options(sack=((start + left * 1460 & 0xFFFFFFFF, start + right * 1460 & 0xFFFFFFFF),))

    assert peer.send("A", options=block(1, 2)) == []
    assert peer.send("A", options=block(1, 3)) == []
    assert peer.brief(peer.send("A", options=block(1, 4))) == [("A", 0, 1460, 0)]
    replies = peer.send("A", options=block(1, 8))
    assert replies == []
    assert peer.brief(peer.send("A", ack=1460 * 8)) == []


def test_a_closed_window_is_probed_and_opens():
    peer = Peer()
    peer.send("A", window=0)
    assert peer.write(b"waiting") == []
    probes = peer.wait(8.0)
    assert [round(after, 1) for after, _ in probes] == [0.2, 0.6, 1.4, 3.0, 6.2]
    assert {(s.sequence - peer.first) & 0xFFFFFFFF for _, s in probes} == {0xFFFFFFFF}
    assert peer.brief(peer.send("A", window=1000)) == [("PA", 0, 7, 0)]


def test_a_window_too_small_for_a_segment_is_used_after_a_while():
    peer = Peer()
    peer.send("PA", b"x")
    peer.send("A", window=100, seq=1)
    assert peer.write(bytes(1000)) == []
    [(after, segment), *_] = peer.wait(1.5)
    assert (round(after, 1), len(segment.payload)) == (0.2, 100)


def test_the_send_buffer_is_bounded():
    peer = Peer(tune=lambda settings: setattr(settings, "send_buffer", 20_000))
    assert peer.server.write(bytes(100_000), peer.now) == 20_000
    assert not peer.server.writable
    assert peer.server.write(b"x", peer.now) == 0
    peer.sent()
    peer.send("A", ack=14_600)
    assert peer.server.writable


def test_keepalive_finds_a_peer_that_is_gone():
    def tune(settings):
        settings.keepalive, settings.keepalive_idle = True, 60.0
        settings.keepalive_interval, settings.keepalive_probes = 10.0, 3

    peer = Peer(tune=tune)
    sent = peer.wait(200.0)
    assert [after for after, _ in sent] == [60.0, 70.0, 80.0, 90.0]
    assert [flag_letters(segment.flags) for _, segment in sent] == ["A", "A", "A", "RA"]
    assert peer.server.take_error() == errno.ETIMEDOUT


def test_keepalive_leaves_a_peer_that_answers_alone():
    def tune(settings):
        settings.keepalive, settings.keepalive_idle = True, 60.0
        settings.keepalive_interval, settings.keepalive_probes = 10.0, 1

    peer = Peer(tune=tune)
    for _ in range(5):
        assert len(peer.wait(60.0)) == 1
        peer.send("A")
    assert peer.server.connected


def test_a_partial_acknowledgment_sends_the_next_hole_whatever_the_congestion_window():
    # RFC 6582, section 3.2, step 3.
    peer = Peer(options=tcp.Options(mss=1000))
    peer.write(bytes(5000))
    for _ in range(3):
        answers = peer.send("A")
    assert [number for _, number, *_ in peer.brief(answers)][:1] == [0]
    assert peer.brief(peer.send("A", ack=1000))[0][1:3] == (1000, 1000)


def test_push_stays_on_a_segment_that_is_sent_again():
    peer = Peer()
    peer.server.nodelay = True
    assert peer.brief(peer.write(b"one")) == [("PA", 0, 3, 0)]
    peer.write(b"two")
    # The window is one segment after a timeout, and a small one takes its place.
    assert peer.brief([segment for _, segment in peer.wait(0.3)]) == [("PA", 0, 3, 0)]
    assert peer.brief(peer.send("A", ack=3)) == [("PA", 3, 3, 0)]


def test_reading_sends_no_window_update_that_the_header_could_not_tell():
    # Without window scaling no window is larger than 65,535, however large the buffer.
    peer = Peer(tune=lambda settings: setattr(settings, "quickack", False))
    assert peer.send("PA", bytes(100)) == []
    assert len(peer.server.read(100, peer.now)) == 100
    assert peer.sent() == []


# TIME-WAIT


def time_wait(options=PLAIN):
    peer = Peer(options)
    peer.server.close(peer.now)
    peer.sent()
    extra = {"options": timestamps(20)} if options.timestamps else {}
    peer.send("FA", ack=1, **extra)
    assert peer.server.state is State.TIME_WAIT
    peer.sequence += 1
    peer.acknowledgment += 1
    return peer


def test_time_wait_repeats_the_last_ack():
    peer = time_wait()
    assert peer.brief(peer.send("FA", seq=-1)) == [("A", 1, 0, 1)]
    assert peer.brief(peer.send("PA", b"old", seq=-10)) == [("A", 1, 0, 1)]
    assert peer.brief(peer.send("S", seq=-100)) == [("A", 1, 0, 1)]


def test_a_newer_syn_opens_a_new_connection():
    peer = time_wait()
    [syn_ack] = peer.send("S", seq=100_000)
    assert flag_letters(syn_ack.flags) == "SA"


def test_a_syn_with_a_newer_timestamp_does_too():
    peer = time_wait(timestamps(10, mss=1460))
    [syn_ack] = peer.send("S", seq=-100, options=timestamps(21))
    assert flag_letters(syn_ack.flags) == "SA"


def test_an_exact_reset_ends_time_wait():
    peer = time_wait()
    peer.send("R", seq=1)
    assert len(peer.host.demultiplexer.table) == 2
    peer.send("R")
    assert len(peer.host.demultiplexer.table) == 1


# SYN flood


def test_when_the_backlog_is_full_cookies_let_true_clients_in():
    host = Host("B", ["10.9.0.20"])
    listener = host.tcp_endpoint()
    listener.bind(B, 80)
    listener.listen(64)
    for number in range(5000):
        source = from_text(f"10.66.{number >> 8}.{number & 255}")
        syn = tcp.build(source, B, 1024, 80, sequence=number, flags=2, window=1000)
        host.receive(packet.build(source, B, ip.TCP, syn), 1.0)
    assert len(list(host.packets(1.0))) == 5000
    assert len(host.demultiplexer.table) <= 1 + 256
    options = tcp.build_options(tcp.Options(1460, 5, True, (77, 0)))
    syn = tcp.build(A, B, 9157, 80, sequence=PEER_FIRST, flags=2, window=1000, options=options)
    host.receive(packet.build(A, B, ip.TCP, syn), 1.0)
    [syn_ack] = [packet.read(data) for data in host.packets(1.0)]
    echo = tcp.read_options(syn_ack.options).timestamps[0]
    for shift in (5, 0):
        ack = tcp.build(
            *(A, B, 9157, 80, b"GET /"),
            sequence=PEER_FIRST + 1,
            acknowledgment=syn_ack.sequence + 1 + shift & 0xFFFFFFFF,
            flags=0x18,
            window=500,
            options=tcp.build_options(timestamps(78, echo)),
        )
        host.receive(packet.build(A, B, ip.TCP, ack), 1.5)
        replies = [flag_letters(packet.read(data).flags) for data in host.packets(1.5)]
        assert replies == (["R"] if shift else ["A"])
    server = listener.accept()
    assert server.read(100, 1.5) == b"GET /"
    fields = server.info()
    assert (fields["tcpi_snd_wscale"], fields["tcpi_snd_wnd"], fields["tcpi_options"]) == (5, 500 << 5, 7)


def test_a_closed_window_is_probed_but_not_for_ever_where_nobody_answers():
    # A peer that is gone looks like one whose window stays shut, until nobody answers the probes.
    peer = Peer(window=0)
    assert peer.write(b"data") == []
    probes = peer.wait(3600)
    assert len(probes) == 15
    assert peer.server.take_error() == errno.ETIMEDOUT
    assert peer.host.next_tick == float("inf")


@pytest.mark.parametrize("closed", [False, True])
def test_a_peer_that_answers_probes_holds_only_what_somebody_owns(closed):
    peer = Peer(window=0)
    peer.write(b"data")
    if closed:
        peer.server.close(peer.now)
    for _ in range(60):
        peer.wait(60)
        peer.send("A")
    assert (peer.server.state is State.CLOSED) is closed
    assert len(peer.host.demultiplexer.table) == (1 if closed else 2)


def test_data_behind_the_peer_s_own_fin_is_no_part_of_the_stream():
    # Nothing follows a FIN: early data beyond it must not be joined on.
    peer = Peer()
    for early in (10, 30):
        peer.send("A", b"beyond the end", seq=early)
    [ack] = peer.send("FA", b"0123456789ab")
    assert ack.acknowledgment == PEER_FIRST + 1 + 12 + 1
    assert peer.server.state is State.CLOSE_WAIT
    assert peer.server.read(100, peer.now) == b"0123456789ab"
    assert peer.server.read(100, peer.now) == b""


# A peer that answers is alive


def without_timestamps(settings):
    """Without timestamps, so that nothing measures the round trip of what was sent twice; nor are segments
    made smaller after timeouts."""
    settings.timestamps = False
    settings.mtu_probing = Probing.NEVER


def test_a_peer_that_takes_its_window_back_and_answers_is_alive():
    # RFC 9293, section 3.8.6: MUST-37, SHLD-17.
    peer = Peer(tune=without_timestamps)
    peer.write(bytes(1000))
    for _ in range(40):
        [*_, (_, again)] = peer.wait(61.0)
        assert len(again.payload) == 1000
        assert peer.send("A", window=0) == []
    assert peer.server.connected
    peer.wait(200.0)
    with pytest.raises(TimeoutError):
        peer.server.write(b"x", peer.now)


def test_answered_window_probes_leave_all_retransmissions_to_the_data_that_follows():
    peer = Peer(tune=without_timestamps)
    peer.write(bytes(100))
    peer.send("A", ack=100, window=0)
    peer.write(bytes(100))
    for _ in range(20):
        assert peer.brief([probe for _, probe in peer.wait(61.0)])[-1] == ("A", 99, 0, 0)
        peer.send("A", ack=100, window=0)
    assert peer.brief(peer.send("A", ack=100)) == [("PA", 100, 100, 0)]
    [(_, again), *more] = peer.wait(1.0)
    assert peer.brief([again]) == [("PA", 100, 100, 0)], "after one timeout, not after its 2^20th"
    assert more
    assert peer.server.connected


@pytest.mark.parametrize("window", [0, 65535])
def test_the_user_timeout_counts_whether_the_window_is_open_or_closed(window):
    peer = Peer(tune=lambda settings: setattr(settings, "user_timeout", 2.0))
    peer.write(bytes(100))
    peer.send("A", ack=100, window=window)
    peer.write(bytes(100))
    for _ in range(3):
        peer.wait(0.6)
        if window == 0:
            peer.send("A", ack=100, window=0)
    assert peer.server.connected
    peer.wait(0.6)
    assert peer.server.failed
    assert peer.server.take_error() == errno.ETIMEDOUT
