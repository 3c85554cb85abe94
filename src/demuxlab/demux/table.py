"""The socket table: bind, listen, connect and close, and the lookup of a segment's socket.

A lookup is at most three dictionary probes: the whole 4-tuple, then the destination address and port, then
the wildcard address and port. The cost of a lookup does not depend on the number of sockets.
"""

import errno
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from demuxlab.demux.ports_in_use import PortsInUse
from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.slot import Slot
from demuxlab.demux.socket import BOUND, CLOSED, ESTABLISHED, LISTEN, Socket
from demuxlab.demux.verdicts import Rule
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, endpoint_text, is_any, is_multicast, unmapped
from demuxlab.wire.segment import Segment

_ALL_HOSTS = (b"\xe0\0\0\1", b"\xff\2" + bytes(13) + b"\1")
"""The groups that each host has joined: 224.0.0.1 (RFC 1112, section 4), ff02::1 (RFC 4291, section 2.8)."""


class Candidate(NamedTuple):
    """A socket that matches a segment, and the rule by which it does."""

    socket: Socket
    rule: Rule


class Mirror(Protocol):
    """Another demultiplexer, which the table keeps informed of the sockets that can get segments."""

    def entered(self, socket: Socket) -> None:
        """A socket listens, is bound (UDP) or connected now."""
        ...

    def left(self, socket: Socket) -> None:
        """A socket closes, or is about to connect."""
        ...


class SocketTable:
    """All sockets of one host, of both protocols and both families.

    `addresses` are the host's own (None: any address is accepted). `secret` (1 to 64 bytes) is the key of the
    hash that spreads flows over SO_REUSEPORT groups.
    """

    def __init__(self, addresses: Iterable[bytes] | None = None, *, secret: bytes = b"demuxlab") -> None:
        self.addresses = None if addresses is None else frozenset(addresses)
        self._secret = secret
        self._in_use = PortsInUse()
        self._connections: dict[bytes, Socket] = {}
        self._connected: dict[bytes, dict[Socket, None]] = {}
        self._slots: dict[int, dict[bytes, Slot]] = {ip.TCP: {}, ip.UDP: {}}
        self._by_port: dict[tuple[int, int], dict[Socket, None]] = {}
        self._bound = 0
        self._queues = 0
        self.changes = 0
        """Incremented by each change that may change the result of a lookup."""
        self.mirror: Mirror | None = None
        self.groups: Counter[bytes] | None = None
        """The number of sockets that have joined each multicast group; None: all groups count as joined."""

    # System calls

    def bind(self, socket: Socket, address: bytes, port: int) -> None:
        """Give a socket its local address and port, 1 to 65535 (bind(2)).

        Raises OSError with EINVAL (bound already), EAFNOSUPPORT (wrong family), EADDRNOTAVAIL (not the
        host's address) or EADDRINUSE.
        """
        if socket.state != CLOSED:
            raise OSError(errno.EINVAL, f"{_called(socket)} is bound already: bind each socket once")
        address = self._local(socket, address)
        if self._in_use.conflict(socket, address, port):
            where = endpoint_text(address, port)
            raise OSError(
                errno.EADDRINUSE,
                f"{where} is in use: close its socket, take another port, or set SO_REUSEADDR "
                "(SO_REUSEPORT for listeners) on both",
            )
        socket.local_address, socket.local_port, socket.state = address, port, BOUND
        socket.bound_to_any = is_any(address)
        socket.v6only = socket.v6only or (len(address) == 16 and not socket.bound_to_any)
        self._number(socket)
        if socket.protocol == ip.UDP:
            self._open(socket)

    def listen(self, socket: Socket) -> None:
        """Make a bound TCP socket a listening socket (listen(2)).

        Raises OSError with EOPNOTSUPP (UDP), EINVAL (not bound, or connected) or EADDRINUSE.
        """
        if socket.protocol != ip.TCP:
            raise OSError(errno.EOPNOTSUPP, f"{_called(socket)} is UDP, which does not listen: just receive")
        if socket.state == LISTEN:
            return
        if socket.state != BOUND:
            raise OSError(errno.EINVAL, f"{_called(socket)} is {socket.state}: bind it, then listen")
        self._in_use.remove(socket)
        if self._in_use.conflict(socket, socket.local_address, socket.local_port):
            self._in_use.add(socket)
            where = endpoint_text(socket.local_address, socket.local_port)
            raise OSError(errno.EADDRINUSE, f"another socket listens on {where}: set SO_REUSEPORT on both")
        socket.state = LISTEN
        self._in_use.add(socket)
        self._open(socket)

    def connect(
        self, socket: Socket, local: bytes, remote: bytes, port: int, state: str = ESTABLISHED
    ) -> None:
        """Set the peer of a bound socket, and its local address if that was the wildcard (connect(2)).

        A UDP socket may be connected again, to another peer. Raises OSError with EINVAL (not bound, or
        listening, or port 0), EISCONN (TCP, connected already), ENETUNREACH or EAFNOSUPPORT (bound to the
        other family) or EADDRNOTAVAIL (TCP: this 4-tuple exists).
        """
        if port == 0:
            raise OSError(errno.EINVAL, "port 0 is no port: name the peer's port")
        if socket.state in (CLOSED, LISTEN):
            raise OSError(errno.EINVAL, f"{_called(socket)} is {socket.state}: it cannot connect")
        if socket.state != BOUND and socket.protocol == ip.TCP:
            raise OSError(errno.EISCONN, f"{_called(socket)} is connected already: use another socket")
        remote = unmapped(remote)
        local = unmapped(local) if is_any(socket.local_address) else socket.local_address
        if len(local) != len(remote):
            code = errno.ENETUNREACH if len(remote) == 4 and socket.family == 6 else errno.EAFNOSUPPORT
            raise OSError(code, f"{_called(socket)} is bound to the other address family")
        key = remote + local + port.to_bytes(2, "big") + socket.local_port.to_bytes(2, "big")
        if socket.protocol == ip.TCP and key in self._connections:
            raise OSError(errno.EADDRNOTAVAIL, "this 4-tuple is a connection already: take another port")
        self._close_lookup(socket, connected=True)
        self._in_use.remove(socket)
        socket.local_address, socket.remote_address, socket.remote_port = local, remote, port
        socket.state = state
        self._in_use.add(socket)
        self._open_connection(socket, key)

    def enter(self, socket: Socket, address: bytes, port: int, state: str) -> None:
        """Add a socket without a peer that another table has already: no rule of bind or listen is asked."""
        socket.local_address, socket.local_port, socket.state = address, port, state
        socket.bound_to_any = is_any(address)
        self._number(socket)
        if socket.protocol == ip.UDP or state == LISTEN:
            self._open(socket)

    def disconnect(self, socket: Socket) -> None:
        """Remove a UDP socket's peer; a local address that connect has set becomes the wildcard again."""
        if not socket.remote_address:
            return
        self._close_lookup(socket)
        self._in_use.remove(socket)
        socket.remote_address, socket.remote_port, socket.state = b"", 0, BOUND
        if socket.bound_to_any:
            socket.local_address = socket.wildcards[0]
        self._in_use.add(socket)
        self._open(socket)

    def spawn(self, listener: Socket, name: str, segment: Segment, state: str) -> Socket:
        """Create and add the data socket of a listening socket for the sender of a segment (accept(2))."""
        child = Socket(
            listener.protocol,
            name=name,
            family=listener.family,
            v6only=listener.v6only,
            reuse_address=listener.reuse_address,
            reuse_port=listener.reuse_port,
            device=listener.device,
        )
        child.bound_to_any = listener.bound_to_any
        local, remote = (segment.destination, segment.destination_port), (segment.source, segment.source_port)
        self.establish(child, local, remote, state)
        return child

    def establish(
        self, socket: Socket, local: tuple[bytes, int], remote: tuple[bytes, int], state: str = ESTABLISHED
    ) -> None:
        """Add a TCP data socket with its whole 4-tuple.

        Raises OSError with EADDRNOTAVAIL if the 4-tuple exists.
        """
        (socket.local_address, socket.local_port), (socket.remote_address, socket.remote_port) = local, remote
        key = socket.key
        if key in self._connections:
            raise OSError(errno.EADDRNOTAVAIL, "this 4-tuple is a connection already")
        socket.state = state
        self._number(socket)
        self._open_connection(socket, key)

    def close(self, socket: Socket) -> None:
        """Remove a socket from the table; closing a closed socket does nothing."""
        if socket.state == CLOSED:
            return
        self._close_lookup(socket)
        self._in_use.remove(socket)
        by_port = self._by_port[socket.protocol, socket.local_port]
        by_port.pop(socket, None)
        if not by_port:
            del self._by_port[socket.protocol, socket.local_port]
        socket.state = CLOSED

    def change(self, socket: Socket, option: str, value: bool | str) -> None:
        """Set `reuse_address`, `reuse_port` or `device` of a socket in any state (socket(7)).

        As in Linux, a bound socket can join a group by the option, and does not leave it so.
        """
        if socket.state == CLOSED:
            setattr(socket, option, value)
            return
        slotted = socket.state == LISTEN or (socket.state == BOUND and socket.protocol == ip.UDP)
        moves = slotted and (
            option == "device" or (option == "reuse_port" and value and not socket.reuse_port)
        )
        rank = socket.rank
        if moves:
            self._close_lookup(socket)
        self._in_use.remove(socket)
        setattr(socket, option, value)
        self._in_use.add(socket)
        if moves:
            self._open(socket)
            socket.rank = rank

    # Lookup

    def candidates(self, segment: Segment, device: str = "") -> Iterator[Candidate]:
        """Yield the sockets that match a segment, best first: the first one gets it.

        The first socket costs dictionary probes alone; the others, which an explanation needs, cost a scan.
        """
        key, protocol = segment.key, PROTOCOLS[segment.protocol]
        if protocol.number == ip.TCP:
            connection = self._connections.get(key)
            if connection is not None and connection.device in ("", device):
                yield Candidate(connection, protocol.connected)
        elif (sockets := self._connected.get(key)) is not None:
            for socket in reversed(sockets):
                if socket.device in ("", device):
                    yield Candidate(socket, protocol.connected)
        slots, port = self._slots[protocol.number], key[-2:]
        if (slot := slots.get(segment.destination + port)) is not None:
            yield from self._of_slot(slot, protocol.specific, key, device)
        wildcard = ANY_IPV4 if len(segment.destination) == 4 else ANY_IPV6
        if (slot := slots.get(wildcard + port)) is not None:
            yield from self._of_slot(slot, protocol.wildcard, key, device)

    def _of_slot(self, slot: Slot, rule: Rule, flow: bytes, device: str) -> Iterator[Candidate]:
        best = slot.best(flow, device, self._secret)
        if best is not None:
            yield Candidate(best, rule)
            for socket in slot:
                if socket is not best and socket.device in ("", device):
                    yield Candidate(socket, rule)

    def copies(self, segment: Segment, device: str = "") -> list[Socket]:
        """Return the UDP sockets that get a copy of a broadcast or multicast datagram (RFC 1122, 4.1.3)."""
        wildcard = bytes(len(segment.destination))
        if is_multicast(segment.destination) and not self.joined(segment.destination):
            return []
        # Linux gives a dual-stack socket IPv4's broadcasts but not its multicasts.
        families = (4,) if len(wildcard) == 4 and is_multicast(segment.destination) else (4, 6)
        return [
            socket
            for socket in self.on_port(segment.protocol, segment.destination_port)
            if socket.local_address == segment.destination
            or (is_any(socket.local_address) and wildcard in socket.wildcards and socket.family in families)
            if not socket.remote_address
            or (socket.remote_address, socket.remote_port) == (segment.source, segment.source_port)
            if socket.device in ("", device)
        ]

    def joined(self, group: bytes) -> bool:
        """Return whether the host has joined a group. As in Linux, one socket joins it for all."""
        return self.groups is None or group in _ALL_HOSTS or self.groups[group] > 0

    def connection(self, protocol: int, key: bytes, device: str = "") -> Socket | None:
        """Return the connected socket with exactly this 4-tuple."""
        if protocol == ip.TCP:
            return self._connections.get(key)
        sockets = reversed(self._connected.get(key, {}))
        return next((socket for socket in sockets if socket.device in ("", device)), None)

    @property
    def connections(self) -> Mapping[bytes, Socket]:
        """The TCP connections by 4-tuple (`Socket.key`): a live view, for reading only."""
        return self._connections

    @property
    def connected(self) -> Mapping[bytes, Collection[Socket]]:
        """The connected UDP sockets by 4-tuple: a live view, for reading only."""
        return self._connected

    def on_port(self, protocol: int, port: int) -> Collection[Socket]:
        """Return the sockets of a local port, in bind order."""
        return self._by_port.get((protocol, port), {})

    def in_use(self, socket: Socket, address: bytes, port: int) -> bool:
        """Return whether binding `socket` there would fail with EADDRINUSE."""
        return self._in_use.conflict(socket, unmapped(address), port)

    def __iter__(self) -> Iterator[Socket]:
        """Yield every socket."""
        for sockets in self._by_port.values():
            yield from sockets

    def __len__(self) -> int:
        return sum(map(len, self._by_port.values()))

    # Internals

    def _local(self, socket: Socket, address: bytes) -> bytes:
        own = unmapped(address)
        if (len(address) == 4) != (socket.family == 4):
            raise OSError(errno.EAFNOSUPPORT, f"{_called(socket)} has the other address family")
        if own is not address and socket.v6only:
            raise OSError(errno.EINVAL, f"{_called(socket)} is IPv6 only and cannot have an IPv4 address")
        known = self.addresses is None or is_any(own) or is_multicast(own) or own in self.addresses
        if not known:
            raise OSError(
                errno.EADDRNOTAVAIL,
                f"{endpoint_text(own, 0)[:-2]} is not an address of this host: bind one that is, or 0.0.0.0",
            )
        return own

    def _number(self, socket: Socket) -> None:
        self.changes += 1
        self._queues += 1
        socket.number = self._queues
        self._in_use.add(socket)
        self._by_port.setdefault((socket.protocol, socket.local_port), {})[socket] = None

    def _open(self, socket: Socket) -> None:
        """Add a bound UDP or a listening TCP socket to the slots of its address."""
        self.changes += 1
        self._bound += 1
        # Linux appends an IPv6 socket with SO_REUSEPORT to its list, and prepends any other.
        socket.rank = -self._bound if socket.family == 6 and socket.reuse_port else self._bound
        for key in self._slot_keys(socket):
            self._slots[socket.protocol].setdefault(key, Slot()).add(socket)
        if self.mirror is not None:
            self.mirror.entered(socket)

    def _open_connection(self, socket: Socket, key: bytes) -> None:
        if socket.protocol == ip.TCP:
            self._connections[key] = socket
        else:
            self._connected.setdefault(key, {})[socket] = None
        if self.mirror is not None:
            self.mirror.entered(socket)

    def _close_lookup(self, socket: Socket, *, connected: bool = False) -> None:
        """Remove a socket from the lookup, because it closes or is about to be `connected`."""
        self.changes += 1
        if self.mirror is not None:
            self.mirror.left(socket)
        if not socket.remote_address:
            slots = self._slots[socket.protocol]
            # The group is not marked if the member moves to a specific address.
            marks = connected and not is_any(socket.local_address)
            for key in self._slot_keys(socket):
                if key in slots and slots[key].remove(socket, connected=marks):
                    del slots[key]
            return
        key = socket.key
        if socket.protocol == ip.TCP:
            if self._connections.get(key) is socket:
                del self._connections[key]
        else:
            sockets = self._connected[key]
            del sockets[socket]
            if not sockets:
                del self._connected[key]

    @staticmethod
    def _slot_keys(socket: Socket) -> list[bytes]:
        addresses = socket.wildcards if is_any(socket.local_address) else (socket.local_address,)
        return [address + socket.local_port.to_bytes(2, "big") for address in addresses]


def _called(socket: Socket) -> str:
    return f"socket {socket.name}" if socket.name else "this socket"
