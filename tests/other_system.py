"""Another system's Python: our own code sees only the part of the standard library that exists there.

What exists where is read from typeshed, which comes with mypy. A test copies this file into a virtual
environment, whose interpreters then start with it; scapy and the standard library itself stay as they are.
"""

import ast
import builtins
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = (
    *("_socket", "fcntl", "grp", "os", "pty", "pwd", "resource", "select", "signal", "socket", "sys"),
    *("syslog", "termios", "time", "tty"),
)
NAMES = {"darwin": "posix", "win32": "nt"}
"""What os.name is."""


def lacking(system: str) -> dict[str, list[str] | None]:
    """Return for each module the names that Linux has and this system has not; None: the whole module."""
    found: dict[str, list[str] | None] = {}
    for module in MODULES:
        there = {name for name in _names(module, system) if not name.startswith("_")}
        found[module] = sorted(set(_names(module, "linux")) - there) if there else None
    return found


def _names(module: str, system: str) -> Iterator[str]:
    import mypy

    stubs = Path(mypy.__file__).parent / "typeshed" / "stdlib"
    stub = stubs / f"{module}.pyi"
    text = (stub if stub.exists() else stubs / module / "__init__.pyi").read_text(encoding="utf-8")
    yield from _defined(ast.parse(text).body, system)


def _defined(body: list[ast.stmt], system: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _defined(node.body if _holds(node.test, system) else node.orelse, system)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == "*" and node.module:
                    yield from _names(node.module, system)
                elif alias.asname == alias.name:
                    yield alias.name


def _holds(test: ast.expr, system: str) -> bool:
    """Evaluate a condition of a stub: about sys.platform and sys.version_info."""
    as_if = ModuleType("sys")
    as_if.platform, as_if.version_info = system, sys.version_info  # type: ignore[attr-defined]
    return bool(eval(compile(ast.Expression(test), "stub", "eval"), {"sys": as_if, "TYPE_CHECKING": True}))


def _view(module: ModuleType, without: list[str], **other: Any) -> ModuleType:
    """Return a module without some of its names, and with others."""
    view = ModuleType(module.__name__)
    vars(view).update({key: value for key, value in vars(module).items() if key not in without}, **other)
    return view


def install(system: str, missing: dict[str, list[str] | None]) -> None:
    """Let every module of demuxlab see this system's standard library."""
    original = builtins.__import__
    seen = {"sys": ModuleType("sys")}
    vars(seen["sys"]).update(platform=system, __getattr__=partial(getattr, sys))

    def imported(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        module = original(name, globals, locals, fromlist, level)
        of_us = globals is not None and str(globals.get("__name__")).startswith("demuxlab")
        if level or not of_us or module.__name__ not in missing:
            return module
        names = missing[module.__name__]
        if names is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if module.__name__ not in seen:
            more = {"name": NAMES[system]} if name.startswith("os") else {}
            seen[module.__name__] = _view(module, names, **more)
        return seen[module.__name__]

    builtins.__import__ = imported


if (_data := Path(__file__).with_suffix(".json")).exists():
    install(*json.loads(_data.read_text(encoding="utf-8")))
