"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing
from demuxlab.grading.judge import Learner, Script, Segment, stand_in, transfer
from demuxlab.grading.peers import Whole
from demuxlab.grading.submission import Submission
from demuxlab.parts import plain
from demuxlab.parts.connection import Connection
from demuxlab.parts.link import Link
from demuxlab.parts.segment import add
from demuxlab.parts.simulation import Flow, Simulation
from demuxlab.serving.transport import as_part
from demuxlab.wire import packet

CAPTURE = Path(__file__).resolve().parents[2] / "captures" / "21_your_own_tcp.pcapng"
BAD = {"loss": 0.06, "repeat": 0.04, "reorder": 0.04, "corrupt": 0.02}
SERVER = 80


class Play(Script):
    """A script for the learner's connection; the bytes of both sides are counted from 0, behind the SYNs."""

    def __init__(self, submission: Submission, about: str, mss: int = 1000, capacity: int = 4000) -> None:
        self.draw = drawing(about)
        self.iss, self.irs = self.draw.randrange(1 << 32), self.draw.randrange(1 << 32)
        self.mss, self.capacity = mss, capacity
        self.stream, self.theirs = self.draw.randbytes(20_000), self.draw.randbytes(20_000)
        stand_in(submission)
        arguments = self.iss, mss, capacity
        super().__init__(
            submission, "Connection", *arguments, ours=Connection(*arguments), base=self.iss, peer=self.irs
        )

    def _compared(self, sent: Iterable[Segment]) -> list[list[Any]]:
        """An ACK in front of data or FIN may have SND.NXT as it is before them, or behind them."""
        sent = list(sent)
        rows = super()._compared(sent)
        for row, each, behind in zip(rows, sent, sent[1:], strict=False):
            numbered = behind.data or behind.fin
            if numbered and each.ack is not None and not each.length and each.seq == sent[-1].end:
                row[0] = behind.seq
        return rows

    def listens(self) -> None:
        """Passive open."""
        self.value("listen", expected=None, hint="listen returns nothing")

    def comes(
        self, first: int = 0, last: int = 0, ack: int = 0, *, hint: str, **fields: Any
    ) -> list[Segment]:
        """A segment of the peer comes; what is sent must be what our own connection sends."""
        given = {"window": 60_000, "data": self.theirs[first:last], **fields}
        return self.step("receive", Segment(self.number(first), self.own(ack), **given), hint=hint)

    def syn(self, window: int = 60_000, mss: int | None = 1000) -> None:
        """A SYN comes, and the machine answers it."""
        syn = Segment(self.irs, None, window, syn=True, mss=mss)
        answer = Segment(self.iss, add(self.irs, 1), self.capacity, syn=True, mss=self.mss)
        self.step("receive", syn, sends=[answer], hint="the machine answers a SYN with SYN,ACK")

    def opened(self, window: int = 60_000, mss: int | None = 1000) -> "Play":
        """Passive open, with a whole handshake."""
        self.listens()
        self.syn(window, mss)
        self.comes(window=window, hint="the ACK of the SYN opens the connection")
        self.is_in("ESTABLISHED")
        return self

    def is_in(self, state: str, hint: str = "the machine knows the state") -> None:
        """The connection is in a state."""
        self.value("state", expected=state, hint=hint)

    def write(self, first: int, last: int, hint: str) -> list[Segment]:
        """The application writes; what is sent must be what our own connection sends."""
        return self.step("send", self.stream[first:last], hint=hint)

    def number(self, count: int) -> int:
        """Return the number of one of the peer's bytes."""
        return add(self.irs, 1 + count)

    def own(self, count: int) -> int:
        """Return the number of one of the learner's bytes."""
        return add(self.iss, 1 + count)


# Opening


@pytest.mark.points(1)
def test_a_listener_answers_a_syn(submission: Submission) -> None:
    play = Play(submission, "listener")
    play.is_in("CLOSED")
    play.opened()


@pytest.mark.points(1)
def test_an_active_open_sends_a_syn_and_an_ack(submission: Submission) -> None:
    play = Play(submission, "active")
    syn = Segment(play.iss, None, play.capacity, syn=True, mss=play.mss)
    play.step("open", sends=[syn], hint="the machine makes the SYN")
    answer = Segment(play.irs, play.own(0), 60_000, syn=True, mss=1000)
    last = Segment(play.own(0), play.number(0), play.capacity)
    hint = "SYN,ACK is answered with one ACK, the machine's: the receiver gets no SYN"
    play.step("receive", answer, sends=[last], hint=hint)
    play.is_in("ESTABLISHED")


@pytest.mark.points(1)
def test_a_lost_syn_is_sent_again(submission: Submission) -> None:
    play = Play(submission, "lost syn")
    syn = Segment(play.iss, None, play.capacity, syn=True, mss=play.mss)
    play.step("open", sends=[syn], hint="the machine makes the SYN")
    hint = "deadline() and poll() ask the machine as well as the sender"
    for at in (1, 3):
        play.timer([syn], at=at, hint=hint)
    play = Play(submission, "lost syn,ack")
    play.listens()
    play.syn()
    play.timer(at=1, hint=hint)


@pytest.mark.points(1)
def test_both_sides_may_open_at_once(submission: Submission) -> None:
    play = Play(submission, "at once")
    play.step("open", hint="the machine makes the SYN")
    crossing = Segment(play.irs, None, 60_000, syn=True, mss=1000)
    play.step("receive", crossing, hint="a SYN without ACK: both have opened")
    play.is_in("SYN-RECEIVED")
    answer = crossing._replace(ack=play.own(0))
    play.step("receive", answer, hint="the peer's SYN again, with the ACK of ours: the connection is open")
    play.is_in("ESTABLISHED")
    play.write(0, 500, "the sender was made when the first SYN came")


# Data


@pytest.mark.points(2)
def test_data_is_sent_with_the_right_numbers(submission: Submission) -> None:
    play = Play(submission, "numbers").opened()
    first = Segment(play.own(0), play.number(0), play.capacity, play.stream[:700])
    hint = "the first byte has the number behind the SYN; ack and window are the receiver's"
    play.step("send", play.stream[:700], sends=[first], hint=hint)
    play.comes(ack=700, hint="700 bytes are acknowledged")
    play.value("waiting", expected=0, hint="all is acknowledged")
    play.write(700, 1000, "the next byte")


@pytest.mark.points(1)
def test_data_written_before_the_handshake_waits(submission: Submission) -> None:
    play = Play(submission, "early")
    play.step("open", hint="the machine makes the SYN")
    play.step("send", play.stream[:300], sends=[], hint="nothing may go before the handshake is over")
    play.value("waiting", expected=300, hint="what waits for the handshake is not acknowledged either")
    answer = Segment(play.irs, play.own(0), 60_000, syn=True, mss=1000)
    play.step("receive", answer, hint="now it goes, behind the handshake's ACK")
    play = Play(submission, "early answer")
    play.listens()
    play.syn()
    play.step("send", play.stream[:300], sends=[], hint="in SYN-RECEIVED the handshake is not over either")
    play.comes(hint="the ACK of the SYN: now it goes")


@pytest.mark.points(1)
def test_the_smaller_mss_counts(submission: Submission) -> None:
    for mss, hint in ((300, "the peer's SYN asks for 300"), (None, "a SYN without the option means 536")):
        play = Play(submission, f"mss {mss}").opened(mss=mss)
        play.write(0, 1000, hint)
    play = Play(submission, "own mss", mss=400).opened(mss=1460)
    play.write(0, 1000, "the own mss is 400: no segment is larger")


@pytest.mark.points(1)
def test_the_peers_first_window_is_obeyed(submission: Submission) -> None:
    play = Play(submission, "first window").opened(window=1000)
    play.write(0, 3000, "the SYN's ACK has a window of 1000: give the sender that segment, too")
    play.write(3000, 3500, "the window is full: nothing is sent, no ACK either")


@pytest.mark.points(2)
def test_what_arrives_is_read_and_acknowledged(submission: Submission) -> None:
    play = Play(submission, "arrives").opened()
    play.comes(0, 1000, hint="the first segment: the receiver delays its ACK")
    play.comes(1000, 2000, hint="two full segments: one ACK")
    play.comes(2000, 3000, hint="a third one: its ACK waits")
    play.timer(at=0.2, hint="the delayed ACK is due: deadline() and poll() ask the receiver as well")
    play.value("read", 1500, expected=play.theirs[:1500], hint="the receiver has it")
    play.value("read", 9000, expected=play.theirs[1500:3000], hint="the receiver has it")


@pytest.mark.points(1)
def test_an_ack_alone_carries_snd_nxt(submission: Submission) -> None:
    play = Play(submission, "snd.nxt").opened()
    play.write(0, 2000, "two segments")
    play.comes(500, 900, hint="a gap: an ACK at once, with seq SND.NXT, behind all that was sent")
    play.comes(0, 500, ack=1000, hint="the gap is filled")


@pytest.mark.points(2)
def test_both_directions_at_once(submission: Submission) -> None:
    play = Play(submission, "both").opened()
    play.write(0, 3000, "the window of the controller bounds it")
    hint = "a segment has data and an ACK: the sender needs the one, the receiver the other"
    for number in range(3):
        play.comes(500 * number, 500 * (number + 1), ack=1000 * (number + 1), hint=hint)
    play.value("read", 9000, expected=play.theirs[:1500], hint="three segments have come")
    play = Play(submission, "two timers").opened()
    play.write(0, 1000, "it is under way")
    play.comes(0, 500, hint="its ACK is delayed")
    play.timer(at=0.2, hint="deadline() is the earliest: the ACK is due before the data goes again")
    play.timer(at=1, hint="nothing was acknowledged: poll() asks the sender, which sends it again")


@pytest.mark.points(2)
def test_a_full_buffer_closes_the_window_and_a_read_opens_it(submission: Submission) -> None:
    play = Play(submission, "full").opened()
    for first in range(0, 4000, 1000):
        play.comes(first, first + 1000, hint="nobody reads: the window becomes smaller")
    play.comes(4000, 5000, hint="the window is 0: nothing is taken")
    play.value("read", 4000, expected=play.theirs[:4000], hint="the receiver has it")
    play.timer(hint="the window has opened: the receiver's poll says so to the peer")
    play.comes(4000, 5000, hint="it is taken now")


# Closing


@pytest.mark.points(2)
def test_fin_comes_behind_the_last_byte(submission: Submission) -> None:
    play = Play(submission, "fin").opened(window=1000)
    play.write(0, 1800, "one segment fits")
    play.step("close", sends=[], hint="data is not acknowledged yet: FIN comes last")
    play.is_in("ESTABLISHED", "no FIN was sent yet")
    play.comes(ack=1000, window=1000, hint="the rest")
    found = play.comes(ack=1800, hint="all is acknowledged: FIN goes, with the number behind the last byte")
    assert [each.fin for each in found] == [True], "expected a FIN, found none\nhint: FIN goes now"
    play.is_in("FIN-WAIT-1")
    play.timer(hint="a FIN is sent again like a SYN, by the machine's timer")


@pytest.mark.points(1)
def test_close_without_data_sends_fin_at_once(submission: Submission) -> None:
    play = Play(submission, "at once").opened()
    fin = Segment(play.own(0), play.number(0), play.capacity, fin=True)
    play.step("close", sends=[fin], hint="nothing waits: FIN goes at once")
    play.comes(ack=1, hint="our FIN is acknowledged: SEG.ACK is one more than its number")
    play.is_in("FIN-WAIT-2")


@pytest.mark.points(2)
def test_a_fin_counts_when_all_data_before_it_is_there(submission: Submission) -> None:
    play = Play(submission, "early fin").opened()
    play.comes(500, 900, fin=True, hint="FIN comes with data, but 500 bytes before them are missing")
    play.is_in("ESTABLISHED", "the machine may not see a FIN before its turn")
    play.value("finished", expected=False, hint="data is missing")
    play.comes(0, 500, hint="the gap is filled, and the FIN counts")
    play.is_in("CLOSE-WAIT")
    play.value("finished", expected=True, hint="all is there")
    play.value("read", 9000, expected=play.theirs[:900], hint="what has come can still be read")
    play = Play(submission, "last place", capacity=1000).opened()
    play.comes(0, 999, fin=True, hint="the FIN has the last number of the window, which is 0 then")
    play.is_in("CLOSE-WAIT", "before the machine gets the FIN its window must still have room for it")


@pytest.mark.points(1)
def test_a_fin_with_data_is_acknowledged_once(submission: Submission) -> None:
    play = Play(submission, "fin and data").opened()
    hint = "the receiver acknowledges data and FIN with one ACK; the machine's own is one too many"
    found = play.comes(0, 400, fin=True, hint=hint)
    assert len(found) == 1, f"expected 1, found {len(found)}\nhint: {hint}"
    play.is_in("CLOSE-WAIT")


@pytest.mark.points(2)
def test_behind_the_peers_fin_one_can_still_send(submission: Submission) -> None:
    play = Play(submission, "half closed").opened()
    play.comes(fin=True, hint="the peer has nothing more to send")
    play.write(0, 1500, "the own direction is still open")
    play.comes(1, 1, ack=1500, hint="it is acknowledged, with the number behind the FIN")
    play.step("close", hint="FIN, and LAST-ACK")
    play.is_in("LAST-ACK")
    play.comes(1, 1, ack=1501, hint="the FIN is acknowledged")
    play.is_in("CLOSED")
    play.no_timer("the connection is over: no part has a deadline")


@pytest.mark.points(1)
def test_time_wait_lasts_a_minute(submission: Submission) -> None:
    play = Play(submission, "time-wait").opened()
    play.step("close", hint="FIN goes at once")
    play.comes(ack=1, fin=True, hint="ours is acknowledged, and the peer closes too")
    play.is_in("TIME-WAIT")
    play.wait(40)
    play.comes(ack=1, fin=True, hint="the FIN again, our ACK was lost: the machine must see it now")
    play.timer([], at=100, hint="two MSL of 30 seconds, from the last FIN on: ask the machine")
    play.is_in("CLOSED")


# What should not come


@pytest.mark.points(1)
def test_a_reset_ends_the_connection(submission: Submission) -> None:
    play = Play(submission, "reset").opened()
    play.write(0, 1000, "it is under way")
    play.comes(rst=True, hint="a RST at RCV.NXT ends it")
    play.is_in("CLOSED")
    play.no_timer("the connection is over: the sender's timer too")
    play = Play(submission, "reset of a syn")
    play.listens()
    play.syn()
    play.comes(rst=True, hint="a RST in SYN-RECEIVED: the machine is in LISTEN again")
    play.is_in("LISTEN")
    play.irs = play.peer = play.draw.randrange(1 << 32)
    play.syn()
    play.comes(hint="the ACK of the second SYN")
    play.comes(0, 300, hint="each SYN has its own numbers: make the other parts anew for each")
    play.value("read", 9000, expected=play.theirs[:300], hint="the first byte is behind the second SYN")


@pytest.mark.points(1)
def test_a_reset_in_the_window_is_challenged(submission: Submission) -> None:
    play = Play(submission, "blind reset").opened()
    play.comes(7, 7, rst=True, hint="RST in the window, but not at RCV.NXT: challenge ACK (RFC 5961)")
    play.write(0, 1000, "it is under way")
    play.comes(9, 9, ack=1000, syn=True, hint="a SYN in the window: challenge ACK, too")
    play.value("waiting", expected=1000, hint="that ACK was in a segment that is not acceptable")
    play.is_in("ESTABLISHED")
    play.comes(0, 100, hint="the connection goes on")


@pytest.mark.points(2)
def test_what_is_not_acceptable_reaches_no_other_part(submission: Submission) -> None:
    play = Play(submission, "old").opened()
    play.write(0, 1000, "it is under way")
    play.comes(0, 1000, hint="in order")
    play.value("read", 1000, expected=play.theirs[:1000], hint="in order")
    hint = "all its numbers are old: one ACK from the machine, and its ack and window count for nothing"
    play.comes(0, 500, ack=1000, window=0, hint=hint)
    play.value("waiting", expected=1000, hint="that ACK was in a segment that is not acceptable")
    hint = "it acknowledges what was never sent: answered with ACK, and its data is not taken"
    play.comes(1000, 1200, ack=5000, hint=hint)
    play.value("read", 1000, expected=b"", hint="nothing was taken")
    none = Segment(play.number(1000), None, 60_000, play.theirs[1000:1200])
    play.step("receive", none, hint="a segment without ACK is ignored by all parts")
    play.value("read", 1000, expected=b"", hint="it had no ACK: nothing was taken")
    play.comes(9000, 9000, ack=1000, rst=True, hint="a RST outside of the window: ignore it")
    play.value("waiting", expected=1000, hint="a RST reaches no other part, its ACK neither")
    play.comes(1000, 1200, ack=1000, hint="this is in order")


# The whole


@pytest.mark.points(3)
def test_two_connections_over_a_bad_link(submission: Submission) -> None:
    hint = "both streams must be whole, and both ends closed: see what is sent again and again"
    for about, wrapping in (("bad link", False), ("wrapping numbers", True)):
        exchange(submission, about, lambda number: Connection(number, 1000, 9000), hint, wraps=wrapping)


@pytest.mark.points(3)
def test_our_whole_tcp_and_yours_exchange_two_streams(submission: Submission) -> None:
    hint = "our whole TCP has an MSS of 1460, begins with ten segments, and sends the last one again early"
    for opens in ("A", "B"):
        about = "our whole TCP " + {"A": "listens", "B": "connects"}[opens]
        exchange(submission, about, lambda number: Whole(number.to_bytes(4)), hint, opens=opens)


@pytest.mark.points(3)
def test_another_authors_tcp_and_yours_exchange_two_streams(submission: Submission) -> None:
    hint = "this TCP acknowledges each segment at once, waits 0.3 seconds, and its SYN has a window of 0"
    for opens in ("A", "B"):
        about = "a TCP without parts " + {"A": "listens", "B": "connects"}[opens]
        exchange(submission, about, lambda number: plain.Connection(number, 1460, 8000), hint, opens=opens)


def exchange(
    submission: Submission,
    about: str,
    peer: Callable[[int], Any],
    hint: str,
    *,
    wraps: bool = False,
    opens: str = "A",
) -> None:
    """Let the learner's connection, A, and a peer, B, exchange two streams over a bad link, and close."""
    draw = drawing(about)
    numbers = [2**32 - draw.randrange(500, 9000) if wraps else draw.randrange(1 << 32) for _ in "AB"]
    streams, seed = (draw.randbytes(20_000), draw.randbytes(30_000)), draw.getrandbits(32)
    stand_in(submission)
    submission.new("Connection", numbers[0], 1000, 9000)

    def build(end: Any) -> Any:
        if opens == "B":
            end.listen() if end is ours else submission.call("listen")
        return conversation(end, peer(numbers[1]), streams, seed, opens)

    ours = Connection(numbers[0], 1000, 9000)
    said = f"opened, sent 20000 bytes, took 30000, and closed: {about}"
    transfer(submission, said, build, Learner(submission, reads=True), ours, seconds=400, hint=hint)


def conversation(end: Any, b: Any, streams: tuple[bytes, bytes], seed: int, opens: str) -> Any:
    """Return a simulation in which A, the learner's, and B talk, and when it is over.

    Who opens also sends and closes at once. A that listens answers when it has everything; B answers at once,
    and closes when A has closed.
    """
    faults = Random(seed)
    simulation = Simulation([Flow(end, b, Link(faults, **BAD), Link(faults, **BAD))], most=3000)
    got = {"A": bytearray(), "B": bytearray()}
    learners = isinstance(end, Learner)
    closed = set[str]()

    def ask(method: str, *given: Any) -> None:
        call = end.do if learners else lambda name, *values: getattr(end, name)(*values)
        simulation.put(0, "A", call(method, *given, simulation.now))

    def after(_flow: int, which: str) -> None:
        if which == "B":
            got["B"] += b.read(1 << 20)
            if b.finished() and opens == "A" and "B" not in closed:
                closed.add("B")
                simulation.put(0, "B", b.close(simulation.now))
            return
        if not learners:
            got["A"] += end.read(1 << 20)
        if opens == "B" and len(taken()) == len(streams[1]) and "A" not in closed:
            closed.add("A")
            ask("send", streams[0])
            ask("close")

    def taken() -> bytes:
        return bytes(end.stream if learners else got["A"])

    def done() -> bool:
        whole = (taken(), bytes(got["B"])) == (streams[1], streams[0])
        return whole and b.state() in ("CLOSED", "TIME-WAIT")

    simulation.after = after
    if opens == "A":
        b.listen()
        ask("open")
        ask("send", streams[0])
        ask("close")
        b.send(streams[1], 0.0)
    else:
        simulation.put(0, "B", b.open(0.0))
        simulation.put(0, "B", b.send(streams[1], 0.0))
        simulation.put(0, "B", b.close(0.0))
    return simulation, done


@pytest.mark.points(2)
def test_the_reference_capture_is_answered(submission: Submission) -> None:
    with Capture(CAPTURE) as capture:
        frames = [(frame.time, packet.read(frame.data)) for frame in capture]
    began, syn = frames[0][0], frames[1][1]
    stand_in(submission)
    iss = syn.sequence
    arguments = iss, 1460, 65_535
    play = Script(submission, "Connection", *arguments, ours=Connection(*arguments), base=iss)
    play.value("listen", expected=None, hint="listen returns nothing")
    asked, page = b"", b"".join(b"row %05d\n" % number for number in range(1000))
    for time, read in frames:
        if read.destination_port == SERVER:
            deadline = play.submission.call("deadline")
            if isinstance(deadline, float) and deadline <= time - began:
                play.timer(hint="a timer of the reference capture")
            play.now = time - began
            play.step("receive", as_part(read), hint="a frame of the reference capture, with our answer")
            if read.payload:
                asked = play.value(
                    "read", 100, expected=read.payload, hint="a request of the reference capture"
                )
                play.step("send", page, hint="the page of the reference capture")
            if play.submission.call("finished") and asked:
                asked = b""
                play.step("close", hint="the peer has closed: so does the server")
    play.value("state", expected="CLOSED", hint="the last frame acknowledges our FIN")
