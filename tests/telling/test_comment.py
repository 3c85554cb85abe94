"""The comment of a packet: what is written is read back, and of anybody else's text nothing is invented."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demuxlab.demux.protocols import PROTOCOLS
from demuxlab.demux.verdicts import Reason, Reply, Rule, Verdict
from demuxlab.telling import comment, reasons, sentences
from demuxlab.telling.decision import Decision, Loser

# Whatever is decided comes back

NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(
        [
            *(
                "one: of two",
                "two; of two",
                "a, b",
                "100%",
                "%3B",
                " ",
                "x lost: y",
                "line\nbreak",
                "웹 서버",
            ),
            *("port 80's listener web", "10.9.0.20 listener", "5 listener", "listener", "socket 7"),
            *("a: two-tuple 10.9.0.20:80 takes 10.9.0.20:80", "a copy each to b", "queue full: c", "→"),
        ]
    ),
)
ENDPOINTS = st.sampled_from(["10.9.0.20:80", "0.0.0.0:53", "[fd09::2]:65535", "[::ffff:10.9.0.2]:1"])
ADDRESSES = st.sampled_from(["10.9.0.20", "fd09::2", "::"])
REPLIES = st.sampled_from([None, *Reply])
DETAILS = {Reason.OTHER_DEVICE: NAMES, Reason.OTHER_PEER: ENDPOINTS, Reason.OTHER_ADDRESS: ADDRESSES}
KNOWN = st.sampled_from(Reason).flatmap(
    lambda reason: st.tuples(st.just(reason), DETAILS.get(reason, st.just("")))
)
UNKNOWN = st.tuples(st.none(), NAMES.filter(lambda text: reasons.read(text)[0] is None))
LOSERS = st.one_of(
    st.builds(lambda name, why: Loser(name, *why), NAMES, st.one_of(KNOWN, UNKNOWN)),
    st.builds(
        lambda name, why, place: Loser(name, *why, place),
        st.one_of(st.just(""), NAMES),
        KNOWN,
        st.one_of(st.integers(1, 65535).map("port {}".format), ADDRESSES),
    ),
)
MANY_LOSERS = st.lists(LOSERS, max_size=8).map(tuple)
REACHED = st.sampled_from([Verdict.DELIVERED, Verdict.QUEUE_FULL])
MORE = {"reply": REPLIES, "losers": MANY_LOSERS}
BY_SOURCE = st.sampled_from([protocol.connected for protocol in PROTOCOLS.values()])
BY_DESTINATION = st.sampled_from([rule for p in PROTOCOLS.values() for rule in (p.specific, p.wildcard)])
DECISIONS = st.one_of(
    st.builds(Decision, REACHED, NAMES, BY_SOURCE, ENDPOINTS, ENDPOINTS, **MORE),
    st.builds(Decision, REACHED, NAMES, BY_DESTINATION, st.just(""), ENDPOINTS, ENDPOINTS, **MORE),
    st.builds(
        Decision,
        *(REACHED, NAMES, st.just(Rule.COPY), st.just(""), ENDPOINTS, st.just("")),
        copies=st.lists(NAMES, min_size=1, max_size=4).map(tuple),
        **MORE,
    ),
    st.builds(
        Decision,
        st.just(Verdict.NO_SOCKET),
        destination=ENDPOINTS,
        protocol=st.sampled_from(["tcp", "udp"]),
        **MORE,
    ),
    st.builds(
        Decision,
        st.sampled_from([Verdict.MALFORMED, Verdict.NOT_TRANSPORT, Verdict.NOT_OURS]),
        reason=st.one_of(st.just(""), NAMES),
    ),
    st.builds(Decision, st.just(Verdict.FORWARDED), forwarded_by=NAMES),
)


@given(DECISIONS)
@example(Decision(Verdict.DELIVERED, "a", Rule.COPY, "", "224.0.0.1:1", copies=("a", "b: c", "d, e")))
def test_a_decision_comes_back_from_its_comment(decision):
    assert comment.read(comment.write(decision)) == decision


@given(DECISIONS)
def test_a_decision_can_be_said_to_people(decision):
    assert sentences.of(decision, "tcp", "10.9.0.30:1", "10.9.0.20:2")
    assert all(isinstance(comment.candidate(loser), str) for loser in decision.losers)


def test_every_reason_has_a_clause_of_its_own():
    clauses = {reasons.write(reason, "x", str.format) for reason in Reason}
    assert len(clauses) == len(Reason)


@given(st.text())
def test_any_text_is_a_decision_or_none(text):
    decision = comment.read(text)
    assert decision is None or isinstance(decision.verdict, Verdict)


@pytest.mark.parametrize("start", ["→ ", "✗ no tcp socket for 1.2.3.4:5; "])
@pytest.mark.parametrize("piece", ["a:", ": ", "; ", "::", "%", " listener ", " lost: ", "in x: "])
def test_a_long_hostile_comment_is_read_at_once(start, piece):
    comment.read(start + piece * 20_000)
    comment.read_waiting(start + piece * 20_000)


# The format stays what it was


def test_a_delivery_names_socket_rule_and_losers():
    text = (
        "→ P5: connection 10.9.0.30:9157 → 10.9.0.20:80; port 80's listener web lost: the 4-tuple is more "
        "specific; P4 lost: its peer is 10.9.0.10:9157"
    )
    decision = Decision(
        Verdict.DELIVERED,
        "P5",
        Rule.CONNECTION,
        "10.9.0.30:9157",
        "10.9.0.20:80",
        losers=(
            Loser("web", Reason.FOUR_TUPLE, listens_on="port 80"),
            Loser("P4", Reason.OTHER_PEER, "10.9.0.10:9157"),
        ),
    )
    assert comment.write(decision) == text
    assert comment.read(text) == decision
    assert [*map(comment.candidate, decision.losers)] == ["port 80's listener web", "P4"]


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        (
            "→ web: wildcard listener 0.0.0.0:80 takes 10.9.0.20:80",
            Decision(Verdict.DELIVERED, "web", Rule.WILDCARD_LISTENER, "", "10.9.0.20:80", "0.0.0.0:80"),
        ),
        (
            "✗ queue full: P1: two-tuple 1.2.3.4:5 takes 1.2.3.4:5",
            Decision(Verdict.QUEUE_FULL, "P1", Rule.TWO_TUPLE, "", "1.2.3.4:5", "1.2.3.4:5"),
        ),
        (
            "→ P1: a copy each to P1, P2: 224.0.0.1:5353",
            Decision(Verdict.DELIVERED, "P1", Rule.COPY, "", "224.0.0.1:5353", copies=("P1", "P2")),
        ),
        (
            "→ w: listener 1.2.3.4:5 takes 1.2.3.4:5; answered with RST: it acknowledges what was never sent",
            Decision(Verdict.DELIVERED, "w", Rule.LISTENER, "", "1.2.3.4:5", "1.2.3.4:5", reply=Reply.RST),
        ),
        (
            "✗ no tcp socket for 10.9.0.20:25; answered with RST",
            Decision(Verdict.NO_SOCKET, destination="10.9.0.20:25", protocol="tcp", reply=Reply.RST),
        ),
        (
            "✗ no udp socket for [fd09::2]:25; not answered",
            Decision(Verdict.NO_SOCKET, destination="[fd09::2]:25", protocol="udp"),
        ),
        (
            "✗ no udp socket for 1.2.3.4:5; answered with ICMP port unreachable; P3 lost: its address is ::1",
            Decision(
                Verdict.NO_SOCKET,
                destination="1.2.3.4:5",
                protocol="udp",
                reply=Reply.PORT_UNREACHABLE,
                losers=(Loser("P3", Reason.OTHER_ADDRESS, "::1"),),
            ),
        ),
        ("✗ malformed: wrong TCP checksum", Decision(Verdict.MALFORMED, reason="wrong TCP checksum")),
        ("✗ not-ours", Decision(Verdict.NOT_OURS)),
        (
            "↷ forwarded by tcp 192.168.0.1:80 → 192.168.0.1:8080",
            Decision(Verdict.FORWARDED, forwarded_by="tcp 192.168.0.1:80 → 192.168.0.1:8080"),
        ),
    ],
)
def test_the_words_of_each_kind(text, decision):
    assert comment.read(text) == decision
    assert comment.write(decision) == text


def test_every_reference_capture_is_understood(repository):
    """To the byte: what is read from a capture of the project is written again as it stands there."""
    from tests.report.captures import REFERENCES

    from demuxlab.capture.reader import Capture

    of_a_run = [name for name in REFERENCES if (repository / "labs" / name).is_dir()]
    assert len(of_a_run) >= 16
    for name in of_a_run:
        with Capture(repository / "captures" / f"{name}.pcapng") as frames:
            for frame in frames:
                if frame.comment.startswith("sent: "):
                    continue
                decision = comment.read(frame.comment)
                assert decision is not None, frame.comment
                assert all(loser.reason for loser in decision.losers), frame.comment
                assert comment.write(decision) == frame.comment


# Older captures, and anybody's


def test_an_older_capture_s_name_may_have_a_colon():
    decision = comment.read("→ a: b: two-tuple 10.9.0.20:80 takes 10.9.0.20:80")
    assert (decision.socket, decision.rule) == ("a: b", Rule.TWO_TUPLE)


def test_what_a_rule_of_someone_else_s_says_is_kept():
    decision = comment.read("→ P1: anything that is matched; P2 lost: for another reason; what is this?")
    assert (decision.socket, decision.rule, decision.reason) == ("P1", None, "anything that is matched")
    assert decision.losers == (Loser("P2", None, "for another reason"), Loser("what is this?", None))


@pytest.mark.parametrize("text", ["", "sent: [SA] seq=1 ack=2", "a note of mine → there", "✗", "→ ", "→ P1:"])
def test_what_is_no_decision_is_none(text):
    assert comment.read(text) is None


# What waits in a queue


@given(NAMES, st.integers(-1, 10**9), st.sampled_from(["byte", "datagram", "connection"]))
def test_what_waits_comes_back(name, waiting, unit):
    read = comment.read_waiting(comment.write_waiting(f"{name} (queue 4)", waiting, unit))
    assert read == (None if waiting < 0 else waiting)
