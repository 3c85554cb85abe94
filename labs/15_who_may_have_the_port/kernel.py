"""Lab 15 once more, with real sockets: what this computer's kernel answers, and what ss, lsof and why say.

All of it stays on this computer. With root's rights the last step is done too, in a network namespace.
"""

import ctypes
import errno
import os
import select
import socket
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from demuxlab import language, layout
from demuxlab.labkit.attempts import OPTIONS
from demuxlab.language import _
from demuxlab.wire.address import endpoint_text, from_text

ANY, ANY6, LOCAL, TAKEN = "0.0.0.0", "::", "127.0.0.1", "EADDRINUSE"
SHARE, GROUP, ONLY6 = "SO_REUSEADDR", "SO_REUSEPORT", "IPV6_V6ONLY"
NEW_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET of unshare(2)
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Kernel(ExitStack):
    """Calls of the kernel's own socket API, noted with their errors; at the end all sockets are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[str, str, str, str]] = []

    def call(
        self, name: str, call: str, place: tuple[str, int], *options: str, udp: bool = False
    ) -> socket.socket:
        """Make a socket, set its options, and bind and listen or connect."""
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        own = self.enter_context(socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM))
        for option in options:
            own.setsockopt(*OPTIONS[option], 1)
        code = "–"
        try:
            getattr(own, call)(place)
            if call == "bind" and not udp:
                own.listen(5)
        except OSError as error:
            code = errno.errorcode[error.errno or errno.EIO]
        what = f"{call} {'udp' if udp else 'tcp'} {endpoint_text(from_text(place[0]), place[1])}"
        self.rows.append((name, what, ", ".join(options) or "–", code))
        return own

    def check(self, *errors: str) -> None:
        """Print the calls since the last time, and whether the errors are those of the lab's run."""
        print(layout.table([_(head) for head in ("socket", "call", "option", "error")], self.rows))
        same = [row[3] for row in self.rows] == [error or "–" for error in errors]
        print(f"  {'✓' if same else '✗'} {_('the kernel answers as the lab does')}")
        self.rows.clear()


def step(text: str, **values: object) -> None:
    print(f"\n{layout.paragraph(_(text, **values))}")


def free_port() -> int:
    with socket.create_server(("", 0)) as own:
        return int(own.getsockname()[1])


def show(*command: object) -> None:
    """Run a program, and print what it says."""
    words = [str(word) for word in command]
    shown = " ".join(["demuxlab", *words[3:]] if words[0] == sys.executable else words)
    print(f"$ {shown}", flush=True)
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError:
        print(_("{program} is not here: install it with apt", program=words[0]))
        return
    for line in (said.stdout or said.stderr).splitlines():
        print(" ".join(line.split()) if words[0] in ("ss", "lsof") else line)
    print()


def main() -> None:
    language.use(language.preferred())
    language.add(Path(__file__).parent)
    if sys.platform != "linux":
        sys.exit(_("these are questions for Linux: run it there, or read the handout's tables"))
    for steps in one_port, sharing, low_port:
        with Kernel() as kernel:
            steps(kernel)
    out_of_ports()


def one_port(kernel: Kernel) -> None:
    port = free_port()
    step(
        "A server listens on port {port} of every address: which sockets may have the port too?",
        port=port,
    )
    web = kernel.call("web", "bind", (ANY, port), SHARE)
    for place, *option in ((ANY,),), ((LOCAL,),), ((ANY,), SHARE), ((ANY,), GROUP):
        kernel.call("web 2", "bind", (*place, port), *option)
    kernel.call("dns", "bind", (ANY, port), udp=True)
    kernel.check("", *[TAKEN] * 4, "")

    step("Three programs say who has it:")
    show("ss", "-Hlntup", f"sport = :{port}")
    show("lsof", "-nP", "-i", f":{port}")
    show(sys.executable, "-m", "demuxlab", "why", "tcp", f"{LOCAL}:{port}")
    show(sys.executable, "-m", "demuxlab", "why", "bind", "tcp", f"{ANY}:{port}", "--reuse-address")
    if socket.has_dualstack_ipv6():
        step("The same with IPv6:")
        kernel.call("web 6", "bind", (ANY6, port))
        kernel.call("web 6", "bind", (ANY6, port), ONLY6).close()
        web.close()
        kernel.call("both", "bind", (ANY6, port))
        kernel.check(TAKEN, "", "")

    port = free_port()
    step("Started again, a server finds TIME-WAIT on its port. (The kernel's minute is not waited for.)")
    old = kernel.call("old", "bind", (LOCAL, port), SHARE)
    with socket.create_connection((LOCAL, port)) as client:
        old.accept()[0].close()
        old.close()
        client.recv(1)
    kernel.call("new", "bind", (LOCAL, port))
    kernel.call("new", "bind", (LOCAL, port), SHARE).close()
    kernel.check("", TAKEN, "")


def sharing(kernel: Kernel) -> None:
    port = free_port()
    step("Two UDP sockets with SO_REUSEADDR: the one that was bound last gets the datagram.")
    pair = [kernel.call(name, "bind", (LOCAL, port), SHARE, udp=True) for name in ("P7", "P8")]
    kernel.check("", "")
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", (LOCAL, port))
    print(f"  {'✓' if waits(pair[1]) and not waits(pair[0]) else '✗'} P8")

    port = free_port()
    step("A group of two listening sockets: a hash shares out 100 clients.")
    group = [kernel.call(name, "bind", (LOCAL, port), GROUP) for name in ("G1", "G2")]
    kernel.check("", "")
    shares: Counter[str] = Counter()
    for _number in range(100):
        with socket.create_connection((LOCAL, port)):
            for name, own in zip(("G1", "G2"), group, strict=True):
                if waits(own):
                    own.accept()[0].close()
                    shares[name] += 1
    print(f"  G1: {shares['G1']}, G2: {shares['G2']}")


def low_port(kernel: Kernel) -> None:
    step("A port below 1024:")
    kernel.call("web", "bind", (LOCAL, 81))
    low = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 81
    kernel.check("EACCES" if low and os.geteuid() else "")


def out_of_ports() -> None:
    """Connect more often than there are ephemeral ports: four of them, in a network namespace of its own."""
    step("A client with four ephemeral ports connects five times to one server, then to another one:")
    alone = os.geteuid() == 0 and ctypes.CDLL(None).unshare(NEW_NETWORK_NAMESPACE) == 0
    if not alone or not os.access(RANGE, os.W_OK):
        print(_("this step needs root's rights: sudo"))
        return
    from pyroute2 import IPRoute

    with IPRoute() as route:
        route.link("set", index=1, state="up")
    RANGE.write_text("50000 50003")
    with Kernel() as kernel:
        servers = [kernel.call("server", "bind", (LOCAL, port)) for port in (8080, 8089)]
        for server in (0, 0, 0, 0, 0, 1):
            kernel.call("client", "connect", servers[server].getsockname())
        kernel.check(*[""] * 6, "EADDRNOTAVAIL", "")


def waits(own: socket.socket) -> bool:
    """Return whether something waits in a socket's queue."""
    return bool(select.select([own], [], [], 0)[0])


if __name__ == "__main__":
    main()
