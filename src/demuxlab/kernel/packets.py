"""The host's IP packets as an AF_PACKET socket sees them (packet(7)): read only, nothing is sent."""

import ctypes
import errno
import os
import socket
import struct
from typing import NamedTuple

_ETH_P_ALL, _IPV4, _IPV6 = 3, 0x0800, 0x86DD
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 26, 33, 35
_LOOPBACK, _OUTGOING, _OTHER_HOST = 772, 4, 3
"""ARPHRD_LOOPBACK, PACKET_OUTGOING, PACKET_OTHERHOST."""
_MOST = 1 << 18
_QUEUE = 64 << 20
_BATCH = 64
_header = struct.Struct("!HHIHBB8s")
"""The header of LINKTYPE_LINUX_SLL2."""
_timespec = struct.Struct("=qq")
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_PROTOCOL, _KIND, _HARDWARE = (0xFFFFF000 + offset for offset in (0, 4, 28))
"""Loads of the filter that read the packet's metadata: SKF_AD_PROTOCOL, SKF_AD_PKTTYPE, SKF_AD_HATYPE."""
_FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (_LOAD, 0, 0, _PROTOCOL),
        (_EQUAL, 1, 0, _IPV4),
        (_EQUAL, 0, 5, _IPV6),
        (_LOAD, 0, 0, _KIND),
        (_EQUAL, 0, 2, _OUTGOING),
        (_LOAD, 0, 0, _HARDWARE),
        (_EQUAL, 1, 0, _LOOPBACK),
        (_RETURN, 0, 0, _MOST),
        (_RETURN, 0, 0, 0),
    )
)
"""IP packets, but not what goes out on lo: it comes in there again."""


class Captured(NamedTuple):
    """A packet, as it passed a device."""

    now: float
    device: str
    number: int
    """The device's number (if_nametoindex(3))."""
    outgoing: bool
    to_us: bool
    """False for a frame to another station's hardware address."""
    header: bytes
    """What the link said of it: the header of LINKTYPE_LINUX_SLL2."""
    packet: bytes


class PacketSocket:
    """All devices, or one. A packet on lo comes once, as it arrives: Wireshark leaves out the other half too.

    Raises PermissionError, or OSError with ENODEV for an unknown device.
    """

    def __init__(self, device: str = "") -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            self._set_up(device)
        except BaseException:
            self._socket.close()
            raise
        self._buffer = bytearray(_MOST)
        self.lost = 0
        """How many packets were not read, as of the last call of `count_lost`."""

    def _set_up(self, device: str) -> None:
        # Without a protocol nothing is captured yet: no packet passes by the filter.
        code = ctypes.create_string_buffer(_FILTER, len(_FILTER))
        program = struct.pack("HP", len(_FILTER) // 8, ctypes.addressof(code))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setblocking(False)
        # socket.bind takes no device without a name: index 0 is all of them.
        number = _number(device) if device else 0
        address = struct.pack("=HHi12x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), number)
        if ctypes.CDLL(None, use_errno=True).bind(self._socket.fileno(), address, len(address)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return self._socket.fileno()

    def take(self) -> list[Captured]:
        """Return some dozens of the packets that wait; OSError with ENETDOWN where the device went down."""
        taken: list[Captured] = []
        numbers: dict[str, int] = {}
        while len(taken) < _BATCH:
            try:
                size, control, _flags, address = self._socket.recvmsg_into([self._buffer], 64)
            except BlockingIOError:
                break
            device, protocol, kind, hardware, station = address
            if device not in numbers:
                numbers[device] = _number(device)
            index = numbers[device]
            seconds, nanoseconds = _timespec.unpack(control[0][2])
            header = _header.pack(protocol, 0, index, hardware, kind, len(station), station)
            packet = bytes(memoryview(self._buffer)[:size])
            now, outgoing = seconds + nanoseconds / 1e9, kind == _OUTGOING
            taken.append(Captured(now, device, index, outgoing, kind != _OTHER_HOST, header, packet))
        return taken

    def discard(self, until: float) -> None:
        """Count the packets that wait, of those that came before a time, as lost."""
        while taken := [each for each in self.take() if each.now <= until]:
            self.lost += len(taken)

    def count_lost(self) -> int:
        """Return how many packets have been lost since the start (PACKET_STATISTICS, which counts anew)."""
        _packets, drops = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self.lost += drops
        return self.lost

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _number(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from None
