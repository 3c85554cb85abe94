"""Ends of a link that are descriptors: the far side of a TUN, and packet sockets on a device."""

import os
import select
import socket
from collections.abc import Iterator

from demuxlab.wire import frame, offload

MAX_PACKET = 65_550
_UNCUT = offload.HEADER_LENGTH + MAX_PACKET
_PACKET_OUTGOING = 4
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD


class TunEnd:
    """The program's side of a TUN: one read, one packet."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def send(self, packet: bytes) -> None:
        """Hand a packet to the kernel; what is no IP packet it refuses with OSError EINVAL."""
        os.write(self._descriptor, packet)

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet that the kernel routes into the device."""
        if timeout:
            select.select([self._descriptor], [], [], timeout)
        try:
            return os.read(self._descriptor, MAX_PACKET)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        """Return the TUN's descriptor."""
        return self._descriptor


class OffloadingTunEnd(TunEnd):
    """The program's side of a TUN whose packets have virtio-net headers: one read, up to 64 KB."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._pieces: Iterator[bytes] = iter(())

    def send(self, packet: bytes | offload.Large) -> None:
        """Hand a packet to the kernel, which cuts a large one."""
        if isinstance(packet, offload.Large):
            os.writev(self._descriptor, (packet.header, packet.headers, *packet.data))
        else:
            os.writev(self._descriptor, (offload.PLAIN_HEADER, packet))

    def receive_uncut(self) -> bytes | None:
        """Return the next packet as the kernel gives it, or None without waiting for one."""
        try:
            return os.read(self._descriptor, _UNCUT)
        except BlockingIOError:
            return None

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet as a wire would have brought it."""
        if (piece := next(self._pieces, None)) is not None:
            return piece
        if timeout:
            select.select([self._descriptor], [], [], timeout)
        data = self.receive_uncut()
        arrived = data and offload.read(data)
        if not isinstance(arrived, offload.Arrived):
            return arrived
        self._pieces = offload.pieces(arrived)
        return next(self._pieces)


class TunOutside:
    """The kernel's side of a TUN, through a packet socket: crafted packets enter the device here."""

    def __init__(self, descriptor: int, device: str) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._device = device

    def send(self, packet: bytes) -> None:
        """Send a packet out of the device, as the kernel would after routing it there."""
        version = packet[0] >> 4 if packet else 4
        self._socket.sendto(packet, (self._device, _ETH_P_IPV6 if version == 6 else _ETH_P_IP))

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet that came out of the TUN; skip those that this end has sent."""
        while select.select([self._socket], [], [], timeout)[0]:
            packet, address = self._socket.recvfrom(MAX_PACKET)
            if address[2] != _PACKET_OUTGOING:
                return packet
        return None

    def fileno(self) -> int:
        """Return the packet socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the packet socket."""
        self._socket.close()


class LoopbackEnd:
    """A packet socket on lo. Its frames have a hardware address of their own as source.

    Every reader on lo sees a frame twice, going out and coming in: the outgoing copy is passed over, and so
    is what other ends sent than the peer. As no frame is addressed to lo's own hardware address, the kernel
    takes it for another host's: its TCP and UDP never see it and never answer, whatever the IP addresses.
    """

    def __init__(self, descriptor: int, own: bytes, peer: bytes) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._own = own
        self._peer = peer

    def send(self, packet: bytes) -> None:
        """Put a packet onto lo, addressed to the peer."""
        self._socket.send(frame.ethernet_frame(packet, destination=self._peer, source=self._own))

    def receive(self, timeout: float) -> bytes | None:
        """Return the next packet that the peer sent."""
        while select.select([self._socket], [], [], timeout)[0]:
            data, address = self._socket.recvfrom(MAX_PACKET)
            if address[2] != _PACKET_OUTGOING and address[4] == self._peer:
                return data[frame.ETHERNET_HEADER_LENGTH :]
        return None

    def fileno(self) -> int:
        """Return the packet socket's descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the packet socket."""
        self._socket.close()
