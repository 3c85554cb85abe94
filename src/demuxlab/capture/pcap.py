"""The pcap writer: packets with their times, little endian and in microseconds, which every program reads.

Source: draft-ietf-opsawg-pcap.
"""

from struct import Struct
from typing import BinaryIO

from demuxlab.capture.whole_blocks import WholeBlocks

_MAX_SECONDS = 2**32

_file_head = Struct("<IHHiIII").pack
_record_head = Struct("<IIII").pack


class PcapWriter(WholeBlocks):
    """Write one pcap file of a linktype; packets longer than `snaplen` bytes are truncated to it."""

    def __init__(self, file: BinaryIO, linktype: int, *, snaplen: int = 262144) -> None:
        super().__init__(file)
        self._snaplen = snaplen
        self._write(_file_head(0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype))  # version 2.4, times in UTC

    def packet(self, data: bytes | memoryview, now: float) -> int:
        """Write a packet captured at `now`; return its frame number (1, 2, …), or 0 if it was not written.

        `now` is in seconds since the epoch. Raises ValueError unless it is from 0 to 2**32.
        """
        seconds, microseconds = divmod(round(now * 1e6), 1_000_000) if now >= 0.0 else (-1, 0)
        if not 0 <= seconds < _MAX_SECONDS:
            raise ValueError(f"a pcap file's time runs from 0 to {_MAX_SECONDS} seconds, and this is {now}")
        kept = data[: self._snaplen]
        if not self._write(_record_head(seconds, microseconds, len(kept), len(data)) + kept):
            self.lost += 1
            return 0
        self.frames += 1
        return self.frames
