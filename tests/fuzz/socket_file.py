"""Fuzz target: a file of sockets, loaded and used for decisions. An input is the file."""

import json
from collections.abc import Iterator

from tests.fuzz import packets
from tests.fuzz.choices import one_line
from tests.fuzz.deliver import check

from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.telling.socket_file import SocketFileError, load

_SOCKETS: tuple[dict[str, object], ...] = (
    {"name": "web", "protocol": "tcp", "state": "listen", "local": ["0.0.0.0", 80], "reuse_port": True},
    {"name": "P4", "protocol": "tcp", "local": ["10.9.0.20", 80], "remote": ["10.9.0.10", 9157]},
    {"name": "dns", "protocol": "udp", "local": ["10.9.0.20", 53], "remote": None, "reuse_address": True},
    {"name": "six", "protocol": "udp", "local": ["::", 53], "v6only": False, "device": "eth0"},
    {"name": "to", "protocol": "udp", "local": ["::ffff:10.9.0.20", 4], "remote": ["10.9.0.10", 9]},
    {
        "name": "late",
        "protocol": "tcp",
        "state": "time-wait",
        "local": ["fd09::20", 80],
        "remote": ["::1", 1],
    },
)


def seeds() -> Iterator[bytes]:
    for socket in _SOCKETS:
        yield json.dumps({"sockets": [socket]}).encode()
    yield json.dumps({"comment": "[}", "sockets": list(_SOCKETS)}, indent=1).encode()
    yield b'{"sockets": [], "sockets": [{"nam": "x"}]}'
    yield b"[" * 3000
    for local in ("[]", '["10.9.0.20", -5]', '["10.9.0.20", 65536]', '["10.9.0", 1]', '["::", 1.5]', "null"):
        yield f'{{"sockets": [{{"name": "x", "protocol": "udp", "local": {local}}}]}}'.encode()


def one(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return  # as the command tells
    demultiplexer = Demultiplexer(explain=True)
    try:
        load(text, demultiplexer.table)
    except SocketFileError as error:
        one_line(error)
        return
    assert len(demultiplexer.table) == len(json.loads(text)["sockets"])
    for packet in _PACKETS:
        for device in ("", "eth0"):
            check(demultiplexer, demultiplexer.deliver(packet, 0.0, device), device)
    for socket in list(demultiplexer.table):
        demultiplexer.table.close(socket)
    assert not len(demultiplexer.table)


_PACKETS = tuple(packets.samples())
