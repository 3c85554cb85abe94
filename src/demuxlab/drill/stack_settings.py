"""The settings of our stack that the shell commands of a script change: by sysctl, or with the route."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from demuxlab.transport.tcp import ecn
from demuxlab.transport.tcp.buffers import Limits
from demuxlab.transport.tcp.congestion import ALGORITHMS
from demuxlab.transport.tcp.settings import Settings

Convert = Callable[[str], Any]


def _on(value: str) -> bool:
    return int(value) != 0


def _limits(value: str) -> Limits:
    """Return what a buffer has at first and at most, of the three numbers of tcp_rmem or tcp_wmem."""
    _least, first, most = map(int, value.split())
    return Limits(first, most)


def _ecn(value: str) -> int:
    """Return the setting; the later ones, of Accurate ECN, are not ours."""
    if int(value) not in (ecn.OFF, ecn.ASK, ecn.ACCEPT):
        raise ValueError(value)
    return int(value)


def _keys(value: str) -> bytes:
    """Return one key or two, of four numbers in the machine's byte order each (ip-sysctl)."""
    return b"".join(
        struct.pack("<4I", *(int(word, 16) for word in key.split("-"))) for key in value.split(",")
    )


def _features(value: str) -> int:
    return {"ecn": ecn.ASK}[value]


SYSCTLS: dict[str, tuple[tuple[str, Convert], ...]] = {
    "tcp_timestamps": (("timestamps", _on),),
    "tcp_sack": (("sack", _on),),
    "tcp_slow_start_after_idle": (("slow_start_after_idle", _on),),
    "tcp_fastopen": (("fast_open", lambda value: int(value, 0)),),
    "tcp_fastopen_key": (("fast_open_key", _keys),),
    "tcp_mtu_probing": (("mtu_probing", int),),
    "tcp_ecn": (("ecn", _ecn),),
    "tcp_dsack": (("dsack", _on),),
    "tcp_frto": (("frto", _on),),
    "tcp_early_retrans": (("tail_loss_probe", lambda value: int(value) in (3, 4)),),
    "tcp_window_scaling": (("window_scale", _on),),
    "tcp_congestion_control": (("congestion", ALGORITHMS.__getitem__),),
    "tcp_rmem": (("receive_limits", _limits),),
    "tcp_wmem": (("send_limits", _limits),),
    "tcp_max_syn_backlog": (("half_open", int),),
    "tcp_invalid_ratelimit": (("answer_period", lambda value: int(value) / 1000),),
    "tcp_keepalive_time": (("keepalive_idle", float),),
    "tcp_keepalive_intvl": (("keepalive_interval", float),),
    "tcp_keepalive_probes": (("keepalive_probes", int),),
}
"""The fields of `Settings` that a sysctl below net.ipv4 changes, each with the conversion from its text."""
ROUTE: dict[str, tuple[str, Convert]] = {
    "congctl": ("congestion", ALGORITHMS.__getitem__),
    "features": ("ecn", _features),
    "initcwnd": ("initial_window", int),
}
"""The field that an attribute of the route changes."""
_FIELDS = {one.name for one in fields(Settings)}


def set_sysctl(settings: Settings, name: str, value: str) -> bool:
    """Set a sysctl; return False where the stack does not have it, or not this value."""
    known = SYSCTLS.get(name.removeprefix("net.ipv4."))
    return known is not None and all(_set(settings, one, read, value) for one, read in known)


def set_route(settings: Settings, attributes: Mapping[str, str]) -> bool:
    """Set attributes of the route to the remote host; return False where the stack has not all of them."""
    return all(
        name in ROUTE and _set(settings, ROUTE[name][0], ROUTE[name][1], value)
        for name, value in attributes.items()
    )


def _set(settings: Settings, name: str, read: Convert, value: str) -> bool:
    if name not in _FIELDS:
        return False
    try:
        setattr(settings, name, read(value))
    except (ValueError, IndexError, KeyError):
        return False
    return True
