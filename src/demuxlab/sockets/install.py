"""Makes a program's `import socket` find ours, before the program is run."""

import sys
from types import ModuleType

import demuxlab.sockets
from demuxlab.sockets import substitute


def install() -> None:
    """Put our `socket` and `_socket` in the place of the standard library's, for all imports to come.

    Modules that are loaded already and took something from `socket`, directly or through others (asyncio,
    ssl, http, …), are forgotten, so that the program imports them anew. Who holds them keeps them: demuxlab's
    own parts go on with the kernel's sockets.
    """
    for name in _users_of({"socket", "_socket"}):
        del sys.modules[name]
    sys.modules["socket"] = demuxlab.sockets
    sys.modules["_socket"] = substitute.module


def _users_of(names: set[str]) -> list[str]:
    """Return the modules that hold something from the modules named, or from a module that does."""
    loaded = {name: module for name, module in list(sys.modules.items()) if isinstance(module, ModuleType)}
    sources = {name: _sources(module) for name, module in loaded.items() if not _is_kept(name)}
    affected = set(names)
    while new := {name for name, used in sources.items() if name not in affected and used & affected}:
        # A package is loaded anew as a whole: its modules hold each other's names.
        packages = {name.partition(".")[0] for name in new}
        affected |= {name for name in sources if name.partition(".")[0] in packages}
    return [name for name in affected if name in sources]


def _is_kept(name: str) -> bool:
    return name.partition(".")[0] in ("__main__", "demuxlab", "builtins", "sys", "socket", "_socket")


def _sources(module: ModuleType) -> set[str]:
    """Return the names of the modules that a module's globals are, or come from."""
    values = list(vars(module).values())
    named = {value.__name__ for value in values if isinstance(value, ModuleType)}
    homes = {getattr(value, "__module__", None) for value in values if callable(value)}
    return named | {home for home in homes if isinstance(home, str)}
