"""`demuxlab report` as it is called: a page or a figure, in one step, and one line for what is wrong."""

from functools import partial

import pytest


@pytest.fixture
def call(command_line, monkeypatch, tmp_path):
    """`call(…)` → (exit status, standard output, standard error), in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return partial(command_line, "report")


@pytest.fixture
def capture(repository):
    return repository / "captures" / "04_tcp_four_tuple.pcapng"


def test_the_page_has_the_capture_s_name_and_lies_here(call, capture, tmp_path):
    assert call(capture) == (0, "report: 04_tcp_four_tuple.html\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["04_tcp_four_tuple.html"]
    assert call(capture)[0] == 0, "a report is made again over the old one"


def test_it_goes_where_it_is_wanted_in_either_language(call, capture, tmp_path):
    status, out, _ = call(capture, "-o", tmp_path / "r.html", "--language", "ko")
    assert (status, out) == (0, f"보고서: {tmp_path / 'r.html'}\n")
    assert '<html lang="ko">' in (tmp_path / "r.html").read_text(encoding="utf-8")
    call(capture, "--language", "en")


def test_one_figure_alone(call, capture, tmp_path):
    assert call(capture, "--svg", "example")[0] == 0
    assert (tmp_path / "04_tcp_four_tuple-example.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_damaged_capture_has_its_report_and_a_line(call, capture, tmp_path):
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(capture.read_bytes()[:1510])
    status, out, err = call(cut)
    assert (status, out) == (1, "report: cut.html\n")
    assert err.startswith(f"demuxlab: {cut}: cut at byte 1510")
    assert "The capture is not whole: cut at byte 1510" in (tmp_path / "cut.html").read_text(encoding="utf-8")


def test_wrong_calls_end_with_one_line(call, capture, tmp_path):
    own = tmp_path / "own.pcapng"
    own.write_bytes(capture.read_bytes())
    text = tmp_path / "notes.txt"
    text.write_text("no capture")
    for arguments, said in (
        ([tmp_path / "none.pcap"], "there is no file"),
        ([text], "is not a pcap or pcapng file"),
        ([own, "-o", own], "is the capture itself"),
        ([own, "-o", tmp_path / "no" / "folder.html"], "No such file or directory"),
        ([own, "-o", tmp_path], "Is a directory"),
        ([own, "--svg", "moon"], "is not one of"),
    ):
        status, out, err = call(*arguments)
        assert (status, out) == (2, ""), arguments
        assert err.startswith("demuxlab: ")
        assert err.count("\n") == 1
        assert said in err
    assert own.read_bytes() == capture.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"own.pcapng", "notes.txt"}, "nothing half written"


def test_a_full_disk_leaves_no_half_file(call, capture, tmp_path, monkeypatch):
    from pathlib import Path

    def full(self, text, **options):
        self.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    status, _, err = call(capture)
    assert status == 2
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def two(tmp_path):
    """A capture of two connections between the same two ports."""
    from tests.flows import zoo
    from tests.report.cases import CASES

    path = tmp_path / "two.pcap"
    records = [(int(time), 0, packet, len(packet)) for time, packet in CASES["port reuse"]]
    path.write_bytes(zoo.pcap(records=records))
    return path


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ((), range(1, 17)),
        (("--conversation", "2"), range(9, 17)),
        (("--conversation", "198.51.100.80:80-192.0.2.7:50000"), range(1, 17)),
        (("--port", "50000", "--from", "4"), range(4, 17)),
        (("--tunnels", "inner"), range(1, 17)),
    ],
)
def test_what_is_drawn_can_be_chosen(call, two, tmp_path, options, frames):
    import re

    assert call(two, *options)[0] == 0
    written = (tmp_path / "two.html").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r'id="frame-(\d+)"', written)] == list(frames)


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_compressed_capture(call, two, tmp_path, packed):
    import gzip

    from tests.capture.test_reader import zstd

    pack = {"gzip": gzip.compress, "zstd": zstd.compress}[packed]
    path = tmp_path / "packed"
    path.write_bytes(pack(two.read_bytes()))
    assert call(path)[:2] == (0, "report: packed.html\n")


@pytest.mark.parametrize("wanted", ["x", "1.2.3.4:5", "1.2.3.4:5-x:6", "1.2.3.4:5-1.2.3.4:99999", "9"])
def test_a_conversation_that_is_not_there(call, two, wanted):
    status, _, err = call(two, "--conversation", wanted)
    assert (status, err.count("\n")) == (2, 1)


def test_of_many_segments_the_most_telling_conversation_is_drawn(call, tmp_path):
    from tests.flows import zoo
    from tests.report.cases import CLIENT, SERVER, connection, datagram

    packets = [datagram(CLIENT, SERVER, (1024 + n, 53), b"?") for n in range(600)]
    packets += [packet for _time, packet in connection()]
    path = tmp_path / "many.pcap"
    path.write_bytes(zoo.pcap(records=[(n, 0, packet, len(packet)) for n, packet in enumerate(packets)]))
    assert call(path)[0] == 0
    written = (tmp_path / "many.html").read_text(encoding="utf-8")
    assert "Drawn is conversation 601 of 601" in written
    assert 'id="frame-608"' in written
