"""A socket as the demultiplexer sees it: addresses, options, and the handler of its segments."""

from typing import NamedTuple, Protocol

from demuxlab.demux.verdicts import Reply
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, endpoint_text, is_any
from demuxlab.wire.segment import Segment

CLOSED, BOUND, LISTEN = "closed", "bound", "listen"
SYN_SENT, SYN_RECEIVED, ESTABLISHED, TIME_WAIT = "syn-sent", "syn-received", "established", "time-wait"

_NO_HOSTS_IPV4 = b"\xf0\0\0\0"
"""An address that no host has (240.0.0.0): it overlaps with the wildcard alone."""


class Drop(NamedTuple):
    """What a handler returns for a segment that it did not accept."""

    counter: str = ""
    """The counter of the drop; empty if the segment was delivered but needs a reply."""
    reply: Reply | None = None
    """RST, or no reply."""


class Handler(Protocol):
    """Handles the segments that the demultiplexer assigns to a socket."""

    def handle_segment(self, segment: Segment, now: float) -> Drop | None:
        """Handle a segment that arrived at `now` (seconds), or return why it was not accepted."""
        ...


class Socket:
    """One socket in the table. Addresses are 4 or 16 bytes; an unset address is empty."""

    __slots__ = (
        "bound_to_any",
        "device",
        "family",
        "handler",
        "local_address",
        "local_port",
        "name",
        "number",
        "process",
        "protocol",
        "rank",
        "remote_address",
        "remote_port",
        "reuse_address",
        "reuse_port",
        "state",
        "v6only",
    )

    def __init__(
        self,
        protocol: int = ip.TCP,
        *,
        name: str = "",
        process: str = "",
        family: int = 4,
        handler: Handler | None = None,
        reuse_address: bool = False,
        reuse_port: bool = False,
        v6only: bool = False,
        device: str = "",
    ) -> None:
        self.protocol = protocol
        self.name = name
        self.process = process or name
        self.family = family
        self.handler = handler
        self.reuse_address = reuse_address
        self.reuse_port = reuse_port
        self.v6only = v6only
        self.device = device
        self.state = CLOSED
        self.bound_to_any = False
        self.local_address = b""
        self.local_port = 0
        self.remote_address = b""
        self.remote_port = 0
        self.rank = 0
        """Order among the sockets of one address and port: higher ranks come first."""
        self.number = 0
        """The number of the handler queue, from 1, in the order of binding."""

    @property
    def wildcards(self) -> tuple[bytes, ...]:
        """The wildcard addresses of a socket bound to the wildcard: of one family, or of both."""
        if self.family == 4 or self.local_address == ANY_IPV4:  # an IPv6 socket bound to ::ffff:0.0.0.0
            return (ANY_IPV4,)
        return (ANY_IPV6,) if self.v6only else (ANY_IPV6, ANY_IPV4)

    @property
    def claims(self) -> tuple[bytes, ...]:
        """The addresses on which the socket holds its port, wildcards included.

        As in Linux, a dual-stack socket that was bound to :: and connected to an IPv6 peer still conflicts
        with 0.0.0.0, though with no other IPv4 address.
        """
        if is_any(self.local_address):
            return self.wildcards
        if self.bound_to_any and len(self.local_address) == 16 and not self.v6only:
            return (self.local_address, _NO_HOSTS_IPV4)
        return (self.local_address,)

    @property
    def key(self) -> bytes:
        """The 4-tuple of a connection's incoming segments, in the order of their headers."""
        ports = self.remote_port.to_bytes(2, "big") + self.local_port.to_bytes(2, "big")
        return self.remote_address + self.local_address + ports

    def __repr__(self) -> str:
        protocol = ip.PROTOCOL_NAMES.get(self.protocol, str(self.protocol))
        local = endpoint_text(self.local_address, self.local_port) if self.local_address else "unbound"
        remote = f" ← {endpoint_text(self.remote_address, self.remote_port)}" if self.remote_address else ""
        return f"<Socket {self.name or '?'} {protocol} {self.state} {local}{remote}>"
