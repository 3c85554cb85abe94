"""Runs lab scripts: opens the link, drops root's rights, records, and prints what happened."""

import gc
import importlib.util
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

from demuxlab import language, layout
from demuxlab.errors import CallError
from demuxlab.files import reason
from demuxlab.labkit.folder import LabFolder
from demuxlab.labkit.lab import Lab
from demuxlab.labkit.network import LabError
from demuxlab.language import _
from demuxlab.links.base import Link, LinkUnavailable
from demuxlab.links.choose import open_link
from demuxlab.recording.recorder import FULL, WIRE, Recorder, new_capture_path, open_recorder
from demuxlab.serving.learner import FileUnusable
from demuxlab.wireshark.live import Live, drop_rights, ended_on_failure

if TYPE_CHECKING:
    from demuxlab.live.terminal import Watch
    from demuxlab.telling.rows import Entry

DONE, FAILED, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True)
class Settings:
    """How labs are run."""

    link: str = "auto"
    captures: Path | None = None
    """The folder of the capture; None for the lab's own."""
    json: bool = False
    host_namespace: bool = False
    step: bool = False
    """Wait for Enter before each step."""
    format: str | None = None
    """One of `recorder.FORMATS`; None: full with `live`, else wire."""
    live: bool = False
    """Show the packets in Wireshark as they come."""
    watch: bool = False
    """Show the hosts in the terminal while the lab runs."""
    learners: tuple[Path, ...] = ()
    """Files of learners that the lab runs with: lab 21's ends."""
    decided: list["Entry"] | None = None
    """Gets the decisions of the run."""


class CannotRun(CallError):
    """The labs cannot be run as they were called."""


class _NoOutput(Exception):
    """Standard output cannot be written to, such as a closed pipe: no error of the lab script."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def run_labs(folders: Sequence[LabFolder], settings: Settings) -> int:
    """Run labs one after the other and return the exit status: 0 all held, 1 a check failed.

    Raises CannotRun or NoWireshark, before any packet is sent, where a link cannot be opened, the folder of
    captures cannot be written to, or Wireshark cannot be started.
    """
    if settings.live and (len(folders) > 1 or settings.format not in (None, FULL)):
        raise CannotRun(
            _("--live shows one lab, in the full format"), _("name the lab and leave --format out")
        )
    if settings.learners and any("lab.learners" not in each.script.read_text("utf-8") for each in folders):
        raise CannotRun(_("this lab runs without learners' files"), _("leave --with out, or run lab 21"))
    links, sentence = _open_links(len(folders), settings)
    try:
        live, dropped = drop_rights(settings.live)
        _tell(layout.paragraph("; ".join(filter(None, (sentence, dropped)))))
        results = [
            _run_one(folder, link, settings, live) for folder, link in zip(folders, links, strict=True)
        ]
    except KeyboardInterrupt:
        _tell(_("interrupted: nothing stays behind"))
        return INTERRUPTED
    except _NoOutput as refused:
        raise refused.error from None
    finally:
        for link in links:
            link.close()
    return FAILED if any(results) else DONE


def _open_links(count: int, settings: Settings) -> tuple[list[Link], str]:
    """Open a link for each lab, all before the rights are dropped; return them and a sentence about them."""
    links: list[Link] = []
    sentence = ""
    try:
        for _number in range(count):
            link, sentence = open_link(settings.link, private=not settings.host_namespace)
            links.append(link)
    except LinkUnavailable as unavailable:
        for link in links:
            link.close()
        raise CannotRun(
            _("no {link} link: {why}", link=settings.link, why=unavailable.wrong), unavailable.cure
        ) from unavailable
    return links, sentence


def _run_one(folder: LabFolder, link: Link, settings: Settings, live: Live | None) -> bool:
    """Run one lab; return whether it failed."""
    say = _tell if settings.json else _say
    with ended_on_failure(live):
        script = load(folder)
        recorder = _recorder(folder, link, settings, live)
    pause = _wait_for_enter if settings.step else None
    watch = _watch(say) if settings.watch else None
    if watch is not None and pause is not None:
        pause = partial(watch.still, pause)
    lab = Lab(folder.name, link, recorder, say, pause=pause, watcher=watch)
    lab.learners = settings.learners
    try:
        with _terminable(), watch or nullcontext():
            script(lab)
    except (LabError, FileUnusable) as error:
        lab.failed += 1
        _tell(f"demuxlab: {error}")
    except (_NoOutput, MemoryError):
        raise
    except Exception as error:
        lab.failed += 1
        _tell(f"demuxlab: {_where(error, folder.script)}")
    finally:
        lab.finish()
        recorder.close()
        if recorder.problem:
            lab.failed += 1
            _tell(f"demuxlab: {recorder.problem}")
        if settings.json:
            for entry in lab.journal.entries:
                print(json.dumps(entry.as_json()))
        if settings.decided is not None:
            settings.decided.extend(lab.journal.entries)
        if live is not None and (ending := live.ending()):
            _tell(f"demuxlab: {ending}")
        say(_("capture: {path}", path=_shown(recorder.path)))
        sys.stdout.flush()
    return bool(lab.failed)


def _watch(say: Callable[[str], None]) -> "Watch":
    from demuxlab.live.terminal import Watch

    return Watch(say)


def _recorder(folder: LabFolder, link: Link, settings: Settings, live: Live | None) -> Recorder:
    captures = settings.captures or folder.captures
    kind = settings.format or (FULL if live else WIRE)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    comment = f"demuxlab {folder.name} over {link.kind}"
    copy = live.pipe if live else None
    try:
        while True:
            path = new_capture_path(captures, folder.name, link.kind, stamp, kind)
            # Another run may create the file between the choice of the name and the opening.
            with suppress(FileExistsError):
                return open_recorder(path, comment=comment, link=link.name, kind=kind, copy=copy)
    except OSError as error:
        raise CannotRun(
            _("no capture can be saved in {folder} ({why})", folder=captures, why=reason(error)),
            _("give a folder that you may write to with --captures DIR"),
        ) from error


def load(folder: LabFolder) -> Callable[[Lab], None]:
    """Load a lab's catalog, and return the function `run` of its script; CannotRun where it has none."""
    script = folder.script
    language.add(folder.path)
    _import_when_used("scapy.layers", "inet6")
    spec = importlib.util.spec_from_file_location(f"demuxlab_lab_{script.parent.name}", script)
    if spec is None or spec.loader is None:
        raise CannotRun(_("{script} cannot be loaded", script=script), _("is it a Python file?"))
    module = importlib.util.module_from_spec(spec)
    gc.disable()  # modules and scapy's databases are no garbage: to look through them costs 15 ms
    try:
        spec.loader.exec_module(module)
        run: Any = module.run
    except MemoryError:
        raise
    except Exception as error:
        raise CannotRun(_where(error, script), _("mend the script")) from error
    finally:
        gc.enable()
    return run  # type: ignore[no-any-return]


class _WhenUsed(ModuleType):
    """A module that is loaded with the first attribute that is asked for.

    Not importlib.util.LazyLoader: until CPython 3.12 its modules are loaded by a second import, too.
    """

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        if self.__class__ is _WhenUsed and spec is not None and spec.loader is not None:
            self.__class__ = ModuleType  # type: ignore[assignment]
            spec.loader.exec_module(self)
            return getattr(self, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _import_when_used(package: str, name: str) -> None:
    """Let a module that scapy's others import be loaded when something in it is first used.

    Most labs craft no IPv6, which with its routes is a fifth of what scapy loads.
    """
    whole = f"{package}.{name}"
    spec = None if whole in sys.modules else importlib.util.find_spec(whole)
    if spec is not None:
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _WhenUsed
        sys.modules[whole] = module
        setattr(sys.modules[package], name, module)


def _where(error: Exception, script: Path) -> str:
    """Return an exception of a script as text, with the script's line."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(script)
    ]
    place = f"{script}:{lines[-1]}" if lines else str(script)
    return f"{place}: {type(error).__name__}: {error}"


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM end a run as Ctrl-C does, so that the capture is finished."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, which alone may set handlers (signal)
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _shown(path: Path) -> Path:
    """Return a path, from the current folder where the whole of it does not fit on a line."""
    inside = path.is_relative_to(Path.cwd())
    return path.relative_to(Path.cwd()) if inside and len(str(path)) > layout.terminal_width() - 10 else path


def _wait_for_enter() -> None:
    print(_("  [Enter: go on]"), end="", file=sys.stderr, flush=True)
    if not sys.stdin.readline():
        print(file=sys.stderr)


def _say(line: str) -> None:
    try:
        print(line)
    except OSError as error:
        raise _NoOutput(error) from error


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
