"""The option lines at the head of a script: `--mtu=1400`, `--define=SIZE=1000`.

Of packetdrill's options those that change what a script means have an effect here; the others, which say how
packetdrill itself runs, are noted.
"""

import re
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
    "strict_segments": (0, 1),
}
_ADDRESSES = ("local_ip", "remote_ip")
_IPV6: dict[str, Any] = {"local_ip": "fd3d:a0b:17d6::1", "remote_ip": "fd3d:fa7b:d17d::1"}
_WITHOUT_EFFECT = frozenset(
    (
        *("code_command", "code_format", "code_sockopt", "debug", "dry_run", "gateway_ip", "init_scripts"),
        *(
            "fuzz_seed",
            "local_linklocal_ip",
            "mss",
            "netmask_ip",
            "non_fatal",
            "send_omit_free",
            "so_filename",
        ),
        *("so_flags", "speed", "tolerance_percent", "verbose", "wire_client", "wire_client_dev"),
        *("wire_server", "wire_server_dev", "wire_server_ip", "wire_server_port"),
    )
)
_SWITCHES = {"": "1", "true": "1", "yes": "1", "on": "1", "false": "0", "no": "0", "off": "0"}
# What packetdrill's runner defines for every script: the Fast Open cookie that the key
# a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4 (and the key of zeros) gives for the default addresses, and the names of
# the error queue's control messages.
_DEFINED = {
    4: {
        "TFO_COOKIE": "3021b9d889017eeb",
        "TFO_COOKIE_ZERO": "b7c12350a90dc8f5",
        "CMSG_LEVEL_IP": "SOL_IP",
        "CMSG_TYPE_RECVERR": "IP_RECVERR",
    },
    6: {
        "TFO_COOKIE": "c1d1e9742a47a9bc",
        "TFO_COOKIE_ZERO": "82af1a8f9a205c34",
        "CMSG_LEVEL_IP": "SOL_IPV6",
        "CMSG_TYPE_RECVERR": "IPV6_RECVERR",
    },
}
_DEFINITION = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)


def read(lines: Iterable[tuple[int, str]]) -> tuple[Options, list[tuple[int, str]]]:
    """Read (line, "--name=value") pairs; return the options, and (line, note) for each without effect."""
    # The version comes first wherever it is written: it decides which addresses are valid.
    options, notes = Options(), []
    changed: dict[str, Any] = {}
    given = [(line, *_split(text)) for line, text in lines]
    for line, name, value in given:
        if name == "ip_version":
            if value not in ("ipv4", "ipv6"):
                raise ScriptError(line, _("expected {what}, found {found}", what="ipv4 | ipv6", found=value))
            options = replace(options, ip_version=int(value[3:]), **(_IPV6 if value == "ipv6" else {}))
    defined = dict(_DEFINED[options.ip_version])
    for line, name, value in given:
        if name == "define":
            defined.update([_definition(line, value)])
        elif name in _NUMBERS:
            number = _SWITCHES.get(value, value) if name == "strict_segments" else value
            changed[name] = _number(line, number, *_NUMBERS[name])
        elif name in _ADDRESSES:
            changed[name] = _address(line, value, options.ip_version)
        elif name == "only":
            if not {*value.split(",")} <= {"stack", "kernel", "transport"}:
                raise ScriptError(
                    line, _("expected {what}, found {found}", what="stack | kernel | transport", found=value)
                )
            changed[name] = value
        elif name in _WITHOUT_EFFECT:
            notes.append((line, f"--{name} has no effect here"))
        elif name != "ip_version":
            known = ", ".join((*_NUMBERS, *_ADDRESSES, "ip_version", "define", "only"))
            raise ScriptError(
                line, _("expected an option out of {known}, found --{found}", known=known, found=name)
            )
    return replace(options, defined=defined, **changed), notes


def _split(text: str) -> tuple[str, str]:
    """Split "--name=value"; `-D NAME=VALUE` is `--define=NAME=VALUE`."""
    if text.startswith("-D"):
        return "define", text[2:].lstrip("= ")
    name, _sign, value = text[2:].partition("=" if "=" in text else " ")
    return name, value.strip().strip('"') if name != "define" else value.strip()


def _definition(line: int, text: str) -> tuple[str, str]:
    match = _DEFINITION.fullmatch(text)
    if match is None:
        raise ScriptError(line, _("expected {what}, found {found}", what="NAME=VALUE", found=text))
    return match[1], match[2]


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
