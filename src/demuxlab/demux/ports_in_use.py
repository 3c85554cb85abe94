"""Which addresses and ports are in use: the rule behind EADDRINUSE, by counting instead of scanning.

Two sockets overlap when they have the same port and protocol, the same address or one of them the wildcard
of a family that both answer for, and the same device or one of them none. An overlap is allowed when both
set SO_REUSEADDR and the one already there is not listening, or when both set SO_REUSEPORT (socket(7), ip(7)).
So it is enough to count, for each address and port, the sockets of each of the four kinds.

Linux permits more, because its scan ends early: for UDP at the first pair that shares by SO_REUSEPORT, for
TCP possibly at the first socket of a port. It misses a later overlap without the option. Here bind fails.
"""

from functools import lru_cache

from demuxlab.demux.socket import LISTEN, Socket
from demuxlab.wire.address import ANY_IPV6, is_any

_ALL_ADDRESSES = b"*"
_ALL_DEVICES = "*"
_Place = tuple[int, int, int, bytes, str]


def _kind(socket: Socket) -> int:
    shares_address = socket.reuse_address and socket.state != LISTEN
    return shares_address << 1 | socket.reuse_port


class PortsInUse:
    """Counts of bound sockets by (protocol, port, family, address, device)."""

    def __init__(self) -> None:
        self._counts: dict[_Place, list[int]] = {}

    def add(self, socket: Socket) -> None:
        """Count a socket that has its local address and port."""
        kind = _kind(socket)
        for place in _places(socket.protocol, socket.local_port, socket.claims, socket.device):
            if place not in self._counts:
                self._counts[place] = [0, 0, 0, 0]
            self._counts[place][kind] += 1

    def remove(self, socket: Socket) -> None:
        """Undo `add`; the socket's options and state must be those of then."""
        kind = _kind(socket)
        for place in _places(socket.protocol, socket.local_port, socket.claims, socket.device):
            counts = self._counts[place]
            counts[kind] -= 1
            if not any(counts):
                del self._counts[place]

    def conflict(self, socket: Socket, address: bytes, port: int) -> bool:
        """Return whether binding `socket` to this address and port conflicts with a bound socket."""
        devices = (socket.device, "") if socket.device else (_ALL_DEVICES,)
        for claim in socket.wildcards if address == ANY_IPV6 else (address,):
            addresses = (_ALL_ADDRESSES,) if is_any(claim) else (claim, bytes(len(claim)))
            for where in addresses:
                for device in devices:
                    counts = self._counts.get((socket.protocol, port, len(claim), where, device))
                    if counts and self._forbidden(socket, counts):
                        return True
        return False

    @staticmethod
    def _forbidden(socket: Socket, counts: list[int]) -> bool:
        neither, port_only, address_only, _both = counts
        if socket.reuse_address and socket.reuse_port:
            return bool(neither)
        if socket.reuse_address:
            return bool(neither or port_only)
        if socket.reuse_port:
            return bool(neither or address_only)
        return True


@lru_cache(4096)  # the connections of a server have the same
def _places(protocol: int, port: int, claims: tuple[bytes, ...], device: str) -> tuple[_Place, ...]:
    return tuple(
        (protocol, port, len(claim), address, bound)
        for claim in claims
        for address in (claim, _ALL_ADDRESSES)
        for bound in (device, _ALL_DEVICES)
    )
