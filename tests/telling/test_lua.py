"""The Lua script reads what `telling.comment` writes: every kind of decision, shown by tshark."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.report.captures import A, B, udp_packet, write

from demuxlab import wireshark
from demuxlab.demux.protocols import PROTOCOLS, RULES
from demuxlab.demux.verdicts import Reason, Reply, Rule, Verdict
from demuxlab.telling import comment
from demuxlab.telling.decision import CONNECTED_RULES, Decision, Loser

SCRIPT = Path(wireshark.__file__).parent / "demuxlab.lua"
FIELDS = ("socket", "rule", "key", "verdict", "reply", "reason", "losers", "sender", "queue", "waiting")
BETWEEN = "\x01"
"""Between the values of a field that a frame has several times: no text here has it."""
FAMILIES = (
    ("10.9.0.10:9157", "10.9.0.20:80", "0.0.0.0:80", "10.9.0.21"),
    ("[fd09::1]:9157", "[fd09::2]:80", "[::]:80", "fd09::3"),
)
NAMES = ("P4", "one: of two", "two; of two", "a, b", "100%", "port 80's listener web", "웹 서버", "→ x: copy")


def losers(source, address):
    """Return a loser for each reason, and those that are listening sockets."""
    details = {Reason.OTHER_PEER: source, Reason.OTHER_ADDRESS: address, Reason.OTHER_DEVICE: "eth0: a; b"}
    sockets = [NAMES[number % len(NAMES)] for number, _ in enumerate(Reason)]
    return (
        *(Loser(name, reason, details.get(reason, "")) for name, reason in zip(sockets, Reason, strict=True)),
        *(
            Loser(name, Reason.FOUR_TUPLE, "", place)
            for name in ("", *NAMES)
            for place in ("port 80", address)
        ),
        Loser("mine", None, "for a reason of its own"),
    )


def reached(source, destination, local):
    """Yield each kind of decision that names a socket, with any rule or one that is none of ours."""
    for number, name in enumerate(NAMES):
        yield Decision(Verdict.DELIVERED, name, None, reason="its own rule", reply=[None, *Reply][number % 3])
    for verdict in (Verdict.DELIVERED, Verdict.QUEUE_FULL):
        for reply in (None, *Reply):
            for rule in RULES:
                ends = (source, destination) if rule in CONNECTED_RULES else ("", destination, local)
                yield from (Decision(verdict, name, rule, *ends, reply=reply) for name in NAMES)
            copies = Decision(verdict, NAMES[0], Rule.COPY, "", destination, copies=NAMES, reply=reply)
            yield from (copies, Decision(verdict, NAMES[0], Rule.COPY, "", destination, copies=NAMES[:1]))


def every_kind():
    """Yield decisions of every verdict, rule, reply and reason, of IPv4 and of IPv6."""
    for source, destination, local, address in FAMILIES:
        for decision in reached(source, destination, local):
            yield from (decision, replace(decision, losers=losers(source, address)))
        for reply in (None, *Reply):
            for protocol in PROTOCOLS.values():
                nowhere = Decision(
                    Verdict.NO_SOCKET, destination=destination, protocol=protocol.name, reply=reply
                )
                yield from (nowhere, replace(nowhere, losers=losers(source, address)))
    for verdict in (Verdict.MALFORMED, Verdict.NOT_TRANSPORT, Verdict.NOT_OURS):
        yield from (Decision(verdict), Decision(verdict, reason="icmp type 3 code 1: a, b; c"))
    yield Decision(Verdict.FORWARDED, forwarded_by="tcp 192.168.0.1:80 → [fd09::2]:8080")


def expected(decision):
    """Return the fields of a decision: each a list of texts."""
    shown = {
        "socket": decision.copies or (decision.socket,),
        "rule": (decision.rule or decision.forwarded_by,),
        "key": (decision.key,),
        "verdict": (decision.verdict,),
        "reply": (decision.reply or "",),
        "reason": (decision.reason,),
        "losers": tuple(unquote(comment.write_loser(loser)) for loser in decision.losers),
    }
    return {name: [*filter(None, shown.get(name, ()))] for name in FIELDS}


@pytest.fixture
def lua_fields(need_tool, tmp_path):
    """`lua_fields(comments)`: the fields of a frame with each comment, of IPv4 and of IPv6 in turn."""
    need_tool("tshark")

    def read(comments):
        packets = udp_packet((A, 1), (B, 2)), udp_packet(("fd09::1", 1), ("fd09::2", 2))
        frames = [(packets[number % 2], {"comment": text}) for number, text in enumerate(comments)]
        shown = [word for name in FIELDS for word in ("-e", f"demux.{name}")]
        command = ("tshark", "-X", f"lua_script:{SCRIPT}", "-r", write(tmp_path / "every.pcapng", frames))
        table = ("-T", "fields", "-E", "occurrence=a", "-E", f"aggregator={BETWEEN}", *shown)
        environment = os.environ | {"HOME": str(tmp_path), "WIRESHARK_CONFIG_DIR": str(tmp_path)}
        done = subprocess.run(
            [*command, *table], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        for line in done.stdout.splitlines():
            cells = zip(FIELDS, line.split("\t"), strict=True)
            yield {name: cell.split(BETWEEN) if cell else [] for name, cell in cells}

    return read


def test_tshark_shows_every_kind_of_decision_as_it_was_made(lua_fields):
    decisions = [*every_kind()]
    assert {decision.verdict for decision in decisions} == set(Verdict)
    assert {decision.rule for decision in decisions} == {None, *Rule}
    assert {loser.reason for decision in decisions for loser in decision.losers} == {None, *Reason}
    for decision, shown in zip(decisions, lua_fields(map(comment.write, decisions)), strict=True):
        assert comment.read(comment.write(decision)) == decision
        assert shown == expected(decision), comment.write(decision)


def test_tshark_shows_how_much_waits(lua_fields):
    asked = [(name, waiting) for name in NAMES for waiting in (-1, 0, 1, 17)]
    comments = [comment.write_waiting(f"{name} (queue 4)", waiting, "byte") for name, waiting in asked]
    for (name, waiting), shown in zip(asked, lua_fields(comments), strict=True):
        assert shown["queue"] == [name]
        assert shown["waiting"] == ([] if waiting < 0 else [str(waiting)])
        assert shown["verdict"] == []


def test_tshark_shows_who_sent_a_packet(lua_fields):
    sent = [*map(comment.write_sender, NAMES)]
    assert [*map(comment.read_sender, sent)] == [*NAMES]
    assert comment.read_sender("→ P4: listener") is None
    for name, shown in zip(NAMES, lua_fields(sent), strict=True):
        assert shown == {field: [name] if field == "sender" else [] for field in FIELDS}


def test_the_script_lists_the_rules_and_replies_of_the_table():
    script = SCRIPT.read_text(encoding="utf-8")
    [rules] = re.findall(r"^local RULES = \{(.*?)\}", script, re.DOTALL | re.MULTILINE)
    assert re.findall(r'"(.+?)"', rules) == list(RULES)
    [replies] = re.findall(r"^local REPLIES = \{(.*?)\}", script, re.DOTALL | re.MULTILINE)
    listed = {reply: text for text, reply in re.findall(r'\["(.+?)"\] = "(.+?)"', replies)}
    assert listed == comment.REPLIES
