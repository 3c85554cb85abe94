"""Random scenarios of one kind each: loss, long paths, windows, several connections, UDP, ICMP, addresses.

`random_scripts` brings a connection into any state and does anything there; these go where that seldom leads,
and look at congestion control and timeouts, by TCP_INFO, after each step.
"""

from collections.abc import Callable, Sequence

from demuxlab.drill.lockstep import INFO, LONG_PAUSE, PAUSE, ROUND_TRIP
from demuxlab.drill.story import CONNECT, LISTEN, Story

_MSS = 1000
_SYN = "< S 0:0(0) win 65535 <mss 1000,sackOK>"
_SYN_ACK = "< S. 0:0(0) ack 1 win 65535 <mss 1000,sackOK>"
_ACK = "< . 1:1(0) ack 1 win 65535"
_NODELAY = "setsockopt({socket}, SOL_TCP, TCP_NODELAY, [1], 4)"
_COOKIES = 0.2
"""How many of the SYNs ask for a cookie (RFC 7413)."""
_UDP = (
    "socket(..., SOCK_DGRAM, IPPROTO_UDP)",
    "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)",
    "bind(3, ..., ...)",
)
_SPECIAL = ("224.0.0.1", "239.1.2.3", "255.255.255.255")
_ICMP = (
    "unreachable net_unreachable",
    "unreachable host_unreachable",
    "unreachable port_unreachable",
    "unreachable protocol_unreachable",
    "unreachable admin_prohibited",
    "time_exceeded",
)


def _accepted(story: Story, *, sacks: bool | None = None, pause: str = "") -> None:
    """Open a connection passively; `pause` lies between the SYN,ACK and its ACK."""
    if sacks is None:
        sacks = story.random.random() < 0.7
    story.peer.sacks = sacks
    story.do(*LISTEN, _SYN if sacks else _SYN.replace(",sackOK", ""))
    story.do(*([pause] if pause else []), _ACK, "accept(3, ..., ...)", "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK)")
    story.socket = 4


def _write(story: Story, size: int) -> None:
    story.do(f"write({story.socket}, ..., {size})")


def _acknowledge(
    story: Story, number: int, window: int = 65_535, sack: tuple[int, int] | None = None
) -> None:
    peer = story.peer
    peer.unacked = max(peer.unacked, number)
    blocks = f" <nop,nop,sack {sack[0]}:{sack[1]}>" if sack else ""
    story.do(f"< . {peer.next}:{peer.next}(0) ack {number} win {window}{blocks}")


def lost_syn(story: Story) -> None:
    """The SYN, or the SYN,ACK, is lost once: what does the connection begin with?"""
    if story.random.random() < 0.5:
        _accepted(story, pause=LONG_PAUSE)
    else:
        story.do(*CONNECT, LONG_PAUSE, _SYN_ACK, "connect(3, ..., ...)")
        story.peer.sacks = True
    story.do(INFO)
    _write(story, 20 * _MSS)
    story.do(INFO)
    _acknowledge(story, story.peer.sent)
    story.do(INFO)


def long_path(story: Story) -> None:
    """Round trips of 100 ms, as steady as can be: what becomes of the timeout?"""
    _accepted(story, pause=ROUND_TRIP)
    for _ in range(story.random.randint(1, 9)):
        _write(story, story.random.choice((100, _MSS, 3 * _MSS)))
        story.do(ROUND_TRIP)
        _acknowledge(story, story.peer.sent)
    story.do(INFO)
    if story.random.random() < 0.5:
        _write(story, 100)
        story.do(PAUSE, INFO)
        _acknowledge(story, story.peer.sent)
        story.do(INFO)


def large_transfer(story: Story) -> None:
    """A window full of data, and ACKs of some of it, duplicate ones, SACKs, a timeout perhaps."""
    _accepted(story)
    if story.random.random() < 0.3:
        story.do(_NODELAY.format(socket=4))
    # The second write finds the window full, by which Linux notes that the window is in use; in the midst
    # of one large write it depends on the device how much is under way.
    sizes: Sequence[int] = story.random.choice(((5,), (10,), (10, 10), (10, 30)))
    for size in sizes:
        _write(story, size * _MSS)
    peer, sacked = story.peer, [(0, 0)]
    for _ in range(story.random.randint(1, 6)):
        under_way = (peer.sent - peer.unacked) // _MSS
        kind = story.random.choice(("some", "some", "duplicate", "sack", "all", "timeout", "write"))
        if kind == "some" and under_way > 1:
            number = peer.unacked + story.random.randint(1, under_way - 1) * _MSS
            # A peer that has dropped what it reported (RFC 2018, section 8) meets a timer of 10 ms, which may
            # expire within a step or after it: a script of its own is about that.
            if not any(left <= number < right for left, right in sacked):
                _acknowledge(story, number)
        elif kind == "duplicate" and under_way:
            for _again in range(story.random.randint(1, 4)):
                _acknowledge(story, peer.unacked)
        elif kind == "sack" and under_way > 2 and peer.sacks:
            left = max(peer.unacked + story.random.randint(1, under_way - 1) * _MSS, sacked[-1][0])
            right = min(left + story.random.randint(1, 4) * _MSS, peer.sent)
            sacked.append((left, right))
            if left < right:
                _acknowledge(story, peer.unacked, sack=(left, right))
        elif kind == "all":
            _acknowledge(story, peer.sent)
        elif kind == "timeout" and not story.paused:
            story.paused = True
            story.do(PAUSE)
        elif kind == "write":
            _write(story, 10 * _MSS)
        story.do(INFO)


def marked_packets(story: Story) -> None:
    """Both ends agreed on ECN: packets of the peer that routers have marked, and marks that it echoes.

    Its SYN asks for a Fast Open cookie now and then, which this listening socket does not give.
    """
    random, peer = story.random, story.peer
    syn = _SYN.replace(" S ", random.choice((" SEW ", " SEW ", " SEW ", " SE ", " SW ")))
    story.do(*LISTEN, syn.replace("sackOK", "sackOK,FO") if random.random() < _COOKIES else syn)
    story.do(_ACK, "accept(3, ..., ...)", "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK)")
    story.socket = 4
    _write(story, 10 * _MSS)
    for _ in range(random.randint(1, 6)):
        under_way = (peer.sent - peer.unacked) // _MSS
        kind = random.choice(("data", "data", "echo", "echo", "ack", "write"))
        if kind == "data":
            # A sender marks its packets only where both ends agreed (RFC 3168, section 6.1.1).
            code = random.choice(("ce", "ce", "ect0", "noecn")) if "SEW" in syn else "noecn"
            flags = random.choice((".", "W."))
            start = peer.next
            story.do(f"< [{code}] {flags} {start}:{start + 100}(100) ack {peer.unacked} win 65535")
        elif kind == "write":
            _write(story, 3 * _MSS)
        elif under_way:
            peer.unacked += random.randint(1, under_way) * _MSS
            flags = "E." if kind == "echo" else "."
            story.do(f"< {flags} {peer.next}:{peer.next}(0) ack {peer.unacked} win 65535")
        story.do(INFO)


def fast_open(story: Story) -> None:
    """Data comes with the SYN and needs no cookie (RFC 7413): it is accepted before the handshake is over."""
    random, peer = story.random, story.peer
    size, queue = random.choice((0, 10, _MSS, _MSS)), random.choice((0, 1, 5))
    syn = f"< S 0:{size}({size}) win 65535 <mss 1000,sackOK{random.choice(('', ',FO'))}>"
    story.do(*LISTEN[:-1], "setsockopt(3, SOL_TCP, TCP_FASTOPEN_NO_COOKIE, [1], 4)", LISTEN[-1])
    story.do(f"setsockopt(3, SOL_TCP, TCP_FASTOPEN, [{queue}], 4)", syn)
    for _ in range(random.randint(2, 8)):
        kind = random.choice(
            ("accept", "accept", "ack", "ack", "data", "syn", "fin", "reset", "call", "call")
        )
        if kind == "accept":
            story.do("accept(3, ..., ...)")
            if story.socket == 3 and story.observed[-1].result.isdigit():
                story.socket = 4
                story.do("fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK)")
        elif kind == "call" and story.socket == 4:
            calls = "read(4, ..., 5000)", "write(4, ..., 100)", "shutdown(4, SHUT_WR)", "close(4)"
            story.do(random.choice(calls))
        elif kind == "syn":
            story.do(syn)
        elif kind == "reset":
            story.do(f"< R {peer.next}:{peer.next}(0) win 0")
        elif kind != "call":
            length = 100 if kind == "data" else 0
            flags = "F." if kind == "fin" else "."
            story.do(f"< {flags} {peer.next}:{peer.next + length}({length}) ack {peer.sent} win 65535")
    story.do(INFO)


def closed_window(story: Story) -> None:
    """The peer closes its window, answers probes, opens it; or the user's timeout ends the connection."""
    _accepted(story)
    timeout = story.random.random() < 0.4
    if timeout:
        story.do("setsockopt(4, SOL_TCP, TCP_USER_TIMEOUT, [800], 4)")
    if story.random.random() < 0.5:
        _write(story, _MSS)
        _acknowledge(story, story.peer.sent, window=0)
    else:
        _acknowledge(story, 1, window=0)
    _write(story, _MSS)
    for _ in range(story.random.randint(1, 2)):
        story.do(story.random.choice((PAUSE, LONG_PAUSE)))
        _acknowledge(story, story.peer.unacked, window=0)
    story.do(INFO)
    if timeout:
        story.do(LONG_PAUSE)
        _write(story, 10)
        return
    _acknowledge(story, story.peer.unacked)
    story.do(INFO, PAUSE, INFO)
    _acknowledge(story, story.peer.sent)
    story.do(INFO)


def shrunk_window(story: Story) -> None:
    """The peer takes back the window in which data is under way, and answers what is sent again."""
    _accepted(story)
    _write(story, story.random.choice((1, 3, 10)) * _MSS)
    _acknowledge(story, 1, window=story.random.choice((0, 0, 500, _MSS)))
    for _ in range(story.random.randint(1, 2)):
        story.do(PAUSE)
        _acknowledge(story, story.peer.unacked, window=0)
    story.do(INFO)
    _acknowledge(story, story.peer.unacked)
    story.do(INFO)


def reset_at_an_edge(story: Story) -> None:
    """The peer's data arrives out of order, then a RST at one of the edges."""
    _accepted(story)
    end = 1
    for _ in range(story.random.randint(1, 3)):
        start = end + story.random.choice((100, _MSS))
        end = start + story.random.choice((10, 100, _MSS))
        story.do(f"< . {start}:{end}({end - start}) ack 1 win 65535")
    number = story.random.choice((1, start, end, end, end + 1, 2))
    story.do(f"< R {number}:{number}(0) win 0", f"read({story.socket}, ..., 5000)")


def errors_for_tcp(story: Story) -> None:
    """ICMP errors about a connection, before and after its handshake; a smaller path MTU."""
    story.do(*CONNECT)
    if story.random.random() < 0.4:
        story.do(f"< icmp {story.random.choice(_ICMP)} [0:0(0)]")
    story.do(_SYN_ACK, "connect(3, ..., ...)")
    _write(story, 3 * _MSS)
    number = story.random.choice((1, 1, 1001, 5000, 4_000_000_000))
    for _ in range(story.random.randint(1, 2)):
        error = story.random.choice(
            (*_ICMP, "unreachable frag_needed mtu 700", "unreachable frag_needed mtu 100")
        )
        story.do(f"< icmp {error} [{number}:{number + _MSS}({_MSS})]", INFO)
    story.do(f"getsockopt({story.socket}, SOL_SOCKET, SO_ERROR, ?, [4])")
    _acknowledge(story, story.peer.sent)
    story.do(INFO)


def two_connections(story: Story) -> None:
    """Two connections of one listening socket, their segments interleaved."""
    story.do(*LISTEN)
    ports = 10_001, 10_002
    for port in ports:
        story.do(f"< {port} > 8080: S 0:0(0) win 65535 <mss 1000>")
    order = [*ports, *ports]
    story.random.shuffle(order)
    state = dict.fromkeys(ports, 1)
    accepted = 0
    for port in order:
        number = state[port]
        size = story.random.choice((0, 10, _MSS))
        flags = story.random.choice((".", "P.", "F."))
        story.do(f"< {port} > 8080: {flags} {number}:{number + size}({size}) ack 1 win 65535")
        state[port] = number + size + (flags == "F.")
        story.do("accept(3, ..., ...)")
        if story.observed[-1].result.isdigit():
            accepted += 1
            story.socket = int(story.observed[-1].result)
            story.do(f"fcntl({story.socket}, F_SETFL, O_RDWR|O_NONBLOCK)", f"read({story.socket}, ..., 5000)")
    for number in range(4, 4 + accepted):
        story.do(
            story.random.choice(
                (f"write({number}, ..., 100)", f"close({number})", f"shutdown({number}, SHUT_WR)")
            )
        )


def datagrams(story: Story) -> None:
    """A UDP socket, connected or not: datagrams both ways, to other ports, errors, closed sockets."""
    story.do(*_UDP)
    connected = story.random.random() < 0.6
    if connected:
        story.do("connect(3, ..., ...)")
    calls = (
        "sendto(3, ..., 100, 0, ..., ...)",
        "sendto(3, ..., 0, 0, ..., ...)",
        "sendto(3, ..., 1400, 0, ..., ...)",
        *(("write(3, ..., 10)",) if connected else ()),
        "read(3, ..., 5000)",
        "read(3, ..., 5)",
        "recv(3, ..., 100, MSG_PEEK)",
        "getsockopt(3, SOL_SOCKET, SO_ERROR, ?, [4])",
        "poll([{fd=3, events=POLLIN|POLLOUT, revents=?}], 1, 0)",
        "ioctl(3, SIOCINQ, ?)",
        "connect(3, ..., ...)",
        "shutdown(3, SHUT_RD)",
        "close(3)",
    )
    packets = (
        "< udp 8080 > 8080 (10)",
        "< udp 8080 > 8080 (1000)",
        "< udp 8080 > 8080 (0)",
        "< udp 53 > 8080 (20)",
        "< udp 53 > 9999 (20)",
        *(f"< icmp {error} [udp (100)]" for error in _ICMP),
    )
    for _ in range(story.random.randint(3, 9)):
        story.do(story.random.choice(calls if story.random.random() < 0.5 else packets))


def special_addresses(story: Story) -> None:
    """Connect to addresses that no connection may have (RFC 9293, MUST-46), and UDP's to broadcast."""
    if story.scenario.ip_version == 6:
        return datagrams(story)
    kind = story.random.choice(("SOCK_STREAM, IPPROTO_TCP", "SOCK_DGRAM, IPPROTO_UDP"))
    story.do(f"socket(..., {kind})", "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)")
    if story.random.random() < 0.3:
        story.do("setsockopt(3, SOL_SOCKET, SO_BROADCAST, [1], 4)")
    address = story.random.choice(_SPECIAL)
    story.do(
        f'connect(3, {{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("{address}")}}, ...)',
        "getsockopt(3, SOL_SOCKET, SO_ERROR, ?, [4])",
    )
    return None


PATHS: Sequence[Callable[[Story], None]] = (
    *(lost_syn, long_path, large_transfer, large_transfer, closed_window, shrunk_window, reset_at_an_edge),
    *(errors_for_tcp, two_connections, datagrams, special_addresses, marked_packets, fast_open),
)
