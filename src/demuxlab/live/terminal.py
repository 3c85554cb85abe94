"""The live view in the terminal, redrawn in place; where there is no terminal, a line for each segment."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live

from demuxlab.demux.delivery import Delivery
from demuxlab.host import Host
from demuxlab.language import _
from demuxlab.live.drawing import draw, segment_cells
from demuxlab.live.newest import INTERVAL, Newest
from demuxlab.live.state import Picture, Row
from demuxlab.live.words import WORDS

PACE = 0.2
"""Seconds for which each segment of a run is shown, whose own time is virtual."""


def has_terminal() -> bool:
    """Tell whether standard error is a terminal on which lines can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def as_line(segment: Row) -> str:
    """Return a decision as one line."""
    number, protocol, source, destination, text, goes, rule, answer = segment_cells(segment)
    why = f"({rule})" if rule else ""
    return " ".join(filter(None, (number, protocol, source, destination, text, goes, why, answer)))


def follow(newest: Newest[Row], wait: Callable[[float], bool]) -> None:
    """Show a running host on standard error until `wait`, given seconds, says that it is to stop."""
    if has_terminal():
        _draw(newest, wait)
    else:
        # Whoever read the lines may go: the host serves on.
        with suppress(BrokenPipeError):
            _print(newest, wait)


def _draw(newest: Newest[Row], wait: Callable[[float], bool]) -> None:
    console, shown = Console(stderr=True), 0
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            version, state = newest.look()
            if version != shown:
                live.update(draw([state], console.height), refresh=True)
                shown = version
            if wait(INTERVAL):
                return


def _print(newest: Newest[Row], wait: Callable[[float], bool]) -> None:
    told = 0
    while True:
        _version, state = newest.look()
        segments = [segment for segment in state["segments"] if segment["number"] > told]
        if left_out := state["number"] - told - len(segments):
            print(_(WORDS["left_out"], count=left_out), file=sys.stderr)
        for segment in segments:
            print(as_line(segment), file=sys.stderr)
        sys.stderr.flush()
        told = state["number"]
        if wait(INTERVAL):
            return


class _Sent:
    """Lets a picture count what its host sends; which decisions it lists, the lab says."""

    def __init__(self, picture: Picture) -> None:
        self.sent = picture.sent

    def received(self, packet: bytes, delivery: Delivery, now: float) -> None:
        """Pass."""


class Watch:
    """Shows the hosts of a lab below what the lab says, while it is used as a context manager.

    Each segment is shown for `pace` seconds. `say` gets a line for each where there is no terminal.
    """

    def __init__(self, say: Callable[[str], None] = print, *, pace: float = PACE) -> None:
        self._say = say
        self._pace = pace
        self._pictures: dict[Host, Picture] = {}
        self._live: Live | None = None

    def host(self, host: Host) -> None:
        """Show one more host."""
        self._pictures[host] = picture = Picture(host)
        host.observers.append(_Sent(picture))

    def received(self, host: Host, packet: bytes, delivery: Delivery, now: float, frame: int) -> None:
        """Show what a host decided about a packet, under the number that it has in the capture."""
        picture = self._pictures[host]
        picture.number = frame - 1
        picture.received(packet, delivery, now)
        if self._live is None:
            segment = picture.snapshot()["segments"][-1]
            self._say(f"  {host.name} {as_line(segment)}")
        else:
            self._refresh()
            time.sleep(self._pace)

    def still(self, pause: Callable[[], None]) -> None:
        """Let the picture stand while a question is asked below it."""
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
            # What goes into a file goes there still.
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
            states = [picture.snapshot() for picture in self._pictures.values()]
            # A third of the terminal is left to what the lab says.
            height = self._live.console.height * 2 // 3
            # Narrower than the terminal, or the ^C that it shows would begin a line of its own.
            drawn = Constrain(draw(states, height), self._live.console.width - 2)
            self._live.update(drawn, refresh=True)
