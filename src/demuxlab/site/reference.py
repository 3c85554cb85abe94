"""The reference of the public names, read from their docstrings."""

import inspect
from importlib import import_module
from typing import Any

from demuxlab import sockets


def public_names() -> list[dict[str, Any]]:
    """Return each public name with its module, its signature, its docstring and its public members."""
    package = import_module("demuxlab")
    own = [(f"demuxlab.{name}", getattr(package, name)) for name in package.__all__]
    # The rest of demuxlab.sockets is the standard library's own, documented there.
    own += [("demuxlab.sockets.on", sockets.on), ("demuxlab.sockets.use", sockets.use)]
    return [_entry(name, value) for name, value in own]


def _entry(name: str, value: Any) -> dict[str, Any]:
    members = []
    if inspect.isclass(value):
        members = [
            {"name": key, "signature": _signature(member), "text": inspect.getdoc(member) or ""}
            for key, member in vars(value).items()
            if not key.startswith("_") and (callable(member) or isinstance(member, property))
        ]
    return {
        "name": name,
        "signature": _signature(value),
        "text": inspect.getdoc(value) or "",
        "members": [member for member in members if member["text"]],
    }


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))
