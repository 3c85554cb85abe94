"""Makes a program's `import socket` find ours, before the program is run."""

import sys
from types import ModuleType

import demuxlab.sockets
from demuxlab.sockets import substitute, system_calls, tls


def install() -> None:
    """Put our `socket` and `_socket` in the place of the standard library's, for all imports to come.

    Loaded modules that have imported something from `socket`, directly or through others (asyncio, ssl,
    http, …), leave sys.modules, so that the program imports them anew. demuxlab's own modules keep the old
    ones, and with them the kernel's sockets.
    """
    for name in _users_of({"socket", "_socket"}):
        del sys.modules[name]
    sys.modules["socket"] = demuxlab.sockets
    sys.modules["_socket"] = substitute.module
    sys.modules["_ssl"] = tls.module
    system_calls.install()


_KEPT = ("__main__", "demuxlab", "importlib", "socket", "_socket")
"""Packages that stay as they are. importlib uses email, which uses socket; all the rest uses importlib."""


def _users_of(names: set[str]) -> list[str]:
    """Return the modules that hold something from the modules named, or from a module that does."""
    sources = {name: _sources(module) for name, module in list(sys.modules.items()) if _is_library(module)}
    affected = set(names)
    while new := {name for name, used in sources.items() if name not in affected and used & affected}:
        # A package is loaded anew as a whole: its modules hold each other's names.
        packages = {name.partition(".")[0] for name in new}
        affected |= {name for name in sources if name.partition(".")[0] in packages}
    return [name for name in affected if name in sources]


def _is_library(module: ModuleType) -> bool:
    """Tell whether a module can be loaded anew: it has a source, and two copies of it do no harm."""
    origin = getattr(module, "__file__", None) or ""
    return origin.endswith(".py") and module.__name__.partition(".")[0] not in _KEPT


def _sources(module: ModuleType) -> set[str]:
    """Return the names of the modules that a module's globals are, or come from."""
    values = list(vars(module).values())
    named = {value.__name__ for value in values if isinstance(value, ModuleType)}
    homes = {getattr(value, "__module__", None) for value in values if callable(value)}
    return named | {home for home in homes if isinstance(home, str)}
