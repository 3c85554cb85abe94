"""From a capture to its story: who is there, who got what, and what a hostile file cannot do."""

import pytest
from tests.report.captures import A, B, C, reference, tcp_packet, told, udp_packet, write

from demuxlab.labkit.runner import load
from demuxlab.recording.recorder import open_recorder
from demuxlab.report import figures, story_builder
from demuxlab.report.insights import insights


def test_the_demultiplexing_figure_has_its_hosts_and_sockets(repository):
    story = reference(repository, "04_tcp_four_tuple")
    assert story.title == "04_tcp_four_tuple over memory"
    assert story.hosts == {"A": [A], "B": [B], "C": [C]}
    sockets = [(queue.name, queue.kind, queue.local, queue.remote) for queue in story.queues]
    assert sockets == [
        ("web", "listening", "0.0.0.0:80", ""),
        ("P4", "data", f"{B}:80", f"{A}:9157"),
        ("P5", "data", f"{B}:80", f"{C}:9157"),
        ("P6 listening", "listening", "0.0.0.0:8089", ""),
        ("P6", "data", f"{B}:8089", f"{C}:5775"),
        ("P6", "UDP", f"{B}:8089", ""),
    ]


def test_an_answer_starts_at_the_socket_that_sent_it(repository):
    story = reference(repository, "04_tcp_four_tuple")
    senders = {segment.number: segment.sender.name for segment in story.segments if segment.sender}
    assert senders == {
        2: "P4",
        5: "P4",
        6: "P4",
        8: "P5",
        11: "P5",
        12: "P5",
        14: "P6",
        17: "P6",
        18: "P6",
        20: "P6",
    }
    assert story.segments[19].sender.kind == "UDP"


def test_whose_socket_connected_is_a_client(repository):
    kinds = {queue.name: queue.kind for queue in reference(repository, "06_three_kinds_of_socket").queues}
    assert {kinds["listening"], kinds["data 1"], kinds["client 1"]} == {"listening", "data", "client"}


def test_an_icmp_error_goes_back_from_the_port_that_it_is_about(repository):
    story = reference(repository, "03_udp_two_tuple")
    refused, error = story.segments[10:12]
    assert error.label == "ICMP port unreachable"
    assert (error.source, error.destination) == (refused.destination, refused.source)


def test_a_full_capture_shows_each_segment_once_and_what_waited(repository, tmp_path):
    from demuxlab import course
    from demuxlab.labkit.lab import Lab
    from demuxlab.links.memory import MemoryLink

    path = tmp_path / "full.pcapng"
    recorder = open_recorder(path, comment="demuxlab 07 over memory", link="memory", kind="full")
    folder = course.find("07")
    lab = Lab(folder.name, MemoryLink(), recorder, lambda _line: None)
    load(folder)(lab)
    lab.finish()
    recorder.close()
    story = told(path)
    assert len(story.segments) == len(reference(repository, "07_stream_to_segments").segments)
    [p4] = [queue for queue in story.queues if queue.name == "P4"]
    assert [depth.waiting for depth in p4.depths][:5] == [0, 1460, 2920, 4380, 5000]


def test_a_capture_of_anybodys_has_inferred_sockets(tmp_path):
    frames = [
        (tcp_packet((A, 40000), (B, 80), 0x02), {}),
        (tcp_packet((B, 80), (A, 40000), 0x12), {}),
        (tcp_packet((A, 40000), (B, 80), 0x10, b"hi"), {}),
        (udp_packet((A, 5000), (B, 53), b"who?"), {}),
        (udp_packet((B, 53), (A, 5000), b"me"), {}),
        (udp_packet((A, 5001), (B, 514), b"not answered"), {}),
        (tcp_packet((C, 7), (B, 81), 0x02), {}),
        (tcp_packet((B, 81), (C, 7), 0x14), {}),
    ]
    story = told(write(tmp_path / "foreign.pcapng", frames, comment=""))
    assert not story.decided
    assert [(queue.kind, queue.local) for queue in story.queues] == [
        ("client", f"{A}:40000"),
        ("listening", f"{B}:80"),
        ("data", f"{B}:80"),
        ("UDP", f"{A}:5000"),
        ("UDP", f"{B}:53"),
    ], "port 81 answered with RST, port 514 not at all: there is no socket to be seen"


def test_the_story_ends_after_500_segments(tmp_path):
    frames = [
        (udp_packet((A, 1024 + n), (B, 53)), {"comment": f"→ Q{n}: two-tuple x takes y"}) for n in range(510)
    ]
    story = told(write(tmp_path / "long.pcapng", frames))
    assert story.capped
    assert len(story.segments) == len(story.queues) == 500
    story = told(write(tmp_path / "just.pcapng", frames[:500]))
    assert not story.capped


def test_what_has_no_ports_is_counted(tmp_path):
    story = told(write(tmp_path / "odd.pcapng", [(b"\x45", {})] * 30))
    assert not story.segments
    assert story.unreadable == {"truncated IPv4 header": 30}


def test_texts_are_cut_and_cleaned(tmp_path):
    name = "x\x00\x1b[31m\u202e" + "y" * 500
    path = write(tmp_path / "c.pcapng", [(udp_packet((A, 1), (B, 2)), {"comment": f"→ {name}: anything"})])
    [queue] = told(path).queues
    assert queue.name.startswith("x��[31m�yyy")
    assert len(queue.name) == 60


def test_a_capture_cut_in_the_middle_tells_its_first_part(repository, tmp_path):
    whole = (repository / "captures" / "04_tcp_four_tuple.pcapng").read_bytes()
    path = tmp_path / "cut.pcapng"
    path.write_bytes(whole[:1510])
    story = told(path)
    assert "cut at byte 1510" in story.damage
    assert 0 < len(story.segments) < 20


@pytest.mark.parametrize("seed", range(20))
def test_damaged_captures_tell_a_story_too(repository, tmp_path, seed):
    import random

    from demuxlab.report import page

    chance = random.Random(seed)
    data = bytearray((repository / "captures" / "13_unmatched_and_hostile.pcapng").read_bytes())
    for _ in range(40):
        data[chance.randrange(200, len(data))] = chance.randrange(256)
    path = tmp_path / "damaged.pcapng"
    path.write_bytes(data)
    assert page.html(told(path)).endswith("</html>")


def test_a_claimed_length_costs_no_memory(tmp_path):
    from demuxlab.capture.reader import Frame

    story = story_builder._StoryBuilder("x", {})
    story.frame(Frame(1, 0.0, 101, udp_packet((A, 1), (B, 2)), 0xFFFFFFFF))
    assert len(story.finish().segments) == 1


def test_answers_come_from_the_socket_of_their_address_and_icmp_errors_from_none(repository):
    """Lab 03: P1 and P2 share port 8080 on two addresses, and the host itself sends frames 12 and 14."""
    story = reference(repository, "03_udp_two_tuple")
    senders = {segment.number: segment.sender.name if segment.sender else None for segment in story.segments}
    assert [senders[number] for number in (4, 10, 12, 14)] == ["P1", "P2", None, None]


def test_quic_s_connection_ids_and_the_capture_s_own_comments_are_shown(repository):
    crafted, real = (
        {segment.number: segment for segment in reference(repository, name).segments}
        for name in ("16_when_the_4_tuple_changes", "16_real_quic")
    )
    first, second = "QUIC c0ffee00c0ffee00", "QUIC 00a1a1a1a1a1a1a1"
    # Nobody on the way knows the ID that was issued under encryption.
    assert [crafted[number].label for number in range(8, 15)] == [
        *(first, "QUIC 0c0c0c0c", second, second),
        *("UDP", "UDP", "UDP"),
    ]
    assert figures.printable_data(crafted[12]) == "40 00 b2 b2 b2 b2 b2 b2 b2 00 00 00 00 00 00 00 …"
    assert figures.printable_data(crafted[4]) == "at home"
    assert (real[14].comment, crafted[9].comment) == ("C1; retires 8ad6cd630cbb2080", "")
    said = insights(reference(repository, "16_when_the_4_tuple_changes"))
    assert "A QUIC connection goes on although its 4-tuple changes" in said[-1]
    assert not any("requests of 2 clients" in sentence for sentence in said)
