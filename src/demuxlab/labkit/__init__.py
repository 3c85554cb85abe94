"""What a lab script is written with, and what runs it.

Names are loaded when they are first used: `demuxlab labs` lists the labs without importing a host.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demuxlab.labkit.lab import Lab, Sender
    from demuxlab.labkit.network import LabError

__all__ = ["Lab", "LabError", "Sender"]

_HOMES = {
    "Lab": "demuxlab.labkit.lab",
    "LabError": "demuxlab.labkit.network",
    "Sender": "demuxlab.labkit.lab",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'demuxlab.labkit' has no attribute {name!r}")
