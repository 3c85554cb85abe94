"""`demuxlab watch`: contract 10."""

import errno
import os
import select
import signal
import time
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from demuxlab import layout, terminal
from demuxlab.errors import CallError
from demuxlab.files import reason, writing
from demuxlab.language import _, marked

if TYPE_CHECKING:
    from demuxlab.kernel.packets import PacketSocket
    from demuxlab.kernel.watch import Seen, Watch
    from demuxlab.recording.devices import DeviceRecorder

_ALL = "any"
_PATIENCE = 2.0
"""Seconds for the reader of the table to take the rest at the end."""
_LOOK = 0.2
"""Seconds between two looks at whether a signal came."""
_DOWN = marked("the device {device} is gone or down: nothing more is captured")


@click.command(
    name="watch",
    help=_(
        "Show this machine's IP packets as they pass: the process that sent each, the one that gets it, by "
        "which rule, and the sockets that lost.\n\n"
        "It ends on Ctrl-C or SIGTERM, with a summary. It changes no packet and sends none. It needs sudo."
    ),
)
@click.option(
    "--device",
    "--interface",
    default=_ALL,
    show_default=True,
    metavar="NAME",
    help=_("One device, such as lo or eth0; any is all of them."),
)
@click.option("--port", type=click.IntRange(1, 65535), help=_("Only packets from or to this port."))
@click.option("--process", default="", metavar="NAME|ID", help=_("Only packets from or to this process."))
@click.option(
    "-o",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help=_("Save the packets there, as pcapng, each with its comments."),
)
@click.option("--live", is_flag=True, help=_("Start Wireshark and show the packets in it as they come."))
def command(device: str, port: int | None, process: str, output: Path | None, live: bool) -> None:
    """Watch the host's packets."""
    from demuxlab.kernel.watch import Watch
    from demuxlab.links import rights
    from demuxlab.wireshark.live import drop_rights, ended_on_failure

    signals: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: signals.append(number))
    packets = _packet_socket("" if device == _ALL else device)
    watch = Watch(port or 0, process)
    # A short connection is over in a millisecond: this process has to be sooner there than others.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    viewer, dropped = drop_rights(live, rights.SEE_PROCESSES)
    if viewer is not None:
        watch.own_pids.add(viewer.pid)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, viewer.pid, 0)
    with ended_on_failure(viewer):
        recorder = _recorder(output, viewer.pipe if viewer else None)
    _tell(dropped)
    where = _("all devices") if device == _ALL else device
    _tell(_("ready: the packets of {device}, until Ctrl-C", device=where))
    table = terminal.PatientOutput()
    began, problem = time.monotonic(), ""
    try:
        problem = _follow(packets, watch, recorder, signals, device, table)
    finally:
        lost = packets.count_lost()
        packets.close()
        if recorder is not None:
            recorder.close(lost)
    problems = [problem]
    table.write("", _PATIENCE)
    _summarize(watch, lost, time.monotonic() - began)
    if table.unread:
        unread = _("{count} bytes of the table were not read from standard output", count=table.unread)
        if recorder is None:
            problems.append(unread)
        else:
            _tell(unread)
    if recorder is not None and output is not None:
        from demuxlab.recording.not_kept import not_kept

        problems.append(not_kept(output, recorder.writer, recorder.writer.lost))
        _tell(_("capture: {path}", path=output))
    if viewer is not None:
        _tell(viewer.ending())
    for problem in filter(None, problems):
        _tell(f"demuxlab: {problem}")
    if any(problems):
        raise SystemExit(1)


def _packet_socket(device: str) -> "PacketSocket":
    from demuxlab.kernel.packets import PacketSocket

    try:
        return PacketSocket(device)
    except PermissionError as error:
        raise CallError(
            _("packets may not be captured ({why})", why=reason(error)), _("call it with sudo")
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EINVAL):
            raise
        why = _("there is no device {device}", device=device)
        if error.errno == errno.ENETDOWN:
            why = _("the device {device} is down", device=device)
        raise CallError(why, _("ip link lists them and sets them up; any is all")) from error


def _recorder(output: Path | None, pipe: BinaryIO | None) -> "DeviceRecorder | None":
    if output is None and pipe is None:
        return None
    from demuxlab.recording.devices import DeviceRecorder
    from demuxlab.recording.recorder import Tee

    file = pipe
    if output is not None:
        with writing(output, _("give another name with -o")):
            file = cast(BinaryIO, open(output, "xb", buffering=0))  # noqa: SIM115
        if pipe is not None:
            file = cast(BinaryIO, Tee(file, pipe))
    assert file is not None
    return DeviceRecorder(file, comment="demuxlab watch")


def _follow(
    packets: "PacketSocket",
    watch: "Watch",
    recorder: "DeviceRecorder | None",
    signals: list[int],
    device: str,
    table: terminal.PatientOutput,
) -> str:
    """Show the packets that came before a signal; return what ended it sooner.

    A second signal ends it at once: the packets that wait then are counted as lost.
    """
    from demuxlab.kernel.watch_rows import Rows

    waits = select.poll()
    waits.register(packets.fileno(), select.POLLIN)
    waits.register(watch.following.fileno(), select.POLLIN)
    rows, reported = Rows(), False
    table.write(rows.heading())
    until = inf
    while True:
        if signals and until == inf:
            until = time.time()
        if len(signals) > 1:
            packets.discard(until)
            return ""
        try:
            taken = packets.take()
        except OSError as error:
            if error.errno == errno.ENETDOWN and device == _ALL:
                continue  # one of many
            if error.errno in (errno.ENETDOWN, errno.ENODEV, errno.ENXIO):
                return _(_DOWN, device=device)
            raise
        # All are looked at before the first is written: a short connection ends soon.
        before = [each for each in taken if each.now <= until]
        for seen in [seen for each in before if (seen := watch.look(each)) is not None]:
            table.write(rows.row(seen))
            if recorder is not None:
                _record(recorder, seen)
        if recorder is not None and recorder.writer.error is not None and not reported:
            reported = True
            _tell(f"demuxlab: {_('the capture ends here: {why}', why=reason(recorder.writer.error))}")
        watch.rest(taken[-1].now if taken else inf)
        if until < inf and (not taken or len(before) < len(taken)):
            return ""
        if not taken:
            table.write("")
            waits.poll(_LOOK * 1000)


def _record(recorder: "DeviceRecorder", seen: "Seen") -> None:
    captured = seen.captured
    packet = captured.header + captured.packet
    recorder.packet(packet, captured.now, captured.device, captured.outgoing, seen.comments)


def _tell(line: str) -> None:
    if line:
        click.echo(layout.paragraph(line), err=True)


def _summarize(watch: "Watch", lost: int, seconds: float) -> None:
    sockets, counts = watch.close(), watch.counts
    shown, unread, short = counts["shown"], counts["unread"], sockets["short"]
    _tell(_("packets: {shown}, a process of {unread} could not be read", shown=shown, unread=unread))
    if sockets["all"]:
        _tell(
            _(
                "sockets: {all}, too short-lived for their process to be read: {short} ({share:.1f} %, "
                "{rate:.1f} a second)",
                all=sockets["all"],
                short=short,
                share=100 * short / sockets["all"],
                rate=short / max(seconds, 0.001),
            )
        )
    if sockets["hidden"]:
        _tell(_("sockets of processes that cannot be seen: {hidden}", hidden=sockets["hidden"]))
    if sockets["late"]:
        _tell(
            _(
                "sockets whose process was not looked for, too many being new at once: {late}",
                late=sockets["late"],
            )
        )
    if counts["left out"]:
        _tell(_("packets left out, because they carry this output: {count}", count=counts["left out"]))
    _tell(_("packets lost, because they came faster than they were read: {count}", count=lost))
