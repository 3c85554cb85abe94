"""TCP Fast Open: data in the SYN, for a client that shows a cookie of the server (RFC 7413), as Linux has it.

The server's cookie is a keyed hash of both addresses, so that a server remembers nothing, and one of Linux
with the same key gives the same. The client keeps the cookies of servers in its host's cache. Data that the
server does not acknowledge with its SYN,ACK is sent again at once.
"""

from dataclasses import dataclass, replace
from enum import IntEnum, IntFlag
from hmac import compare_digest

from demuxlab.wire import tcp

KEY_SIZE, COOKIE_SIZE = 16, 8
OPTION_SPACE = 40
"""Bytes that data in a SYN leaves free for options, more than ours have (Linux: MAX_TCP_OPTION_SPACE)."""
RESET_MEMORY = 60.0
"""Seconds for which a connection that was reset before its handshake was complete is counted as pending."""
_MOST_SERVERS = 1024
_MASK = 0xFFFFFFFFFFFFFFFF


class Switch(IntFlag):
    """Bits of the setting, as of Linux's net.ipv4.tcp_fastopen."""

    CLIENT = 1
    SERVER = 2
    CLIENT_WITHOUT_COOKIE = 4
    SERVER_WITHOUT_COOKIE = 0x200
    SERVER_WITHOUT_OPTION = 0x400
    """Each listening socket has it; the length of its queue is the backlog."""


class Failure(IntEnum):
    """Why data of the SYN did not arrive (tcpi_fastopen_client_fail)."""

    NONE = 0
    COOKIE_UNAVAILABLE = 1
    DATA_NOT_ACKNOWLEDGED = 2
    SYN_RETRANSMITTED = 3


class FastOpen:
    """The Fast Open state of one connection; only connections that use Fast Open have one."""

    __slots__ = (
        "accepted",
        "cookie",
        "data",
        "failure",
        "initial",
        "pending",
        "requested",
        "sent",
        "shut",
        "waits",
    )

    def __init__(self, cookie: tcp.FastOpenCookie | None = None) -> None:
        self.cookie = cookie
        """The option of our next SYN or SYN,ACK; one that is sent again has none."""
        self.requested = cookie
        """The option that our SYN had."""
        self.data = 0
        """Bytes of data in the SYN that were accepted: ours at a client, the peer's at a server."""
        self.sent = 0
        """Client: bytes of data that the SYN had."""
        self.waits = False
        """Client: a call waits for the connection to send more, so that the ACK can go with it."""
        self.failure = Failure.NONE
        self.initial = -1
        """Server: IRS, where the data of the SYN was accepted."""
        self.shut = False
        """The application has shut down its writing before the handshake was complete."""
        self.pending = False
        """Server: it was, and our SYN,ACK is not acknowledged yet."""
        self.accepted = False
        """Server: the application has the connection."""

    def take_cookie(self) -> tcp.FastOpenCookie | None:
        """Return the option, once."""
        cookie, self.cookie = self.cookie, None
        return cookie


# The server's cookies


def cookie(key: bytes, client: bytes, server: bytes) -> bytes:
    """Return the cookie that a server gives to a client, by their addresses; `key` has 16 bytes."""
    return siphash(key, client + server).to_bytes(COOKIE_SIZE, "little")


def check(
    offered: tcp.FastOpenCookie | None, keys: bytes, client: bytes, server: bytes, *, needed: bool
) -> tuple[bool, tcp.FastOpenCookie | None]:
    """Return whether the data of a SYN is accepted, and the option of the SYN,ACK.

    `keys` are one key or two; the second is an old one, whose cookies are accepted and replaced.
    """
    if not needed:
        return True, None
    if offered is None:
        return False, None
    primary, *older = (keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE))
    valid = cookie(primary, client, server)
    if compare_digest(offered.value, valid):
        return True, None
    known = any(compare_digest(offered.value, cookie(key, client, server)) for key in older)
    return known, offered._replace(value=valid)


def siphash(key: bytes, data: bytes) -> int:
    """Return SipHash-2-4 (Aumasson and Bernstein, 2012) of data."""
    first, second = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    state = [
        first ^ 0x736F6D6570736575,
        second ^ 0x646F72616E646F6D,
        first ^ 0x6C7967656E657261,
        second ^ 0x7465646279746573,
    ]
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        state[3] ^= word
        _rounds(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a = a + b & _MASK
        b = _rotated(b, 13) ^ a
        a = _rotated(a, 32)
        c = c + d & _MASK
        d = _rotated(d, 16) ^ c
        a = a + d & _MASK
        d = _rotated(d, 21) ^ a
        c = c + b & _MASK
        b = _rotated(b, 17) ^ c
        c = _rotated(c, 32)
    state[:] = a, b, c, d


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK


# The client's cache


@dataclass(frozen=True, slots=True)
class Server:
    """What a client has cached about a server (RFC 7413, section 4.1.3)."""

    cookie: bytes = b""
    mss: int = 0
    """The MSS of its SYN,ACK; 0: unknown."""
    experimental: bool = False
    """It gave its cookie in the option of before RFC 7413."""
    tries: int = 0
    """1: it gave none, so ask with the experimental option; 2: nor with that one."""

    def request(self) -> tcp.FastOpenCookie:
        """Return the option of the next SYN: the cookie, or a request for one."""
        experimental = self.experimental if self.cookie else self.tries == 1
        return tcp.FastOpenCookie(self.cookie, experimental)


class Cache:
    """The cookies of servers, by their addresses; the oldest is evicted when it is full."""

    def __init__(self) -> None:
        self._servers: dict[bytes, Server] = {}

    def __getitem__(self, address: bytes) -> Server:
        return self._servers.get(address, _UNKNOWN)

    def answered(
        self,
        address: bytes,
        mss: int,
        requested: tcp.FastOpenCookie | None,
        given: tcp.FastOpenCookie | None,
        *,
        tried: bool,
    ) -> None:
        """Take a SYN,ACK into account; `tried`: it answers the first SYN, which asked for a cookie."""
        server = replace(self.__getitem__(address), mss=mss)
        if requested is not None and given is not None and given.value:
            server = replace(server, cookie=given.value, experimental=given.experimental)
        elif requested is not None and tried and not server.cookie:
            server = replace(server, tries=max(server.tries, 2 if requested.experimental else 1))
        self._servers.pop(address, None)
        self._servers[address] = server
        if len(self._servers) > _MOST_SERVERS:
            del self._servers[next(iter(self._servers))]


_UNKNOWN = Server()


def room(path_mss: int, server: Server) -> int:
    """Return how many bytes of data a SYN takes."""
    return max(min(path_mss, server.mss or path_mss) - OPTION_SPACE, 0)
