"""`demuxlab watch`: what it says of packets, with a kernel made up here and, as root, with the real one."""

import textwrap

import pytest
from tests.kernel.test_situations import answers

from demuxlab import language, layout
from demuxlab.capture.reader import Capture
from demuxlab.demux.socket import ESTABLISHED, LISTEN, SYN_RECEIVED, TIME_WAIT
from demuxlab.demux.verdicts import Rule, Verdict
from demuxlab.kernel import firewall, following, netlink, owners, snapshot, watch
from demuxlab.kernel.packets import Captured
from demuxlab.kernel.records import Options, Process, Record
from demuxlab.kernel.watch_rows import Rows
from demuxlab.recording.devices import DeviceRecorder
from demuxlab.wire import ip
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, SYN
from demuxlab.wire.tcp import build as tcp
from demuxlab.wire.udp import build as udp

HERE, PEER = from_text("127.0.0.1"), from_text("127.0.0.2")
WEB, CURL = Process(10, 3, "web"), Process(20, 5, "curl")
START = 1_000_000.0


class Kernel:
    """The sockets of a kernel, the processes by inode, and the notices that wait."""

    def __init__(self):
        self.records = []
        self.processes = {}
        self.ended = []

    def add(self, state, local, port, remote=b"", remote_port=0, *, process=None, protocol=ip.TCP):
        cookie = len(self.records) + 100
        inode = cookie if process else 0
        record = Record(protocol, 4, state, local, port, remote, remote_port, "", 0, inode, cookie)
        self.records.append(record)
        if process:
            self.processes[inode] = [process]
        return record

    def change(self, record, **fields):
        changed = record._replace(**fields)
        self.records[self.records.index(record)] = changed
        return changed

    def end(self, record):
        self.records.remove(record)
        self.ended.append(record.cookie)

    # What netlink.Lookup, netlink.Ends and owners.Owners do

    def socket(self, protocol, local, port, remote, remote_port, _device=0):
        ends = protocol, local, port, remote, remote_port
        same = [each for each in self.records if each.protocol == protocol and each.port == port]
        exact = [r for r in same if (r.protocol, r.local, r.port, r.remote, r.remote_port) == ends]
        first = [r for r in same if not r.remote and r.local == local]
        wildcard = [r for r in same if not r.remote and not any(r.local)]
        return next(iter(exact + first + wildcard), None)

    def take(self):
        ended, self.ended = self.ended, []
        return ended

    def close(self):
        pass

    def fileno(self):
        return -1

    not_looked = False

    def of(self, inode, _hints=(), *, again=False, shared=False):
        return self.processes.get(inode, [])


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    monkeypatch.setattr(netlink, "Lookup", lambda: made)
    monkeypatch.setattr(netlink, "Ends", lambda: made)
    monkeypatch.setattr(
        netlink,
        "sockets",
        lambda protocol, states: [r for r in made.records if r.protocol == protocol and not r.remote],
    )
    monkeypatch.setattr(netlink, "route", lambda _address, _device="": (netlink.LOCAL, "lo"))
    monkeypatch.setattr(firewall, "ruleset", lambda: None)
    monkeypatch.setattr(owners, "Owners", lambda: made)
    monkeypatch.setattr(owners, "holds", lambda process, inode: process in made.processes.get(inode, []))
    monkeypatch.setattr(
        following.options, "read", lambda records, _holders: {r.cookie: Options() for r in records}
    )
    monkeypatch.setattr(following.time, "time", lambda: START)
    return made


class Wire:
    """Shows packets to a `Watch`, a millisecond apart, and returns the comments."""

    def __init__(self, **options):
        self.watch = watch.Watch(**options)
        self.now = START - 1.0

    def __call__(self, packet, device="lo", *, outgoing=False, to_us=True):
        self.now += 0.001
        captured = Captured(self.now, device, 1, outgoing, to_us, bytes(20), packet)
        return self.watch.look(captured)

    def tcp(self, source, source_port, destination, port, flags, **options):
        segment = tcp(source, destination, source_port, port, flags=flags)
        return self(wire_packet.build(source, destination, ip.TCP, segment), **options)

    def udp(self, source, source_port, destination, port, **options):
        datagram = udp(source, destination, source_port, port, b"x")
        return self(wire_packet.build(source, destination, ip.UDP, datagram), **options)


def test_a_connection_from_its_syn_to_its_end(kernel):
    kernel.add(LISTEN, HERE, 80, process=WEB)
    client = kernel.add("syn-sent", HERE, 9157, HERE, 80, process=CURL)
    server = kernel.add(SYN_RECEIVED, HERE, 80, HERE, 9157)
    wire = Wire()
    assert wire.tcp(HERE, 9157, HERE, 80, SYN).comments == [
        "→ web[10] fd 3: listener 127.0.0.1:80 takes 127.0.0.1:80",
        "sent by curl[20] fd 5",
    ]
    queued = wire.tcp(HERE, 9157, HERE, 80, ACK).comments[0]
    assert queued.startswith("→ web[10] fd 3 (not accepted yet): connection ")
    kernel.processes[7] = [Process(10, 4, "web")]
    server = kernel.change(server, state=ESTABLISHED, inode=7)
    accepted = wire.tcp(HERE, 9157, HERE, 80, ACK)
    assert accepted.comments[0].startswith("→ web[10] fd 4: connection 127.0.0.1:9157 → 127.0.0.1:80; ")
    assert accepted.comments[0].endswith("listener web[10] fd 3 lost: the 4-tuple is more specific")
    # Its process has closed it, and then the kernel has ended it: the packets are still its own.
    del kernel.processes[7]
    server = kernel.change(server, inode=0, state="last-ack")
    assert wire.tcp(HERE, 80, HERE, 9157, FIN | ACK).sender == "web[10] fd 4"
    kernel.end(server)
    kernel.end(client)
    wire.watch.rest(wire.now)
    last = wire.tcp(HERE, 9157, HERE, 80, ACK)
    assert (last.delivery.rule, last.sender, last.unread) == (Rule.CONNECTION, "curl[20] fd 5", False)
    assert wire.watch.close() == {"all": 3, "read": 3}


def test_a_child_that_got_the_connection_by_fork_is_found(kernel):
    parent, child = Process(10, 4, "web"), Process(11, 4, "web")
    kernel.add(LISTEN, HERE, 80, process=WEB)
    server = kernel.add(ESTABLISHED, HERE, 80, PEER, 9157, process=parent)
    wire = Wire()
    assert wire.tcp(PEER, 9157, HERE, 80, ACK).delivery.socket.name == "web[10] fd 4"
    wire.now += 0.1
    kernel.processes[server.inode] = [child]
    assert wire.tcp(PEER, 9157, HERE, 80, ACK).delivery.socket.name == "web[11] fd 4"
    wire.now += 2.0
    kernel.processes[server.inode] = [parent, child]
    shared = wire.tcp(PEER, 9157, HERE, 80, ACK)
    assert shared.delivery.socket.name == "web[10] fd 4 and web[11] fd 4"


def test_what_had_ended_before_it_was_looked_at_is_called_so(kernel):
    kernel.add(LISTEN, HERE, 80, process=WEB)
    wire = Wire()
    syn = wire.tcp(HERE, 9157, HERE, 80, SYN)
    assert syn.comments[1] == "sent by unknown (its socket was too short-lived)"
    assert syn.unread
    ack = wire.tcp(HERE, 9157, HERE, 80, ACK)
    assert ack.comments[0].startswith("→ web[10] accepted it (closed too soon to be read): connection ")
    asked = wire.udp(HERE, 4000, PEER, 53)
    assert asked.comments[1] == "sent by unknown (its socket was too short-lived)"
    answered = wire.udp(PEER, 53, HERE, 4000)
    assert answered.delivery.verdict == Verdict.DELIVERED
    assert answered.comments[0].endswith(": its socket had ended before it was looked at")
    assert wire.watch.counts["unread"] == 4
    assert wire.watch.close()["short"] == 1


def test_a_listening_socket_that_hands_on_its_connections_is_not_guessed_from(kernel):
    kernel.add(LISTEN, HERE, 80, process=WEB)
    kernel.add(SYN_RECEIVED, HERE, 80, PEER, 1)
    wire = Wire()
    wire.tcp(PEER, 1, HERE, 80, SYN)
    kernel.processes[9] = [Process(11, 4, "web")]
    kernel.change(kernel.records[1], inode=9, state=ESTABLISHED)
    wire.tcp(PEER, 1, HERE, 80, ACK)
    wire.tcp(PEER, 2, HERE, 80, SYN)
    late = wire.tcp(PEER, 2, HERE, 80, ACK)
    assert late.delivery.socket.name == "unknown (its socket was too short-lived)"


def test_of_a_group_all_are_named_until_one_accepts(kernel):
    kernel.add(LISTEN, HERE, 80, process=WEB)
    kernel.add(LISTEN, HERE, 80, process=CURL)
    kernel.add(SYN_RECEIVED, HERE, 80, PEER, 1)
    wire = Wire()
    assert wire.tcp(PEER, 1, HERE, 80, SYN).delivery.socket.name == "curl[20] fd 5 or web[10] fd 3"
    queued = wire.tcp(PEER, 1, HERE, 80, ACK)
    assert queued.delivery.socket.name == "curl[20] fd 5 or web[10] fd 3 (not accepted yet)"
    kernel.processes[9] = [Process(20, 6, "curl")]
    kernel.change(kernel.records[2], inode=9, state=ESTABLISHED)
    assert wire.tcp(PEER, 1, HERE, 80, ACK).delivery.socket.name == "curl[20] fd 6"
    wire.tcp(PEER, 2, HERE, 80, SYN)
    assert wire.tcp(PEER, 2, HERE, 80, ACK).unread, "either may have accepted it"
    kernel.add(SYN_RECEIVED, HERE, 80, PEER, 3)
    before = wire.tcp(PEER, 3, HERE, 80, ACK)
    assert before.delivery.socket.name == "curl[20] fd 5 or web[10] fd 3 (not accepted yet)"


def test_a_socket_that_was_closed_before_is_called_so(kernel):
    kernel.add(TIME_WAIT, HERE, 80, PEER, 9157)
    seen = Wire().tcp(PEER, 9157, HERE, 80, FIN | ACK)
    assert seen.delivery.socket.name == "closed by its process before (time-wait)"


def test_a_new_listening_socket_is_found_by_a_new_dump(kernel):
    kernel.add(LISTEN, bytes(4), 80, process=WEB)
    wire = Wire()
    assert wire.tcp(PEER, 1, HERE, 80, SYN).delivery.rule == Rule.WILDCARD_LISTENER
    kernel.records.insert(0, kernel.add(LISTEN, HERE, 80, process=Process(30, 3, "new")))
    kernel.records.pop()
    seen = wire.tcp(PEER, 2, HERE, 80, SYN)
    assert (seen.delivery.socket.name, seen.delivery.rule) == ("new[30] fd 3", Rule.LISTENER)
    assert [loser.socket.name for loser in seen.delivery.losers] == ["web[10] fd 3"]


def test_datagrams_of_one_of_several_sockets_name_them_all(kernel):
    kernel.add("bound", HERE, 53, process=WEB, protocol=ip.UDP)
    kernel.add("bound", bytes(4), 53, process=CURL, protocol=ip.UDP)
    wire = Wire()
    assert wire.udp(HERE, 53, PEER, 4000).sender == "web[10] fd 3 or curl[20] fd 5"
    received = wire.udp(PEER, 4000, HERE, 53)
    assert (received.delivery.socket.name, received.delivery.rule) == ("web[10] fd 3", Rule.TWO_TUPLE)


def test_no_socket_and_the_kernel_s_own_reply(kernel):
    wire = Wire()
    nobody = wire.tcp(PEER, 9157, HERE, 25, ACK)
    assert nobody.comments[0] == "✗ no tcp socket for 127.0.0.1:25; answered with RST"
    assert wire.tcp(HERE, 25, PEER, 9157, ACK).sender == "the kernel itself"


def test_what_goes_out_has_a_sender_and_what_passes_by_has_none(kernel, monkeypatch):
    kernel.add(ESTABLISHED, HERE, 9157, PEER, 80, process=CURL)
    wire = Wire()
    assert wire.tcp(HERE, 9157, PEER, 80, ACK, device="eth0", outgoing=True).comments == [
        "sent by curl[20] fd 5"
    ]
    monkeypatch.setattr(netlink, "route", lambda _address, _device="": (netlink.UNICAST, "eth1"))
    other = from_text("10.0.0.1")
    passing = wire.tcp(other, 1, from_text("10.0.0.2"), 80, ACK, device="eth0")
    assert passing.comments == ["✗ not-ours: IpInAddrErrors"]


def test_what_goes_to_many_goes_to_each_socket_of_the_port(kernel, monkeypatch):
    kernel.add("bound", bytes(4), 5353, process=WEB, protocol=ip.UDP)
    kernel.add("bound", bytes(4), 5353, process=CURL, protocol=ip.UDP)
    wire = Wire()
    monkeypatch.setattr(netlink, "route", lambda _address, _device="": (0, ""))
    joined = {(from_text("224.0.0.251"), "eth0")}
    monkeypatch.setattr(snapshot, "joined", lambda *group: group in joined)
    other = wire.udp(PEER, 5353, from_text("224.0.0.252"), 5353, device="eth0")
    assert other.comments == ["✗ not-ours: IpInAddrErrors"]
    for group in ("224.0.0.251", "255.255.255.255"):
        seen = wire.udp(PEER, 5353, from_text(group), 5353, device="eth0")
        assert seen.comments == [f"→ curl[20] fd 5: a copy each to curl[20] fd 5, web[10] fd 3: {group}:5353"]
    monkeypatch.setattr(netlink, "route", lambda _address, _device="": (netlink.BROADCAST, "eth0"))
    seen = wire.udp(PEER, 5353, from_text("10.0.0.255"), 5353, device="eth0")
    assert seen.delivery.copies


def test_packets_are_chosen_by_port_and_by_process(kernel):
    kernel.add(LISTEN, HERE, 80, process=WEB)
    kernel.add("syn-sent", HERE, 9157, HERE, 80, process=CURL)
    ping = wire_packet.build(HERE, HERE, ip.ICMP, b"\x08\0\xf7\xff\0\0\0\0")
    for chosen in (
        {"process": "curl"},
        {"process": "20"},
        {"process": "web"},
        {"port": 80},
        {"port": 9157},
        {},
    ):
        assert Wire(**chosen).tcp(HERE, 9157, HERE, 80, SYN) is not None, chosen
    for other in ({"process": "cur"}, {"port": 8080}):
        wire = Wire(**other)
        assert wire.tcp(HERE, 9157, HERE, 80, SYN) is None, other
        assert wire(ping) is None
    assert Wire()(ping).comments == ["✗ not-transport: icmp type 8 code 0"]


def test_what_carries_our_own_output_is_left_out(kernel, monkeypatch):
    kernel.add(ESTABLISHED, HERE, 22, PEER, 5000, process=WEB)
    kernel.add(ESTABLISHED, HERE, 9157, PEER, 80, process=CURL)
    ends = frozenset(((HERE, 22), (PEER, 5000)))
    monkeypatch.setattr(watch, "_ssh_connections", lambda: {ends})
    wire = Wire()
    assert wire.tcp(PEER, 5000, HERE, 22, ACK) is None
    wire.watch.own_pids.add(CURL.pid)
    assert wire.tcp(HERE, 9157, PEER, 80, ACK) is None
    assert wire.watch.counts == {"left out": 2}


def test_what_the_firewall_does_is_said_and_followed(kernel, monkeypatch):
    met = {80: firewall.Met(firewall.REDIRECT, "here", port=8080), 81: firewall.Met(firewall.DROP, "there")}
    asked = []

    def meets(_rules, packet):
        asked.append(packet)
        return [met[packet.port]] if packet.port in met else []

    monkeypatch.setattr(firewall, "ruleset", lambda: [{}])
    monkeypatch.setattr(firewall, "meets", meets)
    kernel.add(LISTEN, bytes(4), 8080, process=WEB)
    kernel.add(ESTABLISHED, HERE, 8080, PEER, 9157, process=Process(10, 4, "web"))
    wire = Wire()
    redirected = wire.tcp(PEER, 9157, HERE, 80, SYN | ACK, device="eth0")
    assert asked[-1].established, "a rule about established connections may accept it"
    assert redirected.comments == [
        "→ web[10] fd 4: connection 127.0.0.2:9157 → 127.0.0.1:8080; "
        "port 8080's listener web[10] fd 3 lost: the 4-tuple is more specific",
        "a firewall rule sends it to 127.0.0.1:8080 instead (here)",
    ]
    answer = wire.tcp(HERE, 80, PEER, 9157, ACK, device="eth0", outgoing=True)
    assert answer.sender == "web[10] fd 4"
    dropped = wire.udp(PEER, 4000, HERE, 81, device="eth0")
    assert dropped.comments == ["✗ not-ours", "a firewall rule drops it (there)"]
    wire.udp(HERE, 53, PEER, 4000, device="eth0", outgoing=True)
    wire.udp(PEER, 4000, HERE, 53, device="eth0")
    assert asked[-1].established, "an answer"


@pytest.mark.parametrize("code", language.CODES)
def test_the_table_fits_80_columns(kernel, monkeypatch, code):
    monkeypatch.setenv("COLUMNS", "80")
    long = Process(4_194_304, 1_000_000, "a-process-with-a-very-long-name")
    far = from_text("255.255.255.255")
    kernel.add(LISTEN, bytes(4), 65535, process=long)
    kernel.add(SYN_RECEIVED, HERE, 65535, far, 65535)
    wire = Wire()
    language.use(code)
    try:
        rows = Rows()
        seen = [wire.tcp(far, 65535, HERE, 65535, flags) for flags in (SYN, ACK)]
        seen += [wire.tcp(HERE, 1, HERE, 2, ACK), wire(b""), wire.udp(HERE, 1, PEER, 2)]
        text = rows.heading() + "".join(map(rows.row, seen))
    finally:
        language.use("en")
    assert max(map(layout.width_of, text.splitlines())) <= 80
    assert ("the 4-tuple is more specific" in text) == (code == "en")


def test_the_capture_has_a_device_s_name_both_comments_and_the_loss(tmp_path):
    path = tmp_path / "watched.pcapng"
    with open(path, "wb", buffering=0) as file:
        recorder = DeviceRecorder(file, comment="demuxlab watch")
        recorder.packet(bytes(20) + b"E", START, "eth0", True, ["sent by curl[20] fd 5"])
        recorder.packet(bytes(20) + b"E", START, "lo", False, ["✗ not-ours", "sent by curl[20] fd 5"])
        recorder.close(3)
    data = path.read_bytes()
    assert data.count(b"sent by curl[20] fd 5") == 2
    with Capture(path) as reader:
        frames = list(reader)
    assert [(frame.interface, frame.comment) for frame in frames] == [
        (0, "sent by curl[20] fd 5"),
        (1, "✗ not-ours"),
    ]


def test_processes_are_found_where_they_were_found_last(monkeypatch):
    looked = []
    have = {5: {100: 3}, 9: {100: 4, 200: 7}}

    def descriptors(pid, links):
        looked.append(pid)
        return [(fd, inode) for inode, fd in have.get(pid, {}).items() if inode in links.values()]

    monkeypatch.setattr(owners, "_last_pid", lambda: 50)
    monkeypatch.setattr(owners.processes, "descriptors", descriptors)
    monkeypatch.setattr(owners.processes, "pids", lambda: [1, 5, 9])
    monkeypatch.setattr(owners.processes, "describe", lambda pid: Process(pid, -1, "web"))
    found = owners.Owners()
    assert [str(each) for each in found.of(200)] == ["web[9] fd 7"]
    looked.clear()
    assert found.of(200)[0].pid == 9
    assert looked == [9]
    assert [each.pid for each in found.of(100, hints=(5, 9))] == [5, 9]
    assert (found.of(300), found.not_looked) == ([], False)
    monkeypatch.setattr(owners, "_CREDIT", 0.0)
    assert (found.of(300), found.not_looked) == ([], True)


# With the real kernel

WATCHED = """
import signal, tempfile
from demuxlab.capture.reader import Capture
folder = tempfile.mkdtemp()
capture = Path(folder, "watched.pcapng")
def start(*options, ordinary=False, **environment):
    command = [sys.executable, "-m", "demuxlab", "watch", *options]
    as_text = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ordinary:
        return another_user.start(command, another_user.NOBODY, needed, **as_text)
    process = subprocess.Popen(command, env={**os.environ, "COLUMNS": "80", **environment}, **as_text)
    process.said = ""
    while not {"ready:", "준비됨:"} & set(process.said.split()) and process.poll() is None:
        process.said += process.stderr.readline()
    return process
def stop(process, number=signal.SIGTERM):
    time.sleep(0.3)
    process.send_signal(number)
    table, errors = process.communicate()
    return {"table": table, "said": getattr(process, "said", "") + errors, "status": process.returncode}
def comments():
    with Capture(capture) as reader:
        return [packet.comment for packet in reader]
me = "%s[%d]" % (Path("/proc/self/comm").read_text().strip(), os.getpid())
"""


def _watched(script):
    return answers(WATCHED + textwrap.dedent(script))


def test_connections_datagrams_and_nobody_on_the_real_kernel():
    [said] = _watched("""
        server = socket.create_server(("127.0.0.1", 8080))
        watching = start("-o", str(capture))
        capabilities = Path(f"/proc/{watching.pid}/status").read_text().partition("CapEff:")[2].split()[0]
        client = socket.create_connection(("127.0.0.1", 8080))
        data = server.accept()[0]
        time.sleep(0.1)
        client.sendall(b"request")
        dns, one = (socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2))
        dns.bind(("::1", 53))
        one.sendto(b"query", ("::1", 53))
        ended = stop(watching)
        print(json.dumps({**ended, "comments": comments(), "me": me, "fds": [s.fileno() for s in
              (server, client, data, dns, one)], "capabilities": int(capabilities, 16)}))
    """)
    me, (server, client, data, dns, one) = said["me"], said["fds"]
    first = said["comments"][0]
    assert first == f"→ {me} fd {server}: listener 127.0.0.1:8080 takes 127.0.0.1:8080"
    [request] = [text for text in said["comments"] if text.startswith(f"→ {me} fd {data}: connection ")][:1]
    assert "lost: the 4-tuple is more specific" in request
    assert f"→ {me} fd {dns}: two-tuple [::1]:53 takes [::1]:53" in said["comments"]
    for sender in (client, one):
        assert f"{me} fd {sender}" in said["table"].replace("\\n", " ")
    assert "packets lost, because they came faster than they were read: 0" in said["said"]
    assert (said["status"], said["capabilities"]) == (0, 1 << 1 | 1 << 2 | 1 << 19)


def test_two_at_once_and_what_ends_one():
    second, gone, first = _watched("""
        subprocess.run(["ip", "tuntap", "add", "t0", "mode", "tun"], check=True)
        subprocess.run(["ip", "link", "set", "t0", "up"], check=True)
        watching, other = start(), start("--port", "9", LANGUAGE="ko")
        on_device = start("--device", "t0")
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
        subprocess.run(["ip", "link", "del", "t0"], check=True)
        print(json.dumps(stop(other, signal.SIGINT)))
        table, errors = on_device.communicate(timeout=20)
        print(json.dumps({"said": errors, "status": on_device.returncode}))
        print(json.dumps(stop(watching)))
    """)
    assert ("two-tuple" in second["table"], second["status"]) == (False, 0)
    assert "no-socket" in second["table"]
    assert "패킷: " in second["said"]
    assert gone["said"].rstrip().endswith("demuxlab: the device t0 is gone or down: nothing more is captured")
    assert gone["status"] == 1
    assert "127.0.0.1:9 " in first["table"]
    assert "icmp type 3 code 3" in first["table"]


def test_what_cannot_be_watched_is_a_sentence():
    texts = _watched("""
        capture.touch()
        for options in ({}, dict(ordinary=True)):
            words = ("--device", "nope0") if not options else ()
            process = start(*words, **options)
            process.wait()
            print(json.dumps(stop(process)))
        print(json.dumps(stop(start("-o", str(capture)))))
        print(json.dumps(stop(start("--live", DISPLAY="", WAYLAND_DISPLAY=""))))
    """)
    assert [text["status"] for text in texts] == [2, 2, 2, 2]
    assert texts[0]["said"].startswith("demuxlab: there is no device nope0: ip link lists them")
    assert texts[1]["said"].startswith("demuxlab: packets may not be captured (")
    assert texts[2]["said"].rstrip().endswith("cannot be written (File exists): give another name with -o")
    assert texts[3]["said"].startswith("demuxlab: ")


def test_a_child_that_is_found_first_does_not_have_the_listening_socket_alone(monkeypatch):
    """Else what its siblings accepted would be said to be its own."""
    parents = {9: 5, 5: 1, 1: 0}
    monkeypatch.setattr(owners, "_parent", parents.__getitem__)
    monkeypatch.setattr(owners, "_last_pid", lambda: 9)
    monkeypatch.setattr(
        owners.processes, "descriptors", lambda pid, _links: [(3, 77)] if pid in (5, 9) else []
    )
    monkeypatch.setattr(owners.processes, "describe", lambda pid: Process(pid, -1, "web"))
    found = owners.Owners()
    assert [process.pid for process in found.of(77, [9])] == [9]
    assert [process.pid for process in found.of(77, [9], shared=True)] == [5, 9]


def test_a_table_that_nobody_reads_does_not_hold_up_the_capture():
    [said] = _watched("""
        watching = start("-o", str(capture))
        for number in range(1000):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))
        watching.send_signal(signal.SIGTERM)
        status = watching.wait(timeout=60)
        print(json.dumps({"status": status, "said": watching.stderr.read(), "kept": len(comments())}))
    """)
    assert (said["status"], said["kept"]) == (0, 2000)
    assert "bytes of the table were not read from standard output" in said["said"]


def test_a_full_disk_ends_the_capture_and_not_the_table():
    [said] = answers(
        WATCHED
        + textwrap.dedent("""
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", folder], check=True)
        watching = start("-o", str(capture))
        for number in range(40):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(1000), ("127.0.0.1", 9))
        print(json.dumps({**stop(watching), "kept": len(comments())}))
        """)
    )
    assert "demuxlab: the capture ends here: No space left on device" in said["said"]
    assert f"{80 - said['kept']} packets are not in" in said["said"].replace("\n", " ")
    assert (said["status"], said["table"].count("no-socket")) == (1, 40)
