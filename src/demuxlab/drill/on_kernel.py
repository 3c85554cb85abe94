"""The Linux kernel's TCP as the system under test: a TUN device in its own network namespace, in real time.

The thread that creates a `Kernel` enters the namespace and stays there; the threads that it starts for calls
inherit the namespace.
"""

import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from demuxlab.drill.machine import Ongoing, Sent, WirePacket, readable
from demuxlab.drill.script import LOCKSTEP_BUFFER, LOCKSTEP_WINDOW, MICROSECONDS, Options
from demuxlab.drill.shell import Change, Mtu, Qdisc, Route, Sysctl
from demuxlab.language import _
from demuxlab.links import opener
from demuxlab.links.base import LinkUnavailable
from demuxlab.links.packet_ends import TunEnd
from demuxlab.sockets import tcp_info

_SIOCSIFMTU = 0x8922
# Limits that would hide from a script how the kernel answers a segment.
_NO_LIMITS = {
    "net.ipv4.tcp_invalid_ratelimit": "0",
    "net.ipv4.icmp_ratelimit": "0",
    "net.ipv4.tcp_no_metrics_save": "1",
}
# The sysctls of a script in lockstep: what is sent depends on the steps alone, not on the time between them.
_LOCKSTEP = {
    # What depends on time, RACK and TLP.
    "net.ipv4.tcp_recovery": "0",
    "net.ipv4.tcp_early_retrans": "0",
    "net.ipv4.tcp_ecn": "2",
    "net.ipv4.tcp_fastopen": "3",
    # What depends on the load of the device.
    "net.ipv4.tcp_autocorking": "0",
    # A packet for the card to segment is not deferred in the hope that it grows.
    "net.ipv4.tcp_tso_win_divisor": "255",
    # Buffers as large as those of `on_stack`.
    "net.ipv4.tcp_rmem": f"4096 {LOCKSTEP_BUFFER} {LOCKSTEP_BUFFER}",
    "net.ipv4.tcp_wmem": f"4096 {LOCKSTEP_BUFFER} {LOCKSTEP_BUFFER}",
}
# A call that does not block returns within this time, however slow the machine.
_NONBLOCKING_LIMIT = 2 * MICROSECONDS
_SCOPE_LINK, _INFO_SIZE = 253, 512
_TC_ROOT = 0xFFFFFFFF
_METRICS = {"congctl": "cc_algo"}
"""The netlink names of the attributes of a route that ip(8) calls otherwise."""
_FEATURES = {"ecn": 1}
"""RTAX_FEATURE_ECN (linux/rtnetlink.h)."""
_UNSPECIFIED = bytes(16)
"""A struct sockaddr of the family AF_UNSPEC."""
CUBIC = b"cubic"
_CONGESTION_CONTROL = "net.ipv4.tcp_congestion_control"
_AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
# The metric of the IPv6 routes that the kernel adds itself (IP6_RT_PRIO_ADDRCONF).
_KERNEL_ROUTE_PRIORITY = 256
PREFIX = {4: 1, 6: 16}
"""Prefix length of the local address by IP version: so short that its route covers every remote address."""


class KernelSockets:
    """The kernel's sockets in the namespace that this thread is in."""

    def __init__(self) -> None:
        self.opened: list[socket.socket] = []
        self.began = time.time_ns()
        self.congestion = CUBIC
        """The congestion control of new sockets, where the namespace's sysctl cannot be it."""

    def socket(self, family: int, kind: int, protocol: int) -> Any:
        """Return a new socket; one of TCP has CUBIC, or what the script's sysctl names.

        The kernel's default may be another, and a namespace may not choose any that it likes.
        """
        made = socket.socket(family, kind, protocol)
        if made.type & 0xF == socket.SOCK_STREAM and made.family in (socket.AF_INET, socket.AF_INET6):
            # Without CUBIC in the kernel, its own default stays.
            with suppress(OSError):
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.congestion)
        self.opened.append(made)
        return made

    def accept(self, opened: Any) -> Any:
        """Return the next connection of a listening socket."""
        made = opened.accept()[0]
        self.opened.append(made)
        return made

    def nonblocking(self, opened: Any) -> bool:
        """Tell whether a socket is in non-blocking mode."""
        return bool(fcntl.fcntl(opened, fcntl.F_GETFL) & os.O_NONBLOCK)

    def poll(self, wanted: list[tuple[Any, int]], timeout: int) -> list[int]:
        """Wait for events, at most `timeout` milliseconds."""
        poll = select.poll()
        for opened, events in wanted:
            poll.register(opened, events)
        ready = dict(poll.poll(timeout))
        return [ready.get(opened.fileno(), 0) for opened, _events in wanted]

    def epoll_wait(self, epoll: Any, most: int, timeout: int) -> list[tuple[int, int]]:
        """Wait for events, at most `timeout` milliseconds."""
        found: list[tuple[int, int]] = epoll.poll(timeout / 1000 if timeout >= 0 else -1, most)
        return found

    def with_null(self, opened: Any, name: str, arguments: tuple[Any, ...]) -> int:
        """Make a call with a null pointer, which Python's methods do not take."""
        return self._raw(opened, name, arguments)

    def disconnect(self, opened: Any) -> None:
        """Dissolve the connection."""
        self._raw(opened, "connect", (_UNSPECIFIED, len(_UNSPECIFIED)))

    def send_unspecified(self, opened: Any, data: bytes, flags: int) -> int:
        """Send to an address of no family."""
        return self._raw(opened, "sendto", (data, len(data), flags, _UNSPECIFIED, len(_UNSPECIFIED)))

    def _raw(self, opened: Any, name: str, arguments: tuple[Any, ...]) -> int:
        """Make a call of the C library; `arguments` are numbers, bytes and None."""
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
        function.restype = ctypes.c_ssize_t
        typed = (ctypes.c_size_t(each) if isinstance(each, int) else each for each in arguments)
        result = int(function(opened.fileno(), *typed))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def sendfile(self, opened: Any, source: int, offset: int, size: int) -> int:
        """Send a file's content (sendfile(2))."""
        return os.sendfile(opened.fileno(), source, offset, size)

    def splice(self, source: Any, target: Any, size: int, flags: int) -> int:
        """Move data between a pipe and a socket (splice(2))."""
        return os.splice(source.fileno(), target.fileno(), size, flags=flags)

    def queued(self, opened: Any, request: int) -> int:
        """Return the bytes queued in a socket, by ioctl(2)."""
        answer = fcntl.ioctl(opened, request, bytes(4))
        number: int = struct.unpack("i", answer)[0]
        return number


class Kernel:
    """The machine of `--on kernel`; raises LinkUnavailable without a namespace or a TUN device."""

    name = "kernel"
    has_push = True
    timeout = 10 * MICROSECONDS

    def __init__(self, options: Options, tolerance: int) -> None:
        if sys.platform != "linux":
            raise LinkUnavailable(_("a drill on the kernel needs Linux"), _("call it on a Linux machine"))
        if os.geteuid() != 0:
            raise LinkUnavailable(_("a drill on the kernel needs root"), _("run it with sudo"))
        self.tolerance = tolerance
        version = options.ip_version
        self._address = address = f"{options.local_ip}/{PREFIX[version]}"
        # In this process, not in the opener's own: this thread makes its calls in the namespace.
        self._device, self._descriptors = opener.open_here(opener.Request("tun", True, (address,)))
        self._tun = TunEnd(self._descriptors[0])
        self._wake_reader, self._wake_writer = os.pipe()
        self.sockets = KernelSockets()
        self.captured: list[WirePacket] = []
        self._sent: deque[Sent] = deque()
        try:
            set_mtu(self._device, options.mtu)
        except OSError as error:
            self.close()
            raise LinkUnavailable(
                _("the drill's namespace cannot be used ({why})", why=error.strerror), _("run it with sudo")
            ) from error
        set_sysctls(lockstep=bool(options.lockstep))
        if options.lockstep:
            set_quick_ack(self._device, (address,))
        # As packetdrill does: a busy machine is late otherwise. Threads and processes begun here are not.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        self.start()

    def start(self) -> None:
        """Begin to count the time."""
        self._start = time.monotonic_ns()
        self.sockets.began = time.time_ns()

    def now(self) -> int:
        """Return the microseconds since the start."""
        return (time.monotonic_ns() - self._start) // 1000

    def wait(self, until: int) -> None:
        """Wait until a time."""
        self._watch(until, lambda: False)

    def send(self, packet: bytes) -> None:
        """Inject a packet."""
        self._read()
        self.captured.append(WirePacket(packet, self.now(), True))
        # A write of what is not an IP packet fails; on a wire it would be dropped without an error.
        with suppress(OSError):
            self._tun.send(packet)
        self._read()

    def receive(self, until: int) -> Sent | None:
        """Return the oldest packet that was sent."""
        self._watch(until, lambda: bool(self._sent))
        return self._sent.popleft() if self._sent else None

    def call(self, function: Callable[[], Any], *, may_block: bool) -> Ongoing:
        """Start a call in a thread of its own."""
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
            self.join(ongoing, self.now() + _NONBLOCKING_LIMIT)
        return ongoing

    def join(self, ongoing: Ongoing, until: int) -> None:
        """Wait until a call has returned, or until a time."""
        self._watch(until, lambda: ongoing.ended is not None)

    def info(self, opened: Any) -> dict[str, int]:
        """Return the fields of TCP_INFO."""
        return info(opened)

    def configure(self, change: Change) -> bool:
        """Change the namespace's settings, or those of its device; return False where the kernel refuses."""
        if isinstance(change, Sysctl):
            if change.name != _CONGESTION_CONTROL:
                return _sysctl(change.name, change.value)
            self.sockets.congestion = change.value.encode()
            return change.value in _AVAILABLE.read_text().split()
        try:
            if isinstance(change, Mtu):
                set_mtu(self._device, change.size)
            elif isinstance(change, Route):
                set_route(self._device, (self._address,), change.attributes)
            else:
                _set_qdisc(self._device, change)
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        """Close all sockets and the namespace's device."""
        for opened in self.sockets.opened:
            # close(2) does not wake a thread that blocks on the socket; shutdown(2) does.
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    def _watch(self, until: int, stop: Callable[[], bool]) -> None:
        """Record packets as they are sent, until a time or until `stop()` is true."""
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
            self.captured.append(WirePacket(packet, now, False))
            if (found := readable(packet)) is not None:
                self._sent.append(Sent(found, now))


def info(opened: Any) -> dict[str, int]:
    """Return TCP_INFO of a socket of the kernel."""
    return tcp_info.unpack(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE))


def set_sysctls(*, lockstep: bool) -> None:
    """Set the sysctls of this namespace for a script; those that the kernel does not have are skipped."""
    for name, value in {**_NO_LIMITS, **(_LOCKSTEP if lockstep else {})}.items():
        _sysctl(name, value)


def set_quick_ack(device: str, addresses: tuple[str, ...]) -> None:
    """Set `quickack` and `window` on the routes of a device's addresses ("10.0.0.1/8"): see ip-route(8)."""
    set_route(device, addresses, {"quickack": "1", "window": str(LOCKSTEP_WINDOW)})


def set_route(device: str, addresses: tuple[str, ...], attributes: Mapping[str, str]) -> None:
    """Set attributes of the routes of a device's addresses ("10.0.0.1/8"); OSError where they are refused."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    ipv6_only = {"family": socket.AF_INET6, "priority": _KERNEL_ROUTE_PRIORITY}
    metrics = {
        _METRICS.get(name, name): text
        if name == "congctl"
        else _FEATURES.get(text) or int(text.removesuffix("ms"))
        for name, text in attributes.items()
    }
    with IPRoute() as netlink:
        [index] = netlink.link_lookup(ifname=device)
        for address in addresses:
            own = ip_interface(address)
            try:
                netlink.route(
                    "replace",
                    dst=str(own.network),
                    oif=index,
                    prefsrc=str(own.ip),
                    scope=_SCOPE_LINK,
                    metrics=metrics,
                    **(ipv6_only if own.version == 6 else {}),
                )
            except NetlinkError as error:
                raise OSError(error.code, os.strerror(error.code)) from error


def _set_qdisc(device: str, queue: Qdisc) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    with IPRoute() as netlink:
        [index] = netlink.link_lookup(ifname=device)
        try:
            # Without a limit, pfifo has 0 packets.
            limit = {"limit": queue.limit} if queue.kind == "pfifo" else {}
            netlink.tc("replace", queue.kind, index, parent=_TC_ROOT, **limit)
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error


def _sysctl(name: str, value: str) -> bool:
    try:
        Path("/proc/sys", *name.split(".")).write_text(value)
    except OSError:
        return False
    return True


def set_mtu(device: str, mtu: int) -> None:
    """Set the MTU of a device, in bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFMTU, struct.pack("16si12x", device.encode(), mtu))
