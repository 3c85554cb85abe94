"""The option lines at the head of a script: `--mtu=1400`."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from demuxlab.drill.script import Options, ScriptError
from demuxlab.language import _

_NUMBERS = {
    "mtu": (68, 65_535),
    "bind_port": (0, 65_535),
    "connect_port": (1, 65_535),
    "tolerance_usecs": (0, 60_000_000),
    "tcp_ts_tick_usecs": (0, 10_000_000),
    "lockstep": (0, 1),
}
_ADDRESSES = ("local_ip", "remote_ip")
_IPV6: dict[str, Any] = {"local_ip": "fd3d:a0b:17d6::1", "remote_ip": "fd3d:fa7b:d17d::1"}
_WITHOUT_EFFECT = frozenset(
    (
        "gateway_ip",
        "netmask_ip",
        "non_fatal",
        "init_scripts",
        "speed",
        "verbose",
        "debug",
        "dry_run",
        "wire_client",
    )
)


def read(lines: Iterable[tuple[int, str]]) -> tuple[Options, list[tuple[int, str]]]:
    """Read (line, "--name=value") pairs; return the options, and (line, note) for each without effect."""
    # The version comes first wherever it is written: it decides which addresses are valid.
    options, notes = Options(), []
    changed: dict[str, Any] = {}
    given = [(line, *text[2:].partition("=")[::2]) for line, text in lines]
    for line, name, value in given:
        if name == "ip_version":
            if value not in ("ipv4", "ipv6"):
                raise ScriptError(line, _("expected {what}, found {found}", what="ipv4 | ipv6", found=value))
            options = replace(options, ip_version=int(value[3:]), **(_IPV6 if value == "ipv6" else {}))
    for line, name, value in given:
        if name in _NUMBERS:
            changed[name] = _number(line, value, *_NUMBERS[name])
        elif name in _ADDRESSES:
            changed[name] = _address(line, value, options.ip_version)
        elif name == "only":
            if value not in ("stack", "kernel"):
                raise ScriptError(
                    line, _("expected {what}, found {found}", what="stack | kernel", found=value)
                )
            changed[name] = value
        elif name in _WITHOUT_EFFECT:
            notes.append((line, f"--{name} has no effect here"))
        elif name != "ip_version":
            known = ", ".join((*_NUMBERS, *_ADDRESSES, "ip_version", "only"))
            raise ScriptError(
                line, _("expected an option out of {known}, found --{found}", known=known, found=name)
            )
    return replace(options, **changed), notes


def _number(line: int, value: str, least: int, most: int) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9 or not least <= int(value) <= most:
        raise ScriptError(line, _("expected a number from {least} to {most}", least=least, most=most))
    return int(value)


def _address(line: int, value: str, version: int) -> str:
    try:
        address = ip_address(value)
    except ValueError as error:
        raise ScriptError(line, _("expected an IPv{version} address", version=version)) from error
    if address.version != version:
        raise ScriptError(line, _("expected an IPv{version} address", version=version))
    return str(address)
