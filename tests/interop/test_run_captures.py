"""`demuxlab run` over every link: the same decisions, and captures that other programs read as we do."""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

LINKS = ("memory", "loopback", "tun")
FIELDS = (
    *("frame.number", "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport"),
    *("tcp.stream", "udp.stream", "frame.comment", "frame.packet_flags_direction", "frame.interface_queue"),
    "_ws.expert.message",
)


COMMAND = (sys.executable, "-m", "demuxlab")


def demuxlab(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By link: the JSON rows of a run of the figure, and its capture."""
    done = {}
    for link in LINKS:
        folder = tmp_path_factory.mktemp(link)
        result = demuxlab("run", "--link", link, "--captures", folder, "--json")
        if result.returncode == 2 and not (os.geteuid() == 0 and os.environ.get("CI")):
            continue
        assert result.returncode == 0, result.stderr
        [capture] = folder.iterdir()
        done[link] = [json.loads(line) for line in result.stdout.splitlines()], capture
    return done


@pytest.fixture(scope="module")
def read_by_tshark(runs, need_tool):
    """By link: what tshark says of each frame, field by field, and its complaints."""
    need_tool("tshark")
    read = {}
    for link, (_, capture) in runs.items():
        fields = [argument for field in FIELDS for argument in ("-e", field)]
        command = ["tshark", "-r", str(capture), "-o", "tcp.check_checksum:TRUE", "-T", "fields", *fields]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
        complaints = [line for line in done.stderr.splitlines() if "root" not in line]
        read[link] = rows, complaints
    return read


def test_every_link_gives_the_same_decisions(runs):
    tables = [rows for rows, _ in runs.values()]
    assert len(tables[0]) == 10
    assert all(rows == tables[0] for rows in tables)


def test_each_queue_got_exactly_its_segments(runs):
    for rows, _ in runs.values():
        by_socket = defaultdict(set)
        for row in rows:
            by_socket[row["socket"]].add((row["protocol"], row["source"][0], row["source"][1]))
        assert by_socket["P4"] == {("tcp", "10.9.0.10", 9157)}
        assert by_socket["P5"] == {("tcp", "10.9.0.30", 9157)}
        assert by_socket["P6"] == {("tcp", "10.9.0.30", 5775), ("udp", "10.9.0.30", 5775)}


def test_replies_carry_the_same_numbers_reversed(read_by_tshark):
    for rows, _ in read_by_tshark.values():
        ways = {"1": set(), "2": set()}
        for row in rows:
            source = row["ip.src"], row["tcp.srcport"] or row["udp.srcport"]
            destination = row["ip.dst"], row["tcp.dstport"] or row["udp.dstport"]
            direction = str(int(row["frame.packet_flags_direction"], 0))
            ways[direction].add((source, destination) if direction == "1" else (destination, source))
        assert ways["1"] == ways["2"]
        assert len(ways["1"]) == 3


def test_tshark_has_no_complaint(read_by_tshark):
    for rows, complaints in read_by_tshark.values():
        assert complaints == []
        assert {row["_ws.expert.message"] for row in rows if "hecksum" in row["_ws.expert.message"]} == set()


def test_tshark_s_streams_are_our_connections(runs, read_by_tshark):
    for link, (rows, _) in runs.items():
        frames = {row["frame.number"]: row for row in read_by_tshark[link][0]}
        streams = defaultdict(set)
        for row in rows:
            frame = frames[str(row["frame"])]
            if row["protocol"] == "tcp" and row["rule"] == "connection":
                streams[frame["tcp.stream"]].add(row["socket"])
        assert sorted(map(sorted, streams.values())) == [["P4"], ["P5"], ["P6"]]


def test_the_comment_says_what_the_table_says(runs, read_by_tshark):
    for link, (rows, _) in runs.items():
        comments = {row["frame.number"]: row["frame.comment"] for row in read_by_tshark[link][0]}
        for row in rows:
            assert comments[str(row["frame"])].startswith(f"→ {row['socket']}: {row['rule']} ")
        assert comments["9"] == (
            "→ P5: connection 10.9.0.30:9157 → 10.9.0.20:80; "
            "port 80's listener web lost: the 4-tuple is more specific; P4 lost: its peer is 10.9.0.10:9157"
        )


def test_tcpdump_and_the_libraries_read_every_frame(runs, need_tool):
    need_tool("tcpdump")
    import dpkt

    for _, capture in runs.values():
        done = subprocess.run(
            ["tcpdump", "-nn", "-r", str(capture)], capture_output=True, text=True, check=True
        )
        with capture.open("rb") as file:
            frames = [data for _, data in dpkt.pcapng.Reader(file)]
        assert len(done.stdout.splitlines()) == len(frames) == 20


@pytest.fixture
def open_folder():
    """A folder that every user may write to; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_an_ordinary_user_gets_the_best_link_and_its_name(open_folder, as_ordinary_user):
    done = as_ordinary_user(
        [*COMMAND, "run", "--captures", open_folder], env={**os.environ, "HOME": "/nonexistent"}
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("link: ")
    [capture] = open_folder.iterdir()
    assert capture.stat().st_uid != 0


def test_under_sudo_the_capture_belongs_to_the_user_who_called_sudo(open_folder, need_root):
    script = "import os, sys; os.environ.update(SUDO_UID='65534', SUDO_GID='65534')\n"
    script += "from demuxlab.cli.main import main\n"
    script += f"main(['run', '--link', 'loopback', '--captures', {str(open_folder)!r}])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rights dropped: now user 65534" in done.stderr
    [capture] = open_folder.iterdir()
    assert (capture.stat().st_uid, capture.stat().st_gid) == (65534, 65534)
