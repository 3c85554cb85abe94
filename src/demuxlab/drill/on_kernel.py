"""The Linux kernel's TCP as the system under test: a TUN in a network namespace of its own, in real time.

The thread that makes a `Kernel` moves into the namespace for good; the threads that it starts for calls are
in there as well.
"""

import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from demuxlab.drill.machine import Ongoing, Seen, Sent
from demuxlab.drill.script import LOCKSTEP_BUFFER, LOCKSTEP_WINDOW, MICROSECONDS, Options
from demuxlab.language import _
from demuxlab.links import opener
from demuxlab.links.base import LinkUnavailable
from demuxlab.links.packet_ends import TunEnd
from demuxlab.sockets import tcp_info
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment

_SIOCSIFMTU = 0x8922
_BEFORE = {
    "net.ipv4.tcp_invalid_ratelimit": "0",
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.tcp_no_metrics_save": "1",
}
"""Limits that would hide from a script what a segment does."""
_LOCKSTEP = {
    # What our TCP does not have, and no RFC demands: RACK and TLP, DSACK, F-RTO, ECN.
    "net.ipv4.tcp_recovery": "0",
    "net.ipv4.tcp_early_retrans": "0",
    "net.ipv4.tcp_dsack": "0",
    "net.ipv4.tcp_frto": "0",
    "net.ipv4.tcp_ecn": "0",
    # What depends on how busy the device is.
    "net.ipv4.tcp_autocorking": "0",
    # Buffers as large as those of `on_stack`.
    "net.ipv4.tcp_rmem": f"4096 {LOCKSTEP_BUFFER} {LOCKSTEP_BUFFER}",
    "net.ipv4.tcp_wmem": f"4096 {LOCKSTEP_BUFFER} {LOCKSTEP_BUFFER}",
}
"""The knobs of a script in lockstep: what is sent depends on the steps alone, not on the time between."""
_UNBLOCKED = 2 * MICROSECONDS
"""The time in which a call returns that does not block, on however slow a machine."""
_SCOPE_LINK, _INFO_SIZE = 253, 512
_KERNELS = 256
"""The metric of the IPv6 routes that the kernel makes itself."""
PREFIX = {4: 1, 6: 16}
"""So short that the route of the address leads to every remote one that a script may name."""


class KernelSockets:
    """The kernel's sockets in the namespace that this thread is in."""

    def __init__(self) -> None:
        self.opened: list[socket.socket] = []

    def socket(self, family: int, kind: int, protocol: int) -> Any:
        """Return a new socket."""
        made = socket.socket(family, kind, protocol)
        self.opened.append(made)
        return made

    def accept(self, opened: Any) -> Any:
        """Return the next connection of a listening socket."""
        made = opened.accept()[0]
        self.opened.append(made)
        return made

    def nonblocking(self, opened: Any) -> bool:
        """Tell whether a socket never blocks."""
        return bool(fcntl.fcntl(opened, fcntl.F_GETFL) & os.O_NONBLOCK)

    def poll(self, wanted: list[tuple[Any, int]], timeout: int) -> list[int]:
        """Wait for events, at most `timeout` milliseconds."""
        poll = select.poll()
        for opened, events in wanted:
            poll.register(opened, events)
        ready = dict(poll.poll(timeout))
        return [ready.get(opened.fileno(), 0) for opened, _events in wanted]

    def waiting(self, opened: Any, request: int) -> int:
        """Return what ioctl(2) says."""
        answer = fcntl.ioctl(opened, request, bytes(4))
        number: int = struct.unpack("i", answer)[0]
        return number


class Kernel:
    """The machine of `--on kernel`; LinkUnavailable where there can be no namespace or no TUN."""

    name = "kernel"
    patience = 10 * MICROSECONDS

    def __init__(self, options: Options, tolerance: int) -> None:
        if os.geteuid() != 0:
            raise LinkUnavailable(_("a drill on the kernel needs root"), _("run it with sudo"))
        self.tolerance = tolerance
        version = options.ip_version
        address = f"{options.local_ip}/{PREFIX[version]}"
        # Here and not in a process of the opener's own: this thread is to be in the namespace anyway.
        self._device, self._descriptors = opener.open_here(opener.Request("tun", True, (address,)))
        self._tun = TunEnd(self._descriptors[0])
        self._wake_reader, self._wake_writer = os.pipe()
        self.sockets = KernelSockets()
        self.seen: list[Seen] = []
        self._sent: deque[Sent] = deque()
        try:
            set_mtu(self._device, options.mtu)
        except OSError as error:
            self.close()
            raise LinkUnavailable(
                _("the drill's namespace cannot be used ({why})", why=error.strerror), _("run it with sudo")
            ) from error
        set_knobs(lockstep=bool(options.lockstep))
        if options.lockstep:
            acknowledge_at_once(self._device, (address,))
        self._start = time.monotonic_ns()

    def now(self) -> int:
        """Return the time."""
        return (time.monotonic_ns() - self._start) // 1000

    def wait(self, until: int) -> None:
        """Let time pass."""
        self._watch(until, lambda: False)

    def send(self, packet: bytes) -> None:
        """Let a packet arrive."""
        self._read()
        self.seen.append(Seen(packet, self.now(), True))
        # What the kernel does not take for a packet, it drops: no more is done on a wire.
        with suppress(OSError):
            self._tun.send(packet)
        self._read()

    def receive(self, until: int) -> Sent | None:
        """Return the oldest segment that was sent."""
        self._watch(until, lambda: bool(self._sent))
        return self._sent.popleft() if self._sent else None

    def call(self, function: Callable[[], Any], *, may_block: bool) -> Ongoing:
        """Begin a call."""
        ongoing = Ongoing()

        def run() -> None:
            try:
                ongoing.value = function()
            except Exception as error:
                ongoing.error = error
            ongoing.ended = self.now()
            with suppress(OSError):
                os.write(self._wake_writer, b"x")

        threading.Thread(target=run, name="a call of the drill", daemon=True).start()
        if not may_block:
            self.join(ongoing, self.now() + _UNBLOCKED)
        return ongoing

    def join(self, ongoing: Ongoing, until: int) -> None:
        """Let time pass until a call has ended."""
        self._watch(until, lambda: ongoing.ended is not None)

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        return info(opened)

    def sysctl(self, name: str, value: str) -> bool:
        """Set a sysctl, where there is such a knob."""
        return _sysctl(name, value)

    def close(self) -> None:
        """End everything."""
        for opened in self.sockets.opened:
            # Closing alone would not wake a call that blocks.
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _watch(self, until: int, stop: Callable[[], bool]) -> None:
        """Take note of packets when they come, until it is `until` or `stop` says so."""
        tun = self._tun.fileno()
        while True:
            self._read()
            left = until - self.now()
            if stop() or left <= 0:
                return
            ready = select.select([tun, self._wake_reader], [], [], left / MICROSECONDS)[0]
            if self._wake_reader in ready:
                os.read(self._wake_reader, 1)

    def _read(self) -> None:
        while (packet := self._tun.receive(0)) is not None:
            now = self.now()
            self.seen.append(Seen(packet, now, False))
            segment = wire_packet.read(packet)
            if isinstance(segment, TCPSegment):
                self._sent.append(Sent(segment, now))


def info(opened: Any) -> dict[str, int]:
    """Return the fields of TCP_INFO of a socket of the kernel's."""
    return tcp_info.unpack(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE))


def set_knobs(*, lockstep: bool) -> None:
    """Set this namespace's sysctls so that limits hide nothing; a kernel may lack some of them."""
    for name, value in {**_BEFORE, **(_LOCKSTEP if lockstep else {})}.items():
        _sysctl(name, value)


def acknowledge_at_once(device: str, addresses: tuple[str, ...]) -> None:
    """Let the routes of a device's addresses ("10.0.0.1/8") delay no ACK, with one window (ip-route(8))."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        [index] = netlink.link_lookup(ifname=device)
        for address in addresses:
            own = ip_interface(address)
            netlink.route(
                "replace",
                dst=str(own.network),
                oif=index,
                prefsrc=str(own.ip),
                scope=_SCOPE_LINK,
                metrics={"quickack": 1, "window": LOCKSTEP_WINDOW},
                **({"family": socket.AF_INET6, "priority": _KERNELS} if own.version == 6 else {}),
            )


def _sysctl(name: str, value: str) -> bool:
    try:
        Path("/proc/sys", *name.split(".")).write_text(value)
    except OSError:
        return False
    return True


def set_mtu(device: str, mtu: int) -> None:
    """Set the largest packet of a device, in bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFMTU, struct.pack("16si12x", device.encode(), mtu))
