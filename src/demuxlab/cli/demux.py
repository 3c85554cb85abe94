"""`demuxlab demux`: contract 2."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from demuxlab.capture.reader import Capture, Frame
from demuxlab.demux.delivery import Delivery
from demuxlab.demux.demultiplexer import Demultiplexer
from demuxlab.demux.verdicts import Verdict
from demuxlab.errors import CallError
from demuxlab.files import reading
from demuxlab.language import _, english
from demuxlab.telling.comment import comment_of
from demuxlab.telling.rows import Entry
from demuxlab.telling.socket_file import SocketFileError, load
from demuxlab.telling.steps import steps
from demuxlab.wire.address import endpoint_text
from demuxlab.wire.checksum import Checksums
from demuxlab.wire.frame import NotIP, network_packet
from demuxlab.wire.malformed import Malformed

_MAX_PACKET = 65_535 + 40


@click.command(
    name="demux",
    help=_(
        "Say for each packet of CAPTURE (pcap or pcapng) which of a table's sockets would get it, and "
        "why.\n\n"
        "Every packet is taken as if it arrived at the host that has these sockets. The table does not "
        "change."
    ),
)
@click.argument("capture", type=click.Path(path_type=Path))
@click.option(
    "--sockets",
    "socket_file",
    type=click.Path(path_type=Path),
    required=True,
    help=_('JSON: {"sockets": [{"name": "dns", "protocol": "udp", "local": ["10.0.0.2", 53]}, …]}'),
)
@click.option(
    "--explain",
    is_flag=True,
    help=_("Tell each decision step by step: who was asked, in which order, and why each one lost."),
)
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object a packet on standard output."))
def command(capture: Path, socket_file: Path, explain: bool, as_json: bool) -> None:
    """Say what a table of sockets does with every packet of a capture."""
    demultiplexer = Demultiplexer(explain=explain or not as_json)
    _load_sockets(socket_file, demultiplexer)
    verdicts: Counter[str] = Counter()
    with Capture(capture) as frames:
        for entry in _decide(frames, demultiplexer):
            verdicts[entry.delivery.verdict] += 1
            if as_json:
                click.echo(json.dumps(_as_json(entry, explain)))
            else:
                click.echo(_steps(entry) if explain else _line(entry))
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or _("none")
    click.echo(_("packets: {counts}", counts=counts), err=True)
    if frames.damage:
        click.echo(f"demuxlab: {capture}: {frames.damage}", err=True)
        raise SystemExit(1)


def _load_sockets(path: Path, demultiplexer: Demultiplexer) -> None:
    with reading(path, _("give a JSON file of sockets")):
        text = path.read_text(encoding="utf-8")
    try:
        load(text, demultiplexer.table)
    except SocketFileError as error:
        raise CallError(f"{path}: {error.wrong}", error.cure) from error


def _decide(frames: Iterator[Frame] | Capture, demultiplexer: Demultiplexer) -> Iterator[Entry]:
    for frame in frames:
        packet = network_packet(frame.linktype, frame.data)
        if isinstance(packet, NotIP):
            verdict = Verdict.MALFORMED if packet.malformed else Verdict.NOT_TRANSPORT
            yield Entry(frame.number, Delivery(verdict, Malformed(packet.reason, "IfInErrors")))
            continue
        missing = frame.original_length - len(frame.data)
        # Where the capture cut the packet's end, its headers still decide.
        demultiplexer.checksums = Checksums.IGNORE if missing > 0 else Checksums.OFFLOADED
        # No IP packet is longer than its length field can say, whatever the capture claims.
        rest = bytes(min(max(0, missing), _MAX_PACKET))
        yield Entry(frame.number, demultiplexer.deliver(packet + rest, frame.time))


def _line(entry: Entry) -> str:
    segment = entry.delivery.segment
    source = f"{endpoint_text(segment.source, segment.source_port)} " if segment else ""
    return f"{entry.frame:>6}  {source}{comment_of(entry.delivery)}"


def _steps(entry: Entry) -> str:
    """Return the decision's numbered steps, below each other, behind the frame's number."""
    numbered = enumerate(steps(entry.delivery), 1)
    lines = [f"{number}. {step}".replace("\n", "\n   ") for number, step in numbered]
    return f"{entry.frame:>6}  " + "\n".join(lines).replace("\n", "\n" + " " * 8) + "\n"


def _as_json(entry: Entry, explain: bool) -> dict[str, Any]:
    row = entry.as_json()
    if explain:
        row["explanation"] = [step.replace("\n", " ") for step in steps(entry.delivery, english)]
    return row
