"""Three of the course's figures: the socket, the socket program, the demultiplexing example."""

from dataclasses import dataclass

from markupsafe import Markup

from demuxlab.language import _
from demuxlab.report.ladder import Ladder
from demuxlab.report.story import CLIENT, DATA, DATAGRAMS, End, Queue, Segment
from demuxlab.report.svg import arrow, box, chip, chip_width, drawing, fit, text
from demuxlab.wire.segment import ACK, FIN, RST, SYN

WIDTH = 380.0
_CALLS = 8  # rows of the program
_PEERS = 8  # ends that the example shows on each side
_SOCKETS = 9


def socket(ladder: Ladder) -> Markup | None:
    """Draw a socket, the door between process and transport layer, and its five parts."""
    order = {DATA: 0, CLIENT: 1}
    queues = sorted(ladder.story.queues, key=lambda queue: (order.get(queue.kind, 2), -queue.size))
    if not queues:
        return None
    queue = queues[0]
    local_address, _colon, local_port = queue.local.rpartition(":")
    remote_address, _colon, remote_port = queue.remote.rpartition(":")
    unset = _("any")
    rows = (
        (_("descriptor"), _("known to the process alone")),
        (_("local address"), local_address),
        (_("local port"), local_port or str(queue.port)),
        (_("remote address"), remote_address or unset),
        (_("remote port"), remote_port or unset),
    )
    parts = [
        box(1, 1, WIDTH - 2, 52, "host"),
        text(12, 22, _("application"), "small"),
        text(12, 41, _("a process reads and writes it like a file")),
        box(1, 76, WIDTH - 2, 172, "layer"),
        text(12, 98, _("operating system: transport layer"), "small"),
        arrow(WIDTH - 80, 42, WIDTH - 80, 66, "arrow plain"),
        arrow(WIDTH - 60, 66, WIDTH - 60, 42, "arrow plain"),
        chip(WIDTH - 70, 77, queue.name or _("socket"), ladder.of_queue(queue), most=120, height=24),
    ]
    for number, (name, value) in enumerate(rows):
        y = 108 + 27 * number
        parts.append(box(12, y, WIDTH - 24, 25, "field", radius=2))
        parts.append(text(20, y + 17, name, "small"))
        parts.append(text(140, y + 17, fit(value, 220, 12.5), "soft" if number == 0 else "name"))
    got = _(
        "{count} segments reached its queue: {size} bytes of data", count=len(queue.arrivals), size=queue.size
    )
    parts.append(text(WIDTH / 2, 268, got, "soft", anchor="middle"))
    title = _("The socket: the door between a process and the transport layer")
    return drawing(WIDTH, 278, title, *parts)


@dataclass(slots=True)
class _Call:
    """A call of the client and the server, and the frames that it caused."""

    client: str
    server: str
    said: str = ""
    to_server: bool | None = None
    first: int = 0
    last: int = 0
    size: int = 0

    @property
    def frames(self) -> str:
        """The frames as text: "frames 3–5"."""
        if self.first == self.last:
            return _("frame {number}", number=self.first)
        return _("frames {first}–{last}", first=self.first, last=self.last)


def program(ladder: Ladder) -> Markup | None:
    """Draw the calls of a client's and a server's program beside the frames that they caused."""
    conversation, client = _conversation(ladder)
    if not conversation:
        return None
    tcp = conversation[0].protocol == "tcp"
    server = conversation[0].destination if conversation[0].source == client else conversation[0].source
    calls = _tcp_calls(conversation, client) if tcp else _udp_calls(conversation, client)
    left, right = 84.0, 296.0
    parts = [
        text(left, 16, _("client"), "name", anchor="middle"),
        text(right, 16, _("server"), "name", anchor="middle"),
        text(left, 32, fit(client.text, 165, 11), "small", anchor="middle"),
        text(right, 32, fit(server.text, 165, 11), "small", anchor="middle"),
    ]
    y = 42.0
    for call in calls[:_CALLS]:
        for x, said in ((left, call.client), (right, call.server)):
            if said:
                parts += [box(x - 63, y, 126, 26, "call"), text(x, y + 17, said, "code", anchor="middle")]
        if call.to_server is not None:
            start, end = (left + 65, right - 65) if call.to_server else (right - 65, left + 65)
            parts.append(arrow(start, y + 13, end, y + 13, "arrow plain"))
            parts.append(text(WIDTH / 2, y + 8, fit(call.said, 84, 11), "label", anchor="middle"))
            parts.append(text(WIDTH / 2, y + 26, call.frames, "soft", anchor="middle"))
        y += 36
    if len(calls) > _CALLS:
        parts.append(text(WIDTH / 2, y + 10, _("… and so on"), "soft", anchor="middle"))
        y += 18
    title = _("The socket program: the calls, and the frames that they caused")
    return drawing(WIDTH, y + 2, title, *parts)


def _conversation(ladder: Ladder) -> tuple[list[Segment], End]:
    """Return the conversation that shows most of a program, and its client's endpoint."""
    conversations: dict[tuple[str, ...], list[Segment]] = {}
    for segment in ladder.story.segments:
        if not segment.label.startswith("ICMP"):
            ends = sorted((segment.source.text, segment.destination.text))
            conversations.setdefault((segment.protocol, *ends), []).append(segment)
    if not conversations:
        return [], End("", b"", 0)

    def worth(segments: list[Segment]) -> tuple[bool, bool, int]:
        both = len({segment.source for segment in segments}) == 2
        opened = any(segment.flags & (SYN | ACK) == SYN for segment in segments)
        return (
            opened and both,
            both,
            sum(bool(segment.size) or bool(segment.flags & FIN) for segment in segments),
        )

    best = max(conversations.values(), key=worth)
    opener = next((segment for segment in best if segment.flags & (SYN | ACK) == SYN), best[0])
    return best, opener.source


def _tcp_calls(conversation: list[Segment], client: End) -> list[_Call]:
    """Return the calls of a connection; no call belongs to a pure ACK."""
    calls = [_Call("", "socket()"), _Call("", "bind(), listen()"), _Call("socket()", "accept() …")]
    connecting = [s for s in conversation if not s.size and not s.flags & (FIN | RST)][:3]
    if connecting and connecting[0].flags & SYN:
        handshake = [s for s in connecting if s.flags & SYN] + connecting[2:]
        numbers = [segment.number for segment in handshake]
        calls.append(_Call("connect()", "… accept()", _("handshake"), True, min(numbers), max(numbers)))
    for segment in conversation:
        from_client = segment.source == client
        if segment.size:
            _add_data(calls, segment, from_client)
        if segment.flags & FIN:
            call = ("close()", "") if from_client else ("", "close()")
            calls.append(_Call(*call, "FIN", from_client, segment.number, segment.number))
        elif segment.flags & RST:
            calls.append(_Call("", "", "RST", from_client, segment.number, segment.number))
    return calls


def _udp_calls(conversation: list[Segment], client: End) -> list[_Call]:
    calls = [_Call("", "socket(), bind()"), _Call("socket()", "recvfrom() …")]
    for segment in conversation:
        _add_data(calls, segment, segment.source == client, ("sendto()", "recvfrom()"))
    return calls


def _add_data(
    calls: list[_Call], segment: Segment, from_client: bool, names: tuple[str, str] = ("send()", "recv()")
) -> None:
    """Add data to the calls: consecutive TCP segments in one direction count as one call."""
    last = calls[-1]
    pair = names if from_client else (names[1], names[0])
    if last.to_server == from_client and (last.client, last.server) == pair and segment.protocol == "tcp":
        last.last, last.size = segment.number, last.size + segment.size
    else:
        calls.append(_Call(*pair, "", from_client, segment.number, segment.number, segment.size))
    calls[-1].said = _("{count} bytes", count=calls[-1].size)


def example(ladder: Ladder) -> Markup | None:
    """Draw which peer sent to which socket: the host with most sockets in the middle, its peers beside it."""
    server, sockets = _server(ladder)
    if not sockets:
        return None
    ways: dict[tuple[End, Queue], Segment] = {}
    for segment in ladder.story.segments:
        if segment.queue in sockets:
            ways.setdefault((segment.source, segment.queue), segment)
    peers: dict[str, list[tuple[End, str]]] = {}
    for (end, _queue), segment in ways.items():
        name = segment.sender.name if segment.sender else ""
        ends = peers.setdefault(end.host, [])
        if (end, name) not in ends:
            ends.append((end, name))
    tops = {queue: 40 + 46.0 * number for number, queue in enumerate(sockets)}
    middle = 36 + 46.0 * len(sockets)
    sides = _sides(peers)
    bottom = max(middle, *(_side_height(side) for side in sides)) + 4
    parts: list[Markup] = [
        box(133, 1, 114, bottom - 4, "host"),
        text(190, 19, fit(server, 108, 12.5), "name", anchor="middle"),
    ]
    places: dict[End, tuple[float, float]] = {}
    for side, x in zip(sides, (1.0, 271.0), strict=True):
        top = max(1.0, (bottom - 4 - _side_height(side)) / 2)
        for host, ends in side:
            parts.append(box(x, top, 108, 26 + 28 * len(ends), "host"))
            parts.append(text(x + 54, top + 17, fit(host, 102, 12), "name", anchor="middle"))
            for number, (end, name) in enumerate(ends):
                y = top + 24 + 28 * number
                parts.append(box(x + 5, y, 98, 24, "field", radius=3))
                said = f"{name}: {end.port}" if name else str(end.port)
                parts.append(text(x + 54, y + 16, fit(said, 92, 12), anchor="middle"))
                places[end] = (x + 103 if x < 190 else x + 5, y + 12)
            top += 26 + 28 * len(ends) + 12
    for queue, top in tops.items():
        parts.append(chip(190, top + 9, _chip_text(queue), ladder.of_queue(queue), most=104, height=22))
        said = f"{queue.protocol} {queue.port}" if queue.name else queue.remote
        parts.append(text(190, top + 33, fit(said, 104, 11), "small", anchor="middle"))
    for end, queue in ways:
        if end in places:
            x, y = places[end]
            aside = chip_width(_chip_text(queue), 104) / 2 + 3
            target = 190 - aside if x < 190 else 190 + aside
            parts.append(arrow(x, y, target, tops[queue] + 9, f"arrow {ladder.of_queue(queue)}"))
    title = _("The demultiplexing example: which client reached which socket of {host}", host=server)
    return drawing(WIDTH, bottom, title, *parts)


_Peers = list[tuple[str, list[tuple[End, str]]]]


def _sides(peers: dict[str, list[tuple[End, str]]]) -> tuple[_Peers, _Peers]:
    """Put the peers to the left and to the right in turn, `_PEERS` ends on each side at most."""
    sides: tuple[_Peers, _Peers] = ([], [])
    for number, (host, ends) in enumerate(peers.items()):
        side = sides[number % 2]
        if shown := ends[: max(0, _PEERS - sum(len(ends) + 1 for _host, ends in side))]:
            side.append((host, shown))
    return sides


def _side_height(side: _Peers) -> float:
    return sum(38.0 + 28 * len(ends) for _host, ends in side) - 12


def _chip_text(queue: Queue) -> str:
    return queue.name or f"{queue.protocol} {queue.port}"


def _server(ladder: Ladder) -> tuple[str, list[Queue]]:
    """Return the host with the most server sockets, and these sockets."""
    by_host: dict[str, list[Queue]] = {}
    for queue in ladder.story.queues:
        if _serves(queue):
            by_host.setdefault(queue.host, []).append(queue)
    if not by_host:
        by_host = {queue.host: [queue] for queue in ladder.story.queues if queue.arrivals}
    if not by_host:
        return "", []
    host = max(by_host, key=lambda host: len(by_host[host]))
    return host, by_host[host][:_SOCKETS]


def _serves(queue: Queue) -> bool:
    """Return whether the peers sent first: a data socket of a server, or a UDP socket that did not begin."""
    asked_first = bool(queue.arrivals) and queue.arrivals[0][0] == queue.first
    return bool(queue.arrivals) and (queue.kind == DATA or (queue.kind == DATAGRAMS and asked_first))
