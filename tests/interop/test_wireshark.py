"""The formats and the profile in Wireshark's programs: columns, colours, buttons, fields, copies, extcap."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demuxlab import course
from demuxlab.capture.reader import Capture
from demuxlab.host import Host
from demuxlab.recording.recorder import open_recorder
from demuxlab.wire import ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.frame import network_packet
from demuxlab.wire.segment import ACK, SYN
from demuxlab.wireshark import program as wireshark

FAR = from_text("10.9.0.10")
PROFILE = Path(wireshark.__file__).parent / "profile"
LABS = ("04", "10", "12", "14")
FIELDS = (
    *("frame.packet_id", "frame.interface_name", "frame.interface_queue", "frame.packet_flags_direction"),
    *("frame.drop_count", "frame.comment", "demux.socket", "demux.rule", "demux.key", "demux.verdict"),
    *("demux.reply", "demux.queue", "demux.waiting", "_ws.col.Info", "ip.src_host"),
)


def run(*command, **more):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, timeout=60, **more
    )


@pytest.fixture(scope="module", autouse=True)
def _programs(need_tool):
    need_tool("tshark", "editcap")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By lab and format: the capture of a run over memory, and by lab the rows of its JSON."""
    captures, rows = {}, {}
    for lab in LABS:
        for kind in ("wire", "full", "pcap"):
            folder = tmp_path_factory.mktemp("captures")
            options = ("--link", "memory", "--captures", folder, "--format", kind, "--json")
            done = run(sys.executable, "-m", "demuxlab", "run", lab, *options)
            [captures[lab, kind]] = folder.iterdir()
            rows.setdefault(lab, [json.loads(line) for line in done.stdout.splitlines()])
    return captures, rows


@pytest.fixture(scope="module")
def tshark(tmp_path_factory):
    """`tshark(capture, …)`: its output with the profile and the Lua script, out of a folder of its own."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(home))
        folder = wireshark.own_folder()

    def read(capture, *arguments):
        environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(folder), "HOME": str(home)}
        lua = f"lua_script:{folder / 'demuxlab.lua'}"
        done = run("tshark", "-C", "demuxlab", "-X", lua, "-r", capture, *arguments, env=environment)
        complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
        assert complaints == []
        return done.stdout

    return read


def fields(tshark, capture, *arguments, names=FIELDS):
    shown = [word for name in names for word in ("-e", name)]
    text = tshark(capture, "-T", "fields", "-E", "occurrence=f", *shown, *arguments)
    return [dict(zip(names, line.split("\t"), strict=True)) for line in text.splitlines()]


@pytest.fixture(scope="module")
def seen(runs, tshark):
    """By lab and format (with comments): tshark's fields of each frame."""
    return {key: fields(tshark, capture) for key, capture in runs[0].items() if key[1] in ("wire", "full")}


# The fields of the Lua script


def test_the_fields_equal_the_output_of_the_run(runs, seen):
    for (lab, kind), frames in seen.items():
        decided = {int(frame["frame.packet_id"]): frame for frame in frames if frame["demux.verdict"]}
        rows = runs[1][lab]
        assert [row["frame"] for row in rows] == sorted(decided), (lab, kind)
        for row in rows:
            frame = decided[row["frame"]]
            from_lua = {name: frame[f"demux.{name}"] or None for name in ("verdict", "reply")}
            assert from_lua == {name: row[name] for name in from_lua}, (lab, kind, row)
            if row["verdict"] in ("delivered", "queue-full"):
                assert (frame["demux.socket"], frame["demux.rule"]) == (row["socket"], row["rule"])
            else:
                assert (frame["demux.socket"], frame["demux.rule"] or None) == ("", row["rule"])


def test_the_key_is_what_the_rule_matched(runs, seen):
    keys = {}
    for frame in (frame for frames in seen.values() for frame in frames if frame["demux.rule"]):
        keys.setdefault(frame["demux.rule"], frame["demux.key"])
    assert keys["connection"] == "10.9.0.10:9157 → 10.9.0.20:80"
    assert keys["wildcard listener"] == "0.0.0.0:80"
    assert keys["two-tuple"] == "10.9.0.20:8089"


@pytest.mark.parametrize("kind", ["wire", "full"])
def test_filtering_by_a_rule_gives_what_the_run_says(runs, tshark, kind):
    captures, rows = runs
    wanted = [row["frame"] for row in rows["04"] if row["rule"] == "connection"]
    chosen = ("-Y", 'demux.rule == "connection"')
    frames = fields(tshark, captures["04", kind], *chosen, names=("frame.packet_id",))
    assert [int(frame["frame.packet_id"]) for frame in frames] == wanted
    assert len(wanted) == 6


def test_a_queues_frame_tells_its_queue_and_not_of_a_retransmission(seen):
    at_queues = [frame for frame in seen["04", "full"] if frame["demux.queue"]]
    assert len(at_queues) == 10
    for frame in at_queues:
        assert (
            frame["frame.interface_name"]
            == f"{frame['demux.queue']} (queue {frame['frame.interface_queue']})"
        )
        assert frame["_ws.col.Info"] == frame["frame.comment"]
    assert [frame["demux.waiting"] for frame in at_queues] == ["0", "0", "17"] * 3 + ["1"]


def test_host_names_replace_addresses(seen):
    for kind in ("wire", "full"):
        assert {frame["ip.src_host"] for frame in seen["04", kind]} == {"A", "B", "C"}


def test_loaded_twice_the_script_still_works(runs, tshark, tmp_path):
    again = tmp_path / "again.lua"
    again.write_text((PROFILE.parent / "demuxlab.lua").read_text(encoding="utf-8"), encoding="utf-8")
    chosen = ("-X", f"lua_script:{again}", "-Y", 'demux.rule == "connection"')
    assert len(tshark(runs[0]["04", "wire"], *chosen).splitlines()) == 6


class Kept(list):
    """An observer that keeps each decision, and in its place None for what was sent."""

    def received(self, _packet, delivery, _now):
        self.append(delivery)

    def sent(self, _packet, _now):
        self.append(None)


@pytest.mark.parametrize("kind", ["wire", "full"])
def test_the_fields_of_decisions_that_no_lab_has(tshark, tmp_path, kind):
    """Names with colons, copies, a full queue, damage, others' packets, an answer by a connection."""
    host, kept_decisions = Host("B", ["10.9.0.20"]), Kept()
    host.demultiplexer.explain = True
    recorder = open_recorder(tmp_path / "odd", comment="", link="x", kind=kind)
    host.observers += [recorder, kept_decisions]
    for name in ("one: of two", "two; of two"):
        endpoint = host.udp_endpoint(name=name)
        endpoint.socket.reuse_address = True
        endpoint.bind(bytes(4), 68)
    narrow = host.udp("10.9.0.20", 53, name="narrow: listener (queue 9)")
    narrow.limit = 1
    host.udp("10.9.0.20", 54)
    host.listen(80, name="web")
    near, everybody, other = map(from_text, ("10.9.0.20", "255.255.255.255", "10.9.0.21"))
    for to, port in ((everybody, 68), (near, 53), (near, 53), (near, 54), (other, 53), (near, 9)):
        host.receive(datagram(to, port), 1.0)
    for packet in (b"", b"\x45", datagram(near, 53)[:-1], wire_packet.build(FAR, near, 132, b"sctp")):
        host.receive(packet, 1.0)
    for number in (SYN, ACK):
        segment = tcp.build(FAR, near, 9157, 80, sequence=7, acknowledgment=9, flags=number)
        host.receive(wire_packet.build(FAR, near, ip.TCP, segment), 1.0)
    recorder.close()

    frames = fields(tshark, tmp_path / "odd")
    decided = {int(frame["frame.packet_id"]): frame for frame in frames if frame["demux.verdict"]}
    expected = {}
    for number, delivery in enumerate(kept_decisions, 1):
        if delivery is not None:
            named = delivery.socket is not None and delivery.verdict != "not-ours"
            name = (delivery.socket.name or f"socket {delivery.socket.number}") if named else ""
            expected[number] = name, delivery.rule or "", delivery.verdict, delivery.reply or ""
    names = ("socket", "rule", "verdict", "reply")
    assert {
        number: tuple(frame[f"demux.{name}"] for name in names) for number, frame in decided.items()
    } == expected
    assert {verdict for _name, _rule, verdict, _reply in expected.values()} == {
        *("delivered", "no-socket", "malformed", "not-ours", "not-transport", "queue-full")
    }


def datagram(to, port):
    return wire_packet.build(FAR, to, ip.UDP, udp.build(FAR, to, 5775, port, b"hello"))


# The profile


def uat(name):
    """Return the rows of a file of Wireshark's in which strings are quoted and \\x22 is a quotation mark."""
    lines = [line for line in (PROFILE / name).read_text().splitlines() if not line.startswith("#")]
    return [[cell.encode().decode("unicode_escape") for cell in row] for row in csv.reader(lines)]


def colours():
    lines = (PROFILE / "colorfilters").read_text().splitlines()
    return [line.split("@") for line in lines if line.startswith("@")]


def test_every_column_shows_what_it_is_named_after(runs, tshark):
    shown = tshark(runs[0]["04", "full"]).splitlines()
    first, second = shown[5].split(), shown[6].split()
    assert first[0] == "6"
    assert first[2:11] == ["A", "9157", "B", "80", "P4", "connection", "TCP", "4", "GET"]
    assert first[-2:] == ["4", "wire"]
    assert second[2:8] == ["A", "9157", "B", "80", "P4", "TCP"]
    assert second[-3:] == ["P4", "(queue", "4)"]


def test_every_button_is_a_filter(runs, tshark):
    buttons = {row[1]: row[2] for row in uat("dfilter_buttons")}
    assert len(buttons) == 5
    found = {
        name: len(tshark(runs[0]["14", "full"], "-Y", text).splitlines()) for name, text in buttons.items()
    }
    assert found["Refused"] > 0
    assert found["Handshakes"] > 0
    assert found["On the wire"] == len({frame.packet_id for frame in kept(runs[0]["14", "full"])})


def test_a_button_for_this_and_that_means_the_selected_packet(runs, tshark):
    """tshark has no selected packet: with its value in the reference's place the filter finds the rest."""
    texts = {row[1]: row[2] for row in uat("dfilter_buttons")}
    queue = texts["This queue"].replace("${frame.interface_queue}", "4")
    frames = fields(tshark, runs[0]["04", "full"], "-Y", queue)
    assert {frame["frame.interface_name"] for frame in frames} == {"wire", "P4 (queue 4)"}
    assert len(frames) == 4
    connection = texts["This connection"].replace("${tcp.stream}", "0").replace("${udp.stream}", "7")
    assert len(tshark(runs[0]["04", "full"], "-Y", connection).splitlines()) == 9


def test_every_colour_filter_is_one_and_each_decision_has_one_colour(runs, tshark, tmp_path):
    filters = {row[1]: row[2] for row in colours()}
    assert len(filters) == 9
    together = tmp_path / "all.pcapng"
    run("mergecap", "-a", "-w", together, *(path for (_lab, kind), path in runs[0].items() if kind != "pcap"))
    every = fields(tshark, together, names=("frame.number", "demux"))
    coloured = []
    for text in filters.values():
        found = fields(tshark, together, "-Y", text, names=("frame.number",))
        coloured += [frame["frame.number"] for frame in found]
    assert sorted(coloured) == sorted(frame["frame.number"] for frame in every if frame["demux"])


def test_every_colour_can_be_read():
    """WCAG 2.1, 1.4.3: text against its background, at least 4.5 to 1."""

    def luminance(colour):
        parts = [int(part) / 65535 for part in colour.strip("[]").split(",")]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for _nothing, name, _text, both in colours():
        behind, text = map(luminance, both.split("]["))
        assert (behind + 0.05) / (text + 0.05) >= 4.5, name


# Copies by Wireshark's own programs, and readers of all kinds


def kept(capture):
    with Capture(capture) as opened:
        frames = [frame._replace(number=0, interface=0) for frame in opened]
        assert opened.damage == ""
    return frames


@pytest.mark.parametrize("kind", ["wire", "full"])
def test_copies_keep_comments_names_queues_and_ids(runs, seen, tshark, tmp_path, kind):
    capture = runs[0]["14", kind]
    copy, merged = tmp_path / "copy.pcapng", tmp_path / "merged.pcapng"
    run("editcap", capture, copy)
    run("mergecap", "-w", merged, copy)
    for path in (copy, merged):
        assert kept(path) == kept(capture)
        # They drop name resolution blocks, wherever these are; Wireshark's own "save as" keeps them.
        assert [without_host(row) for row in fields(tshark, path)] == [*map(without_host, seen["14", kind])]


@pytest.mark.parametrize("kind", ["wire", "full"])
def test_what_is_saved_again_keeps_host_names_too(runs, tshark, tmp_path, kind):
    copy = tmp_path / "copy.pcapng"
    tshark(runs[0]["14", kind], "-P", "-W", "n", "-w", copy)
    # The names are then at the end: read the file twice, as Wireshark does.
    assert fields(tshark, copy, "-2") == fields(tshark, runs[0]["14", kind], "-2")


def without_host(row):
    return {name: value for name, value in row.items() if name != "ip.src_host"}


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("kind", ["wire", "full", "pcap"])
@pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")
def test_every_reader_gets_all_packets_and_equal_bytes(runs, need_tool, lab, kind):
    import dpkt
    from pcapng import FileScanner, blocks
    from scapy.utils import rdpcap

    need_tool("tcpdump")
    capture = runs[0][lab, kind]
    frames = [frame.data for frame in kept(capture)]
    with capture.open("rb") as file:
        reader = dpkt.pcap.Reader(file) if kind == "pcap" else dpkt.pcapng.Reader(file)
        assert [data for _time, data in reader] == frames
    assert [packet.original for packet in rdpcap(str(capture))] == frames
    if kind != "pcap":
        with capture.open("rb") as file:
            read = [b.packet_data for b in FileScanner(file) if isinstance(b, blocks.EnhancedPacket)]
        assert read == frames
    with capture.open("rb") as file:
        assert by_tcpdump(run("tcpdump", "-r", "-", "-nn", "-xx", stdin=file).stdout) == frames


def by_tcpdump(text):
    frames = []
    for line in text.splitlines():
        if line.startswith("\t0x"):
            frames[-1] += bytes.fromhex(line.partition(":")[2])
        elif line[:1].isdigit():
            frames.append(b"")
    return frames


@pytest.mark.parametrize("lab", LABS)
def test_the_formats_have_the_same_packets(runs, lab):
    by_kind = {kind: kept(runs[0][lab, kind]) for kind in ("wire", "full", "pcap")}
    packets = [network_packet(f.linktype, f.data) for f in by_kind["full"] if f.interface_name == "wire"]
    assert packets == [frame.data for frame in by_kind["wire"]] == [frame.data for frame in by_kind["pcap"]]


# Wireshark's list of interfaces


def test_the_labs_are_in_the_list_of_interfaces_and_run(tmp_path):
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG", "WIRE"))}
    environment |= {"HOME": str(home), "LANGUAGE": "en"}
    installed = run(sys.executable, "-m", "demuxlab", "open", "--install", env=environment).stdout
    assert all(Path(line.partition(": ")[2]).exists() for line in installed.splitlines())
    assert len(installed.splitlines()) == 3
    listed = run("tshark", "-D", env=environment).stdout
    assert "demuxlab-04_tcp_four_tuple (04 TCP by 4-tuple: one port, two processes)" in listed
    assert re.findall(r"demuxlab-(\w+)", listed) == [folder.name for folder in course.labs()]
    capture = tmp_path / "x.pcapng"
    chosen = ("-i", "demuxlab-04_tcp_four_tuple", "-w", capture)
    run("tshark", *chosen, env=environment)
    frames = kept(capture)
    assert len(frames) == 30
    assert {"wire", "P4 (queue 4)"} <= {frame.interface_name for frame in frames}
    shown = run("tshark", "-C", "demuxlab", "-r", capture, "-Y", "demux.queue", env=environment).stdout
    assert len(shown.splitlines()) == 10
