"""What Python can do at most: TCP connections on a TUN, with hardly a test.

Nothing is verified, nothing may be lost or come out of order, and there is no socket: a packet is read and
acknowledged, or a segment written. No stack in Python can be faster on the same device. `Connection` has one
connection on a TUN that offloads, `connect` many short ones.
"""

import os
import struct
import zlib
from collections.abc import Callable
from typing import Any, NoReturn

from demuxlab.bench.programs import GATEWAY, PORT, STACK, STREAM, Result, throughput
from demuxlab.links.choose import open_tun
from demuxlab.links.packet_ends import MAX_PACKET
from demuxlab.wire import ip, offload, packet, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.segment import ACK, FIN, PSH, SYN, TCPSegment

_MSS, _SHIFT, _WINDOW = 1460, 8, 0xFFFF
_HEADERS = offload.HEADER_LENGTH + 40
"""Bytes before the data: neither side has options."""
_LARGE = offload.MAX_DATA // _MSS * _MSS
_MOST = 1 << 21
"""Bytes in flight at most."""
_ISS = 1000
_put = struct.Struct("!I").pack_into
_from_bytes = int.from_bytes
_fields = struct.Struct("!H2xIIxB").unpack_from


class Connection:
    """The connection of the first client, established."""

    def __init__(self, ready: Callable[[], None]) -> None:
        self._link = open_tun([f"{GATEWAY}/24"], [STACK], offload=True)
        self.tun = self._link.queues[0].fileno()
        os.set_blocking(self.tun, True)
        ready()
        syn = self._segment()
        while syn is None or not syn.flags & SYN:
            syn = self._segment()
        self._ports = syn.destination_port, syn.source_port
        self.next = syn.sequence + 1
        options = tcp.build_options(tcp.Options(mss=_MSS, window_scale=_SHIFT))
        os.write(self.tun, self._packet(SYN | ACK, b"", _ISS, options))
        ack = self._segment()
        while ack is None or not ack.flags & ACK:
            ack = self._segment()
        self.window = ack.window << (tcp.read_options(syn.options).window_scale or 0)
        self.shift = tcp.read_options(syn.options).window_scale or 0

    def _segment(self) -> TCPSegment | None:
        data = os.read(self.tun, offload.HEADER_LENGTH + MAX_PACKET)
        arrival = packet.read(data[offload.HEADER_LENGTH :], Checksums.UNFINISHED_TOO)
        return arrival if isinstance(arrival, TCPSegment) else None

    def _packet(self, flags: int, data: bytes, sequence: int = _ISS + 1, options: bytes = b"") -> bytearray:
        """Return a virtio-net header and a packet whose checksum the link completes."""
        ends = from_text(STACK), from_text(GATEWAY)
        fields: dict[str, Any] = {"sequence": sequence & 0xFFFFFFFF, "acknowledgment": self.next & 0xFFFFFFFF}
        fields |= {"flags": flags, "window": _WINDOW, "options": options}
        header = tcp.unfinished_header(*ends, *self._ports, len(data), **fields)
        large = offload.tcp(*ends, header, (data,), _MSS)
        return bytearray(large.header + large.headers + data)

    def receive(self, seconds: float) -> Result:
        """Acknowledge what is read, packet by packet."""
        tun, read, write = self.tun, os.read, os.write
        ack, following, most = self._packet(ACK, b""), self.next, offload.HEADER_LENGTH + MAX_PACKET
        length, sum_, flags = 0, 0, 0
        if not seconds:
            while not flags & FIN:
                data = read(tun, most)
                flags = data[offload.HEADER_LENGTH + 33]
                length, sum_ = length + len(data) - _HEADERS, zlib.crc32(data[_HEADERS:], sum_)
                following += len(data) - _HEADERS + flags % 2
                _put(ack, offload.HEADER_LENGTH + 28, following & 0xFFFFFFFF)
                write(tun, ack)
            return {"answers": [length, sum_]}

        def step() -> int:
            nonlocal following
            size = len(read(tun, most)) - _HEADERS
            following += size
            _put(ack, offload.HEADER_LENGTH + 28, following & 0xFFFFFFFF)
            write(tun, ack)
            return size

        return {"figure": throughput(step, seconds)}

    def send(self, seconds: float) -> Result:
        """Write the largest segments that the window has room for, until the process is killed."""
        tun, read, writev = self.tun, os.read, os.writev
        first = following = acknowledged = _ISS + 1
        window, shift = min(self.window, _MOST), self.shift
        data, size = (bytes(_LARGE), _LARGE) if seconds else (STREAM, _MSS)
        head = self._packet(ACK, data[:size])[:_HEADERS]
        while seconds or following - first < len(data):
            part = data if seconds else data[following - first :][:_MSS]
            if len(part) != size:
                size = len(part)
                head = self._packet(ACK, part)[:_HEADERS]
            while following + size - acknowledged > window:
                answer = read(tun, 2048)
                acknowledged += (_from_bytes(answer[38:42]) - acknowledged) & 0xFFFFFFFF
                window = min(_from_bytes(answer[44:46]) << shift, _MOST)
            _put(head, offload.HEADER_LENGTH + 24, following & 0xFFFFFFFF)
            writev(tun, (head, part))
            following += size
        while not (segment := self._segment()) or not segment.flags & FIN:
            pass
        return {}


def connect(ready: Callable[[], None]) -> NoReturn:
    """Answer each SYN, send the number of the client's port, and close, until the process is killed."""
    link = open_tun([f"{GATEWAY}/24"], [STACK])
    tun = link.queues[0].fileno()
    os.set_blocking(tun, True)
    source, destination = from_text(STACK), from_text(GATEWAY)
    options = tcp.build_options(tcp.Options(mss=_MSS))
    following: dict[int, int] = {}
    """RCV.NXT, by the client's port."""

    def send(port: int, flags: int, sequence: int, data: bytes = b"", options: bytes = b"") -> None:
        fields: dict[str, Any] = {"sequence": sequence, "acknowledgment": following[port], "flags": flags}
        fields |= {"window": _WINDOW, "options": options}
        segment = tcp.build(source, destination, PORT, port, data, **fields)
        os.write(tun, packet.build(source, destination, ip.TCP, segment))

    ready()
    while True:
        data = os.read(tun, MAX_PACKET)
        if data[0] >> 4 != 4 or data[9] != ip.TCP:
            continue
        port, sequence, acknowledgment, flags = _fields(data, 20)
        if flags & SYN:
            following[port] = sequence + 1 & 0xFFFFFFFF
            send(port, SYN | ACK, _ISS, options=options)
        elif flags & FIN and port in following:
            following[port] = sequence + 1 & 0xFFFFFFFF
            send(port, ACK, acknowledgment)
            del following[port]
        elif acknowledgment == _ISS + 1 and port in following:
            number = b"%d" % port
            send(port, ACK | PSH, _ISS + 1, number)
            send(port, ACK | FIN, _ISS + 1 + len(number))
