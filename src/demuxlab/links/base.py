"""The interface of a link: two ends for IP packets, one of the host under study, one of all others."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from demuxlab.errors import CallError

if TYPE_CHECKING:
    from demuxlab.wire.offload import Arrived


class LinkUnavailable(CallError):
    """A link of this kind cannot be opened on this machine or by this user."""


class LinkEnd(Protocol):
    """One end of a link. Packets are whole IP packets, without link-layer header."""

    def send(self, packet: bytes) -> None:
        """Put one packet onto the link."""
        ...

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet from the other end, or None after `timeout` seconds."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that `select` may wait for; -1 where there is none."""
        ...


@runtime_checkable
class OffloadingEnd(Protocol):
    """An end of a link that offloads: `send` of the same end takes `Large` segments too."""

    def receive_uncut(self) -> "bytes | Arrived | None":
        """Return the next packet as the link gives it, or None without waiting for one."""
        ...


class Link(Protocol):
    """A link: the host's end, the outside's end, and its clock."""

    kind: str
    """`memory`, `loopback` or `tun`."""
    name: str
    """The device's name, or `memory`."""

    @property
    def inside(self) -> LinkEnd:
        """The end of the host whose demultiplexer is under study."""
        ...

    @property
    def outside(self) -> LinkEnd:
        """The end of all other hosts: crafted packets go in here."""
        ...

    def now(self) -> float:
        """Return the time in seconds: of day, or virtual."""
        ...

    def close(self) -> None:
        """Close the link; no device, address or namespace of it is left."""
        ...
