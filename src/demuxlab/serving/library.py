"""The standard library's servers on our sockets."""

from typing import TYPE_CHECKING

from demuxlab import sockets
from demuxlab.sockets.library_copy import load_copy

if TYPE_CHECKING:
    import socketserver
    from http import server as http_server
else:
    socketserver = load_copy("socketserver", {"socket": sockets})
    http_server = load_copy("http.server", {"socket": sockets, "socketserver": socketserver})

__all__ = ["http_server", "socketserver"]
