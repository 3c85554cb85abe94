"""`demuxlab doctor`: what this machine allows, and how to fix what is missing."""

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Iterator

import click

from demuxlab import layout
from demuxlab.grading.sandbox import why_not_bubblewrap
from demuxlab.language import _
from demuxlab.links.base import LinkUnavailable
from demuxlab.links.choose import open_link
from demuxlab.wireshark.program import find

_DETAIL = 37
"""The column in which what was found begins."""


@click.command(name="doctor", help=_("Say what this machine allows, and how to mend what it does not."))
def command() -> None:
    """Say what this machine allows, and how to mend what it does not."""
    room = max(layout.terminal_width() - _DETAIL, _DETAIL)
    for works, what, detail in _findings():
        indent, columns = _DETAIL, room
        if max(map(layout.width_of, detail.split(" "))) > room or layout.width_of(detail) > 2 * room:
            indent, columns = 4, layout.terminal_width() - 4  # a command stays whole, to be copied
        lines = layout.wrapped(detail, columns)
        first = "" if indent < _DETAIL else lines.pop(0)
        click.echo(f"{'✓' if works else '✗'} {layout.padded(what, _DETAIL - 3)} {first}".rstrip())
        for line in lines:
            click.echo(" " * indent + line)
    click.echo(
        "\n" + layout.paragraph(_("Every lab also runs with --link memory, which needs none of this."))
    )


def _findings() -> Iterator[tuple[bool, str, str]]:
    version = sys.version_info
    found = _("{version} on {system}", version=platform.python_version(), system=platform.system())
    yield version >= (3, 11), _("Python 3.11 or newer"), found
    yield True, "scapy", importlib.metadata.version("scapy")
    yield _link("tun", _("TUN in a namespace of its own"), private=True)
    yield _link("loopback", _("frames on lo in a namespace"), private=True)
    yield _link("tun", _("TUN beside this machine's devices"), private=False)
    yield _link("loopback", _("frames on this machine's lo"), private=False)
    wireshark = find()
    yield (
        bool(wireshark),
        "Wireshark",
        wireshark or _("install it: sudo apt install wireshark, or wireshark.org"),
    )
    problem = why_not_bubblewrap()
    yield problem is None, _("sandbox for grading"), str(problem or "bubblewrap")
    tshark = shutil.which("tshark")
    yield bool(tshark), "tshark", tshark or _("only some tests need it: sudo apt install tshark")


def _link(kind: str, what: str, *, private: bool) -> tuple[bool, str, str]:
    try:
        link, _sentence = open_link(kind, private=private)
    except LinkUnavailable as unavailable:
        return False, what, str(unavailable)
    name = link.name
    link.close()
    return True, what, name
