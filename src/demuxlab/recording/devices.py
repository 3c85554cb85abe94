"""The capture of `demuxlab watch`: one interface for each device, each packet with its comments.

The link header is that of LINKTYPE_LINUX_SLL2, as of `tcpdump -i any`, for all devices alike.
"""

from typing import BinaryIO

from demuxlab.capture.pcapng import PcapngWriter, last_option, packet_options
from demuxlab.wire.frame import LINUX_SLL2


class DeviceRecorder:
    """Writes packets, each in one write(2): the file is whole up to the last packet."""

    def __init__(self, file: BinaryIO, *, comment: str) -> None:
        self._file = file
        self.writer = PcapngWriter(file, comment=comment)
        self._interfaces: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._last = 0.0

    def packet(self, packet: bytes, now: float, device: str, outgoing: bool, comments: list[str]) -> None:
        """Write a packet with the link's header, as it passed a device at `now` (seconds since the epoch)."""
        if device not in self._interfaces:
            self._interfaces[device] = self.writer.interface(device, LINUX_SLL2)
        self._counts[device] = self._counts.get(device, 0) + 1
        self._last = now
        first = packet_options(comment=comments[0] if comments else "", inbound=not outgoing)
        more = b"".join(packet_options(comment=comment) for comment in comments[1:])
        options = first + more + last_option(self.writer.frames + 1)
        self.writer.packets(now, [(self._interfaces[device], packet, options)])

    def close(self, lost: int) -> None:
        """Finish the capture; `lost` packets were not captured, of which the device is not known."""
        for device, interface in self._interfaces.items():
            counted = self._counts[device] + lost
            self.writer.statistics(interface, self._last, received=counted, dropped=lost)
            lost = 0
        self._file.close()
