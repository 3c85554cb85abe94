"""Libraries that use the kernel's sockets directly: hidden if optional, else a warning when imported."""

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from demuxlab.sockets.inet import InetSocket

_HIDDEN = ("uvloop", "rloop", "winloop")
"""uvicorn, sanic and others take asyncio's own loop where there is none of these."""
_NAMED = {
    *("grpc", "pycurl", "psycopg2", "zmq", "MySQLdb", "pyuv", "bjoern", "granian", "socketify"),
    *(
        "pymssql",
        "oracledb",
        "cx_Oracle",
        "pylibmc",
        "pysrt",
        "confluent_kafka",
        "nanomsg",
        "pynng",
        "pycares",
    ),
}
_PYOPENSSL = "OpenSSL.SSL"


def watch() -> None:
    """Hide the optional ones in this process from now on, and warn about imports of the others."""
    for name in _HIDDEN:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds no module: it only watches which ones are imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if name in _NAMED:
            print(
                f"demuxlab: {name} has sockets of its own, which are the kernel's: what it sends and "
                "receives does not pass our transport layer",
                file=sys.stderr,
            )
        if name != _PYOPENSSL:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            _refuse_sockets_after(spec.loader)
        return spec


def _refuse_sockets_after(loader: Any) -> None:
    """Make OpenSSL.SSL's `Connection` refuse sockets of ours: it passes their descriptors to OpenSSL."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        kind: Any = module.Connection
        begin = kind.__init__

        def __init__(self: Any, context: Any, socket: Any = None) -> None:
            if isinstance(getattr(socket, "_own", None), InetSocket):
                raise NotImplementedError(
                    "pyOpenSSL gives OpenSSL the descriptor of its socket, and this one is demuxlab's: use "
                    "ssl.SSLContext.wrap_socket, or SSL.Connection(context) with bio_read and bio_write"
                )
            begin(self, context, socket)

        kind.__init__ = __init__

    loader.exec_module = exec_module
