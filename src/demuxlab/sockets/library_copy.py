"""Second copies of standard library modules that run on our sockets: `socket`, `http.server`, …"""

import builtins
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def load_copy(name: str, replacing: Mapping[str, ModuleType], into: ModuleType | None = None) -> ModuleType:
    """Return a new copy of a library module in which imports of the names in `replacing` give those modules.

    The copy is a new module, or the module `into`. An `import` calls `__import__` of its module's own
    `__builtins__`, so that sys.modules and the copy that all other modules use stay as they are. Raises
    ImportError where the module has no source.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_code"):
        raise ImportError(f"{name} cannot be copied: it is not a module with source")
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
