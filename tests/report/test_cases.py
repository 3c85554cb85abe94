"""The reports of captures as people open them: each sentence says what tshark says of the same packets."""

import re
import shutil
import subprocess
from collections import Counter

import pytest
from tests.flows import zoo
from tests.report.cases import CASES, CLIENT, LONG, SERVER

from demuxlab.capture.reader import Capture
from demuxlab.report import overview, page, story_builder
from demuxlab.report.insights import insights, notices

_FIELDS = (
    "frame.number", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport",
    "udp.dstport", "tcp.flags", "tcp.stream", "tcp.len", "tcp.analysis.retransmission", "tcp.seq_raw",
    "tcp.analysis.keep_alive", "tcp.analysis.lost_segment", "icmp.type", "dns.id", "gre.proto",
)  # fmt: skip
SYN_ONLY, RST = "0x0002", 0x04
C80, S80 = f"{CLIENT}:50000", f"{SERVER}:80"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    for name, packets in CASES.items():
        records = [
            (1_700_000_000 + int(time), round(time % 1 * 1e6), packet, len(packet))
            for time, packet in packets
        ]
        (folder / f"{name}.pcap").write_bytes(zoo.pcap(records=records))
    return folder


def story_of(files, name, **how):
    with Capture(files / f"{name}.pcap") as capture:
        return story_builder.of_capture(capture, name, **how)


@pytest.fixture(scope="module")
def frames(files):
    """Function: the fields that tshark shows of each frame of a capture."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")

    def read(name):
        fields = [argument for field in _FIELDS for argument in ("-e", field)]
        called = subprocess.run(
            ["tshark", "-r", files / f"{name}.pcap", "-n", "-o", "ip.defragment:TRUE", "-T", "fields",
             "-E", "occurrence=l", *fields],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [dict(zip(_FIELDS, line.split("\t"), strict=True)) for line in called.stdout.splitlines()]

    return read


EXPECTED = {
    "download": [
        f"Segments that {S80} retransmitted to {C80}: 2.",
        "Keep-alives, which bring no data: 1.",
        "Segments that overlap earlier data, of which only the rest is counted: 1.",
        f"Bytes from {S80} to {C80} that are not in the capture, but later ones are: 1000.",
        f"{C80} reset the connection with {S80} in frame 48.",
    ],
    "DNS": [
        f"{SERVER}:53 refused UDP: an ICMP error in frame 13.",
        "192.0.2.53:53 did not answer. DNS queries: 1, the first in frame 9.",
    ],
    "scan": [
        f"{CLIENT} tried 243 TCP ports of {SERVER}. Refused: 160, no answer: 81, answered: 2 (22, 80).",
    ],
    "SYN flood": [
        f"{S80} got 60 SYNs that no handshake followed. Addresses they came from: 60; handshakes "
        "completed: 1.",
        f"{S80} closed the connection with {C80} first: FIN in frame 66.",
    ],
    "NAT": [
        "192.168.0.5:50000 and 203.0.113.1:61000 are one connection, captured on both sides of a translator: "
        "the sequence numbers are the same (frames 1 and 2).",
        f"{S80} closed the connection with 192.168.0.5:50000 first: FIN in frame 12.",
    ],
    "port reuse": [
        f"{C80} used its port again for another connection to {S80}, from frame 9 on.",
        f"{S80} closed the connection with {C80} first: FIN in frame 6.",
        f"{S80} closed the connection with {C80} first: FIN in frame 14.",
    ],
    "IPv6": [f"[{LONG[1]}]:80 closed the connection with [{LONG[0]}]:50000 first: FIN in frame 6."],
    "VPN": [f"{S80} closed the connection with {C80} first: FIN in frame 6."],
    "fragments": [],
    "asymmetric": [f"Of the connection of {C80} and {S80}, the capture has only the segments from {C80}."],
    "from the middle": [
        f"The capture begins in the middle of the connection of {C80} and {S80}: it has no SYN.",
        f"{S80} closed the connection with {C80} first: FIN in frame 3.",
    ],
    "no answer": [f"{S80} did not answer. SYNs: 4, the first in frame 1."],
    "wrong checksum": [f"{S80} closed the connection with {C80} first: FIN in frame 6."],
    "offload": [f"{S80} closed the connection with {C80} first: FIN in frame 6."],
}


@pytest.mark.parametrize("name", CASES)
def test_sentences(files, name):
    assert insights(story_of(files, name)) == EXPECTED[name]


def _ends(row):
    source, destination = (row[f"ip.{end}"] or f"[{row[f'ipv6.{end}']}]" for end in ("src", "dst"))
    ports = (row["tcp.srcport"] or row["udp.srcport"], row["tcp.dstport"] or row["udp.dstport"])
    return f"{source}:{ports[0]}", f"{destination}:{ports[1]}"


def _flags(row):
    return int(row["tcp.flags"] or "0", 16)


@pytest.mark.parametrize("name", CASES)
def test_every_sentence_is_confirmed_by_tshark(files, frames, name):
    rows = frames(name)
    for sentence in insights(story_of(files, name)):
        check = next(check for pattern, check in CHECKS.items() if re.fullmatch(pattern, sentence))
        pattern = next(pattern for pattern in CHECKS if re.fullmatch(pattern, sentence))
        check(rows, *re.fullmatch(pattern, sentence).groups())


def _check_retransmitted(rows, source, destination, count):
    found = [r for r in rows if r["tcp.analysis.retransmission"] and _ends(r) == (source, destination)]
    # tshark marks the overlapping segment as well.
    assert int(count) == len(found) - (len(found) > int(count))


def _check_keep_alives(rows, count):
    assert int(count) == len([row for row in rows if row["tcp.analysis.keep_alive"]])


def _check_lost(rows, source, destination, _size):
    assert [row for row in rows if row["tcp.analysis.lost_segment"] and _ends(row) == (source, destination)]


def _check_reset(rows, source, destination, frame):
    row = rows[int(frame) - 1]
    assert (_ends(row), bool(_flags(row) & RST)) == ((source, destination), True)


def _check_closed(rows, source, destination, frame):
    row = rows[int(frame) - 1]
    stream = [each for each in rows if each["tcp.stream"] == row["tcp.stream"] and _flags(each) & 1]
    assert (stream[0], _ends(row)) == (row, (source, destination))


def _check_refused(rows, server, _protocol, _how, frame):
    row = rows[int(frame) - 1]
    assert row["icmp.type"] == "3"
    assert server in _ends(row)


def _check_dns(rows, server, count, frame):
    asked = {_ends(row) for row in rows if row["udp.srcport"] and _ends(row)[1] == server}
    answered = {_ends(row)[::-1] for row in rows if row["udp.srcport"]}
    assert len(asked - answered) == int(count)
    assert _ends(rows[int(frame) - 1]) in asked - answered


def _check_scan(rows, client, count, server, refused, silent, answered, which):
    tried = {_ends(row)[1] for row in rows if int(row["tcp.flags"], 16) == 2 and row["ip.src"] == client}
    resets = {_ends(row)[0] for row in rows if _flags(row) & RST and row["ip.src"] == server}
    accepted = {_ends(row)[0] for row in rows if _flags(row) == 0x12}
    assert tuple(map(int, (count, refused, answered))) == (len(tried), len(resets), len(accepted))
    assert int(silent) == len(tried - resets - accepted)
    assert which == ", ".join(sorted((each.rpartition(":")[2] for each in accepted), key=int))


def _check_flood(rows, server, count, hosts, done):
    streams = {row["tcp.stream"] for row in rows if _flags(row) == 2 and _ends(row)[1] == server}
    answered = {row["tcp.stream"] for row in rows if _flags(row) == 0x12}
    assert (int(count), int(done)) == (len(streams - answered), len(answered))
    assert int(hosts) == len({row["ip.src"] for row in rows if row["tcp.stream"] in streams - answered})


def _check_nat(rows, one, two, first, second):
    inside, outside = rows[int(first) - 1], rows[int(second) - 1]
    assert (_ends(inside)[0], _ends(outside)[0]) == (one, two)
    assert inside["tcp.seq_raw"] == outside["tcp.seq_raw"]


def _check_reuse(rows, client, server, frame):
    row = rows[int(frame) - 1]
    assert _ends(row) == (client, server)
    assert row["tcp.stream"] != rows[0]["tcp.stream"]


def _check_one_way(rows, source, destination, _source):
    assert {_ends(row) for row in rows} == {(source, destination)}


def _check_middle(rows, _a, _b):
    assert not [row for row in rows if _flags(row) & 2]


def _check_silent(rows, server, count, frame):
    assert {_ends(row)[1] for row in rows} == {server}
    assert (len(rows), frame) == (int(count), "1")


def _check_overlap(rows, count):
    ends = Counter()
    found = 0
    for row in rows:
        size, start = int(row["tcp.len"] or 0), int(row["tcp.seq_raw"] or 0)
        if size and start < ends[_ends(row)] < start + size:
            found += 1
        ends[_ends(row)] = max(ends[_ends(row)], start + size)
    assert found == int(count)


CHECKS = {
    r"Segments that (\S+) retransmitted to (\S+): (\d+)\.": _check_retransmitted,
    r"Keep-alives, which bring no data: (\d+)\.": _check_keep_alives,
    r"Segments that overlap earlier data, of which only the rest is counted: (\d+)\.": _check_overlap,
    r"Bytes from (\S+) to (\S+) that are not in the capture, but later ones are: (\d+)\.": _check_lost,
    r"(\S+) reset the connection with (\S+) in frame (\d+)\.": _check_reset,
    r"(\S+) closed the connection with (\S+) first: FIN in frame (\d+)\.": _check_closed,
    r"(\S+) refused (UDP): (an ICMP error) in frame (\d+)\.": _check_refused,
    r"(\S+) did not answer\. DNS queries: (\d+), the first in frame (\d+)\.": _check_dns,
    r"(\S+) did not answer\. SYNs: (\d+), the first in frame (\d+)\.": _check_silent,
    r"(\S+) tried (\d+) TCP ports of (\S+)\. Refused: (\d+), no answer: (\d+), answered: (\d+) \((.*)\)\.":
        _check_scan,
    r"(\S+) got (\d+) SYNs that no handshake followed\. Addresses they came from: (\d+); "
    r"handshakes completed: (\d+)\.": _check_flood,
    r"(\S+) and (\S+) are one connection, captured on both sides of a translator: the sequence numbers "
    r"are the same \(frames (\d+) and (\d+)\)\.": _check_nat,
    r"(\S+) used its port again for another connection to (\S+), from frame (\d+) on\.": _check_reuse,
    r"Of the connection of (\S+) and (\S+), the capture has only the segments from (\S+)\.": _check_one_way,
    r"The capture begins in the middle of the connection of (\S+) and (\S+): it has no SYN\.": _check_middle,
}  # fmt: skip


_OUTCOMES = {
    "refused": lambda ways, flags, icmp: bool(flags & RST) or icmp,
    "no answer": lambda ways, flags, icmp: ways[1] == 0 and not icmp,
    "reset": lambda ways, flags, icmp: bool(flags & RST),
    "closed": lambda ways, flags, icmp: bool(flags & 1),
    "half closed": lambda ways, flags, icmp: bool(flags & 1) and ways[1] == 0,
    "both directions": lambda ways, flags, icmp: all(ways),
    "one direction": lambda ways, flags, icmp: ways[1] == 0,
}


@pytest.mark.parametrize("name", CASES)
def test_the_overview_and_its_counts_are_those_of_tshark(files, frames, name):
    """Segments, hosts, conversations; of each conversation its ends, packets, data, frames and outcome."""
    story, streams = story_of(files, name), {}
    seen = [
        row for row in frames(name) if (row["tcp.srcport"] or row["udp.srcport"]) and not row["icmp.type"]
    ]
    errors = {frozenset(_ends(row)) for row in frames(name) if row["icmp.type"]}
    for row in seen:
        streams.setdefault(row["tcp.stream"] or frozenset(_ends(row)), []).append(row)
    hosts = {end.rpartition(":")[0] for row in seen for end in _ends(row)}
    assert dict(page._numbers(story)) == {
        "segments": len(seen), "hosts": len(hosts), "conversations": len(streams)
    }  # fmt: skip
    theirs = {}
    for number, rows in enumerate(streams.values(), 1):
        ends = _ends(rows[0])
        ways = [[row for row in rows if _ends(row) == way] for way in (ends, ends[::-1])]
        protocol = "TCP" if rows[0]["tcp.srcport"] else "UDP"
        sizes = [str(sum(int(row["tcp.len"] or 0) for row in way)) for way in ways]
        theirs[number] = (
            f"{protocol} {ends[0]} → {ends[1]}", " / ".join(str(len(way)) for way in ways),
            f"{rows[0]['frame.number']} – {rows[-1]['frame.number']}", " / ".join(sizes), rows, ways, ends,
        )  # fmt: skip
    for row in overview.rows(story):
        ends, packets, span, sizes, rows, ways, pair = theirs[row["number"]]
        first, _dash, last = span.partition(" – ")
        assert (row["ends"], row["packets"]) == (ends, packets)
        assert row["frames"] == (span if first != last else first)
        assert row["sizes"] == sizes or ends.startswith("UDP")
        flags = 0
        for each in rows:
            flags |= _flags(each)
        assert _OUTCOMES[row["outcome"]]([len(way) for way in ways], flags, frozenset(pair) in errors)


def test_figures_count_data_once(files):
    """39 segments of 1000 bytes, two of them retransmitted, and what an overlapping one adds."""
    drawn = page.svg(story_of(files, "download"), "program")
    assert ">39299 bytes<" in drawn
    assert ">1 segment reached its queue: 3000 bytes of data<" in page.svg(
        story_of(files, "fragments"), "socket"
    )


def test_figures_tell_long_addresses_apart(files):
    for name in ("layer", "demultiplexing", "program", "example"):
        drawn = page.svg(story_of(files, "IPv6"), name)
        shown = re.findall(r">([^<>]*:[^<>]*…[^<>]*)<", drawn)
        assert shown
        assert {each.rpartition("…")[2][:4] != "" for each in shown} == {True}


def test_no_crowd_of_sockets(files):
    kinds = {name: Counter(queue.kind for queue in story_of(files, name).queues) for name in CASES}
    assert kinds["scan"] == {"listening": 2}
    assert kinds["SYN flood"] == {"listening": 1, "data": 1, "client": 1}
    assert kinds["no answer"] == {}
    assert kinds["port reuse"] == {"listening": 1, "data": 2, "client": 2}
    assert kinds["asymmetric"] == {"client": 1}
    assert kinds["DNS"] == {"UDP": 6}


def test_data_counts_once(files):
    story = story_of(files, "download")
    sizes = {queue.kind: queue.size for queue in story.queues}
    assert sizes == {"listening": 0, "data": 6, "client": 39_299}
    marks = Counter(segment.mark for segment in story.segments if segment.mark)
    assert marks == {"retransmission": 2, "gap before it": 1, "overlap": 1, "keep-alive": 1}


def test_a_syn_goes_to_the_listening_socket(files):
    story = story_of(files, "port reuse")
    assert [story.segments[at].queue.kind for at in (0, 2, 8, 10)] == ["listening", "data"] * 2


def test_what_a_host_drops_is_drawn_with_its_reason(files):
    story = story_of(files, "wrong checksum")
    assert [(segment.number, segment.fault) for segment in story.segments if segment.fault] == [
        (4, "wrong TCP checksum")
    ]
    assert notices(story)[1:] == ["Drawn in grey, because a host drops them: 1 × wrong TCP checksum."]
    assert "PSH ACK · 6 B · wrong TCP checksum" in page.html(story)
    assert notices(story_of(files, "offload"))[1:] == []


def test_fragments_of_a_whole_datagram_are_drawn_as_one(files):
    story = story_of(files, "fragments")
    assert [segment.size for segment in story.segments] == [3000, 2]
    assert notices(story)[1:] == [
        "Not drawn, because their datagrams are not whole in this capture: 1 × fragment."
    ]


def test_outer_packets_are_named(files, frames):
    inside = "Drawn are the inner packets of these: 8 × GRE 203.0.113.5 → 203.0.113.9."
    assert notices(story_of(files, "VPN"))[1:] == [inside]
    assert [row["gre.proto"] for row in frames("VPN")] == ["0x0800"] * 8
    assert story_of(files, "VPN").segments[0].outer == ("GRE 203.0.113.5 → 203.0.113.9",)


@pytest.mark.parametrize("name", CASES)
def test_pages_have_whole_addresses(files, name):
    written = page.html(story_of(files, name))
    head = re.search(r'<g class="head">.*?</svg>', written, re.DOTALL)[0]
    assert "…" not in head
    assert len(written) < 3_000_000


def test_the_overview_lists_the_conversations(files):
    rows = overview.rows(story_of(files, "port reuse"))
    assert [(row["number"], row["frames"], row["outcome"]) for row in rows] == [
        (1, "1 – 8", "closed"),
        (2, "9 – 16", "closed"),
    ]
    assert overview.summary(story_of(files, "scan")).startswith("40 of 243 conversations")


def test_what_is_drawn_can_be_chosen(files):
    chosen = story_builder.Selection(conversation=2)
    assert [segment.number for segment in story_of(files, "port reuse", selection=chosen).segments] == [
        *range(9, 17)
    ]
    chosen = story_builder.Selection(start=240, port=40000)
    assert story_of(files, "scan", selection=chosen).segments[0].number == 240
