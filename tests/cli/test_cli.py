"""The commands as a script calls them: output, exit status, and one clear line for every wrong call."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demuxlab import language
from demuxlab.layout import width_of


@pytest.fixture
def call(command_line, monkeypatch, repository):
    """`call("run", "04")` → (exit status, standard output, standard error)."""
    monkeypatch.chdir(repository)
    return command_line


FIGURE = {
    (("10.9.0.10", 9157), ("10.9.0.20", 80)): {"web", "P4"},
    (("10.9.0.30", 9157), ("10.9.0.20", 80)): {"web", "P5"},
    (("10.9.0.30", 5775), ("10.9.0.20", 8089)): {"P6 listening", "P6"},
}


def test_the_figure_runs_and_names_its_capture_last(call, tmp_path):
    status, out, err = call("run", "--link", "memory", "--captures", tmp_path)
    assert status == 0
    assert "✗" not in out
    assert "link: memory" in err
    [capture] = tmp_path.iterdir()
    assert out.splitlines()[-1] == f"capture: {capture}"


def test_json_is_one_object_a_segment_and_nothing_else(call, tmp_path):
    status, out, err = call("run", "04", "--link", "memory", "--captures", tmp_path, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert rows[1] == {
        "frame": 3,
        "protocol": "tcp",
        "source": ["10.9.0.10", 9157],
        "destination": ["10.9.0.20", 80],
        "verdict": "delivered",
        "socket": "P4",
        "rule": "connection",
        "reply": None,
    }
    reached = {}
    for row in rows:
        reached.setdefault((tuple(row["source"]), tuple(row["destination"])), set()).add(row["socket"])
    assert reached == FIGURE
    assert {row["protocol"] for row in rows} == {"tcp", "udp"}
    assert err.splitlines()[-1].startswith("capture: ")


@pytest.mark.parametrize("word", ["4", "04", "04_tcp_four_tuple", "tcp_four_tuple"])
def test_a_lab_goes_by_number_or_name(call, tmp_path, word):
    assert call("run", word, "--link", "memory", "--captures", tmp_path)[0] == 0


def test_all_runs_every_lab(call, tmp_path):
    status, _, _ = call("run", "all", "--link", "memory", "--captures", tmp_path)
    assert status == 0
    assert len(list(tmp_path.iterdir())) == len(list(Path("labs").glob("[0-9][0-9]_*/lab.py")))


def test_labs_lists_them(call):
    status, out, _ = call("labs")
    assert status == 0
    assert "04_tcp_four_tuple" in out


def test_doctor_has_a_cure_for_each_no(call, monkeypatch):
    monkeypatch.setattr("demuxlab.cli.doctor.why_not_bubblewrap", lambda: "it hangs: " + "mend it " * 20)
    status, out, _ = call("doctor")
    assert status == 0
    assert "TUN" in out
    findings = re.split(r"^(?=[✓✗])", out, flags=re.MULTILINE)
    assert all(":" in found or "/" in found for found in findings if found.startswith("✗"))
    assert max(map(width_of, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("asked", "said"),
    {
        "tcp localhost:8080": "localhost is a name, and it has two addresses: "
        "write 127.0.0.1:8080 or [::1]:8080",
        "bind 127.0.0.1:8080": "tcp or udp is missing: ask why bind tcp 127.0.0.1:8080",
        "bind udp": "address and port are missing: ask why bind udp 127.0.0.1:80",
        "sctp [::1]:99": "sctp is neither tcp nor udp: ask why tcp [::1]:99",
        "tcp 127.0.0.1 80": "tcp 127.0.0.1 80 is no question: ask why tcp 127.0.0.1:80",
        "tcp www.example.org:80": "www.example.org is a name, and sockets have addresses: "
        "ask about one of its addresses: getent ahosts www.example.org",
        "tcp 127.0.0.1:http": "127.0.0.1:http is no address and port: write 127.0.0.1:80 or [::1]:80",
    }.items(),
)
def test_a_question_that_why_cannot_take_says_what_is_missing(call, asked, said):
    assert call("why", *asked.split()) == (2, "", f"demuxlab: {said}\n")


SOCKETS = {
    "sockets": [
        {
            "name": "P4",
            "protocol": "tcp",
            "state": "established",
            "local": ["10.9.0.20", 80],
            "remote": ["10.9.0.10", 9157],
        },
        {"name": "web", "protocol": "tcp", "state": "listen", "local": ["0.0.0.0", 80]},
        {
            "name": "dns",
            "protocol": "udp",
            "local": ["10.9.0.20", 8089],
            "remote": None,
            "reuse_address": True,
        },
    ]
}


@pytest.fixture
def sockets(tmp_path):
    path = tmp_path / "sockets.json"
    path.write_text(json.dumps(SOCKETS, indent=1))
    return path


@pytest.fixture
def capture(call, tmp_path):
    folder = tmp_path / "captures"
    call("run", "04", "--link", "memory", "--captures", folder)
    return next(folder.iterdir())


def test_demux_judges_a_capture_by_a_table_of_sockets(call, capture, sockets):
    status, out, err = call("demux", capture, "--sockets", sockets, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert len(rows) == 20
    assert [(row["frame"], row["socket"], row["rule"]) for row in rows if row["verdict"] == "delivered"] == [
        (1, "P4", "connection"),
        (3, "P4", "connection"),
        (4, "P4", "connection"),
        (7, "web", "wildcard listener"),
        (9, "web", "wildcard listener"),
        (10, "web", "wildcard listener"),
        (19, "dns", "two-tuple"),
    ]
    assert [row["reply"] for row in rows if row["frame"] in (7, 9, 13)] == [None, "rst", "rst"]
    assert "packets: 13 no-socket, 7 delivered" in err


def test_demux_in_words(call, capture, sockets):
    status, out, _ = call("demux", capture, "--sockets", sockets)
    assert status == 0
    assert "P4: connection 10.9.0.10:9157 → 10.9.0.20:80; port 80's listener web lost" in out


def test_demux_explains_step_by_step(call, capture, sockets):
    status, out, err = call("demux", capture, "--sockets", sockets, "--explain")
    stories = out.removesuffix("\n\n").split("\n\n")
    assert (status, len(stories)) == (0, 20)
    assert stories[3] == (
        "     4  1. What came? A TCP segment [PA], 17 bytes of data, 10.9.0.10:9157 → 10.9.0.20:80.\n"
        "        2. Does a connection have all four values? Yes. P4 wins (rule: connection).\n"
        "        3. Which other sockets have this port? No matter: the first that matches gets it.\n"
        "           web matches, but loses: the 4-tuple is more specific.\n"
        "        4. What becomes of it? P4 takes it: it belongs to that connection."
    )
    assert "packets: 13 no-socket, 7 delivered" in err


def test_the_steps_are_in_the_json_where_asked_for_and_in_english(call, capture, sockets):
    plain = call("demux", capture, "--sockets", sockets, "--json")[1].splitlines()
    status, out, _ = call("--language", "ko", "demux", capture, "--sockets", sockets, "--json", "--explain")
    language.use("en")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert rows[18]["explanation"] == [
        "What came? A UDP datagram, 9 bytes of data, 10.9.0.30:5775 → 10.9.0.20:8089.",
        "Is a socket on 10.9.0.20:8089 connected to this sender? No.",
        "Is a socket bound to 10.9.0.20:8089? Yes. dns wins (rule: two-tuple).",
        "What becomes of it? It waits in dns's queue until the process reads it.",
    ]
    for row, line in zip(rows, plain, strict=True):
        assert row.pop("explanation")[0].startswith("What came? ")
        assert row == json.loads(line)


def test_a_cut_is_told_after_the_explanations(call, capture, sockets, tmp_path):
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(capture.read_bytes()[:-300])
    status, out, err = call("demux", cut, "--sockets", sockets, "--explain")
    assert status == 1
    assert 10 < out.count("What came?") < 20
    assert "cut" in err


def test_frames_that_carry_no_ip_are_explained(call, sockets, tmp_path):
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 1)
    frames = (bytes(12) + b"\x08\x06" + bytes(28), bytes(5), bytes(12) + b"\x08\x00" + b"\x45")
    records = b"".join(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)
    path = tmp_path / "odd.pcap"
    path.write_bytes(header + records)
    status, out, _ = call("demux", path, "--sockets", sockets, "--explain")
    assert status == 0
    assert [line.split("? ", 1)[1] for line in out.splitlines() if "What came" in line] == [
        "No IP packet: ARP.",
        "A packet that cannot be read: truncated Ethernet header.",
        "A packet that cannot be read: truncated IPv4 header.",
    ]


def test_what_comes_before_a_cut_is_used_and_the_cut_is_told(call, capture, sockets, tmp_path):
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(capture.read_bytes()[:-300])
    status, out, err = call("demux", cut, "--sockets", sockets, "--json")
    assert status == 1
    assert 10 < len(out.splitlines()) < 20
    assert "cut" in err


def test_packets_whose_end_was_not_captured_are_still_decided(call, sockets, tmp_path):
    from demuxlab.wire import ip, packet, tcp
    from demuxlab.wire.address import from_text

    a, b = from_text("10.9.0.10"), from_text("10.9.0.20")
    whole = packet.build(a, b, ip.TCP, tcp.build(a, b, 9157, 80, bytes(1000), flags=16))
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 96, 101)
    path = tmp_path / "short.pcap"
    path.write_bytes(header + struct.pack("<IIII", 0, 0, 96, len(whole)) + whole[:96])
    _, out, _ = call("demux", path, "--sockets", sockets, "--json")
    assert json.loads(out)["socket"] == "P4"


BAD_TABLES = [
    ("[", "line 1, column 2: not JSON"),
    ("[1]", 'line 1: the file must be an object with a list "sockets"'),
    ("[" * 100_000, "nested too deeply"),
    ('{"sockets": [\n\n5]}', "line 3: a socket is an object"),
    ('{"sockets": [{"name": "a", "protocol": "tpc", "local": ["1.2.3.4", 5]}]}', "line 1: field protocol"),
    (
        '{"sockets": [\n{"name": "a",\n"protcol": "tcp"}]}',
        "line 3: field protcol: no such field: did you mean p",
    ),
    ('{"sockets": [{"name": "a", "protocol": "udp",\n"local": ["1.2.3.400", 5]}]}', "line 2: field local"),
    ('{"sockets": [{"name": "a", "protocol": "udp", "local": ["1.2.3.4", 70000]}]}', "between 1 and 65535"),
    ('{"sockets": [{"name": "a", "protocol": "udp", "local": ["1.2.3.4", true]}]}', "field local"),
    ('{"sockets": [{"protocol": "udp", "local": ["1.2.3.4", 5]}]}', "field name"),
    ('{"sockets": [{"name": "a", "protocol": "udp", "local": ["1.2.3.4", 5], "state": "x"}]}', "field state"),
    (
        '{"sockets": [{"name": "a", "protocol": "tcp", "local": ["1.2.3.4", 5], "state": "established"}]}',
        "field remote",
    ),
    (
        '{"sockets": [{"name": "a", "protocol": "udp", "local": ["1.2.3.4", 5]},\n'
        '{"name": "b", "protocol": "udp", "local": ["0.0.0.0", 5]}]}',
        "line 2: field local: 0.0.0.0:5 is in use",
    ),
    (
        '{"other": {"sockets": []}, "sockets": [\n{"name": "a", "protocol": "udp", "local": null}]}',
        "line 2: field local",
    ),
]


@pytest.mark.parametrize(("text", "message"), BAD_TABLES)
def test_a_mistake_in_a_socket_file_is_told_with_line_and_field(call, capture, tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    status, out, err = call("demux", capture, "--sockets", path)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_every_wrong_call_is_told_in_one_line(call, capture, sockets, tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    calls = [
        (("run", "99"), "no lab is called '99'"),
        (("run", "tcp_for_tuple"), "did you mean 04_tcp_four_tuple?"),
        (("run", "--link", "ether"), "ether"),
        (("run", "--link", "memory", "--captures", sockets), "captures"),
        (("run", "--link", "memory", "--captures", sockets / "below"), "captures"),
        (("demux",), "CAPTURE"),
        (("demux", capture), "--sockets"),
        (("demux", tmp_path / "none", "--sockets", sockets), "none"),
        (("demux", tmp_path, "--sockets", sockets), str(tmp_path)),
        (("demux", tmp_path / "text", "--sockets", sockets), "is not a pcap or pcapng file"),
        (("demux", tmp_path / "empty", "--sockets", sockets), "empty"),
        (("demux", capture, "--sockets", tmp_path / "none"), "cannot be read"),
        (("demux", capture, "--sockets", tmp_path / "binary.json"), "is not text"),
        (("dmux",), "dmux"),
        (("run", "--nonsense"), "--nonsense"),
    ]
    for arguments, message in calls:
        status, out, err = call(*arguments)
        errors = [line for line in err.splitlines() if line.startswith("demuxlab: ")]
        assert (status, out) == (2, ""), arguments
        assert len(errors) == 1, arguments
        assert message in errors[0], arguments
        assert errors[0].count(": ") >= 2, errors[0]


def test_a_lab_whose_outcome_is_wrong_fails(call, tmp_path, monkeypatch):
    folder = tmp_path / "labs" / "01_wrong"
    folder.mkdir(parents=True)
    (folder / "lab.py").write_text("def run(lab):\n    lab.check('the moon is cheese', False)\n")
    monkeypatch.chdir(tmp_path)
    status, out, _ = call("run", "01", "--link", "memory", "--captures", tmp_path / "c")
    assert status == 1
    assert "✗ the moon is cheese" in out


def test_an_error_in_a_lab_script_is_told_with_its_line(call, tmp_path, monkeypatch):
    folder = tmp_path / "labs" / "01_wrong"
    folder.mkdir(parents=True)
    (folder / "lab.py").write_text("def run(lab):\n    lab.hots('B')\n")
    monkeypatch.chdir(tmp_path)
    status, _, err = call("run", "01", "--link", "memory", "--captures", tmp_path / "c")
    assert status == 1
    assert "lab.py:2: AttributeError" in err
    (folder / "lab.py").write_text("def run(lab)\n")
    status, _, err = call("run", "01", "--link", "memory", "--captures", tmp_path / "c")
    assert status == 2
    assert "SyntaxError" in err


def test_two_runs_in_the_same_second_keep_two_captures(call, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101-000000")
    for _ in range(2):
        assert call("run", "04", "--link", "memory", "--captures", tmp_path)[0] == 0
    assert len(list(tmp_path.iterdir())) == 2


def run_slow_lab(tmp_path, link="memory"):
    """Start a lab that says when it has begun and then waits; return its process."""
    folder = tmp_path / "labs" / "01_slow"
    folder.mkdir(parents=True)
    (folder / "lab.py").write_text(
        "import sys, threading\n"
        "from scapy.layers.inet import IP, UDP\n"
        "def run(lab):\n"
        "    lab.host('B', '10.9.0.20')\n"
        "    for _ in range(5):\n"
        "        lab.send(IP(src='10.9.0.10', dst='10.9.0.20') / UDP(sport=1, dport=2))\n"
        "    print('begun', flush=True)\n"
        "    threading.Event().wait(60)\n"
    )
    command = [sys.executable, "-m", "demuxlab", "run", "01", "--link", link, "--captures", "c"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_keeps_its_capture(tmp_path, number):
    process = run_slow_lab(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert "capture: " in out


def test_a_killed_run_leaves_a_whole_capture(tmp_path):
    from demuxlab.capture.reader import Capture

    process = run_slow_lab(tmp_path)
    process.kill()
    process.communicate(timeout=20)
    [path] = (tmp_path / "c").iterdir()
    with Capture(path) as frames:
        assert len(list(frames)) == 10
        assert frames.damage == ""


def test_a_lab_script_runs_by_itself(tmp_path, repository):
    done = subprocess.run(
        [sys.executable, repository / "labs/04_tcp_four_tuple/lab.py", "--link", "memory", "--captures", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("capture: ")


def test_help_does_not_load_what_it_does_not_need():
    script = (
        "import sys\n"
        "from demuxlab.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'scapy', 'pyroute2', 'pytest', 'tabulate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "run" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_in_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "demuxlab", "labs"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)  # noqa: PLW1510
    assert done.returncode == 1
    assert (
        done.stderr
        == "demuxlab: the output cannot be written (No space left on device): make room on the disk\n"
    )
