"""Grades exercise.py by packet scripts: in `gets("S 0 ack 1", ". 1 ack 1", …)` one comes, the other is sent.

A segment is its flags, its number, (its bytes of data) and its ACK, counted from each side's SYN.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing, varying
from demuxlab.grading.judge import Learner, Script, Segment, fail, transfer
from demuxlab.grading.submission import Submission
from demuxlab.parts.link import Link
from demuxlab.parts.machine import REPETITIONS, TABLE, Machine
from demuxlab.parts.segment import add
from demuxlab.parts.simulation import Flow, Simulation
from demuxlab.wire import packet as wire_packet
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, FIN, RST, SYN, TCPSegment

CAPTURE = Path(__file__).parents[2] / "captures" / "19_handshake_and_close.pcapng"
STATES = tuple(dict.fromkeys(state for state, _event in TABLE))
CONNECTED = {
    "ESTABLISHED": (1, 1, ()),
    "FIN-WAIT-1": (2, 1, ("close",)),
    "FIN-WAIT-2": (2, 1, ("close", ". 1 ack 2")),
    "CLOSING": (2, 2, ("close", "F 1 ack 1")),
    "TIME-WAIT": (2, 2, ("close", "F 1 ack 2")),
    "CLOSE-WAIT": (1, 2, ("F 1 ack 1",)),
    "LAST-ACK": (2, 2, ("F 1 ack 1", "close")),
}
"""SND.NXT and RCV.NXT in each state, and how it is reached from ESTABLISHED."""
MSL = 30.0
SEGMENT = re.compile(r"([SFR.]+) (-?\d+)(?:\((\d+)\))?(?: ack (-?\d+))?")


class Play(Script):
    """The learner's machine, ours beside it, and a peer."""

    def __init__(
        self,
        submission: Submission,
        about: str,
        state: str = "CLOSED",
        *,
        passive: bool = False,
        **given: int,
    ) -> None:
        """Begin in a state. What is not `given` is drawn: `iss`, `irs`, `window` and `mss`."""
        self.draw = draw = drawing(about)
        drawn = {"iss": draw.randrange(1 << 32), "irs": draw.randrange(1 << 32)}
        drawn |= {"window": draw.randrange(20_000, 60_000), "mss": draw.choice((536, 1220, 1460))}
        base, peer, self.window, self.mss = (drawn | given).values()
        arguments = (base, self.window, self.mss)
        super().__init__(submission, "Machine", *arguments, ours=Machine(*arguments), base=base, peer=peer)
        self.now = self.began = float(draw.randrange(100))
        coin = varying(submission)
        if state != "CLOSED":
            self._reach(state, passive=passive or bool(coin and coin.randrange(2) and state in CONNECTED))

    def segment(self, text: str, *, sent: bool) -> Segment:
        """Return a segment of the peer, or one that the learner's machine has sent."""
        match = SEGMENT.fullmatch(text)
        assert match is not None, text
        flags, seq, size, ack = match.groups()
        near, far = (self.base, self.peer) if sent else (self.peer, self.base)
        syn, fin, rst = (letter in flags for letter in "SFR")
        # A RST without a connection has the number 0 where it has an ACK.
        number = 0 if sent and rst and ack else add(near, int(seq))
        return Segment(
            number, None if ack is None else add(far, int(ack)),
            0 if sent and rst else self.window if sent else 8192,
            b"x" * int(size or 0), syn, fin, rst, self.mss if sent and syn else None,
        )  # fmt: skip

    def state(self, expected: str, hint: str) -> None:
        """Compare the state, which joins the step before it in the story."""
        self.value("state", expected=expected, hint=hint)
        story = self.submission.story
        if len(story) > 1 and story[-2][:1].isdigit():
            story.pop()
            story[-1] += f" · {expected}"

    def next(self, count: int, hint: str) -> None:
        """Compare SND.NXT."""
        self.value("nxt", expected=add(self.base, count), hint=hint)

    def call(self, method: str, sends: str, state: str, hint: str) -> None:
        """Call `open`, `close` or `poll`; compare what is sent, and the state after it."""
        self.step(method, sends=self._sent(sends), hint=hint)
        self.state(state, hint)

    def gets(self, arriving: str, sends: str, state: str, hint: str) -> None:
        """Let segments arrive, of which each is answered so; compare what is sent, and the state after it."""
        for each in arriving.split(", "):
            self.step("receive", self.segment(each, sent=False), sends=self._sent(sends), hint=hint)
            self.state(state, hint)

    def at(self, seconds: float) -> None:
        """Let it be so many seconds after the beginning."""
        self.now = round(self.began + seconds, 6)

    def again(self, at: float, sends: str, state: str, hint: str) -> None:
        """The timer must expire so many seconds after the beginning; compare what is sent then."""
        self.timer(self._sent(sends), at=self.began + at, hint=hint)
        self.state(state, hint)

    def _sent(self, text: str) -> list[Segment]:
        return [self.segment(text, sent=True)] if text else []

    def moves(self, sent: int, received: int) -> None:
        """Data were sent, or have arrived in order: SND.NXT and RCV.NXT are so many after the SYNs."""
        numbers = (add(self.base, sent), add(self.peer, received), self.window)
        self.ours.moved(*numbers)
        self.submission.call("moved", *numbers)

    def goes(self, *way: str, hint: str) -> None:
        """Listen, open, close, or let segments arrive; of what is sent only seq and ack are compared."""
        fields = self.fields
        for each in way:
            self.fields = ("seq",) if each == "open" else ("seq", "ack")
            if each == "listen":
                self.ours.listen()
                self.submission.call("listen")
            elif " " in each:
                self.step("receive", self.segment(each, sent=False), hint=hint)
            else:
                self.step(each, hint=hint)
        self.fields = fields

    def _reach(self, state: str, *, passive: bool) -> None:
        """Bring the machine into a state; its SYN is looked at by another check."""
        ways = {"LISTEN": ("listen",), "SYN-SENT": ("open",), "SYN-RECEIVED": ("open", "S 0")}
        way = ways.get(state, ("open", "S 0 ack 1"))
        if passive:
            way = ("listen", "S 0", ". 1 ack 1")[: 2 + (state in CONNECTED)]
        way += CONNECTED[state][2] if state in CONNECTED else ()
        self.goes(*way, hint=f"this is on the way to {state}")
        self.state(state, "the segments before lead there")


# The table


@pytest.mark.points(1)
def test_the_table_opens_a_connection(submission: Submission) -> None:
    events = ("passive open", "active open", "SYN", "SYN,ACK", "ACK of SYN")
    ask_table(submission, events, "an arrow of figure 5 of RFC 9293, in its upper half")


@pytest.mark.points(1)
def test_the_table_closes_a_connection(submission: Submission) -> None:
    events = ("close", "FIN", "ACK of FIN", "2 MSL")
    ask_table(submission, events, "an arrow of figure 5 of RFC 9293, in its lower half")


def ask_table(submission: Submission, events: tuple[str, ...], hint: str) -> None:
    """Ask `transition` for all arrows of these events, and for some pairs that have none, in any order."""
    pairs = [(state, event) for state in STATES for event in events]
    drawing("table").shuffle(pairs)
    none = [pair for pair in pairs if pair not in TABLE]
    for pair in [*filter(TABLE.get, pairs), *none[:8]]:
        expected, found = TABLE.get(pair), submission.function("transition", *pair)
        if (tuple(found) if isinstance(found, list) else found) != expected:
            state, event = pair
            hint_here = hint if expected else "figure 5 has no such arrow: None"
            fail(f"{expected!r} for {event!r} in {state}", repr(found), hint_here)


# How a connection begins: CLOSED, LISTEN and SYN-SENT, then rules 1 and 6


@pytest.mark.points(1)
def test_an_active_open_sends_a_syn(submission: Submission) -> None:
    play = Play(submission, "active")
    play.state("CLOSED", "nothing has happened yet")
    hint = "a SYN has the number ISS and no ACK: there is nothing yet to acknowledge"
    play.call("open", "S 0", "SYN-SENT", hint)
    play.next(1, "the SYN takes a sequence number, as a byte does")
    play.call("open", "", "SYN-SENT", "the table has no arrow: nothing happens")


@pytest.mark.points(1)
def test_the_third_segment_acknowledges_the_servers_syn(submission: Submission) -> None:
    play = Play(submission, "third", "SYN-SENT")
    hint = "SYN takes a number: SEG.SEQ + 1 is the next one that is expected, ISS + 1 the next one to send"
    play.gets("S 0 ack 1", ". 1 ack 1", "ESTABLISHED", hint)


@pytest.mark.points(1)
def test_a_listener_answers_a_syn(submission: Submission) -> None:
    play = Play(submission, "listener", "LISTEN")
    hint = "SYN,ACK has the number ISS, and acknowledges the peer's SYN: SEG.SEQ + 1"
    play.gets("S 0", "S 0 ack 1", "SYN-RECEIVED", hint)
    play.gets(". 1 ack 1", "", "ESTABLISHED", "it acknowledges our SYN")
    play.goes("listen", hint=hint)
    play.state("ESTABLISHED", "the table has no arrow: nothing happens")


@pytest.mark.points(2)
def test_where_no_connection_is_the_answer_is_a_reset(submission: Submission) -> None:
    for state in ("CLOSED", "LISTEN"):
        play = Play(submission, f"no connection after {state}", state)
        if state == "LISTEN":
            hint = "LISTEN: nothing has been sent that it could acknowledge"
            play.gets(". 7 ack 55, S 7 ack 55", "R 55", state, hint)
            hint = "LISTEN: a RST is ignored, and only a SYN begins a connection"
            play.gets("R 7, . 7(4)", "", state, hint)
            play.call("close", "", "CLOSED", "the table: close in LISTEN leads to CLOSED, and sends nothing")
        hint = "CLOSED: RST with the number that the segment acknowledges; without an ACK, 0 and an ACK of it"
        play.gets("F 7 ack 55, . 7(4) ack 55, S 7 ack 55", "R 55", "CLOSED", hint)
        play.gets(f". 7 ack {-play.base}", f"R {-play.base}", "CLOSED", "an ACK of 0 is an ACK: not None")
        play.gets("S 7, F 7", "R 0 ack 8", "CLOSED", hint)
        play.gets("F 7(2)", "R 0 ack 10", "CLOSED", hint)
        play.gets("R 7 ack 55", "", "CLOSED", "a RST is never answered")
    play = Play(submission, "closed early", "SYN-SENT")
    play.call("close", "", "CLOSED", "the table: close in SYN-SENT leads to CLOSED, and sends nothing")
    play.gets("S 0 ack 1", "R 1", "CLOSED", "CLOSED: SYN,ACK comes too late, and is reset")


@pytest.mark.points(2)
def test_the_handshake_believes_only_an_ack_of_its_own_syn(submission: Submission) -> None:
    play = Play(submission, "old duplicate", "SYN-SENT")
    old = -play.draw.randrange(100, 10_000)
    hint = "it acknowledges a number that we have not sent: the peer answers an old duplicate SYN. Reset it"
    for wrong in (old, 2, -play.base):
        play.gets(f"S 0 ack {wrong}", f"R {wrong}", "SYN-SENT", hint)
    hint = "without a SYN nothing is known of the peer's numbers: rule 4, ignore it"
    play.gets(". 1 ack 1, F 1 ack 1, . 1(5) ack 1, . 1(5)", "", "SYN-SENT", hint)
    hint = "the true answer comes later: the old one has changed nothing"
    play.gets("S 900 ack 1", ". 1 ack 901", "ESTABLISHED", hint)
    for passive in (True, False):
        play = Play(submission, "in SYN-RECEIVED", "SYN-RECEIVED", passive=passive)
        hint = "rules 1 and 6: only SND.NXT acknowledges our SYN: reset anything else, and stay"
        for wrong in (0, 2, old):
            play.gets(f". 1 ack {wrong}, S 0 ack {wrong}", f"R {wrong}", "SYN-RECEIVED", hint)
        play.gets("S 0", "S 0 ack 1", "SYN-RECEIVED", "rule 1: the peer has not got our SYN,ACK")
        play.gets(". 1 ack 1", "", "ESTABLISHED", "it acknowledges our SYN")


@pytest.mark.points(2)
def test_a_refusal_must_acknowledge_the_syn(submission: Submission) -> None:
    play = Play(submission, "refused", "SYN-SENT")
    hint = "a RST that answers our SYN acknowledges it: ignore all others"
    wrong = play.draw.randrange(3, 1 << 31)
    play.gets(f"R 0, R 0 ack 0, R 0 ack 2, R 0 ack {wrong}", "", "SYN-SENT", hint)
    play.gets("R 0 ack 1", "", "CLOSED", "it acknowledges our SYN: connection refused")


@pytest.mark.points(2)
def test_both_open_at_once(submission: Submission) -> None:
    for last, answer in (("S 0 ack 1", ". 1 ack 1"), (". 1 ack 1", "")):
        play = Play(submission, "SYNs-cross", "SYN-SENT")
        hint = "the SYNs crossed: send ours again, now with an ACK, and wait for the peer's ACK"
        play.gets("S 0", "S 0 ack 1", "SYN-RECEIVED", hint)
        hint = "rule 1 where it is the peer's SYN once more, else rule 6; its ACK is of our SYN"
        play.gets(last, answer, "ESTABLISHED", hint)


# How it ends: rules 6 and 7


@pytest.mark.points(2)
def test_who_closes_first_ends_in_time_wait(submission: Submission) -> None:
    play = Play(submission, "first", "ESTABLISHED")
    play.call("close", "F 1 ack 1", "FIN-WAIT-1", "FIN has the number SND.NXT, and an ACK")
    play.next(2, "FIN takes a number, as SYN does")
    play.gets(". 1 ack 1", "", "FIN-WAIT-1", "it acknowledges the SYN, not the FIN: FIN takes a number")
    play.gets(". 1 ack 2", "", "FIN-WAIT-2", "our FIN is acknowledged; the peer may still send")
    hint = "the peer's FIN takes a number, too: acknowledge it with SEG.SEQ + 1"
    play.gets("F 1 ack 2", ". 2 ack 2", "TIME-WAIT", hint)
    play = Play(submission, "both in one", "FIN-WAIT-1")
    play.gets(". 1(9) ack 2", "", "FIN-WAIT-2", "an ACK counts beside data, too")
    play = Play(submission, "one segment", "FIN-WAIT-1")
    hint = "this FIN acknowledges ours: rule 6 first, then rule 7"
    play.gets("F 1 ack 2", ". 2 ack 2", "TIME-WAIT", hint)
    for state, (sent, _received, _way) in CONNECTED.items():
        if sent == 2:
            play = Play(submission, f"again in {state}", state)
            play.call("close", "", state, "it was closed already: the table has no arrow, nothing happens")
    play = Play(submission, "early", "SYN-RECEIVED")
    hint = "the table: close in SYN-RECEIVED sends FIN, whose number comes after the SYN's"
    play.call("close", "F 1 ack 1", "FIN-WAIT-1", hint)
    play.gets(". 1 ack 1", "", "FIN-WAIT-1", "it acknowledges the SYN, not the FIN: FIN takes a number")
    play.gets("F 1 ack 2", ". 2 ack 2", "TIME-WAIT", hint)


@pytest.mark.points(2)
@pytest.mark.facts("S17")
def test_who_closes_second_ends_at_once(submission: Submission) -> None:
    play = Play(submission, "second", "ESTABLISHED")
    hint = "only the peer's direction has ended: our own is closed by close()"
    play.gets("F 1 ack 1", ". 1 ack 2", "CLOSE-WAIT", hint)
    more = play.draw.randrange(2, 5000)
    play.moves(more, 2)
    hint = "FIN has the number SND.NXT, and an ACK"
    play.call("close", f"F {more} ack 2", "LAST-ACK", hint)
    play.next(more + 1, "FIN takes a number, as SYN does")
    play.gets(f". 2 ack {more}", "", "LAST-ACK", "it acknowledges data, not the FIN behind them")
    hint = "all is acknowledged: the end that closes second need not wait"
    play.gets(f". 2 ack {more + 1}", "", "CLOSED", hint)
    play.gets(f"F 1 ack {more + 1}", f"R {more + 1}", "CLOSED", "CLOSED: reset it, also after a connection")
    play = Play(submission, "at the handshake's end", "SYN-RECEIVED")
    hint = "this FIN acknowledges our SYN: rule 6 first, then rule 7"
    play.gets("F 1 ack 1", ". 1 ack 2", "CLOSE-WAIT", hint)


@pytest.mark.points(2)
def test_both_close_at_once(submission: Submission) -> None:
    play = Play(submission, "FINs-cross", "FIN-WAIT-1")
    hint = "the FINs crossed: the peer's does not acknowledge ours yet"
    play.gets("F 1 ack 1", ". 2 ack 2", "CLOSING", hint)
    play.gets(". 2 ack 1", "", "CLOSING", "this ACK is older than our FIN")
    play.gets(". 2 ack 2", "", "TIME-WAIT", "our FIN is acknowledged: both closed first, both wait")


@pytest.mark.points(2)
def test_a_fin_comes_after_the_data_before_it(submission: Submission) -> None:
    play = Play(submission, "after data", "ESTABLISHED")
    size = play.draw.randrange(100, 1000)
    hint = "rule 7: data before the FIN are missing: answer with ACK of what is there, and wait"
    play.gets(f"F {1 + size} ack 1, F 11({size}) ack 1", ". 1 ack 1", "ESTABLISHED", hint)
    play.moves(1, 1 + size)
    hint = "its data are there, and its FIN is the next number: SEG.SEQ and the length of the data"
    play.gets(f"F 1({size}) ack 1", f". 1 ack {size + 2}", "CLOSE-WAIT", hint)


# What is not believed: rules 2 to 5


@pytest.mark.points(3)
def test_only_an_exact_reset_is_believed(submission: Submission) -> None:
    for state, (sent, next_, _way) in CONNECTED.items():
        for exact in (f"R {next_}", f"R {next_} ack {sent}"):
            play = Play(submission, f"reset in {state}", state, passive="ack" in exact)
            hint = "rule 2: it lies outside the window: ignore it"
            beyond, far = next_ + play.window, play.draw.randrange(1 << 20, 1 << 31)
            play.gets(f"R {next_ - 1}, R {beyond}, R {far}", "", state, hint)
            hint = "rule 3: in the window, but not RCV.NXT, so perhaps forged: send a challenge ACK"
            other = next_ + play.draw.randrange(2, play.window)
            play.gets(f"R {next_ + 1} ack 1, R {other} ack 1", f". {sent} ack {next_}", state, hint)
            play.gets(exact, "", "CLOSED", "exactly RCV.NXT: the connection is over")


@pytest.mark.points(2)
def test_a_reset_handshake_listens_again(submission: Submission) -> None:
    play = Play(submission, "listens again", "SYN-RECEIVED", passive=True)
    hint = "rule 2: it lies outside the window: ignore it"
    play.gets(f"R 0, R {1 + play.window}", "", "SYN-RECEIVED", hint)
    hint = "rule 3: not exactly RCV.NXT: a challenge ACK, and the state stays"
    play.gets("R 5", ". 1 ack 1", "SYN-RECEIVED", hint)
    hint = "the SYN was an old duplicate: wait for the true one"
    play.gets("R 1", "", "LISTEN", hint)
    play.next(0, "SND.NXT is ISS again: the next SYN,ACK takes that number")
    play.peer = play.draw.randrange(1 << 32)
    hint = "the next SYN has other numbers, and is answered with the number ISS again"
    play.gets("S 0, S 0", "S 0 ack 1", "SYN-RECEIVED", hint)
    play = Play(submission, "does not listen", "SYN-RECEIVED", passive=False)
    hint = "this SYN-RECEIVED came from SYN-SENT: no listener was there"
    play.gets("R 1", "", "CLOSED", hint)


@pytest.mark.points(2)
def test_what_lies_outside_the_window_is_answered_and_changes_nothing(submission: Submission) -> None:
    hint = "rule 2: no number of it is in the window: the ACK shows the peer what we expect"
    for state, (sent, next_, _way) in {"SYN-RECEIVED": (1, 1, ()), **CONNECTED}.items():
        play = Play(submission, f"outside in {state}", state)
        beyond = next_ + play.window
        arriving = f"F {beyond} ack 1, . {beyond}(4) ack {sent}, . {next_ - 1} ack {sent}"
        play.gets(arriving, f". {sent} ack {next_}", state, hint)
        if next_ == 2:
            play.gets("F 1 ack 1", f". {sent} ack 2", state, "the peer's FIN once more: its ACK was lost")
    play = Play(submission, "outside", "ESTABLISHED")
    play.moves(1, 1001)
    beyond = 1001 + play.window
    far = beyond + play.draw.randrange(1 << 20)
    arriving = f"F {beyond} ack 1, . 501(400) ack 1, . 1000 ack 1, F 1000 ack 1, . {far}(4) ack 1"
    play.gets(arriving, ". 1 ack 1001", "ESTABLISHED", hint)
    hint = "at least one of its numbers is in the window: data are the receiving half's"
    play.gets(f". 1001 ack 1, . {beyond - 1} ack 1, . 901(101) ack 1", "", "ESTABLISHED", hint)
    play.window = 0
    play.moves(1, 1001)
    hint = "the window is closed: only what takes no number and begins at RCV.NXT is acceptable"
    play.gets(". 1001 ack 1", "", "ESTABLISHED", hint)
    play.gets(". 1001(1) ack 1, F 1001 ack 1", ". 1 ack 1001", "ESTABLISHED", hint)
    play.gets("R 1001", "", "CLOSED", hint)


@pytest.mark.points(3)
def test_a_half_open_connection_is_found_and_ended(submission: Submission) -> None:
    hint = "rules 2 and 4: the peer has crashed and opens again: a challenge ACK with our old numbers"
    for state, (sent, next_, _way) in CONNECTED.items():
        play = Play(submission, f"half-open in {state}", state)
        near, far = play.draw.randrange(200, 10_000), play.draw.randrange(1 << 20, 1 << 31)
        play.gets(f"S {near}, S {far}", f". {sent} ack {next_}", state, hint)
    play = Play(submission, "half-open-alive", "ESTABLISHED")
    play.moves(301, 101)
    play.gets(f"S {play.draw.randrange(200, 10_000)}", ". 301 ack 101", "ESTABLISHED", hint)
    hint = "its answer to the challenge ACK: exactly RCV.NXT"
    play.gets("R 101", "", "CLOSED", hint)
    play = Play(submission, "half-open-crashed", "SYN-SENT")
    old = play.draw.randrange(1 << 16, 1 << 31)
    hint = "an ACK of the connection before the crash: reset it, so that the peer gives it up"
    play.gets(f". 100 ack {old}", f"R {old}", "SYN-SENT", hint)
    hint = "then the SYN is sent again, and this time the peer listens"
    play.gets("S 0 ack 1", ". 1 ack 1", "ESTABLISHED", hint)


@pytest.mark.points(2)
def test_an_ack_of_what_was_never_sent_is_answered(submission: Submission) -> None:
    for state, (sent, next_, _way) in CONNECTED.items():
        play = Play(submission, f"unsent {state}", state)
        hint = "rule 6: SEG.ACK lies after SND.NXT: answer with ACK, and ignore the rest of it, FIN too"
        far = sent + play.draw.randrange(2, 1 << 31)
        arriving = f"F {next_} ack {sent + 1}, F {next_} ack {far}"
        play.gets(arriving, f". {sent} ack {next_}", state, hint)
        play.gets(f"F {next_}", "", state, "rule 5: without an ACK nothing else of it is looked at")


@pytest.mark.points(2)
def test_numbers_wrap_around(submission: Submission) -> None:
    hint = "after 2**32 - 1 comes 0: compare by distance, not by <"
    for passive in (False, True):
        last = (1 << 32) - 1
        play = Play(submission, "wraps", "ESTABLISHED", passive=passive, iss=last, irs=last)
        play.gets("F 1 ack 1", ". 1 ack 2", "CLOSE-WAIT", hint)
    near = (1 << 32) - play.draw.randrange(3, 100)
    play = Play(submission, "wraps", "ESTABLISHED", iss=near, irs=near)
    play.gets("R 1000", ". 1 ack 1", "ESTABLISHED", hint)
    play.moves(500, 500)
    play.call("close", "F 500 ack 500", "FIN-WAIT-1", hint)
    play.gets(". 500 ack 2", "", "FIN-WAIT-1", "an ACK from before the wrap is older, not newer")
    play.gets(". 500 ack 501", "", "FIN-WAIT-2", hint)


# Time: deadline and poll


@pytest.mark.points(2)
def test_a_syn_without_an_answer_is_sent_again_and_given_up(submission: Submission) -> None:
    play = Play(submission, "again", "SYN-SENT")
    play.at(0.5)
    play.call("poll", "", "SYN-SENT", "the deadline has not come yet")
    for number in range(REPETITIONS):
        hint = f"repetition {number + 1}: each wait is twice as long as the one before"
        play.again(2 ** (number + 1) - 1, "S 0", "SYN-SENT", hint)
    play.again(127, "", "CLOSED", "after 6 repetitions it is given up")
    play.no_timer("the connection is CLOSED")
    hint = "no timer runs any more: the SYN is acknowledged, or the connection is CLOSED"
    for end, state in (("S 0 ack 1", "ESTABLISHED"), ("R 0 ack 1", "CLOSED"), ("close", "CLOSED")):
        play = Play(submission, "timer ends", "SYN-SENT")
        play.at(1.25)
        play.call("poll", "S 0", "SYN-SENT", "poll may be late: the deadline has passed")
        play.again(3.25, "S 0", "SYN-SENT", "2 seconds after the first repetition, whenever that was")
        play.goes(end, hint=hint)
        play.state(state, hint)
        play.no_timer(hint)
        play.at(200)
        play.call("poll", "", state, hint)


@pytest.mark.points(1)
def test_a_lost_syn_ack_is_sent_again(submission: Submission) -> None:
    for passive in (False, True):
        play = Play(submission, "lost SYN,ACK", "SYN-RECEIVED", passive=passive)
        play.again(1, "S 0 ack 1", "SYN-RECEIVED", "SYN,ACK waits for its ACK as a SYN does")
        play.at(1.3)
        hint = "the peer's SYN once more: it has not got our SYN,ACK"
        play.gets("S 0", "S 0 ack 1", "SYN-RECEIVED", hint)
        hint = "the answer to the peer's SYN does not move the timer"
        play.again(3, "S 0 ack 1", "SYN-RECEIVED", hint)
        if not passive:
            play.gets(". 1 ack 1", "", "ESTABLISHED", "it acknowledges our SYN")
            play.no_timer("the SYN is acknowledged: nothing waits any more")
    for at in (7, 15, 31, 63):
        play.again(at, "S 0 ack 1", "SYN-RECEIVED", "each wait is twice as long as the one before")
    play.again(127, "", "CLOSED", "after 6 repetitions it is given up")
    play = Play(submission, "timer and RST", "SYN-RECEIVED", passive=True)
    play.goes("R 1", hint="the SYN was an old duplicate: wait for the true one")
    play.no_timer("nothing waits for an ACK any more")


@pytest.mark.points(2)
def test_a_fin_is_sent_again_until_it_is_acknowledged(submission: Submission) -> None:
    hint = "FIN waits for its ACK: after 1 second, 2 more, 4, … with RCV.NXT as it is then"
    for state, end in (("FIN-WAIT-1", "FIN-WAIT-2"), ("CLOSING", "TIME-WAIT"), ("LAST-ACK", "CLOSED")):
        next_ = CONNECTED[state][1]
        for last in (3, 63):
            play = Play(submission, f"again {state}", state)
            for number in range(1, last.bit_length() + 1):
                play.again(2**number - 1, f"F 1 ack {next_}", state, hint)
            if last == 63:
                play.again(127, "", "CLOSED", "after 6 repetitions it is given up")
            else:
                play.gets(f". {next_} ack 2", "", end, "our FIN is acknowledged")
            if state != "CLOSING" or last == 63:
                play.no_timer("our FIN is acknowledged, or the connection is CLOSED: no timer runs")
    play = Play(submission, "FINs and time", "SYN-SENT")
    play.again(1, "S 0", "SYN-SENT", "nothing has answered the SYN so far")
    play.at(1.5)
    play.goes("S 0 ack 1", "close", hint="the SYN is acknowledged, then it closes")
    hint_of_fin = "the FIN's waits begin at 1 second, however often the SYN was sent"
    play.again(2.5, "F 1 ack 1", "FIN-WAIT-1", hint_of_fin)
    play.at(2.75)
    play.gets("F 1 ack 1", ". 2 ack 2", "CLOSING", "the peer's FIN does not acknowledge ours")
    play.again(4.5, "F 1 ack 2", "CLOSING", hint)


@pytest.mark.points(2)
def test_time_wait_lasts_two_lifetimes_from_the_last_fin(submission: Submission) -> None:
    for state, way in (("FIN-WAIT-1", "F 1 ack 2"), ("FIN-WAIT-2", "F 1 ack 2"), ("CLOSING", ". 2 ack 2")):
        play = Play(submission, "time wait", state)
        play.at(0.5)
        play.goes(way, hint="this is on the way to TIME-WAIT")
        play.again(0.5 + 2 * MSL, "", "CLOSED", "TIME-WAIT lasts 2 MSL: 60 seconds")
        play.no_timer("the connection is CLOSED")
    play = Play(submission, "time wait again", "TIME-WAIT")
    seconds = play.draw.randrange(5, 45)
    play.at(seconds)
    play.call("poll", "", "TIME-WAIT", "2 MSL have not passed yet")
    hint = "the FIN comes again: our last ACK was lost. Acknowledge it again, and wait 2 MSL from now on"
    play.gets("F 1 ack 1", ". 2 ack 2", "TIME-WAIT", hint)
    play.at(seconds + 10)
    play.gets(". 1 ack 2", ". 2 ack 2", "TIME-WAIT", "old, but no FIN: the wait goes on")
    play.again(seconds + 2 * MSL, "", "CLOSED", "2 MSL have passed since the last FIN")


# The whole


@pytest.mark.points(2)
def test_two_ends_open_and_close_over_a_lossy_link(submission: Submission) -> None:
    hint = "whatever is lost, repeated or late: timers and answers bring both ends to CLOSED"
    draw = drawing("lossy")
    for opens, closes in (("A", "A"), ("A", "B"), ("AB", "AB")):
        near, build = draw.randrange(1 << 32), partial(lossy, draw.getrandbits(32), opens, closes)
        while not (trial := build(Machine(near, 30_000, 1460)))[0].run(trial[1], 400) or not hard(trial[0]):
            build = partial(lossy, draw.getrandbits(32), opens, closes)
        submission.new("Machine", near, 30_000, 1460)
        about = f"{opens} opens, {closes} closes, over a link that loses a third"
        ours = Machine(near, 30_000, 1460)
        transfer(submission, about, build, End(submission), ours, seconds=400, hint=hint)


def hard(simulation: Simulation) -> bool:
    """Tell whether A's SYN and its FIN were lost at least once."""
    lost = [each.segment for each in simulation.events if each.end == "A" and each.what == "sends, lost"]
    return any(each.syn for each in lost) and any(each.fin for each in lost)


class End(Learner):
    """The learner's machine as an end of the simulation."""

    def open(self, now: float) -> list[Segment]:
        """Active open."""
        return self.do("open", now)

    def close(self, now: float) -> list[Segment]:
        """Close."""
        return self.do("close", now)

    def state(self) -> object:
        """Ask for the state."""
        return self._submission.call("state")


def lossy(seed: int, opens: str, closes: str, end: Any) -> tuple[Simulation, Callable[[], bool]]:
    """Return a simulation between an end and our machine, and when it is over."""
    faults = Random(seed)
    ends = {"A": end, "B": Machine(faults.randrange(1 << 32), 30_000, 1460)}
    links = [Link(faults, loss=0.3, repeat=0.2, reorder=0.2, corrupt=0.05) for _ in range(2)]
    simulation, closed = Simulation([Flow(*ends.values(), *links)], most=300), set[str]()

    def after(_flow: int, name: str) -> None:
        # An end that is to close does so once it is ESTABLISHED, the other one after it.
        state = ends[name].state()
        if name not in closed and (state == "CLOSE-WAIT" or (state == "ESTABLISHED" and name in closes)):
            closed.add(name)
            simulation.put(0, name, ends[name].close(simulation.now))

    simulation.after = after
    if "B" not in opens:
        ends["B"].listen()
    for name in opens:
        simulation.put(0, name, ends[name].open(0.0))
    return simulation, lambda: all(each.state() == "CLOSED" for each in ends.values())


@pytest.mark.points(2)
def test_the_reference_capture_is_answered_as_it_was(submission: Submission) -> None:
    lives = ((1, 3, "LISTEN"), (4, 10, "CLOSED"), (11, 16, "CLOSED"))
    lives += ((17, 25, "TIME-WAIT"), (26, 30, "ESTABLISHED"), (31, 36, "CLOSED"))
    captured = list(frames())
    asked = 0
    for first, last, state in lives:
        life = captured[first - 1 : last]
        iss = next(segment.seq for _, _, mine, segment in life if mine)
        irs = next(segment.seq for _, _, mine, segment in life if not mine)
        play = Play(submission, "capture", iss=iss, irs=irs, window=65_535, mss=1460)
        if not life[0][2]:
            play.goes("listen", hint="a passive open")
        while life:
            number, time, mine, segment = life.pop(0)
            hint = f"frame {number} of the reference capture: this is B, and what follows is what B did"
            asked += 1
            if not mine:
                play.now = time
                answers = []
                while life and life[0][2] and not life[0][3].fin:
                    answers.append(life.pop(0)[3])
                play.step("receive", segment, sends=answers, hint=hint)
            elif segment.fin or number == first:
                play.now = time
                play.step("close" if segment.fin else "open", sends=[segment], hint=hint)
            else:
                play.timer([segment], hint=hint)
        play.state(state, f"B was in {state} after frame {last} of the reference capture")
    assert asked > 25


def frames() -> Iterator[tuple[int, float, bool, Segment]]:
    """Yield the frames of the reference capture: number, time, whether B sent it, and the segment."""
    with Capture(CAPTURE) as capture:
        for frame in capture:
            read = wire_packet.read(frame.data)
            assert isinstance(read, TCPSegment)
            flags = [bool(read.flags & flag) for flag in (SYN, FIN, RST)]
            ack, mss = read.acknowledgment if read.flags & ACK else None, tcp.read_options(read.options).mss
            segment = Segment(read.sequence, ack, read.window, read.payload, *flags, mss)
            yield frame.number, frame.time, read.source[-1] == 20, segment
