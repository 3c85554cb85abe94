"""The house: rooms import only from floors below, no module is in an import circle, pure rooms do no I/O."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "demuxlab"

FLOORS = (
    ("errors", "files", "language", "layout", "wire", "parts"),
    ("cluster", "terminal", "links", "capture"),
    ("demux", "mux"),
    ("telling",),
    ("transport",),
    ("host",),
    ("fast",),
    ("runtime",),
    ("sockets",),
    ("recording", "serving", "wireshark", "report", "live", "flows", "drill", "kernel"),
    ("labkit", "course"),
    ("grading",),
    ("bench", "site"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PURE = ("wire", "demux", "mux", "telling", "transport", "parts")
IMPURE = {"scapy", "socket", "threading", "time", "select", "selectors", "asyncio"}
ABOVE_ALL = ("__init__", "__main__")
"""The package's public names and its start: they may import from every room."""


def _modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name."""
    paths = PACKAGE.rglob("*.py")
    names = ((".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts), path) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in names}


MODULES = _modules()


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def _imports(module: str) -> set[str]:
    """Return the dotted names that a module imports; of `from a import b`, `a.b` where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & MODULES.keys()) or {node.module}
    return found


IMPORTS = {module: _imports(module) for module in MODULES}


def test_every_room_has_its_floor():
    assert {_room(module) for module in MODULES} - set(ABOVE_ALL) == FLOOR.keys()


def test_no_room_imports_from_the_floor_above():
    upward = [
        f"{module} imports {imported}"
        for module in MODULES
        for imported in IMPORTS[module] & MODULES.keys()
        if _room(module) not in ABOVE_ALL and FLOOR.get(_room(imported), len(FLOORS)) > FLOOR[_room(module)]
    ]
    assert upward == []


@pytest.mark.parametrize("room", PURE)
def test_a_pure_room_does_no_io(room):
    impure = [
        f"{module} imports {imported}"
        for module in MODULES
        if _room(module) == room
        for imported in IMPORTS[module]
        if imported.split(".")[0] in IMPURE
    ]
    assert impure == []


def _reachable(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        new = (IMPORTS[waiting.pop()] & MODULES.keys()) - seen
        seen |= new
        waiting.extend(new)
    return seen


def test_no_module_is_in_an_import_circle():
    assert sorted(module for module in MODULES if module in _reachable(module)) == []
