"""A lab's hosts on one link: packets find their host, and time passes only where it has to."""

import errno
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP

from demuxlab import sockets
from demuxlab.labkit import Lab, LabError
from demuxlab.labkit.figures import Figures
from demuxlab.links.memory import EPOCH, MemoryLink
from demuxlab.wire.address import from_text


@pytest.fixture
def printed() -> list[str]:
    return []


@pytest.fixture
def lab(printed: list[str]) -> Iterator[Lab]:
    made = Lab("test", MemoryLink(), tell=printed.append)
    yield made
    made.finish()


def rows(lab: Lab) -> list[tuple[str | None, str | None]]:
    return [(row.get("host"), row["socket"]) for row in (entry.as_json() for entry in lab.journal.entries)]


def connected(lab: Lab):
    """Two hosts with a connection from A to B; the client's and the server's end."""
    b, a = lab.host("B", "10.9.0.20"), lab.host("A", "10.9.0.10")
    listening = lab.program("server", b).socket(name="listening", connections=["data"])
    listening.bind(("10.9.0.20", 80))
    listening.listen(1)
    client = lab.program("client", a).socket(name="client")
    client.connect(("10.9.0.20", 80))
    return client, listening.accept()[0], listening


def test_each_host_decides_about_what_reaches_it(lab):
    connected(lab)
    assert rows(lab) == [("B", "listening"), ("A", "client"), ("B", "data")]


def test_one_host_needs_no_name_in_the_table(lab):
    lab.host("B", "10.9.0.20")
    lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=1, dport=2))
    assert rows(lab) == [(None, None)]


@pytest.mark.parametrize(("size", "shown"), [(0, "udp  "), (1, "udp 1 byte "), (2, "udp 2 bytes ")])
def test_the_table_says_how_many_bytes_came(lab, printed, size, shown):
    b = lab.host("B", "10.9.0.20")
    b.udp(name="P1").bind(from_text("0.0.0.0"), 2)
    lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=1, dport=2) / bytes(size))
    lab.show_decisions()
    assert shown in printed[-1]


def test_a_narrow_table_counts_bytes_as_b(lab, printed):
    lab.host("B", "10.9.0.20")
    for size in (1, 2):
        lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=1, dport=2) / bytes(size))
    lab.show_decisions()
    assert "byte" not in printed[-1]
    assert "udp 1 B " in printed[-1]


def test_answers_to_crafted_packets_come_back_dissected(lab):
    lab.host("B", "10.9.0.20").listen(80)
    [syn_ack] = lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / TCP(sport=9157, dport=80, flags="S"))
    assert (syn_ack[TCP].sport, syn_ack[TCP].dport, str(syn_ack[TCP].flags)) == (80, 9157, "SA")


def test_a_crafted_packet_reaches_the_host_that_has_the_address(lab):
    lab.host("B", "10.9.0.20")
    lab.host("A", "10.9.0.10").udp("10.9.0.10", 53, name="dns")
    lab.send(IP(src="10.9.0.99", dst="10.9.0.10") / UDP(sport=1, dport=53))
    assert rows(lab) == [("A", "dns")]


def test_what_a_host_sends_to_itself_crosses_the_link_once(lab):
    b = lab.host("B", "10.9.0.20")
    program = lab.program("both", b)
    server, client = (program.socket(sockets.SOCK_DGRAM, name=name) for name in ("server", "client"))
    server.bind(("127.0.0.1", 8089))
    client.sendto(b"hello", ("127.0.0.1", 8089))
    assert server.recv(100) == b"hello"
    assert rows(lab) == [(None, "server")]


def test_a_call_that_would_wait_for_ever_says_so(lab):
    b = lab.host("B", "10.9.0.20")
    listening = lab.program("server", b).socket()
    listening.bind(("10.9.0.20", 80))
    listening.listen(1)
    with pytest.raises(LabError, match="would wait for ever"):
        listening.accept()


def test_a_timeout_passes_in_the_labs_time(lab):
    waiting = lab.program("server", lab.host("B", "10.9.0.20")).socket(sockets.SOCK_DGRAM)
    waiting.bind(("10.9.0.20", 53))
    waiting.settimeout(5)
    before = lab.now()
    with pytest.raises(TimeoutError):
        waiting.recv(10)
    assert lab.now() - before == pytest.approx(5)


def test_waiting_lets_timers_run_out(lab):
    client, data, _ = connected(lab)
    data.close()
    client.close()
    own = data.endpoint.socket
    host = lab._network.hosts[0]
    assert (own.state, own in host.demultiplexer.table) == ("time-wait", True)
    lab.wait(120)
    assert own not in host.demultiplexer.table


def test_time_begins_with_the_links_and_a_packet_takes_a_millisecond(lab):
    lab.host("B", "10.9.0.20")
    assert lab.now() == EPOCH
    lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=1, dport=2))
    assert lab.now() == EPOCH + 0.002


def test_what_is_unrecorded_is_in_no_table(lab):
    lab.host("B", "10.9.0.20")
    with lab.unrecorded():
        lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP(sport=1, dport=2))
    assert lab.journal.entries == []
    assert lab.journal.frames == 0


def test_after_the_end_thrown_away_sockets_send_nothing(lab):
    client, _, _ = connected(lab)
    frames = lab.journal.frames
    lab.finish()
    client.close()
    assert lab.journal.frames == frames


def test_a_lab_needs_a_host_and_hosts_differ_in_name(lab):
    with pytest.raises(LabError, match="no host yet"):
        lab.send(IP(src="10.9.0.10", dst="10.9.0.20") / UDP())
    lab.host("B", "10.9.0.20")
    with pytest.raises(LabError, match="another name"):
        lab.host("B", "10.9.0.21")


# Programs


def test_each_call_stands_beside_the_frames_it_caused(lab):
    client, data, listening = connected(lab)
    client.sendall(b"GET")
    data.recv(1024)
    data.close()
    noted = [(call.program, call.text, call.result, list(call.frames)) for call in lab.calls]
    assert noted == [
        ("server", "socket(AF_INET, SOCK_STREAM)", "3", []),
        ("server", "bind(3, 10.9.0.20:80)", "–", []),
        ("server", "listen(3, 1)", "–", []),
        ("client", "socket(AF_INET, SOCK_STREAM)", "3", []),
        ("client", "connect(3, 10.9.0.20:80)", "–", [1, 2, 3]),
        ("server", "accept(3)", f"4, 10.9.0.10:{client.getsockname()[1]}", []),
        ("client", "sendall(3, b'GET')", "–", [4, 5]),
        ("server", "recv(4, 1024)", "b'GET'", []),
        ("server", "close(4)", "–", [6, 7]),
    ]
    assert listening.descriptor == 3


def test_an_error_is_noted_by_its_name(lab):
    client = lab.program("client", lab.host("B", "10.9.0.20")).socket()
    with pytest.raises(ConnectionRefusedError):
        client.connect(("10.9.0.20", 81))
    assert lab.calls[-1].result == "ECONNREFUSED: Connection refused"


def test_a_program_has_descriptors_of_its_own_and_a_limit(lab):
    program = lab.program("server", lab.host("B", "10.9.0.20"), limit=5)
    first, second = program.socket(), program.socket()
    assert (first.descriptor, second.descriptor) == (3, 4)
    with pytest.raises(OSError, match="Too many open files") as error:
        program.socket()
    assert error.value.errno == errno.EMFILE
    first.close()
    assert program.socket().descriptor == 3


def test_the_five_things_of_a_socket(lab, printed):
    client, _, listening = connected(lab)
    lab.show_descriptors(listening._program)
    cells = [line.split() for line in printed[-1].splitlines()[2:]]
    port = str(client.getsockname()[1])
    assert cells == [
        ["3", "10.9.0.20", "80", "*", "*", "listening"],
        ["4", "10.9.0.20", "80", "10.9.0.10", port, "data"],
    ]


# Figures


def test_the_courses_figures_stand_for_themselves():
    figures = Figures()
    assert (figures.address("10.9.0.10"), figures.port(9157)) == ("10.9.0.10", 9157)
    assert figures.number(4000, 3001, 4000) == 4000
    assert figures.put_in("from {9157} of {10.9.0.10} in {braces}") == "from 9157 of 10.9.0.10 in {braces}"


def test_drawn_figures_differ_and_come_again_with_the_seed():
    one, again, other = Figures("kim"), Figures("kim"), Figures("lee")
    addresses = [one.address(f"10.9.0.{number}") for number in range(200)]
    assert len(set(addresses)) == 200
    assert addresses == [again.address(f"10.9.0.{number}") for number in range(200)]
    assert addresses != [other.address(f"10.9.0.{number}") for number in range(200)]
    ports = [one.port(number) for number in range(500)]
    assert len(set(ports)) == 500
    assert all(1024 <= port <= 65535 for port in ports)
    assert one.put_in("{7}") == str(one.port(7))
    numbers = [one.number(5, 1, 9) for _ in range(200)]
    assert set(numbers) == set(range(1, 10))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_loopback_and_wildcard_are_never_drawn(address):
    assert Figures("kim").address(address) == address


def test_a_lab_draws_for_its_cast():
    lab = Lab("test", MemoryLink(), tell=lambda _line: None, figures=Figures("kim"))
    b, a = lab.host("B", "10.9.0.20"), lab.sender("A", "10.9.0.10")
    assert b.address != "10.9.0.20"
    assert a.address not in ("10.9.0.10", b.address)
    assert lab.port(9157) == lab.port(9157) != 9157


# Steps


def test_a_step_is_printed_and_then_waited_for(printed):
    lab = Lab("test", MemoryLink(), tell=printed.append, pause=lambda: printed.append("pause"))
    lab.step("first, port {port}", port=80)
    lab.say("more")
    lab.check("it holds", holds=True)
    lab.check("port {port} is free", holds=False, port=80)
    assert printed == ["", "first, port 80", "pause", "more", "  ✓ it holds", "  ✗ port 80 is free"]
    assert lab.failed == 1
