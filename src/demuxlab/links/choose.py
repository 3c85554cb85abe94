"""Opens the link of a run: the kind asked for, or the best that the machine allows, with a sentence why."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from demuxlab.language import _
from demuxlab.links.base import Link, LinkUnavailable
from demuxlab.links.memory import MemoryLink

if TYPE_CHECKING:
    from demuxlab.links.kernel import KernelLink

KINDS = ("tun", "loopback", "memory")
"""From the best to the one that needs no rights."""


def open_link(
    kind: str = "auto", *, private: bool = True, kernel_addresses: Sequence[str] = ()
) -> tuple[Link, str]:
    """Open a link of a kind, or with `auto` the best possible; return it with a sentence about it.

    `private`: in a network namespace of its own. `kernel_addresses`: those of the kernel's end of a TUN.
    Raises LinkUnavailable where the kind asked for cannot be had.
    """
    if kind != "auto":
        return _open(kind, private, kernel_addresses), _("link: {link}", link=kind)
    for candidate in KINDS:
        with suppress(LinkUnavailable):
            link = _open(candidate, private, kernel_addresses)
            best = _("link: {link}", link=candidate)
            note = _("all labs work over it; why not tun: demuxlab doctor")
            return link, best if candidate == "tun" else f"{best} ({note})"
    raise AssertionError("unreachable: the memory link needs nothing")


def open_tun(
    kernel_addresses: Sequence[str], hosts: Sequence[str], *, offload: bool = False, queues: int = 1
) -> "KernelLink":
    """Open a TUN in the caller's own network namespace, by which this machine reaches the hosts' addresses.

    Raises LinkUnavailable where that cannot be had; a network that is routed already is left as it is.
    """
    return _open_in_kernel(
        "tun", False, tuple(kernel_addresses), hosts=tuple(hosts), offload=offload, queues=queues
    )


def _open(kind: str, private: bool, kernel_addresses: Sequence[str]) -> Link:
    return MemoryLink() if kind == "memory" else _open_in_kernel(kind, private, tuple(kernel_addresses))


def _open_in_kernel(kind: str, private: bool, kernel_addresses: tuple[str, ...], **more: Any) -> "KernelLink":
    if sys.platform != "linux":
        raise LinkUnavailable(_("{link} links need Linux", link=kind), _("use --link memory here"))
    from demuxlab.links.kernel import KernelLink
    from demuxlab.links.opener import Request

    return KernelLink(Request(kind, private, kernel_addresses, **more))
