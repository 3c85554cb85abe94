"""Modules of the standard library, run a second time on our sockets: `socket`, `http.server`, …"""

import builtins
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def borrow(name: str, replacing: Mapping[str, ModuleType], into: ModuleType | None = None) -> ModuleType:
    """Return a new copy of a library module whose imports of the names in `replacing` give those modules.

    The copy is a new module, or the module `into`. `import` calls `__import__` of a module's own
    `__builtins__`; so the copy that everybody else uses, and sys.modules, stay as they are.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_code"):
        raise ImportError(f"{name} is no module with source")
    code = spec.loader.get_code(name)
    module = into
    if module is None:
        module = ModuleType(name)
        module.__spec__ = spec
        module.__file__ = spec.origin

    def import_(wanted: str, *rest: Any) -> ModuleType:
        return replacing.get(wanted) or builtins.__import__(wanted, *rest)

    vars(module)["__builtins__"] = {**vars(builtins), "__import__": import_}
    exec(code, vars(module))
    return module
