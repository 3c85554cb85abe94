"""The picture in the handout is drawn from the run; the real packets are as tshark reads them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import solutions
from tests.labs import real_quic
from tests.labs.runs import ROOT
from tests.labs.test_replay import module
from wcwidth import wcswidth

from demuxlab.capture.reader import Capture
from demuxlab.wire import packet

_ROW = re.compile(r"^ +(\d+) │ (\S+) +│ (\w{16}) │──▶ (.+?) +──▶ (.+?)$", re.MULTILINE)


def datagrams(name):
    with Capture(ROOT / "captures" / f"{name}.pcapng") as capture:
        return {frame.number: (packet.read(frame.data), frame.comment) for frame in capture}


def test_each_datagram_has_its_sender_its_id_and_its_connection(decisions, figures):
    sent = datagrams("16_when_the_4_tuple_changes")
    arrived = [row for row in decisions if row["protocol"] == "udp"]
    expected, of_sender, ids = [], {}, set()
    for row in arrived[:5]:
        data = sent[row["frame"]][0].payload
        number = data[6:14] if data[0] & 0x80 else data[1:9]
        sender = "{}:{}".format(*row["source"])
        by_tuple = f"as frame {of_sender[sender]}" if sender in of_sender else "not found"
        if data[0] & 0x80:
            # The answer has the server's first ID. The second comes in NEW_CONNECTION_ID: encrypted.
            answer = sent[row["frame"] + 1][0].payload
            ids |= {number, answer[11:19], bytes.fromhex("00b2b2b2b2b2b2b2")}
            of_sender[sender], by_tuple = row["frame"], "new"
        by_id = "not found" if number not in ids else "C1 (new)" if data[0] & 0x80 else "C1"
        assert (by_id == "not found") == (row["frame"] == 13)  # frame 14 is the stateless reset
        expected.append((str(row["frame"]), sender, number.hex(), by_tuple, by_id))
    for figure in figures:
        assert _ROW.findall(figure) == expected
        [(hashed, first, lost)] = re.findall(r"hash of (\S+) ─+▶ (\S+)  (\d+)  not found", figure)
        [(byte, second, kept)] = re.findall(r"first byte of the ID: (\w\w) ─+▶ (\S+)  (\d+)  C1", figure)
        to_one, to_other = arrived[5:]
        assert hashed == "{}:{}".format(*to_one["source"])
        assert (first, int(lost)) == (to_one["host"], to_one["frame"])
        assert (second, int(kept)) == (to_other["host"], to_other["frame"])
        assert sent[int(kept)][0].payload[1:2].hex() == byte


def test_tshark_reads_the_same_ids_and_connections_from_real_packets(need_tool):
    """The stored capture, whose comments the exercise's last check but one believes."""
    judged(need_tool, real_quic.CAPTURE)


def test_tshark_agrees_about_connections_that_aioquic_has_just_made(need_tool, tmp_path, monkeypatch):
    pytest.importorskip("aioquic", reason="aioquic is not installed (extra judges)")
    need_tool("editcap")
    monkeypatch.setattr(real_quic, "CAPTURE", tmp_path / "new.pcapng")
    real_quic.main()
    judged(need_tool, tmp_path / "new.pcapng")


def judged(need_tool, capture: Path) -> None:
    """Compare IDs and connections of what went to the server with tshark's, which has the keys."""
    need_tool("tshark")
    reference = module(solutions.folder("16") / "reference.py")
    columns = ("frame.number", "udp.payload", "quic.dcid", "quic.connection.number", "frame.comment")
    fields = [part for name in columns for part in ("-e", name)]
    command = [
        "tshark",
        "-r",
        capture,
        "-Y",
        "udp.dstport == 443",
        "-T",
        "fields",
        "-E",
        "occurrence=f",
        *fields,
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) > 10
    connections = {}
    for _, payload, dcid, number, comment in rows:
        assert reference.destination_id(bytes.fromhex(payload), 8).hex() == dcid
        if comment.startswith("C"):
            connections.setdefault(comment[:2], set()).add(number)
    assert len(connections) == 2
    assert all(len(numbers) == 1 for numbers in connections.values())
    assert connections["C1"] != connections["C2"]


KEEP_ALIVE = ROOT / "labs" / "16_when_the_4_tuple_changes" / "keep_alive.py"


@pytest.mark.parametrize("spoken", ["en", "ko"])
def test_requests_have_a_connection_each_and_then_share_one(spoken):
    environment = {**os.environ, "LANGUAGE": spoken, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, KEEP_ALIVE], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    rows = re.findall(r"^(\S+|stream \d) +(\S+:\d+) +(\S+:\d+) +(data \d)$", done.stdout, re.MULTILINE)
    paths = ["/index.html", "/style.css", "/logo.png"]
    assert [row[0] for row in rows] == [*paths, *paths, "stream 1", "stream 3", "stream 5"]
    assert [len({row[1:3] for row in rows[first : first + 3]}) for first in (0, 3, 6)] == [3, 1, 1]
    assert [row[3][-1] for row in rows] == list("123444555")
    assert [line[2] for line in lines if line[:2] == "  "] == ["✓"] * 3
    assert lines[-1].endswith(": HEADERS 1, HEADERS 3, HEADERS 5, DATA 1, DATA 3, DATA 5")
    assert max(map(wcswidth, lines)) <= 80


@pytest.mark.parametrize(
    ("option", "requests"),
    # curl 7.88 does not reuse a connection of HTTP/2 without TLS: one page.
    [("--http1.1", ["/one", "/two"]), ("--http2-prior-knowledge", ["stream 1"])],
)
def test_curl_takes_the_handouts_server_for_one(need_tool, option, requests):
    need_tool("curl")
    server = module(KEEP_ALIVE).Server()
    pages = [f"http://127.0.0.1:{server.server_port}/{name}" for name in ("one", "two")][: len(requests)]
    command = ["curl", "-sS", "--max-time", "20", option, *pages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    server.shutdown()
    server.server_close()
    if "not support" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert [row[0] for row in server.rows] == requests
    assert len({row[1:] for row in server.rows}) == 1
