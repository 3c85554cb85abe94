"""`demuxlab demux` on captures of other programs, for every linktype that it reads."""

import json
import socket
import subprocess
import threading

import pytest

from demuxlab.cli.main import main

SOCKETS = {
    "sockets": [
        {"name": "P4", "protocol": "tcp", "local": ["10.9.0.20", 80], "remote": ["10.9.0.10", 9157]},
        {"name": "web", "protocol": "tcp", "state": "listen", "local": ["0.0.0.0", 80]},
        {"name": "six", "protocol": "udp", "local": ["fd09::20", 8089]},
    ]
}
EXPECTED = [
    ("delivered", "P4", "connection", None),
    ("delivered", "web", "wildcard listener", None),
    ("no-socket", None, None, "port-unreachable"),
    ("delivered", "six", "two-tuple", None),
]


@pytest.fixture
def decide(tmp_path, capsys):
    """`decide(capture)` → (verdict, socket, rule, reply) of each packet."""
    table = tmp_path / "sockets.json"
    table.write_text(json.dumps(SOCKETS))

    def run(capture, sockets=table):
        main(["demux", str(capture), "--sockets", str(sockets), "--json"])
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [(row["verdict"], row["socket"], row["rule"], row["reply"]) for row in rows]

    return run


@pytest.fixture(scope="module")
def packets():
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    four = {"src": "10.9.0.10", "dst": "10.9.0.20"}
    return [
        IP(**four) / TCP(sport=9157, dport=80, flags="PA") / b"GET /",
        IP(**four) / TCP(sport=9158, dport=80, flags="S"),
        IP(**four) / UDP(sport=1, dport=9) / b"hello",
        IPv6(src="fd09::10", dst="fd09::20") / UDP(sport=1, dport=8089) / b"hello",
    ]


def _layers(name):
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1Q, Ether, Loopback

    ethernet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    if name == "raw":
        return lambda packet: packet
    if name == "null":
        return lambda packet: Loopback() / packet
    if name == "cooked v1":
        return lambda packet: CookedLinux() / packet
    if name == "cooked v2":
        return lambda packet: CookedLinuxV2() / packet
    if name == "vlan":
        return lambda packet: ethernet / Dot1Q(vlan=7) / packet
    if name == "two vlan tags":
        return lambda packet: ethernet / Dot1Q(vlan=7) / Dot1Q(vlan=8) / packet
    return lambda packet: ethernet / packet


@pytest.mark.parametrize(
    ("name", "linktype"),
    [
        ("ethernet", 1),
        ("vlan", 1),
        ("two vlan tags", 1),
        ("raw", 101),
        ("null", 0),
        ("cooked v1", 113),
        ("cooked v2", 276),
    ],
)
@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_scapy_s_captures(decide, packets, tmp_path, need_tool, name, linktype, form):
    from scapy.utils import wrpcap

    capture = tmp_path / "scapy.pcap"
    wrpcap(str(capture), [_layers(name)(packet) for packet in packets], linktype=linktype)
    if form == "pcapng":
        need_tool("editcap")
        subprocess.run(["editcap", "-F", "pcapng", capture, tmp_path / "saved.pcapng"], check=True)
        capture = tmp_path / "saved.pcapng"
    assert decide(capture) == EXPECTED


def test_a_capture_of_openbsd_s_loopback(decide, packets, tmp_path, need_tool):
    """text2pcap writes the linktype; the address family is in network byte order."""
    need_tool("text2pcap")
    frames = [
        (2 if packet.version == 4 else 24).to_bytes(4, "big") + bytes(packet.__class__(bytes(packet)))
        for packet in packets
    ]
    dump = "".join(
        "".join(f"{at:06x} {frame[at : at + 16].hex(' ')}\n" for at in range(0, len(frame), 16))
        for frame in frames
    )
    capture = tmp_path / "loop.pcap"
    (tmp_path / "dump.txt").write_text(dump)
    subprocess.run(
        ["text2pcap", "-q", "-l", "108", tmp_path / "dump.txt", capture], check=True, capture_output=True
    )
    assert decide(capture) == EXPECTED


def _talk(server, port):
    """Send one datagram to a bound socket, and make one TCP connection with a request."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        taken, _ = server.accept()
        client.sendall(b"GET /")
        assert taken.recv(100) == b"GET /"
        taken.close()


@pytest.mark.parametrize(
    ("device", "linktype"), [("lo", "EN10MB"), ("any", "LINUX_SLL"), ("any", "LINUX_SLL2")]
)
def test_what_tcpdump_saw_of_the_kernel_s_own_traffic(
    decide, tmp_path, need_root, need_tool, device, linktype
):
    """On lo the kernel leaves checksums incomplete; the decisions must be the same."""
    need_tool("tcpdump")
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    capture = tmp_path / "kernel.pcap"
    command = [
        *("tcpdump", "-i", device, "-y", linktype, "-U", "--immediate-mode", "-w", str(capture)),
        *("-c", "3", f"tcp dst port {port} and dst host 127.0.0.1"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tcpdump:
        for line in tcpdump.stderr:
            if "listening on" in line:
                break
        _talk(server, port)
        timer = threading.Timer(20, tcpdump.kill)
        timer.start()
        tcpdump.stderr.read()
        timer.cancel()
    server.close()
    table = tmp_path / "kernel.json"
    web = {"name": "web", "protocol": "tcp", "state": "listen", "local": ["127.0.0.1", port]}
    table.write_text(json.dumps({"sockets": [web]}))
    verdicts = decide(capture, table)
    assert verdicts[0] == ("delivered", "web", "listener", None)
    assert len(verdicts) == 3
    assert {verdict[:3] for verdict in verdicts} == {("delivered", "web", "listener")}
