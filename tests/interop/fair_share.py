"""One connection of ours beside one of the kernel's over a bottleneck, in real time. Root, no netem.

    python -m tests.interop.fair_share [RUNS [SECONDS [MBIT [PACKETS [MS]]]]]

Three network namespaces, each with a TUN that this process reads: the kernel's sender, `demuxlab exec` with
its own TUN behind a routing kernel, and the kernel's receiver of both. What goes to the receiver passes a
queue of so many packets at so many Mb/s, and a packet takes half of the round trip each way. All use CUBIC.
By turns ours begins two seconds later, two seconds earlier, or at the same time. Each run prints both rates
after the first quarter, and Jain's index: 1 is equal, 0.5 is one alone.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from itertools import count
from pathlib import Path

RECEIVER, KERNEL, ROUTER, OURS = "10.9.7.2", "10.9.7.1", "10.9.7.3", "10.9.0.2"
_TUNSETIFF, _IFF_TUN_NO_PI, _CLONE_NEWNET = 0x400454CA, 0x1001, 0x40000000
_FORWARDING = Path("/proc/sys/net/ipv4/conf/demuxlab0/forwarding")
_CHUNK = bytes(1 << 16)


def in_namespace(work, *arguments):
    """Run `work` in a thread with a network namespace of its own."""

    def run():
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace: run it as root")
        with contextlib.suppress(OSError):  # the run is over
            work(*arguments)

    threading.Thread(target=run, daemon=True).start()


def open_tun(name, address):
    """Make a TUN in this thread's namespace; return its file."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    for command in ("link set lo up", f"addr add {address}/24 dev {name}", f"link set {name} up mtu 1500"):
        subprocess.check_call(["ip", *command.split()])
    return tun


def send(address):
    """Send to port 80 of an address as fast as it takes it."""
    sender = socket.socket()
    if sys.platform == "linux":
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    sender.connect((address, 80))
    while True:
        sender.sendall(_CHUNK)


class Run:
    """The three namespaces, and the bottleneck between them."""

    def __init__(self, rate, queue, delay):
        self._rate, self._queue, self._delay = rate / 8, queue, delay
        self.tuns, self.got, self.dropped = {}, {KERNEL: 0, OURS: 0}, 0
        self._program = None
        in_namespace(self._receive)

    def _receive(self):
        self.tuns[RECEIVER] = open_tun("tr", RECEIVER)
        subprocess.check_call(["ip", "route", "add", "10.9.0.0/24", "dev", "tr"])
        with socket.create_server((RECEIVER, 80)) as server:
            while True:
                client, (address, _port) = server.accept()
                threading.Thread(target=self._count, args=(client, address), daemon=True).start()

    def _count(self, client, address):
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 18):
                self.got[address] += len(data)

    def start_kernel(self):
        self.tuns[KERNEL] = open_tun("tk", KERNEL)
        send(RECEIVER)

    def start_ours(self):
        self.tuns[ROUTER] = open_tun("tc", ROUTER)
        subprocess.check_call(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        command = [
            sys.executable,
            "-m",
            "demuxlab",
            "exec",
            "--address",
            OURS,
            "--",
            __file__,
            "--send",
            RECEIVER,
        ]
        self._program = subprocess.Popen(command)
        while not self.got[OURS]:  # `exec` switches it off on its device
            with contextlib.suppress(OSError):
                _FORWARDING.write_text("1")
            time.sleep(0.1)

    def forward(self, until):
        """Carry packets until a time."""
        under_way, order, free_at = [], count(), time.monotonic()
        while (now := time.monotonic()) < until:
            wait = min(max(under_way[0][0] - now, 0), 0.05) if under_way else 0.05
            for tun in select.select(list(self.tuns.values()), [], [], wait)[0]:
                to_receiver = tun != self.tuns[RECEIVER]
                with contextlib.suppress(BlockingIOError):
                    while packet := os.read(tun, 1 << 16):
                        at = time.monotonic()
                        if to_receiver:
                            if (free_at - at) * self._rate > 1500 * self._queue:
                                self.dropped += 1
                                continue
                            at = free_at = max(free_at, at) + len(packet) / self._rate
                        heapq.heappush(under_way, (at + self._delay, next(order), to_receiver, packet))
            now = time.monotonic()
            while under_way and under_way[0][0] <= now:
                _at, _order, to_receiver, packet = heapq.heappop(under_way)
                back = KERNEL if socket.inet_ntoa(packet[16:20]) == KERNEL else ROUTER
                with contextlib.suppress(OSError, KeyError):
                    os.write(self.tuns[RECEIVER if to_receiver else back], packet)

    def end(self):
        if self._program is not None:
            self._program.kill()
            self._program.wait()
        for tun in self.tuns.values():
            os.close(tun)


def main(runs=3, seconds=24, mbit=10, packets=60, milliseconds=40):
    for number in range(runs):
        run = Run(mbit * 1e6, packets, milliseconds / 2000)
        while RECEIVER not in run.tuns:
            time.sleep(0.01)
        starts = [run.start_kernel, run.start_ours]
        for start in starts if number % 3 != 1 else starts[::-1]:
            in_namespace(start)
            run.forward(time.monotonic() + (0 if number % 3 == 2 else 2))
        run.forward(time.monotonic() + seconds / 4)
        before, began, dropped = dict(run.got), time.monotonic(), run.dropped
        run.forward(time.monotonic() + seconds * 3 / 4)
        took = time.monotonic() - began
        rates = [(run.got[one] - before[one]) * 8 / took / 1e6 for one in (OURS, KERNEL)]
        run.end()
        jain = sum(rates) ** 2 / (2 * sum(rate * rate for rate in rates))
        print(
            f"run {number + 1}: ours {rates[0]:.2f} Mb/s, kernel {rates[1]:.2f} Mb/s, Jain {jain:.3f}, "
            f"{run.dropped - dropped} packets dropped",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        send(sys.argv[2])
    main(*map(int, sys.argv[1:]))
