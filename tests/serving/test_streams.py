"""echo, discard and chargen: streams that need no thread."""

from contextlib import suppress

import pytest

from demuxlab import sockets
from demuxlab.host import Host
from demuxlab.runtime import Runtime
from demuxlab.serving import servers


@pytest.fixture(scope="module", params=["echo", "discard", "chargen"])
def service(request, tmp_path_factory):
    with Runtime(Host("B", ["10.9.0.2"])) as runtime, sockets.on(runtime):
        running = servers.start(request.param, runtime, None, tmp_path_factory.mktemp("none"))
        yield request.param, ("10.9.0.2", servers.PORTS[request.param])
        running.stop()


def test_a_stream_ends_with_the_client_s(service):
    name, address = service
    data = bytes(range(251)) * 4000
    with sockets.create_connection(address, 10) as client:
        if name == "chargen":
            client.sendall(b"thrown away")
            received = b"".join(client.recv(65_536) for _ in range(20))
            first, second = received.split(b"\r\n")[:2]
            assert (first[:5], second[:5], len(first)) == (b'!"#$%', b'"#$%&', 72)
            return
        client.setblocking(False)
        sent, received = 0, bytearray()
        while sent < len(data):
            with suppress(BlockingIOError):
                sent += client.send(data[sent : sent + 100_000])
            with suppress(BlockingIOError):
                received += client.recv(65_536)
        client.setblocking(True)
        client.shutdown(sockets.SHUT_WR)
        received += b"".join(iter(lambda: client.recv(65_536), b""))
        assert received == (data if name == "echo" else b"")


def test_data_and_its_end_at_once(service):
    name, address = service
    if name != "chargen":
        with sockets.create_connection(address, 10) as client:
            client.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_CORK, 1)
            client.sendall(b"hello")
            client.shutdown(sockets.SHUT_WR)
            assert b"".join(iter(lambda: client.recv(100), b"")) == (b"hello" if name == "echo" else b"")
