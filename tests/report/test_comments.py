"""What is read out of comments is what `Delivery.explain` put there; of anybody else's, nothing."""

import pytest

from demuxlab.report.comments import Decision, Loser, in_words, parse, why_in_words

CONNECTION = (
    "→ P5: connection 10.9.0.30:9157 → 10.9.0.20:80; port 80's listener web lost: the 4-tuple is more "
    "specific; P4 lost: its peer is 10.9.0.10:9157"
)


def test_a_delivery_names_socket_rule_and_losers():
    assert parse(CONNECTION) == Decision(
        "delivered",
        "P5",
        "connection",
        "10.9.0.30:9157 → 10.9.0.20:80",
        losers=(
            Loser("port 80's listener web", "web", "the 4-tuple is more specific"),
            Loser("P4", "P4", "its peer is 10.9.0.10:9157"),
        ),
    )


@pytest.mark.parametrize(
    ("comment", "verdict", "socket", "rule", "answer"),
    [
        (
            "→ web: wildcard listener 0.0.0.0:80 takes 10.9.0.20:80",
            "delivered",
            "web",
            "wildcard listener",
            "",
        ),
        ("→ a: b: two-tuple 10.9.0.20:80 takes 10.9.0.20:80", "delivered", "a: b", "two-tuple", ""),
        ("→ P1: a copy each to P1, P2: 224.0.0.1:5353", "delivered", "P1", "a copy each to", ""),
        ("→ P1: anything a learner's rule says", "delivered", "P1", "", ""),
        ("✗ queue full: P1: two-tuple 1.2.3.4:5 takes 1.2.3.4:5", "queue-full", "P1", "two-tuple", ""),
        ("✗ no tcp socket for 10.9.0.20:25; answered with RST", "no-socket", "", "", "rst"),
        ("✗ no udp socket for [fd09::2]:25; not answered", "no-socket", "", "", ""),
        (
            "✗ no udp socket for 1.2.3.4:5; answered with ICMP port unreachable; P3 lost: its address is ::1",
            "no-socket",
            "",
            "",
            "port-unreachable",
        ),
        ("✗ malformed: wrong TCP checksum", "malformed", "", "", ""),
        ("✗ not-ours", "not-ours", "", "", ""),
        ("↷ forwarded by tcp 192.168.0.1:80 → 192.168.0.1:8080", "forwarded", "", "", ""),
    ],
)
def test_every_kind_of_decision_is_read(comment, verdict, socket, rule, answer):
    decision = parse(comment)
    read = decision.verdict, decision.socket, decision.rule, decision.answer
    assert read == (verdict, socket, rule, answer)
    assert in_words(decision, "tcp", "10.9.0.30:1", "10.9.0.20:2")


@pytest.mark.parametrize(
    "comment", ["", "sent: [SA] seq=1 ack=2", "a note of mine → there", "✗", "→ ", "→ P1:"]
)
def test_what_is_no_decision_is_none(comment):
    assert parse(comment) is None


def test_reasons_keep_their_values():
    assert why_in_words("its peer is 10.9.0.10:9157") == "its peer is 10.9.0.10:9157"
    assert why_in_words("{what} is this") == "{what} is this"


def test_every_reference_capture_is_understood(repository):
    from tests.report.captures import REFERENCES

    from demuxlab.capture.reader import Capture

    for name in REFERENCES:
        with Capture(repository / "captures" / f"{name}.pcapng") as frames:
            for frame in frames:
                assert parse(frame.comment) or frame.comment.startswith("sent: "), frame.comment
