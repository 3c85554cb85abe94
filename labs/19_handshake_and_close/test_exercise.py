"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Callable, Iterable, Iterator
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
MSL = 30.0


class Play(Script):
    """The learner's machine, ours beside it, and a peer. Numbers are counted from each side's SYN."""

    def __init__(
        self, submission: Submission, about: str, *numbers: int, window: int = 0, mss: int = 0
    ) -> None:
        """`numbers` are ISS and IRS; whatever is not given is drawn."""
        self.draw = drawing(about)
        base, peer = numbers or (self.draw.randrange(1 << 32), self.draw.randrange(1 << 32))
        self.window = window or self.draw.randrange(20_000, 60_000)
        self.mss = mss or self.draw.choice((536, 1220, 1460))
        arguments = (base, self.window, self.mss)
        super().__init__(submission, "Machine", *arguments, ours=Machine(*arguments), base=base, peer=peer)
        self.coin = varying(submission)

    # Segments

    def mine(self, seq: int, ack: int | None = None, **flags: bool) -> Segment:
        """Return a segment of the learner's machine."""
        acknowledged = None if ack is None else add(self.peer, ack)
        mss = self.mss if flags.get("syn") else None
        return Segment(add(self.base, seq), acknowledged, self.window, mss=mss, **flags)

    def theirs(self, seq: int, ack: int | None = None, data: bytes = b"", **flags: bool) -> Segment:
        """Return a segment of the peer."""
        acknowledged = None if ack is None else add(self.base, ack)
        return Segment(add(self.peer, seq), acknowledged, 8192, data, **flags)

    # What happens, and what must follow

    def state(self, expected: str, hint: str) -> None:
        """Compare the state."""
        self.value("state", expected=expected, hint=hint)

    def call(self, method: str, sends: Iterable[Segment], state: str, hint: str) -> None:
        """Call `open`, `close` or `poll`; compare what is sent, and the state after it."""
        self.step(method, sends=sends, hint=hint)
        self.state(state, hint)

    def gets(self, segment: Segment, sends: Iterable[Segment], state: str, hint: str) -> None:
        """Let a segment arrive; compare what is sent, and the state after it."""
        self.step("receive", segment, sends=sends, hint=hint)
        self.state(state, hint)

    def again(self, seconds: float, sends: Iterable[Segment], state: str, hint: str) -> None:
        """The timer must expire in so many seconds; compare what is sent then."""
        self.timer(sends, at=self.now + seconds, hint=hint)
        self.state(state, hint)

    def moves(self, sent: int, received: int) -> None:
        """Data were sent, or have arrived in order: SND.NXT and RCV.NXT are so many after the SYNs."""
        numbers = (add(self.base, sent), add(self.peer, received), self.window)
        self.ours.moved(*numbers)
        self.submission.call("moved", *numbers)

    # On the way

    def listens(self) -> None:
        """Passive open."""
        self.ours.listen()
        self.submission.call("listen")

    def opens(self) -> None:
        """Active open; of the SYN only the number is looked at."""
        fields, self.fields = self.fields, ("seq",)
        self.step("open", hint="a SYN with the number ISS")
        self.fields = fields

    def reaches(self, state: str, *, passive: bool | None = None) -> None:
        """Bring the machine into a state; what it sends on the way is looked at for its numbers only."""
        if passive is None:
            passive = self.coin is not None and self.coin.randrange(2) == 1
        syn, answer, ack = self.theirs(0, syn=True), self.theirs(0, 1, syn=True), self.theirs(1, 1)
        way = [("receive", syn), ("receive", ack)] if passive else [("receive", answer)]
        way += {
            "SYN-RECEIVED": [],
            "ESTABLISHED": [],
            "FIN-WAIT-1": [("close",)],
            "FIN-WAIT-2": [("close",), ("receive", self.theirs(1, 2))],
            "CLOSING": [("close",), ("receive", self.theirs(1, 1, fin=True))],
            "TIME-WAIT": [("close",), ("receive", self.theirs(1, 2, fin=True))],
            "CLOSE-WAIT": [("receive", self.theirs(1, 1, fin=True))],
            "LAST-ACK": [("receive", self.theirs(1, 1, fin=True)), ("close",)],
        }[state]
        if state == "SYN-RECEIVED":
            way = [("receive", syn)]
        if passive:
            self.listens()
        else:
            self.opens()
        fields, self.fields = self.fields, ("seq", "ack")
        for method, *arguments in way:
            self.step(method, *arguments, hint=f"this is on the way to {state}")
        self.fields = fields
        self.state(state, "the segments before lead there")


# The table


@pytest.mark.points(1)
def test_the_table_opens_a_connection(submission: Submission) -> None:
    hint = "an arrow of figure 5 of RFC 9293, in its upper half"
    ask_table(submission, [arrow for arrow in TABLE if arrow[1] in OPENING], hint)
    hint = "figure 5 has no such arrow: None"
    others = [(state, event) for state in STATES for event in OPENING if (state, event) not in TABLE]
    ask_table(submission, drawing("no opening").sample(others, 6), hint)


@pytest.mark.points(1)
def test_the_table_closes_a_connection(submission: Submission) -> None:
    hint = "an arrow of figure 5 of RFC 9293, in its lower half"
    ask_table(submission, [arrow for arrow in TABLE if arrow[1] not in OPENING], hint)
    others = [("LISTEN", "FIN"), ("FIN-WAIT-1", "close"), ("LAST-ACK", "close"), ("TIME-WAIT", "close")]
    others += [("FIN-WAIT-2", "2 MSL"), ("CLOSED", "close"), ("CLOSE-WAIT", "2 MSL")]
    ask_table(submission, others, "figure 5 has no such arrow: None")


OPENING = ("passive open", "active open", "SYN", "SYN,ACK", "ACK of SYN")


# How a connection begins


@pytest.mark.points(1)
def test_an_active_open_sends_a_syn(submission: Submission) -> None:
    play = Play(submission, "active")
    play.state("CLOSED", "nothing has happened yet")
    hint = "a SYN has the number ISS and no ACK: there is nothing yet to acknowledge"
    play.call("open", [play.mine(0, syn=True)], "SYN-SENT", hint)
    play.value("nxt", expected=add(play.base, 1), hint="the SYN takes a sequence number, as a byte does")


@pytest.mark.points(1)
def test_the_third_segment_acknowledges_the_servers_syn(submission: Submission) -> None:
    play = Play(submission, "third")
    play.opens()
    hint = "SYN takes a number: SEG.SEQ + 1 is the next one that is expected, ISS + 1 the next one to send"
    play.gets(play.theirs(0, 1, syn=True), [play.mine(1, 1)], "ESTABLISHED", hint)
    play.no_timer("the SYN is acknowledged: nothing waits any more")


@pytest.mark.points(1)
def test_a_listener_answers_a_syn(submission: Submission) -> None:
    play = Play(submission, "listener")
    play.listens()
    play.state("LISTEN", "a passive open sends nothing and waits")
    hint = "SYN,ACK has the number ISS, and acknowledges the peer's SYN: SEG.SEQ + 1"
    play.gets(play.theirs(0, syn=True), [play.mine(0, 1, syn=True)], "SYN-RECEIVED", hint)
    play.gets(play.theirs(1, 1), [], "ESTABLISHED", "it acknowledges our SYN")
    play.no_timer("the SYN is acknowledged: nothing waits any more")


@pytest.mark.points(2)
def test_numbers_wrap_around(submission: Submission) -> None:
    hint = "after 2**32 - 1 comes 0: compare by distance, not by <"
    for passive in (False, True):
        play = Play(submission, "wraps", (1 << 32) - 1, (1 << 32) - 1)
        play.reaches("ESTABLISHED", passive=passive)
        play.gets(play.theirs(1, 1, fin=True), [play.mine(1, 2)], "CLOSE-WAIT", hint)
    near = (1 << 32) - play.draw.randrange(3, 100)
    play = Play(submission, "wraps", near, near)
    play.reaches("ESTABLISHED")
    play.gets(play.theirs(1000, rst=True), [play.mine(1, 1)], "ESTABLISHED", hint)
    play.moves(500, 500)
    play.call("close", [play.mine(500, 500, fin=True)], "FIN-WAIT-1", hint)
    play.gets(play.theirs(500, 2), [], "FIN-WAIT-1", "an ACK from before the wrap is older, not newer")
    play.gets(play.theirs(500, 501), [], "FIN-WAIT-2", hint)


@pytest.mark.points(2)
def test_both_open_at_once(submission: Submission) -> None:
    play = Play(submission, "SYNs-cross")
    play.opens()
    hint = "the SYNs crossed: send ours again, now with an ACK, and wait for the peer's ACK"
    play.gets(play.theirs(0, syn=True), [play.mine(0, 1, syn=True)], "SYN-RECEIVED", hint)
    if play.coin is None or play.coin.randrange(2):
        hint = "the peer's SYN is known already; the ACK beside it is of our SYN"
        play.gets(play.theirs(0, 1, syn=True), [play.mine(1, 1)], "ESTABLISHED", hint)
    else:
        play.gets(play.theirs(1, 1), [], "ESTABLISHED", "it acknowledges our SYN")
    play.no_timer("the SYN is acknowledged: nothing waits any more")


@pytest.mark.points(2)
def test_a_syn_without_an_answer_is_sent_again_and_given_up(submission: Submission) -> None:
    play = Play(submission, "again")
    play.wait(play.draw.randrange(100))
    play.opens()
    play.wait(0.5)
    play.call("poll", [], "SYN-SENT", "the deadline has not come yet")
    play.now -= 0.5
    for number in range(REPETITIONS):
        hint = f"repetition {number + 1}: each wait is twice as long as the one before"
        play.again(2**number, [play.mine(0, syn=True)], "SYN-SENT", hint)
    play.again(64, [], "CLOSED", "after 6 repetitions it is given up")
    play.no_timer("the connection is CLOSED")


@pytest.mark.points(1)
def test_a_lost_syn_ack_is_sent_again(submission: Submission) -> None:
    play = Play(submission, "lost SYN,ACK")
    play.listens()
    answer = [play.mine(0, 1, syn=True)]
    play.gets(play.theirs(0, syn=True), answer, "SYN-RECEIVED", "SYN,ACK with the number ISS")
    play.again(1, answer, "SYN-RECEIVED", "SYN,ACK waits for its ACK as a SYN does")
    play.wait(0.3)
    hint = "the peer's SYN once more: it has not got our SYN,ACK"
    play.gets(play.theirs(0, syn=True), answer, "SYN-RECEIVED", hint)
    play.gets(play.theirs(1, 1), [], "ESTABLISHED", "it acknowledges our SYN")
    play.no_timer("the SYN is acknowledged: nothing waits any more")


# Old duplicates, half-open connections, RST


@pytest.mark.points(2)
def test_the_handshake_believes_only_an_ack_of_its_own_syn(submission: Submission) -> None:
    play = Play(submission, "old duplicate")
    play.opens()
    old = -play.draw.randrange(100, 10_000)
    hint = "it acknowledges a number that we have not sent: the peer answers an old duplicate SYN. Reset it"
    play.gets(play.theirs(0, old, syn=True), [reset(play.base, old)], "SYN-SENT", hint)
    play.gets(play.theirs(0, 2), [reset(play.base, 2)], "SYN-SENT", hint)
    hint = "the true answer comes later: the old one has changed nothing"
    play.gets(play.theirs(900, 1, syn=True), [play.mine(1, 901)], "ESTABLISHED", hint)
    play = Play(submission, "old-listening")
    play.reaches("SYN-RECEIVED", passive=True)
    for wrong in (0, 2, old):
        hint = "in SYN-RECEIVED only SND.NXT acknowledges our SYN: reset anything else, and stay"
        play.gets(play.theirs(1, wrong), [reset(play.base, wrong)], "SYN-RECEIVED", hint)
    play.gets(play.theirs(1, 1), [], "ESTABLISHED", "it acknowledges our SYN")


@pytest.mark.points(2)
def test_a_reset_handshake_listens_again(submission: Submission) -> None:
    play = Play(submission, "listens again")
    play.reaches("SYN-RECEIVED", passive=True)
    hint = "not exactly RCV.NXT: a challenge ACK, and the state stays"
    play.gets(play.theirs(5, rst=True), [play.mine(1, 1)], "SYN-RECEIVED", hint)
    hint = "the SYN was an old duplicate: wait for the true one"
    play.gets(play.theirs(1, rst=True), [], "LISTEN", hint)
    play.no_timer("nothing waits for an ACK any more")
    play.peer = play.draw.randrange(1 << 32)
    hint = "the next SYN has other numbers, and is answered with the number ISS again"
    play.gets(play.theirs(0, syn=True), [play.mine(0, 1, syn=True)], "SYN-RECEIVED", hint)
    play = Play(submission, "does not listen")
    play.reaches("SYN-RECEIVED", passive=False)
    hint = "this SYN-RECEIVED came from SYN-SENT: nobody listens"
    play.gets(play.theirs(1, rst=True), [], "CLOSED", hint)


@pytest.mark.points(2)
def test_a_refusal_must_acknowledge_the_syn(submission: Submission) -> None:
    play = Play(submission, "refused")
    play.opens()
    hint = "whoever sends a RST in answer to our SYN acknowledges it: ignore all others"
    play.gets(play.theirs(0, rst=True), [], "SYN-SENT", hint)
    for wrong in (0, 2, play.draw.randrange(3, 1 << 31)):
        play.gets(play.theirs(0, wrong, rst=True), [], "SYN-SENT", hint)
    play.again(1, [play.mine(0, syn=True)], "SYN-SENT", "nothing has answered the SYN so far")
    play.gets(play.theirs(0, 1, rst=True), [], "CLOSED", "it acknowledges our SYN: connection refused")
    play.no_timer("the connection is CLOSED")


@pytest.mark.points(3)
def test_only_an_exact_reset_is_believed(submission: Submission) -> None:
    for state in STATES[4:]:
        play = Play(submission, f"reset in {state}")
        play.reaches(state)
        received = 2 if state in ("CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT") else 1
        sent = 1 if state in ("ESTABLISHED", "CLOSE-WAIT") else 2
        hint = "it lies outside the window: ignore it"
        for number in (received - 1, received + play.window, play.draw.randrange(1 << 20, 1 << 31)):
            play.gets(play.theirs(number, rst=True), [], state, hint)
        hint = "in the window, but not RCV.NXT: perhaps forged, so send a challenge ACK (RFC 5961, section 3)"
        for number in (received + 1, received + play.draw.randrange(2, play.window)):
            play.gets(play.theirs(number, 1, rst=True), [play.mine(sent, received)], state, hint)
        play.gets(play.theirs(received, rst=True), [], "CLOSED", "exactly RCV.NXT: the connection is over")
        play.no_timer("the connection is CLOSED")


@pytest.mark.points(2)
def test_where_no_connection_is_the_answer_is_a_reset(submission: Submission) -> None:
    play = Play(submission, "no connection")
    hint = "CLOSED: RST with the number that the segment acknowledges; without an ACK, 0 and an ACK of it"
    for segment in (play.theirs(7, 55, fin=True), play.theirs(7, 55, b"data"), play.theirs(7, 55, syn=True)):
        play.gets(segment, [reset(play.base, 55)], "CLOSED", hint)
    for segment in (play.theirs(7, syn=True), play.theirs(7, data=b"ab", fin=True)):
        end = add(segment.seq, segment.length)
        play.gets(segment, [Segment(0, end, rst=True)], "CLOSED", hint)
    play.gets(play.theirs(7, 55, rst=True), [], "CLOSED", "a RST is never answered")
    play.listens()
    hint = "LISTEN: nothing has been sent that it could acknowledge"
    play.gets(play.theirs(7, 55), [reset(play.base, 55)], "LISTEN", hint)
    play.gets(play.theirs(7, 55, syn=True), [reset(play.base, 55)], "LISTEN", hint)
    play.gets(play.theirs(7, rst=True), [], "LISTEN", "LISTEN: a RST is ignored")
    play.gets(play.theirs(7, data=b"data"), [], "LISTEN", "LISTEN: only a SYN begins a connection")


@pytest.mark.points(3)
def test_a_half_open_connection_is_found_and_ended(submission: Submission) -> None:
    play = Play(submission, "half-open-alive")
    play.reaches("ESTABLISHED")
    play.moves(301, 101)
    for number in (play.draw.randrange(1 << 20, 1 << 31), play.draw.randrange(200, 10_000)):
        hint = "the peer has crashed and opens again: a challenge ACK with our old numbers asks it"
        play.gets(play.theirs(number, syn=True), [play.mine(301, 101)], "ESTABLISHED", hint)
    hint = "its answer to the challenge ACK: exactly RCV.NXT"
    play.gets(play.theirs(101, rst=True), [], "CLOSED", hint)
    play = Play(submission, "half-open-crashed")
    play.opens()
    old = play.draw.randrange(1 << 16, 1 << 31)
    hint = "an ACK of the connection before the crash: reset it, so that the peer gives it up"
    play.gets(play.theirs(100, old), [reset(play.base, old)], "SYN-SENT", hint)
    hint = "then the SYN is sent again, and this time the peer listens"
    play.again(1, [play.mine(0, syn=True)], "SYN-SENT", hint)
    play.gets(play.theirs(0, 1, syn=True), [play.mine(1, 1)], "ESTABLISHED", hint)


# What is not believed


@pytest.mark.points(2)
def test_what_lies_outside_the_window_is_answered_and_changes_nothing(submission: Submission) -> None:
    play = Play(submission, "outside")
    play.reaches("ESTABLISHED")
    play.moves(1, 1001)
    answer = [play.mine(1, 1001)]
    hint = "no number of it is in the window: answer with ACK, that the peer may see what we expect"
    beyond = 1001 + play.window
    for segment in (
        play.theirs(beyond, 1, fin=True),
        play.theirs(501, 1, b"x" * 400),
        play.theirs(1000, 1),
        play.theirs(1000, 1, fin=True),
        play.theirs(beyond + play.draw.randrange(1 << 20), 1, b"data"),
    ):
        play.gets(segment, answer, "ESTABLISHED", hint)
    hint = "at least one of its numbers is in the window: data are the receiving half's"
    for segment in (play.theirs(1001, 1), play.theirs(beyond - 1, 1), play.theirs(901, 1, b"x" * 101)):
        play.gets(segment, [], "ESTABLISHED", hint)
    play.window = 0
    play.moves(1, 1001)
    hint = "the window is closed: only what takes no number and begins at RCV.NXT is acceptable"
    play.gets(play.theirs(1001, 1), [], "ESTABLISHED", hint)
    play.gets(play.theirs(1001, 1, b"?"), [play.mine(1, 1001)], "ESTABLISHED", hint)
    play.gets(play.theirs(1001, 1, fin=True), [play.mine(1, 1001)], "ESTABLISHED", hint)


@pytest.mark.points(2)
def test_an_ack_of_what_was_never_sent_is_answered(submission: Submission) -> None:
    for state in ("ESTABLISHED", "FIN-WAIT-1", "LAST-ACK"):
        play = Play(submission, f"unsent {state}")
        play.reaches(state)
        sent, received = 1 + (state != "ESTABLISHED"), 1 + (state == "LAST-ACK")
        hint = "SEG.ACK lies after SND.NXT: answer with ACK, and ignore the rest of it, FIN too"
        for number in (sent + 1, sent + play.draw.randrange(2, 1 << 31)):
            play.gets(play.theirs(received, number, fin=True), [play.mine(sent, received)], state, hint)
    hint = "without an ACK nothing else of it is looked at"
    play = Play(submission, "no ACK")
    play.reaches("ESTABLISHED")
    play.gets(play.theirs(1, fin=True), [], "ESTABLISHED", hint)


# How it ends


@pytest.mark.points(2)
def test_who_closes_first_ends_in_time_wait(submission: Submission) -> None:
    play = Play(submission, "first")
    play.reaches("ESTABLISHED")
    play.call("close", [play.mine(1, 1, fin=True)], "FIN-WAIT-1", "FIN has the number SND.NXT, and an ACK")
    play.gets(play.theirs(1, 1), [], "FIN-WAIT-1", "it acknowledges the SYN, not the FIN: FIN takes a number")
    play.gets(play.theirs(1, 2), [], "FIN-WAIT-2", "our FIN is acknowledged; the peer may still send")
    play.no_timer("the peer may take its time")
    hint = "the peer's FIN takes a number, too: acknowledge it with SEG.SEQ + 1"
    play.gets(play.theirs(1, 2, fin=True), [play.mine(2, 2)], "TIME-WAIT", hint)
    play.call("close", [], "TIME-WAIT", "it was closed already: nothing happens")
    play = Play(submission, "both in one")
    play.reaches("FIN-WAIT-1")
    hint = "this FIN acknowledges ours: rule 6 first, then rule 7"
    play.gets(play.theirs(1, 2, fin=True), [play.mine(2, 2)], "TIME-WAIT", hint)


@pytest.mark.points(2)
@pytest.mark.facts("S17")
def test_who_closes_second_ends_at_once(submission: Submission) -> None:
    play = Play(submission, "second")
    play.reaches("ESTABLISHED")
    hint = "only the peer's direction has ended: our own is closed by close()"
    play.gets(play.theirs(1, 1, fin=True), [play.mine(1, 2)], "CLOSE-WAIT", hint)
    more = play.draw.randrange(2, 5000)
    play.moves(more, 2)
    play.call("close", [play.mine(more, 2, fin=True)], "LAST-ACK", "FIN has the number SND.NXT, and an ACK")
    hint = "it acknowledges data, not the FIN behind them"
    play.gets(play.theirs(2, more), [], "LAST-ACK", hint)
    play.gets(play.theirs(2, more + 1), [], "CLOSED", "all is acknowledged: who closes second need not wait")
    play.no_timer("the connection is CLOSED")


@pytest.mark.points(2)
def test_a_fin_comes_after_the_data_before_it(submission: Submission) -> None:
    play = Play(submission, "after data")
    play.reaches("ESTABLISHED")
    size = play.draw.randrange(100, 1000)
    hint = "data before the FIN are missing: answer with ACK of what is there, and wait"
    play.gets(play.theirs(1 + size, 1, fin=True), [play.mine(1, 1)], "ESTABLISHED", hint)
    play.gets(play.theirs(11, 1, bytes(size), fin=True), [play.mine(1, 1)], "ESTABLISHED", hint)
    play.moves(1, 1 + size)
    hint = "its data are there, and its FIN is the next number: SEG.SEQ and the length of the data"
    play.gets(play.theirs(1, 1, bytes(size), fin=True), [play.mine(1, size + 2)], "CLOSE-WAIT", hint)


@pytest.mark.points(2)
def test_both_close_at_once(submission: Submission) -> None:
    play = Play(submission, "FINs-cross")
    play.reaches("FIN-WAIT-1")
    hint = "the FINs crossed: the peer's does not acknowledge ours yet"
    play.gets(play.theirs(1, 1, fin=True), [play.mine(2, 2)], "CLOSING", hint)
    play.gets(play.theirs(2, 1), [], "CLOSING", "this ACK is older than our FIN")
    play.gets(play.theirs(2, 2), [], "TIME-WAIT", "our FIN is acknowledged: both closed first, both wait")


@pytest.mark.points(2)
def test_a_fin_is_sent_again_until_it_is_acknowledged(submission: Submission) -> None:
    for state in ("FIN-WAIT-1", "LAST-ACK"):
        play = Play(submission, f"again {state}")
        play.reaches(state)
        play.again(1, [play.mine(1, 1 + (state == "LAST-ACK"), fin=True)], state, "FIN waits for its ACK")
        if state == "FIN-WAIT-1":
            play.wait(0.25)
            hint = "the peer's FIN does not acknowledge ours"
            play.gets(play.theirs(1, 1, fin=True), [play.mine(2, 2)], "CLOSING", hint)
            play.wait(-0.25)
            state = "CLOSING"  # noqa: PLW2901
        hint = "2 seconds after the first repetition; it acknowledges what has come meanwhile"
        play.again(2, [play.mine(1, 2, fin=True)], state, hint)
        over = "TIME-WAIT" if state == "CLOSING" else "CLOSED"
        play.gets(play.theirs(2, 2), [], over, "our FIN is acknowledged")


@pytest.mark.points(2)
def test_time_wait_lasts_two_lifetimes_from_the_last_fin(submission: Submission) -> None:
    play = Play(submission, "time wait")
    play.reaches("TIME-WAIT")
    seconds = play.draw.randrange(5, 55)
    play.wait(seconds)
    play.call("poll", [], "TIME-WAIT", "2 MSL have not passed yet")
    hint = "the FIN comes again: our last ACK was lost. Acknowledge it again, and wait 2 MSL from now on"
    play.gets(play.theirs(1, 2, fin=True), [play.mine(2, 2)], "TIME-WAIT", hint)
    play.wait(10)
    play.gets(play.theirs(1, 2), [play.mine(2, 2)], "TIME-WAIT", "old, but no FIN: the wait goes on")
    play.wait(-10)
    play.again(2 * MSL, [], "CLOSED", "2 MSL have passed since the last FIN")
    play.no_timer("the connection is CLOSED")


# The whole


@pytest.mark.points(2)
def test_two_ends_open_and_close_over_a_lossy_link(submission: Submission) -> None:
    hint = "whatever is lost, repeated or late: timers and answers bring both ends to CLOSED"
    draw = drawing("lossy")
    for opens, closes in (("A", "A"), ("A", "B"), ("AB", "AB")):
        near, build = draw.randrange(1 << 32), partial(lossy, draw.getrandbits(32), opens, closes)
        while not (trial := build(Ours(near, 30_000, 1460)))[0].run(trial[1], 400) or not hard(trial[0]):
            build = partial(lossy, draw.getrandbits(32), opens, closes)
        submission.new("Machine", near, 30_000, 1460)
        about = f"{opens} opens, {closes} closes, over a link that loses a third"
        ours = Ours(near, 30_000, 1460)
        transfer(submission, about, build, Ends(submission), ours, seconds=400, hint=hint)


def hard(simulation: Simulation) -> bool:
    """Tell whether A's SYN and its FIN were lost at least once."""
    lost = [each.segment for each in simulation.events if each.end == "A" and each.what == "sends, lost"]
    return any(each.syn for each in lost) and any(each.fin for each in lost)


class Ends(Learner):
    """The learner's machine as an end of the simulation."""

    def state(self) -> object:
        """Ask for the state."""
        return self._submission.call("state")


class Ours(Machine):
    """Our machine as an end of the simulation."""

    def do(self, method: str, now: float) -> list[Segment]:
        """Call a method that sends, as `Learner.do` does."""
        sent: list[Segment] = getattr(self, method)(now)
        return sent


def lossy(seed: int, opens: str, closes: str, end: Any) -> tuple[Simulation, Callable[[], bool]]:
    """Return a simulation between an end and our machine, and when it is over."""
    faults = Random(seed)
    ends = {"A": end, "B": Ours(faults.randrange(1 << 32), 30_000, 1460)}
    links = [Link(faults, loss=0.3, repeat=0.2, reorder=0.2, corrupt=0.05) for _ in range(2)]
    simulation, closed = Simulation([Flow(*ends.values(), *links)], most=300), set[str]()

    def after(_flow: int, name: str) -> None:
        # An end that is to close does so once it is ESTABLISHED, the other one after it.
        state = ends[name].state()
        if name not in closed and (state == "CLOSE-WAIT" or (state == "ESTABLISHED" and name in closes)):
            closed.add(name)
            simulation.put(0, name, ends[name].do("close", simulation.now))

    simulation.after = after
    if "B" not in opens:
        ends["B"].listen()
    for name in opens:
        simulation.put(0, name, ends[name].do("open", 0.0))
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
        play = Play(submission, "capture", iss, irs, window=65_535, mss=1460)
        if not life[0][2]:
            play.listens()
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


def ask_table(submission: Submission, arrows: Iterable[tuple[str, str]], hint: str) -> None:
    """Ask `transition` for arrows of the table, in any order."""
    arrows = list(arrows)
    drawing("table").shuffle(arrows)
    for state, event in arrows:
        expected = TABLE.get((state, event))
        found = submission.function("transition", state, event)
        if (tuple(found) if isinstance(found, list) else found) != expected:
            fail(f"{expected!r} for {event!r} in {state}", repr(found), hint)


def reset(base: int, number: int) -> Segment:
    """Return the RST that answers a segment which acknowledges a number, counted from our SYN."""
    return Segment(add(base, number), rst=True)
