"""The report as one HTML file: no other file, no network.

Its one script plays the ladder; the page permits that one by its hash, and reads as well without it.
"""

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from demuxlab import language
from demuxlab.demux.verdicts import Verdict
from demuxlab.language import _, marked
from demuxlab.report import charts, figures, ladder, overview
from demuxlab.report.insights import insights, notices
from demuxlab.report.ladder import Ladder
from demuxlab.report.story import Queue, Segment, Story
from demuxlab.report.svg import style, tag
from demuxlab.telling import reasons, sentences
from demuxlab.telling.comment import candidate

if TYPE_CHECKING:
    from jinja2 import Environment

_MAX_SOCKETS = 60
_MAX_CANDIDATES = 9
_PRINTED = 690  # pixels of a page's width
_KINDS = marked(
    {
        "listening": "listening socket",
        "data": "data socket",
        "client": "client socket",
        "UDP": "UDP socket",
    }
)
_CAPTIONS = marked(
    {
        "multiplexing": "Multiplexing",
        "layer": "The layer that does it",
        "demultiplexing": "How demultiplexing works",
        "socket": "The socket",
        "program": "The socket program",
        "example": "The demultiplexing example",
    }
)
_TEXTS = marked(
    {
        "multiplexing": "Several sockets of one host gather what they send onto one link.",
        "layer": "Ports are the transport layer's business; the layers below look at addresses.",
        "demultiplexing": "The headers of one segment, the values compared, and the socket that wins.",
        "socket": "The door between process and transport layer, and the five things it is made of.",
        "program": "Which call caused which frames. Calls are inferred; frames were captured.",
        "example": "Which client reached which socket, and from which port.",
    }
)
LADDER = "ladder"
NAMES = (LADDER, *figures.FIGURES)
"""The drawings that `svg` returns."""


def html(story: Story) -> str:
    """Return the whole report."""
    laid_out = ladder.laid_out(story)
    sockets = [_socket(laid_out, queue) for queue in story.queues[:_MAX_SOCKETS]]
    drawn = [(name, draw(laid_out)) for name, draw in figures.FIGURES.items()]
    shown = [(_(_CAPTIONS[name]), _(_TEXTS[name]), drawing) for name, drawing in drawn if drawing]
    left_out = len(story.queues) - len(sockets)
    seen = insights(story)
    return _environment().get_template("page.html.j2").render(
        _=_,
        language=language.code(),
        story=story,
        drawing_style=style("drawing.css"),
        page_style=style("ladder.css") + style("page.css"),
        sections=_sections(story, bool(seen), bool(shown)),
        numbers=_numbers(story),
        notices=notices(story),
        insights=seen,
        tap_text=_("Point at a row for its reason; tap it, or press Enter on it, for the sockets not chosen.")
        if story.decided
        else _("Tap a row, or press Enter on it, for its fields and the first of its data."),
        ladder_html=_ladder(laid_out),
        script=_script(),
        script_hash=script_hash(),
        overview=overview.rows(story),
        overview_text=overview.summary(story),
        sockets=sockets,
        sockets_title=_("The sockets over time") if story.decided else _("The inferred sockets over time"),
        sockets_text=_(
            "Each bar reaches from the first segment that tells of the socket to the last; a mark is a "
            "segment that reached it."
        ),
        sockets_left_out=_("… and {count} more", count=left_out) if left_out else "",
        depths=[socket for socket, queue in zip(sockets, story.queues, strict=False) if queue.arrivals]
        if story.decided
        else [],
        depths_text=_depths_text(story),
        depths_command="" if any(queue.depths for queue in story.queues) else "demuxlab run --format full",
        axis=_axis(story),
        figures=shown,
        footer=_(
            "Drawn by demuxlab from a capture. Figures after Kurose and Ross, Computer Networking: A "
            "Top-Down Approach, section 3.2."
        ),
    )  # fmt: skip


def fragment(story: Story) -> str:
    """Return the ladder alone, for a notebook."""
    styles = tag("style", style("drawing.css"), style("ladder.css"))
    return str(tag("div", styles, _ladder(ladder.laid_out(story)), class_="demuxlab"))


def svg(story: Story, name: str) -> str:
    """Return one figure as an SVG file; "" if the run does not have what it shows. KeyError: no such name."""
    laid_out = ladder.laid_out(story)
    drawing = ladder.whole(laid_out) if name == LADDER else figures.FIGURES[name](laid_out)
    if drawing is None or not story.segments:
        return ""
    head, end, rest = drawing.partition(">")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}{end}{tag("style", style("drawing.css"))}{rest}\n'


def script_hash() -> str:
    """Return the hash by which a content security policy permits the report's one script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()


@cache
def _script() -> Markup:
    return style("play.js")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("demuxlab.report", ""), autoescape=True)


def _ladder(laid_out: Ladder) -> Markup:
    template = _environment().get_template("ladder.html.j2")
    drawn = template.render(
        _=_,
        ladder=laid_out,
        shrink=min(1.0, _PRINTED / max(1.0, laid_out.width)),
        head=ladder.head(laid_out),
        head_height=ladder.HEAD + 4,
        lifelines=ladder.lifelines(laid_out),
        segments=[_segment(laid_out, segment) for segment in laid_out.story.segments],
    )
    return Markup(drawn)


def _segment(laid_out: Ladder, segment: Segment) -> dict[str, Any]:
    """Return the values of a segment's row and of the details below it."""
    drawing = tag(
        "svg",
        tag("title", ladder.summary(segment)),
        ladder.row(laid_out, segment),
        width=round(laid_out.width),
        height=ladder.ROW,
        class_="demuxlab",
        role="img",
    )
    source, destination = segment.source.text, segment.destination.text
    if segment.decision:
        sentence = sentences.of(segment.decision, segment.protocol, source, destination)
    elif segment.fault:
        sentence = _("A host drops it: {fault}.", fault=_(segment.fault))
    elif laid_out.story.decided:
        sentence = _("Sent by the host that was watched: what becomes of it is decided elsewhere.")
    else:
        sentence = _("The capture does not tell which socket got it.")
    fields = [f"{segment.protocol} {source} → {destination}", segment.label, f"{segment.size} B"]
    if segment.size and segment.mark and segment.fresh < segment.size:
        fields.append(_("{count} B of them new", count=segment.fresh))
    if segment.sequence is not None:
        fields += [f"seq {segment.sequence}", f"ack {segment.acknowledgment}"]
    fields += [ladder.milliseconds(segment.time), *segment.outer]
    return {
        "number": segment.number,
        "drawing": drawing,
        "sentence": sentence,
        "fields": " · ".join(fields),
        "comment": _("Comment in the capture: {said}", said=segment.comment) if segment.comment else "",
        "data": figures.printable_data(segment),
        "candidates": _candidates(segment),
    }


def _candidates(segment: Segment) -> list[tuple[str, bool, str]]:
    decision = segment.decision
    if decision is None or not decision.losers:
        return []
    rows = [(decision.socket, True, decision.rule or "")] if decision.verdict == Verdict.DELIVERED else []
    rows += [
        (candidate(loser), False, reasons.write(loser.reason, loser.detail)) for loser in decision.losers
    ]
    return rows[:_MAX_CANDIDATES]


def _socket(laid_out: Ladder, queue: Queue) -> dict[str, Any]:
    colour = laid_out.of_queue(queue)
    story, count = laid_out.story, len(queue.arrivals)
    kind = _(_KINDS[queue.kind])
    reached = _("1 segment, {size} B", size=queue.size)
    if count != 1:
        reached = _("{count} segments, {size} B", count=count, size=queue.size)
    reached = reached.replace(" B", "\N{NO-BREAK SPACE}B")
    if queue.dropped:
        reached += " " + _("({count} dropped: queue full)", count=queue.dropped)
    return {
        "colour": colour,
        "name": queue.name or f"{queue.protocol} {queue.port}",
        "kind": _("{kind} of {host}", kind=kind, host=queue.host),
        "local": queue.local,
        "remote": f"← {queue.remote}" if queue.remote else _("← any"),
        "reached": reached,
        "life": charts.life(story, queue, colour),
        "depth": charts.depth(story, queue, colour),
        "most": charts.most(queue),
    }


def _depths_text(story: Story) -> str:
    if any(queue.depths for queue in story.queues):
        return _("What waited in each queue just after a segment came in, until the process took it.")
    return _(
        "What arrived in each queue, added up. This capture does not tell when a process took it out again; "
        "this one would:"
    )


def _numbers(story: Story) -> list[tuple[str, object]]:
    verdicts = [segment.decision.verdict for segment in story.segments if segment.decision]
    numbers: list[tuple[str, object]] = [(_("segments"), len(story.segments)), (_("hosts"), len(story.hosts))]
    if story.decided:
        numbers += [
            (_("sockets"), len(story.queues)),
            (_("delivered"), verdicts.count(Verdict.DELIVERED)),
            (_("without a socket"), verdicts.count(Verdict.NO_SOCKET)),
        ]
    else:
        every = story.tracker.conversations
        hosts = {end[0] for each in every for end in (each.a, each.b)}
        numbers = [(_("segments"), story.tracker.segments), (_("hosts"), len(hosts))]
        numbers.append((_("conversations"), len(every)))
    return numbers


def _sections(story: Story, seen: bool, drawn: bool) -> list[tuple[str, str]]:
    there = (
        ("seen", _("What to see"), seen),
        ("overview", _("The conversations"), bool(overview.rows(story))),
        ("ladder", _("The ladder"), bool(story.segments)),
        ("sockets", _("The sockets"), bool(story.queues)),
        ("queues", _("The queues"), story.decided and any(queue.arrivals for queue in story.queues)),
        ("figures", _("The figures"), drawn),
    )
    return [(id_, name) for id_, name, shown in there if shown]


def _axis(story: Story) -> tuple[str, str]:
    if not story.segments:
        return "", ""
    ends = (story.segments[0], story.segments[-1])
    first, last = (
        _("frame {number}", number=end.number) + f", {ladder.milliseconds(end.time)}" for end in ends
    )
    return first, last
