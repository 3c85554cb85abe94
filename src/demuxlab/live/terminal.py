"""The live view in the terminal, redrawn in place; without a terminal, one line for each segment."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live

from demuxlab import layout
from demuxlab.demux.delivery import Delivery
from demuxlab.host import Host
from demuxlab.language import _
from demuxlab.live.drawing import draw, segment_cells
from demuxlab.live.labels import LABELS
from demuxlab.live.latest_state import INTERVAL, LatestState
from demuxlab.live.state import HostObserver, Row

PACE = 0.2
"""Seconds for which each segment of a lab is shown; the lab itself runs in virtual time."""


def has_terminal() -> bool:
    """Tell whether standard error is a terminal that can be redrawn."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def as_line(segment: Row) -> str:
    """Return a decision as one line."""
    number, protocol, source, destination, text, goes, rule, answer = segment_cells(segment)
    why = f"({rule})" if rule else ""
    return " ".join(filter(None, (number, protocol, source, destination, text, goes, why, answer)))


def follow(latest: LatestState[Row], wait: Callable[[float], bool]) -> None:
    """Show a running host on standard error until `wait(seconds)` returns True."""
    if has_terminal():
        _draw(latest, wait)
    else:
        # The reader of a pipe may end; the host goes on serving.
        with suppress(BrokenPipeError):
            _print(latest, wait)


def _draw(latest: LatestState[Row], wait: Callable[[float], bool]) -> None:
    console, shown = Console(stderr=True), 0
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            version, state = latest.get()
            if version != shown:
                live.update(draw([state], console.height, console.width), refresh=True)
                shown = version
            if wait(INTERVAL):
                return


def _print(latest: LatestState[Row], wait: Callable[[float], bool]) -> None:
    printed = 0
    while True:
        _version, state = latest.get()
        segments = [segment for segment in state["segments"] if segment["number"] > printed]
        if left_out := state["number"] - printed - len(segments):
            print(_(LABELS["left_out"], count=left_out), file=sys.stderr)
        for segment in segments:
            print(as_line(segment), file=sys.stderr)
        sys.stderr.flush()
        printed = state["number"]
        if wait(INTERVAL):
            return


class _SentOnly:
    """An observer that passes on sent packets only: the lab reports the decisions, with frame numbers."""

    def __init__(self, observer: HostObserver) -> None:
        self.sent = observer.sent

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """Ignore a decision."""


class Watch:
    """A context manager that shows the hosts of a lab below the lab's own output.

    Each segment is shown for `pace` seconds. Without a terminal `say` is called with one line for each.
    """

    def __init__(self, say: Callable[[str], None] = print, *, pace: float = PACE) -> None:
        self._say = say
        self._pace = pace
        self._observers: dict[Host, HostObserver] = {}
        self._live: Live | None = None

    def host(self, host: Host) -> None:
        """Show one more host."""
        self._observers[host] = observer = HostObserver(host)
        host.observers.append(_SentOnly(observer))

    def received(self, host: Host, packet: bytes, delivery: Delivery, now: float, frame: int) -> None:
        """Show a host's decision about a packet, with the packet's frame number in the capture."""
        observer = self._observers[host]
        observer.number = frame - 1
        observer.received(packet, delivery, now)
        if self._live is None:
            segment = observer.snapshot()["segments"][-1]
            self._say(layout.paragraph(f"  {host.name} {as_line(segment)}"))
        else:
            self._refresh()
            time.sleep(self._pace)

    def still(self, pause: Callable[[], None]) -> None:
        """Leave the drawing unchanged while `pause` asks a question below it."""
        self._stop()
        pause()
        self._start()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        if has_terminal():
            # Standard output stays where it is redirected to a file.
            self._live = Live(
                console=Console(stderr=True),
                auto_refresh=False,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._refresh()
            self._live.stop()
            self._live = None

    def _refresh(self) -> None:
        if self._live is not None:
            states = [observer.snapshot() for observer in self._observers.values()]
            # A third of the terminal is left for the lab's own output.
            height = self._live.console.height * 2 // 3
            # Two columns narrower than the terminal, so that the echo of Ctrl-C does not wrap to a new line.
            width = self._live.console.width - 2
            drawn = Constrain(draw(states, height, width), width)
            self._live.update(drawn, refresh=True)
