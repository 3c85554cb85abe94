"""What an application can set on a TCP socket; a listening socket's settings pass to its data sockets."""

from dataclasses import dataclass, fields
from operator import attrgetter

from demuxlab.transport.tcp import ecn
from demuxlab.transport.tcp.buffers import RECEIVE, SEND, Limits, fixed
from demuxlab.transport.tcp.congestion import Cubic, NewReno
from demuxlab.transport.tcp.fast_open import Switch
from demuxlab.transport.tcp.path_mtu import Discovery, Probing
from demuxlab.wire.ip import DEFAULT_FIELDS, Fields

SYN_BACKLOG = 256
"""Half-open connections that every listener may have; beyond them it answers with SYN cookies."""


@dataclass(slots=True)
class Settings:
    """The options of tcp(7) and socket(7), sizes in bytes, times in seconds."""

    ip: Fields = DEFAULT_FIELDS
    """IP_TOS, IP_TTL, IPV6_TCLASS, IPV6_UNICAST_HOPS."""
    receive_limits: Limits = RECEIVE
    send_limits: Limits = SEND
    nodelay: bool = False
    cork: bool = False
    """TCP_CORK: what does not fill a segment waits."""
    urgent_inline: bool = False
    """SO_OOBINLINE: urgent data stays in the stream."""
    notsent_lowat: int = 0
    """TCP_NOTSENT_LOWAT: bytes not sent yet from which on the socket is not writable; 0: no limit."""
    max_pacing_rate: int = 0
    """SO_MAX_PACING_RATE: bytes a second; 0: nothing is paced."""
    quickack: bool = True
    keepalive: bool = False
    keepalive_idle: float = 7200.0
    keepalive_interval: float = 75.0
    keepalive_probes: int = 9
    user_timeout: float = 0.0
    """TCP_USER_TIMEOUT: how long data may stay unacknowledged (RFC 5482); 0: while retransmissions last."""
    linger: int | None = None
    maximum_segment: int = 0
    """TCP_MAXSEG; 0: no limit but the path's."""
    half_open: int = SYN_BACKLOG
    answer_period: float = 0.5
    """Seconds between two answers to unacceptable segments without data; 0: no limit. Without one, two ends
    out of step would answer each other for ever (Linux: net.ipv4.tcp_invalid_ratelimit)."""
    congestion: type[NewReno] = Cubic
    timestamps: bool = True
    window_scale: bool = True
    sack: bool = True
    tail_loss_probe: bool = True
    """RFC 8985, section 7 (Linux: net.ipv4.tcp_early_retrans)."""
    slow_start_after_idle: bool = True
    """The congestion window ages while it is not used (RFC 2861)."""
    frto: bool = True
    """RFC 5682."""
    dsack: bool = True
    """RFC 2883."""
    fast_open: int = Switch.CLIENT | Switch.SERVER
    """RFC 7413 (Linux: net.ipv4.tcp_fastopen, whose default is the client alone)."""
    fast_open_key: bytes = b""
    """One key of 16 bytes or two (TCP_FASTOPEN_KEY); none: the host's."""
    fast_open_queue: int = 0
    """TCP_FASTOPEN: how many connections may move data before their handshake is complete."""
    fast_open_connect: bool = False
    """TCP_FASTOPEN_CONNECT: the first write connects, where a cookie is known."""
    fast_open_without_cookie: bool = False
    """TCP_FASTOPEN_NO_COOKIE."""
    path_mtu_discovery: int = Discovery.WANT
    """IP_MTU_DISCOVER, IPV6_MTU_DISCOVER."""
    mtu_probing: int = Probing.BLACK_HOLE
    """RFC 4821 (Linux: net.ipv4.tcp_mtu_probing, off by default)."""
    ecn: int = ecn.ACCEPT
    """RFC 3168 (Linux: net.ipv4.tcp_ecn)."""

    @property
    def receive_buffer(self) -> int:
        """Bytes of the receive buffer at first; once set, it does not grow (SO_RCVBUF)."""
        return self.receive_limits.first

    @receive_buffer.setter
    def receive_buffer(self, size: int) -> None:
        self.receive_limits = fixed(size)

    @property
    def send_buffer(self) -> int:
        """Bytes of the send buffer at first; once set, it does not grow (SO_SNDBUF)."""
        return self.send_limits.first

    @send_buffer.setter
    def send_buffer(self, size: int) -> None:
        self.send_limits = fixed(size)

    def copy(self) -> "Settings":
        """Return settings of the same values."""
        return Settings(*_values(self))

    def values(self) -> tuple[object, ...]:
        """Return all values."""
        found: tuple[object, ...] = _values(self)
        return found


_values = attrgetter(*(one.name for one in fields(Settings)))
