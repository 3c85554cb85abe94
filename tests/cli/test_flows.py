"""`demuxlab flows` as a script calls it."""

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest
from tests.flows import zoo

from demuxlab.cli.main import main
from demuxlab.flows.count import count

CONTENT = zoo.pcap(records=[
    (5, 0, zoo.tcp4(1, 2, b""), 60), (5, 1, zoo.tcp4(2, 1, b""), 40), (6, 0, zoo.udp6(3, 4), 53),
    (7, 0, zoo.tcp4(1, 2, b""), 40), (8, 0, zoo.icmp4(1, 2), 73), (9, 0, zoo.tcp4(1, 2)[:30], 45),
])  # fmt: skip
JSON = [
    {"protocol": "tcp", "a": ["10.0.0.1", 1001], "b": ["10.0.0.2", 1002],
     "packets_ab": 2, "bytes_ab": 100, "packets_ba": 1, "bytes_ba": 40},
    {"protocol": "udp", "a": ["fd09::3", 1003], "b": ["fd09::4", 1004],
     "packets_ab": 1, "bytes_ab": 53, "packets_ba": 0, "bytes_ba": 0},
]  # fmt: skip

NO_CLUSTER = "no cluster answers" if importlib.util.find_spec("distributed") else "Dask is not installed"


@pytest.fixture
def flows(capsys, tmp_path, monkeypatch):
    """`flows("x.pcap")` → (exit status, standard output, standard error), in a folder with captures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pcap").write_bytes(CONTENT)
    (tmp_path / "cut.pcap").write_bytes(CONTENT[:-3])
    (tmp_path / "x.gz").write_bytes(gzip.compress(CONTENT))
    (tmp_path / "text").write_text("not a capture at all")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["flows", *arguments])
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


def objects(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("name", ["x.pcap", "x.gz"])
def test_json(flows, name):
    status, out, err = flows(name, "--json")
    assert (status, objects(out)) == (0, JSON)
    assert err == (
        "packets: 6, conversations: 2\n"
        "of no conversation: 2 (1 ICMP port unreachable, 1 headers cut or damaged)\n"
    )


def test_a_table(flows):
    status, out, _err = flows("x.pcap")
    assert status == 0
    assert "tcp" in out
    assert "10.0.0.1:1001" in out
    assert "[fd09::4]:1004" in out


def test_a_table_says_what_it_does_not_show(flows, tmp_path):
    frames = [zoo.udp4(1 + number, 200) for number in range(50)]
    (tmp_path / "many.pcap").write_bytes(zoo.pcap(records=[(5, 0, frame, 40) for frame in frames]))
    _status, out, _err = flows("many.pcap")
    assert "40 of 50 conversations, those of most bytes: --json lists all" in out
    assert len(objects(flows("many.pcap", "--json")[1])) == 50


def test_several_are_merged(flows):
    status, out, _err = flows("x.pcap", "x.gz", "--json")
    assert status == 0
    assert [row["packets_ab"] for row in objects(out)] == [4, 2]


def test_a_cut_capture_is_used_up_to_the_cut(flows):
    status, out, err = flows("cut.pcap", "x.pcap", "--json")
    assert status == 1
    assert [row["packets_ab"] for row in objects(out)] == [4, 2]
    assert "demuxlab: cut.pcap: cut at byte" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text",), "text is not a pcap or pcapng file"),
        (("x.pcap", "text"), "text is not a pcap or pcapng file"),
        (("missing.pcap",), "there is no file missing.pcap"),
        ((".",), ". is a directory"),
        ((), "Missing argument"),
        (("-", "--cluster", "local"), "standard input is not on the cluster"),
        (("x.pcap", "--cluster", "tcp://127.0.0.1:1"), NO_CLUSTER),
    ],
)
def test_wrong_calls(flows, arguments, message):
    status, out, err = flows(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_pipe(tmp_path):
    called = subprocess.run(
        [sys.executable, "-m", "demuxlab", "flows", "-", "--json"],
        input=CONTENT, capture_output=True, check=True,
    )  # fmt: skip
    assert objects(called.stdout.decode()) == JSON


def test_ctrl_c_while_it_waits_for_a_pipe():
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "demuxlab", "flows", "-"],
        stdin=reader, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(reader)
    os.write(writer, CONTENT[:100])
    # It reads what was written once it is under way.
    os.write(writer, bytes(65536))
    os.write(writer, bytes(65536))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    os.close(writer)
    assert (process.returncode, out, err.strip()) == (130, "", "demuxlab: interrupted")


def test_a_cluster(flows):
    pytest.importorskip("distributed")
    called = subprocess.run(
        [sys.executable, "-m", "demuxlab", "flows", "x.gz", "x.pcap", "--json", "--cluster", "local"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert called.stdout == flows("x.pcap", "x.gz", "--json")[1]


@pytest.mark.parametrize("engine", zoo.ENGINES)
@pytest.mark.parametrize("linktype", [1, 101])
def test_a_quic_connection_is_followed(tmp_path, engine, linktype):
    """The client's address changes behind a translator; the server's connection ID stays."""
    from tests.flows import zoo
    from tests.report.cases import CLIENT, SERVER, datagram

    def long(destination, source):
        ids = (bytes((len(each),)) + each for each in (destination, source))
        return b"\xc0\0\0\0\1" + b"".join(ids) + bytes(1200)

    def short(destination):
        return b"\x40" + destination + bytes(30)

    there, moved = (CLIENT, SERVER, (50000, 443)), ("203.0.113.77", SERVER, (61000, 443))
    back = (SERVER, CLIENT, (443, 50000))
    packets = [
        datagram(*there, long(b"ORIGINAL", b"CLIENT01")),
        datagram(*back, long(b"CLIENT01", b"RETRY001")),  # a Retry packet, then the server's own ID
        datagram(*there, long(b"RETRY001", b"CLIENT01")),
        datagram(*back, long(b"CLIENT01", b"SERVER02")),
        datagram(*there, short(b"SERVER02")),
        datagram(*moved, short(b"SERVER02")),
        datagram("203.0.113.99", SERVER, (61001, 443), short(b"SERVER99")),
    ]
    path = tmp_path / "quic.pcap"
    records = [(n, 0, zoo.framed(linktype, packet), len(packet)) for n, packet in enumerate(packets)]
    path.write_bytes(zoo.pcap(linktype=linktype, records=records))
    assert count(path, engine).moved == [
        (f"{CLIENT}:50000 → {SERVER}:443", f"203.0.113.77:61000 → {SERVER}:443")
    ]
