"""demuxlab: a packet-level lab on transport-layer multiplexing and demultiplexing.

Names are loaded when they are first used, so that `import demuxlab` costs nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demuxlab.demux.delivery import Delivery
    from demuxlab.demux.demultiplexer import Demultiplexer
    from demuxlab.host import Host
    from demuxlab.labkit.lab import Lab

__version__ = "1.0.0"
__all__ = ["Delivery", "Demultiplexer", "Host", "Lab"]

_HOMES = {
    "Delivery": "demuxlab.demux.delivery",
    "Demultiplexer": "demuxlab.demux.demultiplexer",
    "Host": "demuxlab.host",
    "Lab": "demuxlab.labkit.lab",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'demuxlab' has no attribute {name!r}")


# In a notebook, and only there, a `Delivery` is shown as HTML, whichever of our modules it came from.
if "IPython" in sys.modules:
    from demuxlab.telling.html import show_in_notebooks

    show_in_notebooks()
