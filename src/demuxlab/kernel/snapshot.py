"""The kernel's sockets at one moment, as far as the calling user may see them."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from demuxlab.kernel import netlink, options, processes
from demuxlab.kernel.records import UNKNOWN, Options, Process, Record

_WITH_PEER = 64
_RAW = (Path("/proc/thread-self/net/raw"), Path("/proc/thread-self/net/raw6"))


@dataclass(slots=True)
class Snapshot:
    """Sockets in the kernel's own order, with the processes and options that could be seen."""

    records: list[Record]
    holders: dict[int, list[Process]] = field(default_factory=dict)
    """By inode."""
    options: dict[int, Options] = field(default_factory=dict)
    """By cookie."""
    hidden: int = 0
    """How many processes did not show their descriptors."""
    raw: list[Process] = field(default_factory=list)
    """The processes with a raw socket of the protocol, which gets a copy of each packet."""
    names: dict[int, str] = field(default_factory=dict)
    """What to call a socket, by cookie, where that is not its first process."""

    def processes(self, record: Record) -> list[Process]:
        """Return the processes that hold a socket."""
        return self.holders.get(record.inode, [])

    def options_of(self, record: Record) -> Options:
        """Return a socket's options; `UNKNOWN` where its descriptor could not be had."""
        return self.options.get(record.cookie, UNKNOWN)


def take(protocol: int, port: int = 0) -> Snapshot:
    """Read the sockets of a protocol and port (0: of all ports), their processes and their options."""
    records = netlink.sockets(protocol, port)
    raw = _raw_sockets(protocol)
    found = processes.holders({record.inode for record in records} | raw)
    return Snapshot(
        records,
        found.by_inode,
        options.read(_worth_asking(records), found.by_inode),
        found.hidden,
        [process for inode in sorted(raw) for process in found.by_inode.get(inode, ())],
    )


def _worth_asking(records: list[Record]) -> list[Record]:
    """Return the sockets whose options decide: those without a peer, and some of those with one.

    The connections of a listening socket have its options.
    """
    first = [record for record in records if not record.remote]
    return first + [record for record in records if record.remote and record.inode][:_WITH_PEER]


def _raw_sockets(protocol: int) -> set[int]:
    """Return the inodes of raw(7) sockets; their "port" in /proc is the protocol's number."""
    inodes = set()
    for path in _RAW:
        try:
            lines = path.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if int(fields[1].rpartition(":")[2], 16) == protocol:
                inodes.add(int(fields[9]))
    return inodes


def joined(group: bytes, device: str = "") -> bool:
    """Tell whether a device, "" for any, has joined a multicast group: it drops the packets of others."""
    v4 = len(group) == 4
    try:
        text = Path("/proc/thread-self/net", "igmp" if v4 else "igmp6").read_text(encoding="utf-8")
    except OSError:
        return True  # a kernel without multicast
    written, at = f"{int.from_bytes(group, sys.byteorder):08X}" if v4 else group.hex(), ""
    for line in text.splitlines():
        words = line.split()
        if not line.startswith("\t"):  # a device; its IPv4 groups follow
            at = words[1]
        if written in words and device in ("", at):
            return True
    return False


def number(path: str, default: int) -> int:
    """Return the number in a file under /proc/sys/net."""
    try:
        return int(Path("/proc/sys/net", path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return default
