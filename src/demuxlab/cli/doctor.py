"""`demuxlab doctor`: what this machine allows, with the cure for each no."""

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from demuxlab.links.base import LinkUnavailable
from demuxlab.links.choose import open_link

_WIRESHARKS = (
    "/Applications/Wireshark.app/Contents/MacOS/Wireshark",
    "C:/Program Files/Wireshark/Wireshark.exe",
    "/mnt/c/Program Files/Wireshark/Wireshark.exe",
)


@click.command(name="doctor")
def command() -> None:
    """Say what this machine allows, and how to mend what it does not."""
    for works, what, detail in _findings():
        click.echo(f"{'✓' if works else '✗'} {what:34} {detail}")
    click.echo("\nEvery lab also runs with --link memory, which needs none of this.")


def _findings() -> Iterator[tuple[bool, str, str]]:
    version = sys.version_info
    yield version >= (3, 11), "Python 3.11 or newer", f"{platform.python_version()} on {platform.system()}"
    yield True, "scapy", importlib.metadata.version("scapy")
    for kind, what in (("tun", "TUN in a namespace of its own"), ("loopback", "frames on lo in a namespace")):
        yield _link(kind, what, private=True)
    yield _link("tun", "TUN beside this machine's devices", private=False)
    yield _link("loopback", "frames on this machine's lo", private=False)
    wireshark = shutil.which("wireshark") or next((path for path in _WIRESHARKS if Path(path).exists()), None)
    yield (
        bool(wireshark),
        "Wireshark",
        wireshark or "install it: sudo apt install wireshark, or wireshark.org",
    )
    tshark = shutil.which("tshark")
    yield bool(tshark), "tshark", tshark or "only some tests need it: sudo apt install tshark"


def _link(kind: str, what: str, *, private: bool) -> tuple[bool, str, str]:
    try:
        link, _ = open_link(kind, private=private)
    except LinkUnavailable as unavailable:
        return False, what, str(unavailable)
    name = link.name
    link.close()
    return True, what, name
