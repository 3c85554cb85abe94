"""The socket objects of open sockets of ours, by their type."""

from demuxlab.sockets.datagram import DatagramSocket
from demuxlab.sockets.descriptors import Descriptor
from demuxlab.sockets.inet import InetSocket
from demuxlab.sockets.stream import StreamSocket
from demuxlab.sockets.system import library as _socket

_CLASSES = {_socket.SOCK_STREAM: StreamSocket, _socket.SOCK_DGRAM: DatagramSocket}


def socket_object(descriptor: Descriptor, *shown_as: int) -> InetSocket:
    """Return a new object for a descriptor; `shown_as`: family, type and protocol if not its own."""
    return _CLASSES[descriptor.opened.kind](descriptor, *shown_as)
