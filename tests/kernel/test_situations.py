"""What `demuxlab why` says of sockets that this test opens, in a namespace of its own where it is root."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.kernel.laboratory import ALONE

PAGES = [Path(__file__).resolve().parents[2] / "docs" / name for name in ("why.md", "why.ko.md")]
BEGIN = """
import json, os, select, socket, subprocess, sys, time
from pathlib import Path
import demuxlab
from demuxlab.grading import another_user
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["ip", "address", "add", "10.9.0.2/32", "dev", "lo"], check=True)
needed = [Path(sys.base_prefix), Path(sys.prefix), Path(demuxlab.__file__).parent]
as_text = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
def why(*words, ordinary=False, before=()):
    command = [*before, sys.executable, "-m", "demuxlab", "why", *words, "--json"]
    if ordinary:
        process = another_user.start(command, another_user.NOBODY, needed, **as_text)
    else:
        process = subprocess.Popen(command, **as_text)
    with process:
        out, err = process.communicate()
    assert err == "", err
    print(out)
"""


def answers(script: str, *, needs: tuple[str, ...] = ()) -> list[dict]:
    """Run a script in a new network namespace; return what each of its calls of `why` said."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", *needs))):
        pytest.skip(f"needs root and {', '.join(('unshare', 'ip', *needs))}")
    program = BEGIN + textwrap.dedent(script)
    done = subprocess.run(
        [*ALONE, "--net", sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    if "unshare failed" in done.stderr or "BPF is not there" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line]


def test_a_listening_socket_a_connection_and_nobody():
    listening, connected, nobody, other = answers("""
        server = socket.create_server(("127.0.0.1", 8080))
        client = socket.create_connection(("127.0.0.1", 8080))
        server.accept()[0].detach()
        here = "127.0.0.1:%d" % client.getsockname()[1]
        why("tcp", "127.0.0.1:8080")
        why("tcp", "127.0.0.1:8080", "--from", here, "--explain")
        why("tcp", "10.9.0.2:8080")
        why("udp", "127.0.0.1:8080")
    """)
    assert listening["rule"] == "listener"
    assert listening["process"].keys() >= {"pid", "fd", "name"}
    assert listening["socket"] == {"local": ["127.0.0.1", 8080], "remote": None, "state": "listen"}
    assert listening["losers"][0]["reason"].startswith("its peer is 127.0.0.1:")
    assert (connected["rule"], connected["socket"]["state"]) == ("connection", "established")
    assert connected["process"]["fd"] != listening["process"]["fd"]
    assert len(connected["explanation"]) == 4
    assert (nobody["verdict"], nobody["reply"], nobody["process"]) == ("no-socket", "rst", None)
    assert "127.0.0.0/8 and ::1 are reached from this machine alone" in nobody["nearest"][0]
    assert (other["reply"], "protocol, tcp" in other["nearest"][0]) == ("port-unreachable", True)


def test_a_forked_server_and_a_group():
    shared, group = answers("""
        server = socket.create_server(("0.0.0.0", 8080))
        child = os.fork()
        if not child:
            time.sleep(60)
        members = [socket.create_server(("0.0.0.0", 8081), reuse_port=True) for _ in range(3)]
        why("tcp", "127.0.0.1:8080")
        why("tcp", "127.0.0.1:8081")
        os.kill(child, 9)
    """)
    assert len(shared["holders"]) == 2
    assert "2 processes share this socket" in shared["unsure"][0]
    assert (group["process"], len(group["group"])) == (None, 3)


def test_a_group_bound_after_a_connected_socket_of_its_place_is_the_kernels_choice():
    [said] = answers("""
        def bound(device=b""):
            one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            one.bind(("::1", 8053))
            return one
        connected = bound()
        connected.connect(("::1", 9157))
        group, on_device = bound(), bound(b"lo")
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sender.sendto(b"x", ("::1", 8053))
        got = [one.fileno() for one in (group, on_device) if select.select([one], [], [], 0)[0]]
        assert got == [group.fileno()], got
        why("udp", "[::1]:8053")
    """)
    assert said["losers"][0]["socket"]["local"] == said["socket"]["local"] == ["::1", 8053]
    assert said["process"]["fd"] < said["losers"][0]["process"]["fd"]


def test_nftables_redirects_and_drops():
    redirected, dropped, rejected, left_alone = answers(
        """
        rules = '''
        table ip t {
            chain a { type nat hook output priority -100; tcp dport 80 redirect to :8080; }
            chain b {
                type filter hook input priority 0; udp dport 53 drop; tcp dport 81 reject with tcp reset;
            }
        }'''
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
        server = socket.create_server(("0.0.0.0", 8080))
        why("tcp", "127.0.0.1:80")
        why("udp", "127.0.0.1:53")
        why("tcp", "127.0.0.1:81")
        why("tcp", "127.0.0.1:8080")
        """,
        needs=("nft",),
    )
    assert redirected["socket"]["local"] == ["0.0.0.0", 8080]
    assert redirected["before"] == [
        "a firewall rule sends it to 127.0.0.1:8080 instead (table ip t, chain a, handle 3)"
    ]
    assert (dropped["verdict"], dropped["reply"]) == ("no-socket", None)
    assert (rejected["verdict"], rejected["reply"]) == ("no-socket", "rst")
    assert left_alone["before"] == []


def test_a_rule_leads_into_the_namespace_of_a_container():
    [inside] = answers(
        """
        there = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c",
             "import socket, subprocess; subprocess.run(['ip', 'link', 'set', 'lo', 'up']); "
             "subprocess.run(['ip', 'address', 'add', '10.77.0.2/32', 'dev', 'lo']); "
             "s = socket.create_server(('0.0.0.0', 80)); print('up', flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        there.stdout.readline()
        hook = "type nat hook prerouting priority -100;"
        rules = "table ip t { chain a { %s tcp dport 8080 dnat to 10.77.0.2:80; }\\n}" % hook
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
        why("tcp", "10.9.0.2:8080")
        there.stdin.close()
        there.wait()
        """,
        needs=("nft",),
    )
    assert inside["before"][0].startswith("a firewall rule sends it to 10.77.0.2:80 instead")
    assert inside["before"][1].startswith("that address is in the network namespace of python")
    assert (inside["rule"], inside["socket"]["local"]) == ("wildcard listener", ["0.0.0.0", 80])


def test_a_sk_lookup_program_is_asked_for_its_choice():
    chosen, ordinary, left = answers("""
        from demuxlab.kernel import bpf
        from demuxlab.kernel.rule import compile_rule
        from tests.kernel.rules import to_one
        server = socket.create_server(("127.0.0.1", 7777))
        other = socket.create_server(("127.0.0.1", 7000))
        code = compile_rule(to_one).assemble(bpf.socket_map([server]))
        attached = bpf.attached(code, "to_one")
        try:
            attached.__enter__()
        except OSError as error:
            sys.exit(f"BPF is not there: {error}")
        why("tcp", "127.0.0.1:7000")
        why("tcp", "127.0.0.1:7000", ordinary=True)
        why("tcp", "127.0.0.1:7777")
        client = socket.create_connection(("127.0.0.1", 7000))
        server.settimeout(5)
        server.accept()
    """)
    assert (chosen["rule"], chosen["socket"]["local"]) == ("bpf sk_lookup", ["127.0.0.1", 7777])
    assert chosen["before"] == ["the BPF sk_lookup program to_one chose this socket: the table is not asked"]
    # The kernel's own lookup, which anyone may ask, has the program's choice.
    assert (ordinary["rule"], ordinary["socket"]["local"]) == ("bpf sk_lookup", ["127.0.0.1", 7777])
    assert ordinary["losers"][0]["socket"]["local"] == ["127.0.0.1", 7000]
    assert left["rule"] == "listener"


def test_sockets_that_a_dump_shows_like_others_are_asked_about():
    """A peer of port 0, a disconnected IPv6 socket, ::ffff:0.0.0.0, and the wildcard as destination."""
    rows = answers("""
        import ctypes
        def bound(family, address, port, peer=None):
            one = socket.socket(family, socket.SOCK_DGRAM)
            one.bind((address, port))
            if peer:
                one.connect(peer)
            return one
        ours = [
            bound(socket.AF_INET, "0.0.0.0", 8001, ("127.0.0.1", 0)),
            bound(socket.AF_INET6, "::", 8002, ("::1", 9)),
            bound(socket.AF_INET6, "::ffff:0.0.0.0", 8003),
            bound(socket.AF_INET6, "::ffff:10.9.0.2", 8004, ("::ffff:127.0.0.1", 9)),
            bound(socket.AF_INET, "10.9.0.2", 8005),
        ]
        for one in ours[1], ours[3]:
            assert ctypes.CDLL(None).connect(one.fileno(), bytes(16), 16) == 0  # AF_UNSPEC
        probes = [
            ("127.0.0.1", "127.0.0.1", 8001), ("10.9.0.2", "127.0.0.1", 8001),
            ("::1", "::1", 8002), ("127.0.0.1", "127.0.0.1", 8002), ("fd09::2", "::1", 8002),
            ("127.0.0.1", "127.0.0.1", 8003), ("::1", "::1", 8003),
            ("10.9.0.2", "10.9.0.2", 8004),
            ("10.9.0.2", "0.0.0.0", 8005), ("127.0.0.1", "0.0.0.0", 8005),
        ]
        subprocess.run(["ip", "address", "add", "fd09::2/128", "dev", "lo", "nodad"], check=True)
        for source, destination, port in probes:
            v6 = ":" in source
            with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((source, 9157))
                sender.connect((destination, port))
                sender.send(b"x")
            got = [one.fileno() for one in select.select(ours, [], [], 0)[0] if one.recv(9)]
            print(json.dumps(got))
            here, there = (f"[{end}]" if v6 else end for end in (source, destination))
            why("udp", f"{there}:{port}", "--from", f"{here}:9157")
    """)
    assert [len(got) for got in rows[::2]] == [1, 0, 1, 1, 0, 1, 0, 1, 1, 0]
    for got, said in zip(rows[::2], rows[1::2], strict=True):
        assert ([said["process"]["fd"]] if said["process"] else []) == got, said
        assert (said["reply"] is None) == bool(got)


def test_another_namespace_is_named():
    [nobody] = answers("""
        there = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c",
             "import socket; s = socket.create_server(('0.0.0.0', 8099)); print('up', flush=True); input()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        there.stdout.readline()
        why("tcp", "127.0.0.1:8099")
        there.stdin.close()
        there.wait()
    """)
    assert any("in another network namespace python" in note for note in nobody["nearest"]), nobody


def test_an_ordinary_user_learns_what_was_not_seen():
    theirs, nobody, low = answers("""
        server = socket.create_server(("127.0.0.1", 8080))
        why("tcp", "127.0.0.1:8080", ordinary=True)
        why("tcp", "127.0.0.1:81", ordinary=True)
        why("bind", "tcp", "127.0.0.1:81", ordinary=True)
    """)
    assert (theirs["process"], theirs["socket"]["local"]) == (None, ["127.0.0.1", 8080])
    said = " ".join(theirs["unsure"])
    for missing in ("firewall's rules could not be read", "did not show their sockets", "sk_lookup"):
        assert missing in said
    assert "some network namespaces were not looked at" in " ".join(nobody["unsure"])
    assert (low["errno"], "setcap" in low["cures"][0]["cure"]) == ("EACCES", True)


def test_time_wait_a_raw_socket_and_a_link_local_address():
    time_wait, link_local = answers("""
        server = socket.create_server(("127.0.0.1", 8080))
        client = socket.create_connection(("127.0.0.1", 8080))
        peer = "127.0.0.1:%d" % client.getsockname()[1]
        data = server.accept()[0]
        data.close()
        client.recv(1)
        client.close()
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        why("tcp", "127.0.0.1:8080", "--from", peer)
        raw.close()
        subprocess.run(["ip", "address", "add", "fe80::2/64", "dev", "lo", "nodad"], check=True)
        one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        one.bind(("fe80::2", 53, 0, 1))
        why("udp", "[fe80::2%lo]:53")
    """)
    assert (time_wait["rule"], time_wait["socket"]["state"]) == ("connection", "time-wait")
    assert "a new SYN with a higher sequence number" in time_wait["unsure"][0]
    assert "has a raw socket of this protocol and gets a copy" in time_wait["before"][0]
    assert (link_local["verdict"], link_local["socket"]["local"]) == ("delivered", ["fe80::2", 53])


def test_from_inside_a_container_the_processes_outside_are_not_seen():
    [outside] = answers(f"""
        server = socket.create_server(("127.0.0.1", 8080))
        why("tcp", "127.0.0.1:8080", before={ALONE})
    """)
    assert (outside["verdict"], outside["rule"], outside["process"]) == ("delivered", "listener", None)
    assert "no process that can be seen has this socket" in " ".join(outside["unsure"])


def test_a_multicast_datagram_is_for_the_sockets_of_a_group_that_was_joined():
    if not Path("/dev/net/tun").exists():
        pytest.skip("needs /dev/net/tun")
    rows = answers("""
        for command in (
            "tuntap add d0 mode tun", "link set d0 up", "address add 10.5.0.1/24 dev d0",
            "address add fd05::1/64 dev d0 nodad", "route add multicast ff00::/8 dev d0 table local",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        groups = {4: ("224.0.0.251", "224.0.0.252"), 6: ("ff02::fb", "ff02::fc")}
        d0 = socket.if_nametoindex("d0")
        def bound(family, address, *options):
            one = socket.socket(family, socket.SOCK_DGRAM)
            for option in ((socket.SOL_SOCKET, socket.SO_REUSEADDR, 1), *options):
                one.setsockopt(*option)
            one.bind((address, 5353, 0, d0) if family == socket.AF_INET6 else (address, 5353))
            return one
        inside = socket.inet_aton(groups[4][0]) + socket.inet_aton("10.5.0.1")
        of_v6 = socket.inet_pton(socket.AF_INET6, groups[6][0]) + d0.to_bytes(4, sys.byteorder)
        only = socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1
        ours = [
            bound(socket.AF_INET, "0.0.0.0", (0, socket.IP_ADD_MEMBERSHIP, inside)),
            bound(socket.AF_INET, "0.0.0.0"),
            bound(socket.AF_INET, groups[4][0]),
            bound(socket.AF_INET, "10.9.0.2"),
            bound(socket.AF_INET6, "::", only, (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, of_v6)),
            bound(socket.AF_INET6, "::", only),
            bound(socket.AF_INET6, "::1", only),
        ]
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        sender = {version: socket.socket(family, socket.SOCK_DGRAM) for version, family in families.items()}
        sender[4].setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton("10.5.0.1"))
        for version, group in ((version, group) for version in groups for group in groups[version]):
            sender[version].sendto(b"x", (group, 5353, 0, d0) if version == 6 else (group, 5353))
            print(json.dumps([one.fileno() for one in select.select(ours, [], [], 0.2)[0] if one.recv(9)]))
            why("udp", f"[{group}%d0]:5353" if version == 6 else f"{group}:5353")
        ours[0].setsockopt(0, 49, 0)
        why("udp", f"{groups[4][0]}:5353")
        why("udp", "255.255.255.255:5353")
    """)
    own, broadcast = rows.pop(-2), rows.pop()
    for got, said in zip(rows[::2], rows[1::2], strict=True):
        assert sorted(copy["process"]["fd"] for copy in said.get("copies", [])) == sorted(got), said
    assert [len(got) for got in rows[::2]] == [3, 0, 2, 0]
    assert rows[3]["before"][0].startswith("no socket of this machine has joined the group 224.0.0.252")
    assert "IP_MULTICAST_ALL" in " ".join(own["unsure"])
    assert len(broadcast["copies"]) == 2


def test_a_connection_without_a_process_waits_for_accept_or_was_closed():
    [lines] = answers("""
        server = socket.create_server(("127.0.0.1", 8080))
        client = socket.create_connection(("127.0.0.1", 8080))
        call = ["tcp", "127.0.0.1:8080", "--from", "127.0.0.1:%d" % client.getsockname()[1]]
        command = [sys.executable, "-m", "demuxlab", "why", *call]
        said = [subprocess.run(command, capture_output=True, text=True).stdout]
        server.accept()[0].close()
        said.append(subprocess.run(command, capture_output=True, text=True).stdout)
        print(json.dumps(said))
    """)
    assert "✓ no process yet (not accepted): 127.0.0.1:8080" in lines[0]
    assert "✓ no process any more (closed): 127.0.0.1:8080" in lines[1]


def test_port_0_is_like_no_other_port():
    [nobody] = answers("""
        server = socket.create_server(("0.0.0.0", 8080))
        why("tcp", "127.0.0.1:0")
    """)
    assert (nobody["verdict"], nobody["reply"], nobody["nearest"]) == ("no-socket", "rst", [])


def test_bind_looks_at_both_families_as_the_kernel_does():
    """The sockets of IPv4 and IPv6 are listed apart, and TIME-WAIT without its listening socket's options."""
    mixed, time_wait = answers("""
        one = socket.socket(type=socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("10.9.0.2", 5353))
        two = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        two.bind(("::1", 5353))
        why("bind", "udp", "[::]:5353", "--reuse-port")
        both = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
        client = socket.create_connection(("::1", 8080))
        both.accept()[0].close()
        client.recv(1)
        client.close()
        both.close()
        why("bind", "tcp", "0.0.0.0:8080")
        udp, tcp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socket()
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for real, place in (udp, ("::", 5353)), (tcp, ("", 8080)):
            try:
                real.bind(place)
            except OSError:
                continue
            raise AssertionError("the kernel lets it in")
    """)
    assert (mixed["errno"], mixed["in_the_way"][0]["socket"]["local"]) == ("EADDRINUSE", ["::1", 5353])
    assert (time_wait["errno"], time_wait["in_the_way"][0]["socket"]["state"]) == ("EADDRINUSE", "time-wait")


def test_bind_says_what_is_in_the_way_and_what_helps():
    listens, every, time_wait, low, foreign = answers("""
        server = socket.create_server(("127.0.0.1", 8080), reuse_port=True)
        why("bind", "tcp", "127.0.0.1:8080", "--reuse-address")
        why("bind", "tcp", "0.0.0.0:8080")
        client = socket.create_connection(("127.0.0.1", 8080))
        data = server.accept()[0]
        data.close()
        client.recv(1)
        client.close()
        server.close()
        why("bind", "tcp", "127.0.0.1:8080")
        why("bind", "tcp", "127.0.0.1:80", "--to", "127.0.0.1:8080")
        why("bind", "udp", "10.9.0.3:53")
    """)
    assert (listens["allowed"], listens["errno"]) == (False, "EADDRINUSE")
    assert listens["in_the_way"][0]["reason"] == "it listens there"
    assert "set SO_REUSEPORT before bind (--reuse-port)" in [cure["cure"] for cure in listens["cures"]]
    others = [
        [each["cure"] for each in row["cures"] if "another address" in each["cure"]]
        for row in (listens, every)
    ]
    assert others == [[f"bind another address, such as {address}"] for address in ("127.0.0.2", "10.9.0.2")]
    assert time_wait["in_the_way"][0]["socket"]["state"] == "time-wait"
    assert time_wait["cures"][0]["cure"].startswith("set SO_REUSEADDR before bind")
    assert (low["allowed"], low["ports"]["unprivileged_from"]) == (True, 1024)
    assert foreign["errno"] == "EADDRNOTAVAIL"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_shows_what_is_printed(page):
    call = r"```\n\$ sudo demuxlab ((?:--language ko )?why .*)\n((?:.*\n)*?)```"
    blocks = re.findall(call, page.read_text(encoding="utf-8"))
    assert len(blocks) == 2
    shown = [text for _call, text in blocks]
    [printed] = answers(f"""
        web = socket.create_server(("0.0.0.0", 8080))
        ours = socket.create_server(("127.0.0.1", 8081))
        client = socket.create_connection(("127.0.0.1", 8080))
        data = web.accept()[0]
        printed = []
        for call in {[call for call, _text in blocks]!r}:
            command = [sys.executable, "-m", "demuxlab", *call.split()]
            done = subprocess.run(command, capture_output=True, text=True)
            own = Path("/proc/self/comm").read_text().strip() + f"[{{os.getpid()}}]"
            printed.append(done.stdout.replace(own, "python[4242]"))
        print(json.dumps(printed))
    """)
    for said, text in zip(printed, shown, strict=True):
        pattern = re.escape(" ".join(text.split())).replace("…\\ ", ".*")  # "…": lines that are left out
        assert re.fullmatch(pattern, " ".join(said.split())), said
