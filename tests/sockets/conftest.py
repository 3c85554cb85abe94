"""A host of its own for each test, with sockets on it."""

from collections.abc import Iterator

import pytest

from demuxlab import sockets
from demuxlab.host import Host
from demuxlab.runtime import Runtime


@pytest.fixture(autouse=True)
def runtime() -> Iterator[Runtime]:
    """A host with one address and no link: what it sends to itself arrives."""
    with Runtime(Host("B", ["10.9.0.20"])) as running, sockets.on(running):
        yield running


@pytest.fixture
def pair() -> Iterator[tuple[sockets.socket, sockets.socket]]:
    """A client and the server's data socket, connected."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        client = sockets.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server
