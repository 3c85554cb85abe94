"""The interface of a link: two ends for IP packets, one of the host under study, one of all others."""

from typing import Any, Protocol, Self, runtime_checkable

from demuxlab.errors import CallError


class LinkUnavailable(CallError):
    """A link of this kind cannot be opened on this machine or by this user."""


class Refused(LinkUnavailable):
    """The system does not permit what the link needs.

    The texts are English with {names} for the values: the process that asked for the link may speak another
    language than this one, and makes the error again `from_json`.
    """

    def __init__(self, wrong: str, cure: str, **values: str | None) -> None:
        from demuxlab.language import _  # reads a catalog, which a link that can be had does without

        super().__init__(_(wrong, **values), _(cure, **values))
        self._texts = {"wrong": wrong, "cure": cure, "values": values}

    def to_json(self) -> dict[str, Any]:
        """Return the error for another process."""
        return self._texts

    @classmethod
    def from_json(cls, texts: dict[str, Any]) -> Self:
        """Return the error that another process had, in this one's language."""
        return cls(texts["wrong"], texts["cure"], **texts["values"])


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

    def receive_uncut(self) -> bytes | None:
        """Return the next packet as the link gives it, or None without waiting for one.

        It has a virtio-net header: see `wire.offload`.
        """
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
