"""The table of RFC 9293's requirements names tests that exist; and the tests that are no packet scripts."""

import re
from pathlib import Path

import pytest

from demuxlab.drill import drill
from demuxlab.host import Host
from demuxlab.transport.tcp.settings import Settings
from demuxlab.wire import ip, packet, tcp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import SYN, TCPSegment

TESTS = Path(__file__).resolve().parents[1]
TABLE = (TESTS.parent / "docs" / "rfc9293.md").read_text(encoding="utf-8")
ROWS = [
    line.split("|")[1:-1] for line in TABLE.splitlines() if re.match(r"\|.*\| (MUST|SHLD|MAY|REC)-\d", line)
]
NUMBERED = {"MUST": {*range(1, 70)}, "SHLD": {*range(1, 32)}, "MAY": {*range(1, 19)}}
SERVER, CLIENT = "10.0.0.2", "10.0.0.1"


def names():
    found = set()
    for path in TESTS.rglob("test_*.py"):
        found |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    for path in (*(TESTS / "drill").rglob("*.pkt"), *(TESTS.parent / "labs").glob("*/*.pkt")):
        found |= {script.name or path.stem for script in drill.load_all(path)}
    return found


def test_every_requirement_has_its_row():
    have = {row[1].strip() for row in ROWS}
    want = {f"{kind}-{number}" for kind, numbers in NUMBERED.items() for number in numbers} | {"REC-1"}
    assert have == want


def test_every_row_has_tests_that_exist_or_a_reason():
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[3])}
    assert named - names() == set()
    assert [row for row in ROWS if row[2].strip() == "yes" and "`" not in row[3]] == []


def syn(host, source, destination, now=1000.0, port=5555):
    ends = from_text(source), from_text(destination)
    segment = tcp.build(*ends, port, 80, b"", sequence=1, flags=SYN, window=1000)
    host.receive(packet.build(*ends, ip.TCP, segment), now)
    return [found for sent in host.packets(now) if isinstance(found := packet.read(sent), TCPSegment)]


def listening(*addresses, secret=b"one"):
    host = Host("h", list(addresses), secret=secret)
    for address in addresses:
        listener = host.tcp_endpoint()
        listener.bind(from_text(address), 80)
        listener.listen(5)
    return host


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("224.0.0.1", SERVER),
        ("255.255.255.255", SERVER),
        ("0.0.0.0", SERVER),
        ("127.0.0.1", SERVER),
        (CLIENT, "224.0.0.1"),
        (CLIENT, "255.255.255.255"),
    ],
)
def test_a_syn_from_or_to_an_address_of_no_host_is_not_answered(source, destination):
    assert syn(listening(SERVER), source, destination) == []


def test_two_listeners_of_one_port_and_two_addresses():
    host = listening(SERVER, "10.0.0.3")
    for address in (SERVER, "10.0.0.3"):
        [answer] = syn(host, CLIENT, address)
        assert (answer.flags & SYN, answer.source) == (SYN, from_text(address))


def test_initial_sequence_numbers_follow_the_clock_and_a_secret():
    def first(host, now, port=5555):
        [answer] = syn(host, CLIENT, SERVER, now, port)
        return answer.sequence

    # The clock: the same connection 0.1 s later has a number that is higher by about that time.
    host = listening(SERVER)
    early = first(host, 1000.0)
    host.receive(_reset(), 1000.05)
    assert 0 < (first(host, 1000.1) - early) % (1 << 32) < 1 << 24
    # The secret: another host's, and another connection's, are unrelated.
    assert first(listening(SERVER, secret=b"two"), 1000.0) != early
    assert abs(first(host, 1000.1, port=5556) - early) > 1 << 16


def _reset():
    ends = from_text(CLIENT), from_text(SERVER)
    return packet.build(*ends, ip.TCP, tcp.build(*ends, 5555, 80, b"", sequence=2, flags=4))


def test_keep_alive_is_off_and_waits_two_hours_by_default():
    assert not Settings().keepalive
    assert Settings().keepalive_idle >= 2 * 3600
