"""Bytecode of what a page imports, made when the site is built, by the interpreter that will read it.

Without it each start of Python in a page would compile 600 files, which is most of what a start takes.
"""

import base64
import importlib.util
import marshal
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

_UNCHECKED_HASH = (0b01).to_bytes(4, "little")
"""The file is taken as it is, whatever its source's time is (PEP 552): both come in the same archive."""
_COURSE, _LIBRARY = "/course/", ".zip/"


def bytecode() -> dict[str, dict[str, str]]:
    """Return the .pyc file of each module imported so far, in base64, by its name in its archive.

    `course` is course.zip, `library` the archive of Python's standard library (see zipimport).
    """
    found: dict[str, dict[str, str]] = {"course": {}, "library": {}}
    for origin, data in _compiled():
        _before, in_course, path = origin.partition(_COURSE)
        if in_course:
            file = PurePosixPath(path)
            path = str(file.parent / "__pycache__" / f"{file.stem}.{sys.implementation.cache_tag}.pyc")
        else:
            path = origin.partition(_LIBRARY)[2] + "c"
        found["course" if in_course else "library"][path] = base64.b64encode(data).decode("ascii")
    return found


def _compiled() -> Iterator[tuple[str, bytes]]:
    for module in list(sys.modules.values()):
        spec: Any = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None) or ""
        if origin.endswith(".py") and (origin.startswith(f"{_COURSE}lib/") or _LIBRARY in origin):
            source = spec.loader.get_source(spec.name)
            head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source.encode())
            yield origin, head + marshal.dumps(spec.loader.get_code(spec.name))
