"""More connections than there are ports, all on one server port (S24): only the source differs."""

import os
from pathlib import Path

import pytest

from demuxlab.host import Host
from demuxlab.links.memory import MemoryLink
from demuxlab.wire import ip, packet, tcp
from demuxlab.wire.address import from_text

CONNECTIONS = 70_000
SERVER = from_text("10.9.0.20")
BOUND = 8192
"""Bytes that an idle connection may cost at most."""


def resident():
    """Return this process's resident memory in bytes; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


def crafted(source, port, flags, sequence, acknowledgment=0, data=b""):
    segment = tcp.build(
        *(source, SERVER, port, 8080, data),
        sequence=sequence,
        acknowledgment=acknowledgment,
        flags=flags,
        window=65535,
    )
    return packet.build(source, SERVER, ip.TCP, segment)


@pytest.mark.long
def test_70_000_connections_on_one_port_over_the_memory_link():
    link, host = MemoryLink(), Host("B", ["10.9.0.20"])
    listener = host.listen(8080, backlog=10)

    def exchange(data):
        link.outside.send(data)
        host.receive(link.inside.receive(0), link.now())
        for answer in host.packets(link.now()):
            link.inside.send(answer)
        return link.outside.receive(0)

    # 35,000 ports on each of two client addresses.
    clients = [(from_text(f"10.9.1.{number % 2 + 1}"), 1024 + number // 2) for number in range(CONNECTIONS)]
    servers, acknowledgments = [], []
    before = resident()
    for source, port in clients:
        answer = packet.read(exchange(crafted(source, port, 0x02, 1000)))
        acknowledgments.append(answer.sequence + 1 & 0xFFFFFFFF)
        exchange(crafted(source, port, 0x10, 1001, acknowledgments[-1]))
        servers.append(listener.accept())
    each = (resident() - before) / CONNECTIONS
    print(f"\n{CONNECTIONS} connections on one port, {each:.0f} bytes each, accepted endpoint included")
    assert len(host.demultiplexer.table) == CONNECTIONS + 1
    assert {endpoint.socket.local_port for endpoint in servers} == {8080}
    for number in (0, 1, 12_345, CONNECTIONS - 1):
        source, port = clients[number]
        exchange(crafted(source, port, 0x18, 1001, acknowledgments[number], b"%d" % number))
        assert servers[number].read(100, link.now()) == b"%d" % number
    assert each < BOUND
