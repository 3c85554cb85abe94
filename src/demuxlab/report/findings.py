"""What the conversations of a capture show, in sentences: refused, scanned, retransmitted, closed, and so on.

These are for captures without decisions of ours; each sentence says only what its packets show.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from demuxlab.language import _
from demuxlab.report import conversations as marks
from demuxlab.report.conversations import Conversation, Endpoint, Tracker, Way
from demuxlab.wire import ip
from demuxlab.wire.address import endpoint_text, to_text

_SCANNED_PORTS = 10
_FLOOD = 20
_EACH = 3  # sentences of one kind before the rest is counted
_LISTED = 8  # ports in one sentence
_DNS = 53
_NEAR = 2.0  # seconds between the first packets of a connection on both sides of a router


def findings(tracker: Tracker) -> list[str]:
    """Return the sentences."""
    tcp = [each for each in tracker.conversations if each.protocol == ip.TCP]
    scans, scanned = _scans(tracker.conversations)
    floods, flooded = _floods([each for each in tcp if each not in scanned])
    rest = [each for each in tracker.conversations if each not in scanned and each not in flooded]
    twice, copies = _both_sides([each for each in tcp if each.established])
    return [
        *scans,
        *floods,
        *twice,
        *_refused(rest),
        *_unanswered(rest),
        *_unanswered_queries(rest),
        *_reused(rest),
        *_from_the_middle(rest),
        *_one_way(rest),
        *_retransmitted(rest),
        *_data_marks(rest),
        *_reset(rest),
        *_closed([each for each in rest if each not in copies]),
        *moved(tracker),
    ]


def _scans(all_: Sequence[Conversation]) -> tuple[list[str], set[Conversation]]:
    """Find hosts that tried many ports of another."""
    tried: dict[tuple[int, bytes, bytes], list[Conversation]] = defaultdict(list)
    for each in all_:
        if each.opener is not None or (each.protocol == ip.UDP and (each.refused or not _back(each).packets)):
            client, server = _client_and_server(each)
            tried[each.protocol, client[0], server[0]].append(each)
    said, found = [], set[Conversation]()
    for (protocol, asker, asked), several in tried.items():
        ports = {_client_and_server(each)[1][1] for each in several}
        refused = {_client_and_server(each)[1][1] for each in several if each.refused}
        if len(ports) < _SCANNED_PORTS or (len(refused) * 2 < len(ports) and _answered_ports(several, ports)):
            continue
        answered = sorted({_client_and_server(each)[1][1] for each in several if each.answered})
        found.update(several)
        said.append(
            _(
                "{client} tried {count} {protocol} ports of {server}. Refused: {refused}, no answer: "
                "{silent}, answered: {answered}{which}.",
                client=to_text(asker),
                count=len(ports),
                protocol=ip.name(protocol),
                server=to_text(asked),
                refused=len(refused),
                silent=len(ports - refused - set(answered)),
                answered=len(answered),
                which=f" ({_ports(answered)})" if answered else "",
            )
        )
    return _few(said), found


def _answered_ports(several: Sequence[Conversation], ports: set[int]) -> bool:
    """Tell whether most of the ports answered: a client of many services, not a scan."""
    answered = {_client_and_server(each)[1][1] for each in several if each.established}
    return len(answered) * 2 > len(ports)


def _floods(tcp: Sequence[Conversation]) -> tuple[list[str], set[Conversation]]:
    """Find listening sockets that got many SYNs of which few became connections."""
    asked: dict[Endpoint, list[Conversation]] = defaultdict(list)
    for each in tcp:
        if each.opener is not None:
            asked[_client_and_server(each)[1]].append(each)
    said, found = [], set[Conversation]()
    for server, several in asked.items():
        open_ = [each for each in several if not each.established and not each.refused]
        if len(open_) < _FLOOD or len(open_) * 2 < len(several):
            continue
        found.update(open_)
        hosts = {_client_and_server(each)[0][0] for each in open_}
        said.append(
            _(
                "{server} got {count} SYNs that no handshake followed. Addresses they came from: {hosts}; "
                "handshakes completed: {done}.",
                server=endpoint_text(*server),
                count=len(open_),
                hosts=len(hosts),
                done=len([each for each in several if each.established]),
            )
        )
    return _few(said), found


def _refused(rest: Sequence[Conversation]) -> list[str]:
    by_server: dict[tuple[int, Endpoint], list[Conversation]] = defaultdict(list)
    for each in rest:
        if each.refused:
            by_server[each.protocol, _client_and_server(each)[1]].append(each)
    said = []
    for (protocol, server), several in by_server.items():
        first = several[0]
        values = {
            "server": endpoint_text(*server),
            "protocol": ip.name(protocol),
            "how": _("an ICMP error") if first.unreachable else "RST",
            "frame": first.unreachable or _back(first).rst,
        }
        if len(several) == 1:
            said.append(_("{server} refused {protocol}: {how} in frame {frame}.", **values))
        else:
            said.append(
                _(
                    "{server} refused {protocol} {count} times, first with {how} in frame {frame}.",
                    count=len(several),
                    **values,
                )
            )
    return _few(said)


def _unanswered(rest: Sequence[Conversation]) -> list[str]:
    by_server: dict[Endpoint, list[Conversation]] = defaultdict(list)
    for each in rest:
        if each.silent and not _opener(each).spoke and not _opener(each).rst:
            by_server[_client_and_server(each)[1]].append(each)
    return _few(
        [
            _(
                "{server} did not answer. SYNs: {count}, the first in frame {frame}.",
                server=endpoint_text(*server),
                count=sum(_opener(each).syns for each in several),
                frame=several[0].first,
            )
            for server, several in by_server.items()
        ]
    )


def _unanswered_queries(rest: Sequence[Conversation]) -> list[str]:
    by_server: dict[Endpoint, list[Conversation]] = defaultdict(list)
    for each in rest:
        if each.protocol == ip.UDP and each.b[1] == _DNS and not each.ways[1].packets and not each.refused:
            by_server[each.b].append(each)
    return _few(
        [
            _(
                "{server} did not answer. DNS queries: {count}, the first in frame {frame}.",
                server=endpoint_text(*server),
                count=sum(each.ways[0].packets for each in several),
                frame=several[0].first,
            )
            for server, several in by_server.items()
        ]
    )


def _reused(rest: Sequence[Conversation]) -> list[str]:
    return _few(
        [
            _(
                "{client} used its port again for another connection to {server}, from frame {frame} on.",
                client=endpoint_text(*_client_and_server(each)[0]),
                server=endpoint_text(*_client_and_server(each)[1]),
                frame=each.first,
            )
            for each in rest
            if each.reuses
        ]
    )


def _from_the_middle(rest: Sequence[Conversation]) -> list[str]:
    return _few(
        [
            _(
                "The capture begins in the middle of the connection of {a} and {b}: it has no SYN.",
                a=endpoint_text(*each.a),
                b=endpoint_text(*each.b),
            )
            for each in rest
            if each.protocol == ip.TCP and each.opener is None and any(way.spoke for way in each.ways)
            and not any(way.syn is not None for way in each.ways)
        ]
    )  # fmt: skip


def _one_way(rest: Sequence[Conversation]) -> list[str]:
    return _few(
        [
            _(
                "Of the connection of {a} and {b}, the capture has only the segments from {a}.",
                a=endpoint_text(*each.a),
                b=endpoint_text(*each.b),
            )
            for each in rest
            if each.protocol == ip.TCP and each.ways[0].spoke and not each.ways[1].packets
        ]
    )


def _retransmitted(rest: Sequence[Conversation]) -> list[str]:
    return _few(
        [
            _(
                "Segments that {source} retransmitted to {destination}: {count}.",
                source=endpoint_text(*source),
                count=way.repeated,
                destination=endpoint_text(*destination),
            )
            for each, source, destination, way in _ways(rest)
            if way.repeated and not each.silent
        ]
    )


def _data_marks(rest: Sequence[Conversation]) -> Iterator[str]:
    counted = {
        mark: sum(each.marks[mark] for each in rest)
        for mark in (marks.KEEP_ALIVE, marks.OVERLAP, marks.OUT_OF_ORDER, marks.SEEN_TWICE)
    }
    if count := counted[marks.KEEP_ALIVE]:
        yield _("Keep-alives, which bring no data: {count}.", count=count)
    if count := counted[marks.OVERLAP]:
        yield _(
            "Segments that overlap earlier data, of which only the rest is counted: {count}.", count=count
        )
    if count := counted[marks.OUT_OF_ORDER]:
        yield _("Segments that came out of order and fill a gap: {count}.", count=count)
    if count := counted[marks.SEEN_TWICE]:
        yield _("Packets captured twice, on both sides of a router: {count}.", count=count)
    yield from _few(
        [
            _(
                "Bytes from {source} to {destination} that are not in the capture, but later ones are: "
                "{size}.",
                size=sum(high - low & 0xFFFFFFFF for low, high in way.gaps),
                source=endpoint_text(*source),
                destination=endpoint_text(*destination),
            )
            for _each, source, destination, way in _ways(rest)
            if way.gaps
        ]
    )


def _reset(rest: Sequence[Conversation]) -> list[str]:
    return _few(
        [
            _(
                "{source} reset the connection with {destination} in frame {frame}.",
                source=endpoint_text(*source),
                destination=endpoint_text(*destination),
                frame=way.rst,
            )
            for each, source, destination, way in _ways(rest)
            if way.rst and not each.refused and way.rst == min(each_.rst for each_ in each.ways if each_.rst)
        ]
    )


def _closed(rest: Sequence[Conversation]) -> list[str]:
    said = []
    for each, source, destination, way in _ways(rest):
        if not all(each_.packets for each_ in each.ways):
            continue  # the other direction, which may have closed before, was not captured
        if way.fin and way.fin == min(each_.fin for each_ in each.ways if each_.fin):
            said.append(
                _(
                    "{source} closed the connection with {destination} first: FIN in frame {frame}.",
                    source=endpoint_text(*source),
                    destination=endpoint_text(*destination),
                    frame=way.fin,
                )
            )
    return _few(said)


def _both_sides(tcp: Sequence[Conversation]) -> tuple[list[str], set[Conversation]]:
    """Find connections that were captured before and behind a network address translator."""
    said, copies = [], set[Conversation]()
    opened: dict[tuple[int | None, int | None], Conversation] = {}
    for each in tcp:
        other = opened.setdefault((_opener(each).syn, _back(each).syn), each)
        if other is each or abs(other.start - each.start) > _NEAR:
            continue
        ends, others = _client_and_server(each), _client_and_server(other)
        if (ends[0] == others[0]) == (ends[1] == others[1]):
            continue
        copies.add(each)
        place = 0 if ends[0] != others[0] else 1
        said.append(
            _(
                "{one} and {two} are one connection, captured on both sides of a translator: the sequence "
                "numbers are the same (frames {first} and {second}).",
                one=endpoint_text(*others[place]),
                two=endpoint_text(*ends[place]),
                first=other.first,
                second=each.first,
            )
        )
    return _few(said), copies


def moved(tracker: Tracker) -> list[str]:
    """Return a sentence for each QUIC connection whose 4-tuple changed."""
    said = []
    for connection in tracker.quic.moved():
        paths = [tracker.conversations[number - 1] for number in connection.paths]
        said.append(
            _(
                "A QUIC connection goes on although its 4-tuple changes: {paths}. The connection ID is the "
                "same.",
                paths=", ".join(
                    _("{source} → {destination} from frame {frame}", source=endpoint_text(*path.a),
                      destination=endpoint_text(*path.b), frame=path.first)
                    for path in paths[:_LISTED]
                ),
            )
        )  # fmt: skip
    return _few(said)


def _client_and_server(each: Conversation) -> tuple[Endpoint, Endpoint]:
    return (each.b, each.a) if each.opener == 1 else (each.a, each.b)


def _opener(each: Conversation) -> Way:
    return each.ways[each.opener or 0]


def _back(each: Conversation) -> Way:
    return each.ways[1 - (each.opener or 0)]


def _ways(rest: Sequence[Conversation]) -> Iterator[tuple[Conversation, Endpoint, Endpoint, Way]]:
    for each in rest:
        yield each, each.a, each.b, each.ways[0]
        yield each, each.b, each.a, each.ways[1]


def _ports(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:_LISTED])) + (", …" if len(numbers) > _LISTED else "")


def _few(said: list[str]) -> list[str]:
    """Return the first sentences of one kind, and how many more there are."""
    if len(said) <= _EACH + 1:
        return said
    return [*said[:_EACH], _("… and {count} more of this kind.", count=len(said) - _EACH)]
