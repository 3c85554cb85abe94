"""How large a segment may be, and how far a window is shifted (RFC 9293, section 3.7.1; RFC 7323)."""

from functools import lru_cache

_DEFAULT = {4: 536, 16: 1220}
"""The peer's MSS where its SYN names none, by address length."""
_HEADERS = {4: 40, 16: 60}
"""IP and TCP header without options, by address length."""
LEAST_MTU_V6 = 1280
_MIN_MTU = {4: 576, 16: LEAST_MTU_V6}
_MIN_MSS = 48
"""A peer may not ask for less, or its segments would cost it little and us much (tcp_min_snd_mss)."""
_TIMESTAMPS_SIZE = 12
MAX_WINDOW_FIELD = 0xFFFF
_MAX_SHIFT = 14


def of_path(mtu: int, address_length: int, limit: int = 0) -> int:
    """Return the MSS that a path takes, without options; `limit` is the user's (TCP_MAXSEG), 0 for none."""
    mss = mtu - _HEADERS[address_length]
    return min(mss, limit or mss)


@lru_cache(maxsize=1024)  # connections to the same network share the number
def of_segments(peer: int | None, path: int, address_length: int, timestamps: bool) -> int:
    """Return how much data a segment carries: what peer and path take, less the timestamps option."""
    size = max(min(peer or _DEFAULT[address_length], path), _MIN_MSS)
    return size - (_TIMESTAMPS_SIZE if timestamps else 0)


def bounded_mtu(mtu: int, address_length: int) -> int:
    """Return the MTU that an ICMP message reports, at least the minimum of its IP version."""
    return max(mtu, _MIN_MTU[address_length])


@lru_cache(maxsize=1024)
def window_shift(buffer: int) -> int:
    """Return by how many bits the window of a receive buffer is shifted to fit its field (section 2.3)."""
    shift = 0
    while buffer >> shift > MAX_WINDOW_FIELD:
        shift += 1
    return min(shift, _MAX_SHIFT)
