"""`demuxlab flows`: contract 3."""

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from demuxlab import terminal
from demuxlab.capture.reader import printable
from demuxlab.capture.source import STANDARD_INPUT
from demuxlab.errors import CallError
from demuxlab.labkit import tables
from demuxlab.language import _, marked
from demuxlab.layout import paragraph
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text

if TYPE_CHECKING:
    from demuxlab.flows.count import Counted
    from demuxlab.flows.many import Flows
    from demuxlab.flows.rows import Conversation

_HEADERS = marked(("protocol", "a", "b", "packets a→b", "bytes a→b", "packets b→a", "bytes b→a"))
marked(
    ("headers cut or damaged", "fragment", "too deep in tunnels", "too many headers before the IP packet")
)  # what `wire.endpoints` says
_SHOWN = 40
_REASONS = 8
_MOVED = 20


@click.command(
    name="flows",
    help=_(
        "List the TCP and UDP conversations of CAPTURES: packets and bytes in each direction.\n\n"
        "Captures are pcap or pcapng, also compressed with gzip or zstd; - is standard input. Several are "
        "merged, in the order of their packets' times."
    ),
)
@click.argument("captures", nargs=-1, required=True, type=click.Path())
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help=_("Count on a Dask cluster, a file a task: tcp://host:8786, or local."),
)
@terminal.tunnels_option
@click.option("--json", "as_json", is_flag=True, help=_("One JSON object a conversation on standard output."))
def command(captures: tuple[str, ...], cluster: str | None, tunnels: str, as_json: bool) -> None:
    """List conversations."""
    from demuxlab.flows.many import merged

    inside_udp = tunnels == "inner"
    if cluster is None:
        counted = _on_this_machine(captures, inside_udp)
    else:
        counted = _on_cluster(captures, cluster, inside_udp)
    found = merged(captures, counted)
    if as_json:
        for conversation in found.table.conversations():
            click.echo(json.dumps(conversation.as_json()))
    else:
        _print_table(found)
    _tell_counts(found)
    for path, damage in found.damages:
        click.echo(f"demuxlab: {printable(path)}: {damage}", err=True)
    raise SystemExit(1 if found.damages else 0)


def _on_this_machine(captures: Sequence[str], inside_udp: bool) -> "list[Counted]":
    from demuxlab.flows.many import on_this_machine

    if not sys.stderr.isatty():
        return on_this_machine(captures, inside_udp=inside_udp)
    from rich.console import Console
    from rich.progress import Progress

    total = sum(_size(path) for path in captures)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(_("reading"), total=total or None)
        places = dict.fromkeys(captures, 0)

        def tell(path: str, place: int) -> None:
            places[path] = place
            progress.update(bar, completed=sum(places.values()))

        return on_this_machine(captures, progress=tell, inside_udp=inside_udp)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size if path != STANDARD_INPUT else 0
    except (OSError, ValueError):
        return 0  # the reader tells what is wrong with it


def _on_cluster(captures: Sequence[str], address: str, inside_udp: bool) -> "list[Counted]":
    from demuxlab.flows.many import on_cluster

    if STANDARD_INPUT in captures:
        raise CallError(_("standard input is not on the cluster"), _("name files that its workers can read"))
    paths = [os.path.abspath(path) for path in captures]
    return on_cluster(paths, address, _show_dashboard, inside_udp=inside_udp)


def _show_dashboard(url: str) -> None:
    click.echo(_("dashboard: {link}", link=url), err=True)


def _print_table(found: "Flows") -> None:
    """Print the conversations of most bytes, and how many there are."""
    table = found.table
    count = len(table.first)
    shown = table.conversations(table.largest(_SHOWN))
    click.echo(tables.table(_HEADERS, [_row(conversation) for conversation in shown]))
    if count > _SHOWN:
        line = _(
            "{shown} of {count} conversations, those of most bytes: --json lists all",
            shown=_SHOWN,
            count=count,
        )
        click.echo(line)


def _row(conversation: "Conversation") -> tuple[Any, ...]:
    protocol, a, b, *counts = conversation
    return ip.PROTOCOL_NAMES[protocol], endpoint_text(*a), endpoint_text(*b), *counts


def _tell_counts(found: "Flows") -> None:
    count, left_out = len(found.table.first), found.left_out
    line = _("packets: {packets}, conversations: {count}", packets=found.packets, count=count)
    click.echo(line, err=True)
    if found.outer:
        kinds = ", ".join(f"{number} {kind}" for kind, number in found.outer.most_common())
        click.echo(paragraph(_("inside of other packets: {kinds}", kinds=kinds)), err=True)
    for paths in found.moved[:_MOVED]:
        line = _(
            "a QUIC connection goes on although its 4-tuple changes: {paths}; the connection ID is the same",
            paths=", ".join(paths),
        )
        click.echo(paragraph(line), err=True)
    if left_out:
        reasons = [f"{number} {_(reason)}" for reason, number in left_out.most_common(_REASONS)]
        if len(left_out) > _REASONS:
            rest = left_out.total() - sum(number for _reason, number in left_out.most_common(_REASONS))
            reasons.append(_("{count} for other reasons", count=rest))
        line = _(
            "of no conversation: {count} ({reasons})", count=left_out.total(), reasons=", ".join(reasons)
        )
        click.echo(paragraph(line), err=True)
