"""Every Python that a program of `demuxlab exec` starts imports this first (site, PYTHONPATH).

Reloaders, multiprocessing's spawn and others start the interpreter anew. When such a process imports
`socket`, it gets ours, on the host of the program that started it. Processes that never do are left alone.
"""

import contextlib
import importlib
import importlib.machinery
import os
import sys
from types import ModuleType


class _Finder:
    """Finds `socket` and `_socket`, once."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> object:
        if name not in ("socket", "_socket") or "demuxlab" in sys.modules:
            return None  # or this is a process of demuxlab's own
        sys.meta_path.remove(_Finder)  # type: ignore[arg-type]
        try:
            from demuxlab.sockets.join import join

            join()
        except Exception as error:
            own = f"demuxlab: the sockets of process {os.getpid()} are the kernel's"
            why = f"{type(error).__name__}: {error}"
            cure = "keep the program that started it running, and start it with the same Python"
            print(f"{own} ({why}): {cure}", file=sys.stderr)
        found = sys.modules.pop(name, None)  # else importlib would load what is there a second time
        return importlib.machinery.ModuleSpec(name, _Loader(found)) if found else None  # type: ignore[arg-type]


class _Loader:
    """Gives the module that `join` has put into sys.modules, in the place of the new one."""

    def __init__(self, found: ModuleType) -> None:
        self._found = found

    @staticmethod
    def create_module(_spec: object) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._found


if "DEMUXLAB_SOCKETS" in os.environ:
    sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
# The machine's own sitecustomize has its turn.
sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != os.path.dirname(__file__)]
_own = sys.modules.pop(__name__)
with contextlib.suppress(ImportError):
    importlib.import_module("sitecustomize")
sys.modules.setdefault(__name__, _own)
