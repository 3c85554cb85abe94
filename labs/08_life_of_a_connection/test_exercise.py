"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.transport.tcp.states import TABLE, Event, State
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.segment import TCPSegment, flag_letters

CAPTURE = Path(__file__).parents[2] / "captures" / "08_life_of_a_connection.pcapng"
CALLS = ("listen", "connect", "close")
WAYS = {
    "CLOSED": "",
    "LISTEN": "listen",
    "SYN-SENT": "connect",
    "SYN-RECEIVED": "listen S",
    "ESTABLISHED": "connect SA",
    "FIN-WAIT-1": "connect SA close",
    "FIN-WAIT-2": "connect SA close A",
    "CLOSING": "connect SA close F",
    "TIME-WAIT": "connect SA close A FA",
    "CLOSE-WAIT": "connect SA FA",
    "LAST-ACK": "connect SA FA close",
}
"""A way to each state: calls, and flags of segments."""


# The handshake


@pytest.mark.points(1)
def test_it_begins_closed_and_listens(submission: Submission) -> None:
    submission.new("Connection")
    expect_state(submission, "CLOSED", "nothing has happened yet")
    expect(submission, "listen", "", "LISTEN", "listen waits, and sends nothing")


@pytest.mark.points(1)
def test_connect_sends_a_syn_and_waits(submission: Submission) -> None:
    submission.new("Connection")
    hint = "the SYN is on its way: there is no connection before it is answered"
    expect(submission, "connect", "S", "SYN-SENT", hint)


@pytest.mark.points(1)
def test_the_client_is_established_by_the_answer(submission: Submission) -> None:
    reach(submission, "SYN-SENT")
    hint = "the third segment of the handshake acknowledges the server's SYN"
    expect(submission, "SA", "A", "ESTABLISHED", hint)


@pytest.mark.points(1)
def test_the_server_goes_through_syn_received(submission: Submission) -> None:
    reach(submission, "LISTEN")
    hint = "the server has answered, but its own SYN is not acknowledged yet"
    expect(submission, "S", "SA", "SYN-RECEIVED", hint)
    expect(submission, "A", "", "ESTABLISHED", "the third segment is not answered")


@pytest.mark.points(1)
def test_data_and_acknowledgments_leave_the_state(submission: Submission) -> None:
    hint = "an A where nothing waits for it changes nothing, and is not answered"
    for state in ("ESTABLISHED", "CLOSE-WAIT", "FIN-WAIT-2", "TIME-WAIT"):
        reach(submission, state)
        for _ in range(2):
            expect(submission, "A", "", state, hint)


# How it ends


@pytest.mark.points(1)
def test_who_closes_first_waits_for_the_acknowledgment(submission: Submission) -> None:
    reach(submission, "ESTABLISHED")
    hint = "a FIN is sent, with an ACK as nearly every segment: FA; its acknowledgment has not come yet"
    expect(submission, "close", "FA", "FIN-WAIT-1", hint)
    expect(submission, "A", "", "FIN-WAIT-2", "now only the peer's FIN is missing")


@pytest.mark.points(2)
def test_the_peers_fin_waits_for_our_own_close(submission: Submission) -> None:
    reach(submission, "ESTABLISHED")
    hint = "only the peer's direction has ended: our application may still send, and closes when it likes"
    expect(submission, "FA", "A", "CLOSE-WAIT", hint)


@pytest.mark.points(2)
def test_who_closes_second_waits_for_nothing_else(submission: Submission) -> None:
    reach(submission, "CLOSE-WAIT")
    hint = "our direction ends too, and the peer must be told: who closes second is in LAST-ACK"
    expect(submission, "close", "FA", "LAST-ACK", hint)
    hint = "the peer has acknowledged our FIN, so the connection is over: only who closed first waits"
    expect(submission, "A", "", "CLOSED", hint)


@pytest.mark.points(2)
@pytest.mark.facts("S17")
def test_who_closes_first_ends_in_time_wait(submission: Submission) -> None:
    reach(submission, "FIN-WAIT-2")
    hint = "our last A may get lost, and segments may be late: who closed first waits"
    expect(submission, "FA", "A", "TIME-WAIT", hint)
    expect(submission, "timeout", "", "CLOSED", "the wait is over")


@pytest.mark.points(1)
def test_a_fin_that_acknowledges_ours_does_both(submission: Submission) -> None:
    reach(submission, "FIN-WAIT-1")
    hint = "the A of FA acknowledges our FIN, and the F is the peer's: nothing is missing any more"
    expect(submission, "FA", "A", "TIME-WAIT", hint)


@pytest.mark.points(2)
def test_both_close_at_once(submission: Submission) -> None:
    reach(submission, "FIN-WAIT-1")
    hint = "the FINs crossed: the peer's has come, ours is not acknowledged yet"
    expect(submission, "F", "A", "CLOSING", hint)
    hint = "now ours is acknowledged, and both sides wait, for both closed first"
    expect(submission, "A", "", "TIME-WAIT", hint)
    expect(submission, "timeout", "", "CLOSED", "the wait is over")


@pytest.mark.points(1)
def test_a_half_closed_connection_lives_on(submission: Submission) -> None:
    for state, hint in (
        ("FIN-WAIT-2", "the peer has not closed yet: it may send for as long as it likes"),
        ("CLOSE-WAIT", "our application has not closed yet: it may send for as long as it likes"),
    ):
        reach(submission, state)
        for event in ("A", "timeout", "A", "timeout"):
            expect(submission, event, "", state, hint)


@pytest.mark.points(1)
def test_only_time_wait_ends_by_time(submission: Submission) -> None:
    for state in WAYS:
        reach(submission, state)
        after = "CLOSED" if state == "TIME-WAIT" else state
        expect(submission, "timeout", "", after, "the time of TIME-WAIT ends no other state")


@pytest.mark.points(2)
@pytest.mark.facts("S16")
def test_a_call_that_is_not_allowed_raises(submission: Submission) -> None:
    hint = "a connection begins in CLOSED, and is closed once"
    for state in WAYS:
        allowed = {"CLOSED": ("listen", "connect")}.get(state, ())
        if state in ("LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "CLOSE-WAIT"):
            allowed = ("close",)
        reach(submission, state)
        for name in CALLS:
            if name not in allowed:
                expect_error(submission, name, state, hint)
                expect_state(submission, state, "a call that raises changes nothing")


# What is not so common


@pytest.mark.points(2)
def test_both_connect_at_once(submission: Submission) -> None:
    hint = "the SYNs crossed: each side answers the other's, and waits until its own is acknowledged"
    for acknowledgment in ("SA", "A"):
        reach(submission, "SYN-SENT")
        expect(submission, "S", "SA", "SYN-RECEIVED", hint)
        said = f"the A of {acknowledgment} acknowledges our SYN; the peer's we have already"
        expect(submission, acknowledgment, "", "ESTABLISHED", said)


@pytest.mark.points(1)
def test_close_before_the_connection_is_there(submission: Submission) -> None:
    for state in ("LISTEN", "SYN-SENT"):
        reach(submission, state)
        hint = "no SYN has come from a peer, so there is nobody to send a FIN to"
        expect(submission, "close", "", "CLOSED", hint)
    reach(submission, "SYN-RECEIVED")
    expect(submission, "close", "FA", "FIN-WAIT-1", "there is a peer: its connection must be ended by a FIN")
    expect(submission, "A", "", "FIN-WAIT-2", "this A acknowledges the SYN and the FIN")


@pytest.mark.points(1)
def test_a_fin_may_end_the_handshake(submission: Submission) -> None:
    reach(submission, "SYN-RECEIVED")
    hint = "the A of FA acknowledges our SYN, and then the F ends the peer's direction"
    expect(submission, "FA", "A", "CLOSE-WAIT", hint)


@pytest.mark.points(2)
def test_a_reset_ends_the_connection_and_is_not_answered(submission: Submission) -> None:
    hint = "an RST ends the connection; answering it would begin a quarrel without end"
    for state in WAYS:
        if state not in ("LISTEN", "SYN-RECEIVED"):
            reach(submission, state)
            expect(submission, "R", "", "CLOSED", hint)
    reach(submission, "SYN-SENT")
    expect(submission, "R", "", "CLOSED", "nobody listens there: connection refused")
    expect(submission, "connect", "S", "SYN-SENT", "after CLOSED one may try again")


@pytest.mark.points(1)
def test_who_listens_goes_on_listening_after_a_reset(submission: Submission) -> None:
    hint = "one client's RST must not stop the server: it waits for the next SYN"
    reach(submission, "LISTEN")
    expect(submission, "R", "", "LISTEN", hint)
    expect(submission, "S", "SA", "SYN-RECEIVED", "the next client")
    expect(submission, "R", "", "LISTEN", hint)
    expect(submission, "close", "", "CLOSED", "it listens no longer")
    expect(submission, "connect", "S", "SYN-SENT", "this time it connects")
    expect(submission, "S", "SA", "SYN-RECEIVED", "both connect at once")
    hint = "this SYN-RECEIVED came from SYN-SENT, so nobody listens"
    expect(submission, "R", "", "CLOSED", hint)


@pytest.mark.points(1)
def test_closed_answers_with_a_reset(submission: Submission) -> None:
    for flags in ("S", "SA", "A", "FA", "F"):
        submission.new("Connection")
        expect(submission, flags, "R", "CLOSED", "there is no connection, and the peer should know it")


@pytest.mark.points(1)
def test_the_handshake_takes_only_what_it_waits_for(submission: Submission) -> None:
    for flags, answer in (("A", "R"), ("SA", "R"), ("FA", "R"), ("F", "")):
        reach(submission, "LISTEN")
        hint = "nothing was sent that it could acknowledge" if answer else "only a SYN begins a connection"
        expect(submission, flags, answer, "LISTEN", hint)
    for flags in ("A", "FA", "F"):
        reach(submission, "SYN-SENT")
        expect(submission, flags, "", "SYN-SENT", "only a segment with a SYN answers a SYN")


@pytest.mark.points(2)
def test_a_lost_answer_is_sent_again(submission: Submission) -> None:
    reach(submission, "SYN-RECEIVED")
    expect(submission, "S", "SA", "SYN-RECEIVED", "the SYN comes again: our SA was lost")
    hint = "the FIN comes again: our A was lost, and without it the peer would repeat itself for ever"
    for state, flags in (("CLOSE-WAIT", "FA"), ("CLOSING", "F"), ("LAST-ACK", "F"), ("TIME-WAIT", "FA")):
        reach(submission, state)
        expect(submission, flags, "A", state, hint)


@pytest.mark.points(1)
def test_a_late_syn_changes_nothing(submission: Submission) -> None:
    hint = "the connection is there: an A says so, and the state stays"
    for state in list(WAYS)[4:]:
        for flags in ("S", "SA"):
            reach(submission, state)
            expect(submission, flags, "A", state, hint)


# The real thing


@pytest.mark.points(1)
def test_a_hundred_lives_follow_the_diagram(submission: Submission) -> None:
    draw = drawing("lives")
    submission.new("Connection")
    state, lives = State.CLOSED, []
    for _ in range(1000):
        event = draw.choice([e for s, e in TABLE if s is state and e is not Event.RESET])
        lives.append((state.value, event, TABLE[state, event].value))
        state = TABLE[state, event]
    with submission.summed_up("went through many lives, drawn at random"):
        calls = [(in_call(as_asked(event, before)[0]), ("state",)) for before, event, _after in lives]
        submission.ahead(call for pair in calls for call in pair)
        for before, event, after in lives:
            happened = "the time of TIME-WAIT is over" if event is Event.TIMEOUT else event.value
            hint = f"in {before}: {happened}, which leads to {after} (RFC 9293, figure 5)"
            expect(submission, *as_asked(event, before), after, hint)


@pytest.mark.points(2)
@pytest.mark.facts("S17")
def test_the_reference_capture_goes_from_state_to_state_at_both_ends(submission: Submission) -> None:
    lives = (
        ("client", 1, "1 SYN-SENT, 2 ESTABLISHED, 8 CLOSE-WAIT, 10 LAST-ACK, 11 CLOSED"),
        ("server", 1, "1 SYN-RECEIVED, 3 ESTABLISHED, 8 FIN-WAIT-1, 9 FIN-WAIT-2, 10 TIME-WAIT"),
        ("client", 12, "12 SYN-SENT, 13 ESTABLISHED, 17 FIN-WAIT-1, 18 FIN-WAIT-2, 21 TIME-WAIT"),
        ("server", 12, "12 SYN-RECEIVED, 14 ESTABLISHED, 17 CLOSE-WAIT, 21 LAST-ACK, 22 CLOSED"),
    )
    for side, begin, changes in lives:
        states = dict(change.split() for change in changes.split(", "))
        submission.new("Connection")
        state = "CLOSED"
        if side == "server":
            state = "LISTEN"
            expect(submission, "listen", "", state, "the server listens")
        for number, flags, sender in frames(begin, begin + 10):
            state = states.get(str(number), state)
            hint = f"this is frame {number} of captures/{CAPTURE.name}, [{flags}], at the {side}"
            if sender != side:
                answer = {"S": "SA", "SA": "A", "FA": "A", "A": ""}[flags]
                expect(submission, flags, answer, state, hint)
            elif flags in ("S", "FA"):
                expect(submission, "connect" if flags == "S" else "close", flags, state, hint)
        expect(submission, "timeout", "", "CLOSED", "60 seconds later")


# How it is asked


def reach(submission: Submission, state: str) -> None:
    """Begin anew, and bring the connection into a state."""
    submission.new("Connection")
    for event in WAYS[state].split():
        ask(submission, event, f"this is on the way to {state}")
    expect_state(submission, state, f"it should have come here by: {WAYS[state] or 'nothing'}")


def expect(submission: Submission, event: str, sent: str, state: str, hint: str) -> None:
    """Let something happen, a call or a segment; compare what is sent, and the state after it."""
    found = ask(submission, event, hint)
    if found != sent:
        words = f"{in_words(event)}: expected {sent!r} to be sent, found {found!r}"
        raise AssertionError(f"{words}\nhint: {hint}")
    expect_state(submission, state, hint)


def expect_state(submission: Submission, state: str, hint: str) -> None:
    """Compare the state."""
    try:
        found = submission.call("state")
    except SubmissionError as error:
        raise AssertionError(f"expected {state}, but {error}\nhint: {hint}") from None
    if found != state:
        raise AssertionError(f"expected the state {state}, found {found}\nhint: {hint}")


def expect_error(submission: Submission, name: str, state: str, hint: str) -> None:
    """Make a call that the state does not allow."""
    try:
        found = submission.call("call", name)
    except SubmissionError as error:
        if "raised OSError" not in str(error):
            raise AssertionError(f"expected OSError in {state}, but {error}\nhint: {hint}") from None
    else:
        raise AssertionError(f"{in_words(name)} in {state}: expected OSError, found {found!r}\nhint: {hint}")


def ask(submission: Submission, event: str, hint: str) -> object:
    """Let something happen; return what was sent."""
    try:
        return submission.call(*in_call(event))
    except SubmissionError as error:
        raise AssertionError(f"{in_words(event)}: expected no error, but {error}\nhint: {hint}") from None


def in_call(event: str) -> tuple[str, ...]:
    """Return the method that is told of something, and its argument."""
    if event == "timeout":
        return ("timeout",)
    return "call" if event in CALLS else "segment", event


def in_words(event: str) -> str:
    """Return how something was asked."""
    if event == "timeout":
        return "timeout()"
    return f"call({event!r})" if event in CALLS else f"segment({event!r})"


def as_asked(event: Event, state: str) -> tuple[str, str]:
    """Return an event of the diagram as it is asked, and what is sent then."""
    if event is Event.CLOSE:
        return "close", "" if state in ("LISTEN", "SYN-SENT") else "FA"
    if event is Event.FIN:
        return ("F" if state == "FIN-WAIT-1" else "FA"), "A"
    return {
        Event.PASSIVE_OPEN: ("listen", ""),
        Event.ACTIVE_OPEN: ("connect", "S"),
        Event.SYN: ("S", "SA"),
        Event.SYN_ACK: ("SA", "A"),
        Event.ACK_OF_SYN: ("A", ""),
        Event.ACK_OF_FIN: ("A", ""),
        Event.TIMEOUT: ("timeout", ""),
    }[event]


def frames(first: int, last: int) -> Iterator[tuple[int, str, str]]:
    """Yield frames of the reference capture: number, flags without PSH, and who sent it."""
    with Capture(CAPTURE) as capture:
        for frame in capture:
            segment = wire_packet.read(frame.data)
            assert isinstance(segment, TCPSegment)
            if first <= frame.number <= last:
                flags = flag_letters(segment.flags).replace("P", "")
                yield frame.number, flags, "server" if segment.source_port == 80 else "client"
