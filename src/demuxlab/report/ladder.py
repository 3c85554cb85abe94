"""The ladder: a lifeline for each port and each queue, a row for each segment, time downwards.

An arrow starts at the port or socket that sent the segment and ends in the queue that it reached. The busiest
ports have lifelines of their own; the other ports of a host share one.
"""

from collections import Counter
from dataclasses import dataclass, field

from markupsafe import Markup

from demuxlab.demux.verdicts import Verdict
from demuxlab.language import _
from demuxlab.report.story import End, Queue, Segment, Story
from demuxlab.report.svg import COLOURS, arrow, box, chip, chip_width, drawing, fit, tag, text, text_width
from demuxlab.telling import sentences

MAX_LANES = 28
_MAX_HOSTS = 10
LEFT, LANE, GAP = 84.0, 104.0, 24.0
ROW, HEAD = 38, 92
_WIDEST = 260.0  # of a lifeline, for the labels of its arrows


@dataclass(slots=True, eq=False)
class Lane:
    """A lifeline."""

    host: str
    protocol: str
    port: int | None
    """None: several ports share it."""
    queue: Queue | None
    x: float = 0.0
    width: float = LANE

    @property
    def place(self) -> str:
        """The protocol and port: "tcp 80"."""
        return _("other ports") if self.port is None else f"{self.protocol} {self.port}"


_Key = tuple[str, str, int, Queue | None]


@dataclass(slots=True)
class Ladder:
    """The layout: all lifelines with their places."""

    story: Story
    width: float = 0.0
    timed: bool = False
    """Whether the segments have times."""
    lanes: list[Lane] = field(default_factory=list)
    colours: dict[object, int] = field(default_factory=dict)
    """Of queues; of conversations if the capture has no decisions."""
    _by_key: dict[_Key, Lane] = field(default_factory=dict)
    _shared: dict[str, Lane] = field(default_factory=dict)
    _elsewhere: Lane | None = None

    def source(self, segment: Segment) -> Lane:
        """Return the lifeline that a segment starts from."""
        return self._lane(segment.source, segment.protocol, segment.sender)

    def destination(self, segment: Segment) -> Lane:
        """Return the lifeline that a segment ends at."""
        return self._lane(segment.destination, segment.protocol, segment.queue)

    def colour(self, segment: Segment) -> str:
        """Return the class of a segment's colour: its queue's, or its conversation's."""
        number = self.colours.get(_coloured(segment, self.story.decided))
        return "plain" if number is None else f"q{number}"

    def of_queue(self, queue: Queue) -> str:
        """Return the class of a queue's colour, which its segments have too."""
        ends = (queue.protocol, *sorted((queue.local, queue.remote)))
        return f"q{self.colours.get(queue, self.colours.get(ends, queue.port % COLOURS))}"

    def _lane(self, end: End, protocol: str, queue: Queue | None) -> Lane:
        lane = self._by_key.get(_key(end, protocol, queue if self.story.decided else None))
        lane = lane or self._shared.get(end.host) or self._elsewhere
        assert lane is not None
        return lane


def _key(end: End, protocol: str, queue: Queue | None) -> _Key:
    return end.host, protocol, end.port, queue


def _coloured(segment: Segment, decided: bool) -> object:
    """Return the object whose colour a segment has: a queue or a conversation."""
    if decided:
        return segment.queue or segment.sender
    ends = sorted((segment.source.text, segment.destination.text))
    return (segment.protocol, *ends)


def laid_out(story: Story) -> Ladder:
    """Lay out the lifelines of all ports and queues."""
    ladder = Ladder(story, timed=any(segment.time for segment in story.segments))
    for segment in story.segments:
        ladder.colours.setdefault(_coloured(segment, story.decided), len(ladder.colours) % COLOURS)
    ladder.colours.pop(None, None)
    uses: Counter[_Key] = Counter()
    for segment in story.segments:
        for end, queue in ((segment.source, segment.sender), (segment.destination, segment.queue)):
            uses[_key(end, segment.protocol, queue if story.decided else None)] += 1
    least = _least_width(story)
    hosts = _in_order(uses)
    own = {key for key, _uses in uses.most_common(MAX_LANES) if key[0] in hosts}
    x = LEFT
    for host in hosts:
        lanes = [
            Lane(*key) for key in sorted(uses, key=_within_host(list(uses))) if key in own and key[0] == host
        ]
        for lane in lanes:
            assert lane.port is not None
            ladder._by_key[lane.host, lane.protocol, lane.port, lane.queue] = lane
        if any(key[0] == host and key not in own for key in uses):
            ladder._shared[host] = Lane(host, "", None, None)
            lanes.append(ladder._shared[host])
        width = max([least, _host_width(story, host) / len(lanes), *map(_lane_width, lanes)])
        for lane in lanes:
            lane.x, lane.width, x = x + width / 2, width, x + width
        ladder.lanes += lanes
        x += GAP
    if any(key[0] not in hosts for key in uses):
        ladder._elsewhere = Lane(_("other hosts"), "", None, None, x + LANE / 2)
        ladder.lanes.append(ladder._elsewhere)
        x += LANE + GAP
    ladder.width = x - GAP + 10
    return ladder


def _least_width(story: Story) -> float:
    """Return the width of a lifeline that gives the labels of arrows between neighbours room."""
    longest = max((text_width(label(segment), 11.5) for segment in story.segments), default=0.0)
    return max(LANE, min(longest - LANE / 2, _WIDEST))


def _host_width(story: Story, host: str) -> float:
    """Return the width that a host's name and addresses need, in pixels."""
    widths = [text_width(host, 16), text_width(_addresses(story, host), 11.5)]
    return max(widths) + 26


def _lane_width(lane: Lane) -> float:
    """Return the width that the labels of a lifeline need."""
    name = lane.queue.name if lane.queue else ""
    return max(text_width(lane.place, 12) + 10, text_width(name, 12) + 12)


def _addresses(story: Story, host: str) -> str:
    """Return the addresses below a host's name, "" if they are its name."""
    addresses = story.hosts.get(host, [])
    if addresses == [host] or not addresses:
        return ""
    return " ".join(addresses) if len(addresses) < 3 else f"{addresses[0]} +{len(addresses) - 1}"


def _in_order(uses: Counter[_Key]) -> list[str]:
    """Return the hosts from left to right, the busiest one in the middle."""
    total: Counter[str] = Counter()
    for (host, *_rest), count in uses.items():
        total[host] += count
    shown = {host for host, _count in total.most_common(_MAX_HOSTS)}
    hosts = [host for host in total if host in shown]
    if len(hosts) > 2:
        busiest = max(hosts, key=lambda host: total[host])
        hosts.remove(busiest)
        hosts.insert((len(hosts) + 1) // 2, busiest)
    return hosts


def _within_host(seen: list[_Key]) -> "_Sorter":
    return _Sorter({key: place for place, key in reversed(list(enumerate(seen)))})


class _Sorter:
    """Sort key for the lifelines of a host: ports as first seen; of one port, the listening socket first."""

    def __init__(self, first: dict[_Key, int]) -> None:
        self._first = first
        self._port: dict[tuple[str, str, int], int] = {}
        for key, place in first.items():
            self._port[key[:3]] = min(place, self._port.get(key[:3], place))

    def __call__(self, key: _Key) -> tuple[int, int, int]:
        queue = key[3]
        return self._port[key[:3]], 0 if queue and queue.kind == "listening" else 1, self._first[key]


def head(ladder: Ladder) -> Markup:
    """Return the ladder's head: hosts with their addresses, ports, queues."""
    parts = []
    for host in dict.fromkeys(lane.host for lane in ladder.lanes):
        parts.append(_host(ladder, host))
    groups: dict[tuple[str, str], list[Lane]] = {}
    for lane in ladder.lanes:
        groups.setdefault((lane.host, lane.place), []).append(lane)
    for (_host_name, place), lanes in groups.items():
        left, right = lanes[0].x, lanes[-1].x
        parts.append(text((left + right) / 2, 66, place, "port", anchor="middle"))
        if len(lanes) > 1:
            parts.append(tag("path", d=f"M{left:g} 76v-4H{right:g}v4", class_="bracket"))
    for lane in ladder.lanes:
        if lane.queue and lane.queue.name:
            colour = ladder.of_queue(lane.queue)
            parts.append(text(lane.x, 88, lane.queue.name, f"name {colour}", anchor="middle"))
    parts.append(text(8, 66, _("frame"), "soft"))
    return tag("g", *parts, class_="head")


def _host(ladder: Ladder, host: str) -> Markup:
    lanes = [lane for lane in ladder.lanes if lane.host == host]
    left, right = lanes[0].x - lanes[0].width / 2 + 4, lanes[-1].x + lanes[-1].width / 2 - 4
    start = left + 10
    addresses = ladder.story.hosts.get(host, [])
    parts = [tag("title", ", ".join([host, *addresses][:20])), box(left, 4, right - left, 44, "host")]
    if said := _addresses(ladder.story, host):
        parts.append(text(start, 22, host, "name"))
        parts.append(text(start, 39, said, "small"))
    else:
        parts.append(text(start, 31, host, "name"))
    return tag("g", *parts)


def lifelines(ladder: Ladder) -> Markup:
    """Return the lifelines, as high as the drawing that contains them."""
    lines = []
    for lane in ladder.lanes:
        colour = f"lifeline {ladder.of_queue(lane.queue)}" if lane.queue else "lifeline"
        lines.append(tag("line", x1=lane.x, x2=lane.x, y1="0", y2="100%", class_=colour))
    return tag("g", *lines)


def row(ladder: Ladder, segment: Segment) -> Markup:
    """Return one segment's row, `ROW` high: its number and time, and its arrow."""
    start, end = ladder.source(segment).x, ladder.destination(segment).x
    middle, colour = 25, "faulty" if segment.fault else ladder.colour(segment)
    said, kind = outcome(segment)
    most = LANE - 18
    ending = chip_width(said, most) / 2 + 3 if said else 5.0
    parts = [text(8, 18, str(segment.number), "number")]
    if ladder.timed:
        parts.append(text(8, 32, milliseconds(segment.time), "soft"))
    if start == end:
        parts.append(tag("path", d=f"M{start:g} {middle - 9}h38v9h{ending - 38:g}", class_=f"arrow {colour}"))
        parts.append(text(start + 46, middle - 4, label(segment), "label"))
    else:
        side = 1 if end > start else -1
        parts.append(arrow(start + 4 * side, middle, end - ending * side, middle, f"arrow {colour}"))
        parts.append(tag("circle", cx=start, cy=middle, r=3.5, class_=f"dot {colour}"))
        shaft = (start + end) / 2
        parts.append(
            text(shaft, 13, fit(label(segment), abs(end - start) + LANE / 2, 11.5), "label", anchor="middle")
        )
    if said:
        parts.append(chip(end, middle, said, colour if kind == "queue" else kind, most=most))
    return tag("g", *parts)


def outcome(segment: Segment) -> tuple[str, str]:
    """Return the text at an arrow's end, and its kind: "queue", "bad", "other"."""
    decision = segment.decision
    if decision is None:
        return "", ""
    if decision.verdict == Verdict.DELIVERED:
        return decision.socket, "queue"
    if decision.verdict == Verdict.QUEUE_FULL:
        return _("✗ queue full"), "bad"
    if decision.verdict == Verdict.NO_SOCKET:
        return _("✗ no socket"), "bad"
    if decision.verdict == Verdict.FORWARDED:
        return _("↷ forwarded"), "other"
    if decision.verdict == Verdict.NOT_TRANSPORT:
        return "ICMP", "other"
    return f"✗ {decision.verdict}", "bad"


def label(segment: Segment) -> str:
    """Return the text over an arrow: "PSH ACK · 17 B", "ACK · retransmission"."""
    size = f"{segment.size} B" if segment.size else ""
    return " · ".join(filter(None, (segment.label, size, _(segment.mark), _(segment.fault))))


def summary(segment: Segment) -> str:
    """Return a segment in one line, for tooltips and screen readers."""
    way = f"{segment.number}: {label(segment)}, {segment.source.text} → {segment.destination.text}"
    if segment.decision is None:
        return way
    where = segment.protocol, segment.source.text, segment.destination.text
    return f"{way}. {sentences.of(segment.decision, *where)}"


def milliseconds(seconds: float) -> str:
    """Return a time with its unit: "3.5 ms", "12.00 s"."""
    if seconds >= 10_000:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.2f} s" if seconds >= 10 else f"{round(seconds * 1000, 3):g} ms"


def whole(ladder: Ladder) -> Markup:
    """Return the ladder as one drawing."""
    rows = [
        tag(
            "g",
            tag("title", summary(segment)),
            row(ladder, segment),
            transform=f"translate(0 {HEAD + number * ROW})",
        )
        for number, segment in enumerate(ladder.story.segments)
    ]
    height = HEAD + ROW * len(rows) + 8
    behind = tag("svg", lifelines(ladder), y=HEAD, height=height - HEAD, width=ladder.width)
    title = _("Segments from socket to socket: {run}", run=ladder.story.title)
    return drawing(ladder.width, height, title, head(ladder), behind, *rows, class_="ladder")
