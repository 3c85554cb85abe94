"""The Linux kernel as a peer of a learner's TCP: through a TUN device, in real time (lab 21).

Device and addresses are in a network namespace of their own, so that nothing else on the machine meets them.
How long the kernel takes is not ours to repeat: a check of this kind earns no points.
"""

import ctypes
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple, cast

from demuxlab.grading.judge import HERE, PEER, Learner, fail, packet, show_events
from demuxlab.grading.submission import Submission
from demuxlab.language import _
from demuxlab.links.base import LinkUnavailable
from demuxlab.links.choose import open_link
from demuxlab.links.kernel import KernelLink
from demuxlab.parts.segment import Segment
from demuxlab.parts.simulation import Event
from demuxlab.serving.transport import as_part
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import TCPSegment

LOSS, PATIENCE = 0.02, 20.0
"""The share of segments that is lost, each way; the seconds for a whole conversation."""
_CLONE_NEWNET = 0x40000000
_OVER = ("TIME-WAIT", "CLOSED")


class Streams(NamedTuple):
    """What each end sends."""

    learners: bytes
    kernels: bytes


def converse(submission: Submission, streams: Streams, *, learner_opens: bool, seed: int, hint: str) -> None:
    """Let the learner's new connection and the kernel exchange two streams and close, over a lossy link.

    The end that opens sends and closes at once, the learner's that listens when it has everything. Raises
    LinkUnavailable where there can be no TUN, and AssertionError with the story of what went wrong.
    """
    with _link() as link:
        kernel = _Application(link.namespace, streams.kernels, listens=learner_opens)
        end = _Ends(submission, link, Random(seed))
        about = f"exchanged two streams: the Linux kernel {'listens' if learner_opens else 'connects'}"
        try:
            with submission.summed_up(about):
                _talk(submission, streams, kernel, end, learner_opens=learner_opens)
        except AssertionError:
            show_events(submission, end.events, "A")
            raise
        got, wanted = (bytes(end.learner.stream), kernel.got), (streams.kernels, streams.learners)
        if got == wanted and kernel.is_done():
            return
        show_events(submission, end.events, "A")
        (came, reached), (there, back) = map(len, got), map(len, wanted)
        found = f"after {end.now():.1f} seconds {reached} of {back} bytes have reached the kernel"
        found += f", {came} of {there} the learner's end"
        fail("both streams whole and both ends closed", f"{found}; {kernel.problem}", hint)


def _talk(
    submission: Submission, streams: Streams, kernel: "_Application", end: "_Ends", *, learner_opens: bool
) -> None:
    """Let time go on until both ends are closed, or `PATIENCE` is over."""
    if learner_opens:
        end.do("open")
        end.do("send", streams.learners)
        end.do("close")
    else:
        submission.call("listen")
        kernel.may_connect.set()
    answers = not learner_opens
    while end.now() < PATIENCE and not (kernel.is_done() and submission.call("state") in _OVER):
        end.step()
        if answers and len(end.learner.stream) == len(streams.kernels):
            answers = False
            end.do("send", streams.learners)
            end.do("close")


@contextmanager
def _link() -> Iterator[KernelLink]:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise LinkUnavailable(_("only root may let the kernel answer"), _("run it with sudo"))
    link = open_link("tun", kernel_addresses=[f"{to_text(PEER[0])}/24"])[0]
    try:
        yield cast(KernelLink, link)
    finally:
        link.close()


class _Application:
    """A program on the kernel's sockets in the link's namespace: it writes one stream, reads the other."""

    def __init__(self, namespace: int, stream: bytes, *, listens: bool) -> None:
        self.got, self.problem = b"", "its socket is still open"
        self.may_connect, listening = threading.Event(), threading.Event()
        work: Callable[..., None] = self._listen if listens else self._connect
        given = namespace, work, stream, listening
        self._thread = threading.Thread(target=self._run, args=given, daemon=True)
        self._thread.start()
        if listens:
            listening.wait(PATIENCE)

    def is_done(self) -> bool:
        """Tell whether the socket is closed."""
        return not self._thread.is_alive()

    def _run(self, namespace: int, work: Any, stream: bytes, listening: threading.Event) -> None:
        ctypes.CDLL(None).setns(namespace, _CLONE_NEWNET)  # this thread alone
        try:
            work(stream, listening)
            self.problem = "its socket is closed"
        except OSError as error:
            self.problem = f"its socket says {error.strerror or error}"
        finally:
            listening.set()

    def _listen(self, stream: bytes, listening: threading.Event) -> None:
        with socket.create_server((to_text(PEER[0]), PEER[1])) as server:
            server.settimeout(PATIENCE)
            listening.set()
            connection, _address = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            connection.sendall(stream)
            self._read(connection)

    def _connect(self, stream: bytes, _listening: threading.Event) -> None:
        self.may_connect.wait(PATIENCE)
        with socket.socket() as connection:
            connection.settimeout(PATIENCE)
            connection.bind((to_text(PEER[0]), PEER[1]))
            connection.connect((to_text(HERE[0]), HERE[1]))
            connection.sendall(stream)
            connection.shutdown(socket.SHUT_WR)
            self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            self.got += data


class _Ends:
    """The learner's connection, its segments on the TUN, and its timers by the clock."""

    def __init__(self, submission: Submission, link: KernelLink, draw: Random) -> None:
        self.learner, self.events = Learner(submission, reads=True), list[Event]()
        self._tun, self._draw = link.inside, draw
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def do(self, method: str, *arguments: Any) -> None:
        """Call a method, and send what it returns, unless the link loses it."""
        for each in self.learner.do(method, *arguments, self.now()):
            if not self._lost("sends", each):
                self._tun.send(packet(each, inbound=False))

    def step(self) -> None:
        """Wait for a segment or the learner's deadline, and give it to the learner."""
        deadline = self.learner.deadline()
        wait = 0.05 if deadline is None else min(0.05, max(0.0, deadline - self.now()))
        select.select([self._tun.fileno()], [], [], wait)
        while (arrived := self._tun.receive(0)) is not None:
            read = wire_packet.read(arrived)
            if isinstance(read, TCPSegment) and read.destination_port == HERE[1]:
                segment = as_part(read)
                if not self._lost("receives", segment):
                    self.do("receive", segment)
        deadline = self.learner.deadline()
        if deadline is not None and deadline <= self.now():
            self.do("poll")

    def _lost(self, what: str, segment: Segment) -> bool:
        lost = self._draw.random() < LOSS
        if not lost or what == "sends":
            self.events.append(Event(self.now(), 0, "A", f"{what}, lost" if lost else what, segment))
        return lost
