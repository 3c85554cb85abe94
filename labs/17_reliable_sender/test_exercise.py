"""Grades exercise.py: each check asks one thing, and tells its story where it fails."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing
from demuxlab.grading.judge import Learner, Made, Script, Segment, fail, transfer
from demuxlab.grading.submission import Submission
from demuxlab.grading.values import RemoteObject
from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.link import Link
from demuxlab.parts.receiver import InOrderReceiver
from demuxlab.parts.segment import add
from demuxlab.parts.sender import WINDOW, Sender
from demuxlab.parts.simulation import Flow, Reading, Simulation
from demuxlab.wire import packet
from demuxlab.wire.segment import TCPSegment

CAPTURE = Path(__file__).resolve().parents[2] / "captures" / "17_reliable_sender.pcapng"
BAD = {"loss": 0.08, "repeat": 0.05, "reorder": 0.05, "corrupt": 0.03}
NONE: tuple[int, ...] = ()
SENT = "seq", "data", "syn", "fin", "rst"


class Play(Script):
    """A script for the learner's sender: acknowledgments, too, are counted in whole segments."""

    def __init__(self, submission: Submission, about: str, window: int = 4, start: int | None = None) -> None:
        self.draw = drawing(about)
        self.mss = self.draw.randrange(100, 1400)
        first = self.draw.randrange(1 << 31) if start is None else start % 2**32
        self.stream = self.draw.randbytes(20 * self.mss)
        self.written = 0
        arguments, size = (first, self.mss), window * self.mss
        super().__init__(
            submission, "Sender", *arguments, Made("FixedWindow", (size,)),
            ours=Sender(*arguments, FixedWindow(size)), base=first, fields=SENT,
        )  # fmt: skip

    def parts(self, *numbers: int) -> list[Segment]:
        """Return whole segments by their numbers."""
        return [self.part(number * self.mss, (number + 1) * self.mss) for number in numbers]

    def part(self, first: int, last: int) -> Segment:
        """Return a segment with some bytes of the stream."""
        return Segment(add(self.base, first), data=self.stream[first:last])

    def write(self, count: int, sends: tuple[int, ...], hint: str) -> None:
        """The application writes so many segments' bytes."""
        data = self.stream[self.written :][: count * self.mss]
        self.written += len(data)
        self.step("send", data, sends=self.parts(*sends), hint=hint)

    def ack(self, count: int, sends: tuple[int, ...], hint: str, window: int = WINDOW) -> None:
        """All before segment `count` is acknowledged."""
        segment = Segment(ack=add(self.base, count * self.mss), window=window)
        self.step("receive", segment, sends=self.parts(*sends), hint=hint)


# First steps: send, and the acknowledgments that let more go


@pytest.mark.points(1)
def test_a_short_write_is_one_segment(submission: Submission) -> None:
    play = Play(submission, "short")
    size = play.draw.randrange(1, play.mss)
    hint = "one segment, with the first byte's number and all the data"
    play.step("send", play.stream[:size], sends=[play.part(0, size)], hint=hint)


@pytest.mark.points(1)
@pytest.mark.facts("S13")
def test_a_long_write_is_cut_into_segments(submission: Submission) -> None:
    play = Play(submission, "long")
    rest = play.draw.randrange(1, play.mss)
    size = 2 * play.mss + rest
    hint = "mss bytes each, the last one what is left; each number is the one before plus its bytes"
    sends = [*play.parts(0, 1), play.part(2 * play.mss, size)]
    play.step("send", play.stream[:size], sends=sends, hint=hint)


@pytest.mark.points(2)
def test_the_window_bounds_what_is_under_way(submission: Submission) -> None:
    play = Play(submission, "window", window=3)
    play.write(2, (0, 1), "both fit into a window of three")
    play.write(3, (2,), "two are under way: one more fits, the others wait")
    play.write(1, NONE, "the window is full")
    play.value("waiting", expected=6 * play.mss, hint="waiting counts what is not acknowledged, sent or not")
    small = Play(submission, "no small ones", window=3)
    size = 2 * small.mss + small.draw.randrange(1, small.mss)
    small.step(
        "send", small.stream[:size], sends=[*small.parts(0, 1), small.part(2 * small.mss, size)], hint="fits"
    )
    hint = "only a part would fit: a segment goes whole, or waits"
    small.step("send", small.stream[size : size + small.mss], sends=[], hint=hint)


@pytest.mark.points(1)
def test_an_acknowledgment_lets_the_next_segments_go(submission: Submission) -> None:
    play = Play(submission, "ack", window=2)
    play.write(5, (0, 1), "two fit")
    play.ack(1, (2,), "one is acknowledged: the next one goes")
    play.ack(3, (3, 4), "ack covers everything before it: two more are acknowledged by it")
    play.value("waiting", expected=2 * play.mss, hint="three of five are acknowledged")


@pytest.mark.points(1)
def test_a_window_of_one_segment_stops_and_waits(submission: Submission) -> None:
    play = Play(submission, "stop and wait", window=1)
    play.write(3, (0,), "one at a time")
    for number in (1, 2):
        play.wait(0.1)
        play.ack(number, (number,), "the next one goes when the one before is acknowledged")
    play.ack(3, NONE, "all is acknowledged")
    play.value("waiting", expected=0, hint="all is acknowledged")


@pytest.mark.points(1)
def test_the_receivers_window_counts_too(submission: Submission) -> None:
    play = Play(submission, "their window", window=6)
    play.write(10, (0, 1, 2, 3, 4, 5), "the receiver's window is 65535 at first")
    hint = "the smaller of the two windows counts, from ack on"
    play.ack(4, NONE, hint, window=2 * play.mss)
    play.ack(6, (6, 7), hint, window=2 * play.mss)
    play.ack(6, (8,), "the window alone has grown: what fits goes", window=3 * play.mss)
    end, least = 9 * play.mss, play.draw.randrange(1, play.mss)
    hint = "nothing is under way and no whole segment fits: one is cut so that it fits"
    play.step(
        "receive",
        Segment(ack=add(play.base, end), window=least),
        sends=[play.part(end, end + least)],
        hint=hint,
    )
    behind = Segment(ack=add(play.base, end + least), window=WINDOW)
    play.step("receive", behind, sends=[play.part(end + least, end + play.mss)], hint="the rest of it goes")


# The timer


@pytest.mark.points(1)
def test_the_timer_runs_while_anything_is_under_way(submission: Submission) -> None:
    play = Play(submission, "runs", window=2)
    play.no_timer("nothing was sent")
    play.wait(round(play.draw.uniform(1, 9), 3))
    play.write(1, (0,), "it fits")
    began = play.now
    play.due(began + 1, "RTO is 1 second before anything was measured")
    for sends, hint in (((1,), "it fits"), (NONE, "the window is full")):
        play.wait(0.25)
        play.write(1, sends, hint)
        play.due(began + 1, "the timer runs already: writing does not set it again")
    play.ack(2, (2,), "the other goes")
    play.ack(3, NONE, "nothing is left")
    play.no_timer("nothing is under way")


@pytest.mark.points(2)
def test_a_lost_segment_is_sent_again_by_the_timer(submission: Submission) -> None:
    play = Play(submission, "lost")
    play.write(3, (0, 1, 2), "they fit")
    play.wait(0.9)
    play.step("poll", sends=[], hint="the timer has not expired yet")
    play.timer(play.parts(0), hint="the first segment that is not acknowledged goes again, and it alone")
    play.ack(3, NONE, "the receiver had the others: all is acknowledged")
    play.value("waiting", expected=0, hint="all is acknowledged")


@pytest.mark.points(1)
def test_the_timer_backs_off(submission: Submission) -> None:
    play = Play(submission, "backs off", window=1)
    play.write(2, (0,), "one at a time")
    for at in (1, 3, 7, 15, 31, 63, 123):
        hint = "each time the timer is doubled: 1, 2, 4, … seconds, 60 at most"
        play.timer(play.parts(0), at=at, hint=hint)
    play.ack(1, (1,), "new data is acknowledged")
    play.due(play.now + 1, "new data ends the back-off; RTO is still 1: what was sent twice is not measured")


@pytest.mark.points(1)
def test_new_data_acknowledged_sets_the_timer_again(submission: Submission) -> None:
    play = Play(submission, "restart")
    play.write(3, (0, 1, 2), "they fit")
    for at in (1, 3):
        play.timer(play.parts(0), at=at, hint="the first one goes again")
    play.wait(0.4)
    play.ack(1, (1, 2), "what was behind the first segment goes again")
    hint = "the timer is set to now + RTO, which is still 1: what was sent twice is not measured"
    play.due(play.now + 1, hint)
    play.wait(0.7)
    play.ack(2, NONE, "segment 2 is still under way")
    play.due(play.now + 1, hint)
    play.wait(0.3)
    play.ack(2, NONE, "nothing new: a first duplicate")
    play.due(play.now + 0.7, "nothing new was acknowledged: the timer stays")


@pytest.mark.points(2)
def test_the_timer_follows_the_round_trip_time(submission: Submission) -> None:
    play = Play(submission, "measured", window=1)
    play.write(8, (0,), "one at a time")
    srtt = rttvar = 0.0
    for number in range(1, 7):
        rtt = round(play.draw.uniform(0.3, 0.8), 3)
        play.wait(rtt)
        play.ack(number, (number,), "the next one goes")
        rttvar = 3 / 4 * rttvar + 1 / 4 * abs(srtt - rtt) if srtt else rtt / 2
        srtt = 7 / 8 * srtt + 1 / 8 * rtt if srtt else rtt
        play.due(
            play.now + srtt + 4 * rttvar, "RTO = SRTT + 4 RTTVAR; RTTVAR is computed first, with the old SRTT"
        )
    fast = Play(submission, "least", window=1)
    fast.write(2, (0,), "one at a time")
    fast.wait(0.001)
    fast.ack(1, (1,), "the next one goes")
    fast.due(fast.now + 0.2, "RTO is at least 0.2 seconds")


@pytest.mark.points(1)
def test_what_was_sent_twice_is_not_measured(submission: Submission) -> None:
    play = Play(submission, "karn", window=1)
    play.write(3, (0,), "one at a time")
    play.timer(play.parts(0), at=1, hint="it goes again")
    play.wait(0.25)
    play.ack(1, (1,), "the next one goes")
    hint = "Karn: it is not known which of the two was acknowledged, so RTO is still 1 second"
    play.due(play.now + 1, hint)
    play.wait(0.5)
    play.ack(2, (2,), "the next one goes")
    play.due(play.now + 1.5, "this one was sent once: it is measured")


# Duplicates, and acknowledgments that say nothing


@pytest.mark.points(1)
def test_an_old_acknowledgment_changes_nothing(submission: Submission) -> None:
    play = Play(submission, "old")
    play.write(6, (0, 1, 2, 3), "four fit")
    play.ack(3, (4, 5), "three are acknowledged")
    hint = "this one was overtaken on its way: it is older than what is acknowledged, and its window too"
    for count in (1, 0, 2):
        play.ack(count, NONE, hint, window=0)
    play.write(2, (6,), "the window is what it was: one more fits")
    play.ack(4, (7,), "and the next one counts as ever")
    play.value("waiting", expected=4 * play.mss, hint="four of eight are acknowledged")


@pytest.mark.points(1)
def test_an_acknowledgment_of_what_was_never_sent_changes_nothing(submission: Submission) -> None:
    play = Play(submission, "never sent", window=2)
    play.write(4, (0, 1), "two fit")
    play.ack(3, NONE, "segment 2 was never sent: this is no acknowledgment of it")
    play.value("waiting", expected=4 * play.mss, hint="nothing is acknowledged")
    play.ack(2, (2, 3), "this one is behind the last byte sent: it is right")


@pytest.mark.points(2)
def test_two_duplicates_send_nothing(submission: Submission) -> None:
    play = Play(submission, "two duplicates")
    play.write(4, (0, 1, 2, 3), "four fit")
    for _ in range(2):
        play.ack(0, NONE, "a duplicate may mean that segments overtook each other: nothing goes")
    play.ack(3, NONE, "nothing was lost")
    for _ in range(2):
        play.ack(3, NONE, "a new acknowledgment came between: these are the first and the second duplicate")
    play.ack(4, NONE, "all is acknowledged")
    for _ in range(4):
        play.ack(4, NONE, "nothing is under way: this is no duplicate, and nothing can go again")
    play.write(4, (4, 5, 6, 7), "four fit")
    for size in (9, 8, 7, 6):
        hint = "the window is another one: this says something new, and is no duplicate"
        play.ack(4, NONE, hint, window=size * play.mss)
    with_data = Segment(ack=add(play.base, 4 * play.mss), window=6 * play.mss, data=b"theirs")
    for _ in range(4):
        hint = "the peer sends data, and its ack with them: this is no duplicate"
        play.step("receive", with_data, sends=[], hint=hint)


@pytest.mark.points(2)
def test_the_third_duplicate_sends_the_first_segment_again(submission: Submission) -> None:
    play = Play(submission, "third duplicate")
    play.write(4, (0, 1, 2, 3), "four fit")
    for sends in (NONE, NONE, (0,)):
        play.wait(0.01)
        play.ack(0, sends, "the third duplicate: the first segment goes again, without waiting for the timer")
    for _ in range(3):
        play.ack(0, NONE, "once is enough: further duplicates send nothing again")
    play.ack(4, NONE, "the gap is filled")


@pytest.mark.points(2)
def test_after_a_loss_each_hole_is_sent_again_at_once(submission: Submission) -> None:
    hint = "the acknowledgment leaves some of what was sent before the loss: what is first now was lost, too"
    play = Play(submission, "holes", window=6)
    play.write(6, (0, 1, 2, 3, 4, 5), "six fit")
    for sends in (NONE, NONE, (0,)):
        play.ack(0, sends, "the third duplicate sends the first again")
    play.ack(2, (2,), hint)
    for _ in range(4):
        play.ack(2, NONE, "duplicates mean nothing now")
    play.ack(5, (5,), hint)
    play.ack(6, NONE, "all is acknowledged")
    timed = Play(submission, "timed holes", window=4)
    timed.write(6, (0, 1, 2, 3), "four fit")
    timed.timer(timed.parts(0), at=1, hint="the first one goes again")
    for _ in range(4):
        timed.wait(0.01)
        timed.ack(
            0,
            NONE,
            "the timer has sent the first again: until all is acknowledged no duplicate sends anything",
        )
    timed.ack(
        1, (1, 2, 3, 4), "after the timer what was behind the first segment is sent as if for the first time"
    )
    timed.ack(4, (5,), "all that was sent before the loss is acknowledged")


# Numbers, windows and the controller


@pytest.mark.points(2)
def test_sequence_numbers_wrap_around(submission: Submission) -> None:
    draw = drawing("wrap")
    play = Play(submission, "wrapped", start=-draw.randrange(101, 200))
    hint = "after 4294967295 comes 0: compute modulo 2**32"
    play.write(6, (0, 1, 2, 3), hint)
    play.ack(1, (4,), hint)
    play.ack(0, NONE, "this number is large, and yet an old one")
    play.timer(play.parts(1), hint=hint)
    play.ack(5, (5,), hint)


@pytest.mark.points(2)
def test_a_closed_window_is_probed(submission: Submission) -> None:
    play = Play(submission, "probe")
    play.write(2, (0, 1), "they fit")
    play.wait(0.5)
    play.ack(2, NONE, "all is acknowledged", window=0)
    play.no_timer("nothing waits")
    play.write(2, NONE, "the window is 0")
    first, began = play.part(2 * play.mss, 2 * play.mss + 1), play.now
    play.due(began + 1.5, "data waits and the window is 0: the timer runs, RTO is 0.5 + 4 * 0.25 seconds")
    for after in (1.5, 4.5):
        hint = (
            "one byte asks whether the window has opened, and RTO is doubled: the answer may have been lost"
        )
        play.timer([first], at=began + after, hint=hint)
        play.ack(2, NONE, "still closed", window=0)
    play.ack(2, (2, 3), "the window has opened, and the byte was not taken")
    play.ack(4, NONE, "all is acknowledged", window=0)
    play.write(2, NONE, "the window is 0")
    end = 4 * play.mss + 1
    play.timer([play.part(end - 1, end)], hint="one byte asks whether the window has opened")
    play.step(
        "receive",
        Segment(ack=add(play.base, end), window=WINDOW),
        sends=[play.part(end, end + play.mss), play.part(end + play.mss, 6 * play.mss)],
        hint="the byte that asked was taken: it counts as sent, and what waits goes on behind it",
    )
    play.value("waiting", expected=2 * play.mss - 1, hint="the byte that asked is acknowledged")


class Noting(RemoteObject):
    """A controller that notes its calls; each acknowledgment makes its window larger."""

    METHODS = frozenset(("window", "acknowledged", "duplicate", "timeout"))

    def __init__(self, size: int, growth: int = 0) -> None:
        self.size, self.growth, self.calls = size, growth, list[Any]()

    def window(self) -> int:
        """See FixedWindow."""
        return self.size

    def acknowledged(self, count: int, flight: int, _now: float) -> None:
        """See FixedWindow."""
        self.calls.append(("acknowledged", count, flight))
        self.size += self.growth

    def duplicate(self, flight: int, _now: float) -> None:
        """See FixedWindow."""
        self.calls.append(("duplicate", flight))

    def timeout(self, flight: int, _now: float) -> None:
        """See FixedWindow."""
        self.calls.append(("timeout", flight))


@pytest.mark.points(1)
def test_the_controller_is_called_for_each_event(submission: Submission) -> None:
    draw = drawing("controller")
    first, mss = draw.randrange(1 << 31), draw.randrange(100, 1400)
    controller, ours = Noting(4 * mss), Sender(first, mss, Noting(4 * mss))
    play = Script(submission, "Sender", first, mss, controller, ours=ours, base=first, fields=("seq", "data"))

    def noted(expected: list[Any], hint: str) -> None:
        found, controller.calls = controller.calls, []
        if found != expected:
            fail(str(expected), str(found), hint)

    play.step("send", draw.randbytes(4 * mss), hint="four fit")
    said = "every duplicate; flight is what is under way"
    for count, expected, hint in (
        (1, ("acknowledged", mss, 4 * mss), "count is what is new, flight what was under way before"),
        *[(1, ("duplicate", 3 * mss), said)] * 3,
        (4, ("acknowledged", 3 * mss, 3 * mss), "count is what is new, flight what was under way before"),
    ):
        ack = Segment(ack=add(first, count * mss), window=WINDOW)
        play.step("receive", ack, hint=hint)
        noted([expected], hint)
    play.step("receive", Segment(ack=first, window=WINDOW), hint="an old one")
    noted([], "an old acknowledgment is no event")
    play.step("send", draw.randbytes(2 * mss), hint="two fit")
    play.timer(hint="the first goes again")
    noted([("timeout", 2 * mss)], "the timer has expired; flight is what was under way")
    play.step("receive", Segment(ack=add(first, 6 * mss), window=0), hint="all is acknowledged")
    noted([("acknowledged", 2 * mss, mss)], "what was behind the first segment is under way no longer")
    play.step("send", draw.randbytes(mss), hint="the window is 0")
    play.timer(hint="one byte asks whether the window has opened")
    noted([], "nothing was under way: the byte that asks is no event for the controller")
    size = Noting(mss, mss), Noting(mss, mss)
    play = Script(submission, "Sender", first, mss, size[0], ours=Sender(first, mss, size[1]), base=first)
    play.step("send", draw.randbytes(4 * mss), hint="one fits")
    hint = "the controller is called before more goes: its window has grown to two segments"
    play.step("receive", Segment(ack=add(first, mss), window=WINDOW), hint=hint)


# The receiver


class Taking(Script):
    """A script for the learner's receiver."""

    def __init__(self, submission: Submission, about: str, capacity: int) -> None:
        self.draw = drawing(about)
        first = -self.draw.randrange(1, 300) % 2**32
        self.stream = self.draw.randbytes(3000)
        ours = InOrderReceiver(first, capacity)
        arguments = ("Receiver", first, capacity)
        super().__init__(
            submission, *arguments, ours=ours, base=0, peer=first, fields=("ack", "window", "data")
        )
        self.capacity = capacity

    def comes(self, first: int, last: int, ack: int, unread: int, hint: str) -> None:
        """Some bytes of the stream come; `ack` and `unread` are counted in bytes."""
        segment = Segment(add(self.peer, first), data=self.stream[first:last])
        answer = Segment(ack=add(self.peer, ack), window=self.capacity - unread)
        self.step("receive", segment, sends=[answer], hint=hint)


@pytest.mark.points(1)
def test_the_receiver_takes_what_is_in_order(submission: Submission) -> None:
    play = Taking(submission, "in order", 1000)
    play.value("read", 10, expected=b"", hint="nothing has come")
    play.comes(0, 400, 400, 400, "ack is the next byte expected, window what there is room for")
    play.comes(400, 900, 900, 900, "ack is the next byte expected, window what there is room for")
    play.value("read", 600, expected=play.stream[:600], hint="at most 600 bytes, the first ones")
    play.comes(900, 1500, 1500, 900, "600 bytes have been read: there is room again")
    play.comes(1500, 1700, 1500, 900, "its 200 bytes do not fit into the 100 that are free: it is not taken")
    play.value("read", 5000, expected=play.stream[600:1500], hint="all that waits")
    play.step(
        "receive", Segment(ack=5, window=9), sends=[], hint="without data there is nothing to acknowledge"
    )


@pytest.mark.points(2)
def test_a_repeated_segment_is_acknowledged_and_not_delivered_again(submission: Submission) -> None:
    play = Taking(submission, "again", 3000)
    play.comes(0, 500, 500, 500, "it is in order")
    play.comes(500, 800, 800, 800, "it is in order")
    hint = "it has come before, its acknowledgment was lost: acknowledge again, and do not deliver it again"
    play.comes(500, 800, 800, 800, hint)
    play.comes(0, 500, 800, 800, hint)
    play.value("read", 3000, expected=play.stream[:800], hint="each byte once")


@pytest.mark.points(1)
def test_a_segment_behind_a_gap_is_not_taken(submission: Submission) -> None:
    play = Taking(submission, "gap", 1000)
    play.comes(0, 100, 100, 100, "it is in order")
    play.comes(300, 500, 100, 100, "200 bytes before it are missing: ack says again what is expected")
    play.value("read", 1000, expected=play.stream[:100], hint="what is behind a gap is not delivered")
    play.comes(100, 300, 300, 200, "it is in order")
    play.comes(300, 500, 500, 400, "it is in order now")


# The whole


class ReadingLate(Reading):
    """A receiver that is read after it has closed its window, without a window update: the sender probes."""

    def _read(self, answers: list[Segment]) -> list[Segment]:
        if not self.receiver.window():
            self.stream += self.receiver.read(1 << 30)
        return answers


@pytest.mark.points(3)
def test_a_stream_crosses_a_bad_link(submission: Submission) -> None:
    for window, buffer, reading in ((1, 65_535, Reading), (8, 65_535, Reading), (8, 4_000, ReadingLate)):
        draw = drawing(f"bad link {window} {buffer}")
        first, stream, seed = draw.randrange(1 << 32), draw.randbytes(60_000), draw.getrandbits(32)
        submission.new("Sender", first, 1000, Made("FixedWindow", (window * 1000,)))
        takes = partial(InOrderReceiver, first, buffer)

        def build(
            end: Any, takes: Any = takes, reading: Any = reading, stream: bytes = stream, seed: int = seed
        ) -> Any:
            faults, got = Random(seed), reading(takes())
            simulation = Simulation([Flow(end, got, Link(faults, **BAD), Link(faults, **BAD))], most=3000)
            send = end.do if isinstance(end, Learner) else lambda method, *given: getattr(end, method)(*given)
            for at in range(0, 60_000, 10_000):
                simulation.put(0, "A", send("send", stream[at : at + 10_000], 0.0))
            return simulation, lambda: got.stream == stream

        ours = Sender(first, 1000, FixedWindow(window * 1000))
        about = f"sent 60000 bytes over a bad link, window {window} segments, receive buffer {buffer} bytes"
        hint = "every byte arrives, whatever the link does: see which segment never came through"
        transfer(submission, about, build, Learner(submission), ours, seconds=300, hint=hint)


@pytest.mark.points(2)
def test_the_reference_capture_is_sent(submission: Submission) -> None:
    hint = "in the capture A sends its frames, each at its time; what the link has lost is not in it"
    for port, segments, batches in ((9157, 1, [2000] * 3), (5775, 4, [4000] * 2)):
        frames = list(frames_of(port))
        stream = b"".join(dict(sorted((each.sequence, each.payload) for _, _, each in frames)).values())
        window = Made("FixedWindow", (segments * 1000,))
        play = Script(submission, "Sender", 1001, 1000, window, base=1001, fields=("seq", "data"))
        sent, matched = list[Segment](), 0
        for place, (_number, time, read) in enumerate(frames):
            if read.destination_port == port:
                following = next(
                    (each.sequence for _, _, each in frames[place:] if each.payload), read.acknowledgment
                )
                if following >= read.acknowledgment:  # else A sends it again: this one was lost on its way
                    ack = Segment(ack=read.acknowledgment, window=read.window)
                    sent += play.step("receive", ack, hint=hint)
                continue
            waiting = play.submission.call("waiting")
            if waiting and play.due(None, hint) <= time:
                sent = play.timer([Segment(read.sequence, data=read.payload)], hint=hint)
            play.now = time
            if not waiting and batches:
                sent += play.step("send", stream[: batches[0]], hint=hint)
                stream = stream[batches.pop(0) :]
            if (segment := Segment(read.sequence, data=read.payload)) in sent:
                sent.remove(segment)
                matched += 1
        play.value("waiting", expected=0, hint="all is acknowledged at the capture's end")
        if matched < (most := 7 if segments == 1 else 8):
            fail(str(most), str(matched), hint)


def frames_of(port: int) -> Iterator[tuple[int, float, TCPSegment]]:
    """Yield a connection's frames behind its handshake: number, seconds since the first, segment."""
    with Capture(CAPTURE) as capture:
        own = [(frame.number, frame.time, packet.read(frame.data)) for frame in capture]
    read = [each for each in own if isinstance(each[2], TCPSegment) and port in each[2][4:6]]
    yield from ((number, time - read[3][1], segment) for number, time, segment in read[3:])
