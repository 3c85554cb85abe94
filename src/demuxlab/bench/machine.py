"""The machine that the figures come from, and the versions of all contenders."""

import os
import platform
import re
import shutil
import subprocess
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from demuxlab.bench.measure import Unavailable
from demuxlab.language import _

PEERS = ("dpkt", "pypacker", "scapy", "pmd-pytcp", "nfstream", "python-pcapng", "numpy", "numba")
INSTALL = "pip install 'demuxlab[bench]'"


def installed(module: str) -> None:
    """Raise Unavailable, with the command that installs it, where a contender's module is not installed."""
    package = module.partition(".")[0]
    if find_spec(package) is None:
        raise Unavailable(_("{peer} is not installed", peer=package), INSTALL)


def peer(module: str) -> Any:
    """Import a contender's module; raise Unavailable where it is not installed."""
    installed(module)
    return import_module(module)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: CPU, usable cores, kernel and its congestion control, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu(),
        "cores": cores,
        "kernel": f"{platform.system()} {platform.release()}",
        "congestion": _congestion(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {"demuxlab": metadata.version("demuxlab"), **_versions()},
    }


def in_words(found: dict[str, Any]) -> str:
    """Return the description of a machine as one line of text."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    kernel = found["kernel"] + (f" ({found['congestion']})" if found["congestion"] else "")
    return f"{found['cpu']}, {found['cores']} cores, {kernel}, {found['python']}; {versions}"


def _cpu() -> str:
    try:
        said = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        said = None
    return said[1] if said else platform.processor() or platform.machine()


def _congestion() -> str:
    """Return the kernel's congestion control algorithm, which may pace what the kernel sends."""
    try:
        return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    except OSError:
        return ""


def _versions() -> dict[str, str]:
    found = {}
    for name in PEERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if tshark := shutil.which("tshark"):
        said = subprocess.run([tshark, "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"\d+(\.\d+)+", said):
            found["tshark"] = version[0]
    return found
