"""A learner's listener rule at work in Linux: compiled, attached to a network namespace, and asked by curl.

    if __name__ == "__main__":
        in_linux(listener, CLIENTS)

The namespace is this process's own, and the program is attached to it alone: both are gone with the process.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import click

from demuxlab import layout, terminal
from demuxlab.errors import CallError, DemuxlabError
from demuxlab.kernel import bpf
from demuxlab.kernel.rule import Rule, compile_rule
from demuxlab.language import _, marked

_CLONE_NEWNET = 0x40000000
_COULD_NOT_CONNECT = 7
"""curl's exit status."""
_FIRST_PORT = 8001
"""Where the web servers listen: the first name's, the others follow."""
_REFUSED = marked("none: RST")

Client = tuple[str, int, str, int]
"""Source address and port, destination address and port."""


class NoRule(CallError):
    """The rule cannot be put into Linux here."""


class RuleBroken(DemuxlabError):
    """Linux and the rule do not agree."""


def in_linux(rule: Rule, clients: Sequence[Client]) -> None:
    """Be the command of a rule's file: put the rule into Linux, and let curl be each of the clients.

    With arguments, it runs that command in the namespace in place of curl's requests.
    """

    @click.command(
        cls=terminal.Command,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        help=_(
            "Put the rule into Linux in a network namespace of its own, and connect; or run COMMAND there."
        ),
    )
    @click.argument("command", nargs=-1, type=click.UNPROCESSED)
    @terminal.language_option
    def run(command: tuple[str, ...]) -> None:
        if command and shutil.which(command[0]) is None:
            raise NoRule(
                _("{command} is not there", command=command[0]), _("give a program and its arguments")
            )
        with _attached(rule, clients):
            if command:
                raise SystemExit(subprocess.run(command, check=False).returncode)
            _connect(rule, clients)

    terminal.call(run, "rule.py")


@contextmanager
def _attached(rule: Rule, clients: Sequence[Client]) -> Iterator[None]:
    """Enter a new namespace in which the rule chooses among one web server for each name that it returns."""
    compiled = compile_rule(rule)
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoRule(_("only root may attach a program to Linux"), _("run it with sudo"))
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise NoRule(_("there is no network namespace here"), _("run it outside of the container"))
    _add_addresses(
        {address for source, _port, destination, _at in clients for address in (source, destination)}
    )
    servers = [_serve(name, _FIRST_PORT + number) for number, name in enumerate(compiled.names)]
    with ExitStack() as attached:
        try:
            code = compiled.assemble(bpf.socket_map([server.socket for server in servers]))
            attached.enter_context(bpf.attached(code, rule.__name__))
        except OSError as error:
            raise NoRule(
                _("Linux does not accept the program ({why})", why=error.strerror),
                _("run it on Linux 5.9 or later, outside of a container"),
            ) from error
        listening = [f"{name} 127.0.0.1:{_FIRST_PORT + at}" for at, name in enumerate(compiled.names)]
        sentence = _(
            "your rule is {count} BPF instructions; Linux runs them for each connection request",
            count=len(code) // 8,
        )
        click.echo(layout.paragraph(sentence))
        click.echo(layout.paragraph(_("listening sockets: {sockets}", sockets=", ".join(listening))))
        yield


def _connect(rule: Rule, clients: Sequence[Client]) -> None:
    """Let curl connect as each client; print the table. Raises RuleBroken where Linux decides otherwise."""
    if shutil.which("curl") is None:
        raise NoRule(_("{command} is not there", command="curl"), "sudo apt install curl")
    rows, agree = [], True
    for source, source_port, destination, port in clients:
        wanted = rule(source, source_port, destination, port) or _(_REFUSED)
        found = _curl(source, source_port, destination, port)
        agree &= wanted == found
        rows.append(
            (
                f"{source}:{source_port}",
                f"{destination}:{port}",
                wanted,
                found,
                "✓" if wanted == found else "✗",
            )
        )
    headers = (_("curl from"), _("to"), _("your function says"), _("the SYN went to"), "")
    click.echo(layout.table(headers, rows))
    if not agree:
        raise RuleBroken(
            _("Linux and the function do not agree"), _("does the rule give the same for the same values?")
        )


def _curl(source: str, source_port: int, destination: str, port: int) -> str:
    """Return the name of the server that answered, or that the connection was refused."""
    own = ["--interface", source, "--local-port", str(source_port)]
    done = subprocess.run(
        ["curl", "--silent", "--max-time", "5", *own, f"http://{destination}:{port}/"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode == _COULD_NOT_CONNECT:
        return _(_REFUSED)
    return done.stdout.strip() or _("curl's error {number}", number=done.returncode)


def _serve(name: str, port: int) -> ThreadingHTTPServer:
    """Start a web server on 127.0.0.1 whose every page is its name."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Without a length the server closes first, so that curl's port is free for its next request.
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{name}\n".encode())

        def log_message(self, *_: Any) -> None:
            """Keep the terminal for the table."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def _add_addresses(addresses: set[str]) -> None:
    """Give them all to lo, so that one machine can be every client and server."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        [lo] = route.link_lookup(ifname="lo")
        route.link("set", index=lo, state="up")
        for address in addresses:
            with suppress(OSError):
                socket.inet_aton(address)
                route.addr("add", index=lo, address=address, prefixlen=32)
