"""Checks of lab 18's exercise: packet scripts. Bytes are counted from the first one of the stream."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing
from demuxlab.grading.judge import Learner, Script, fail, transfer
from demuxlab.grading.submission import Submission
from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.link import Link
from demuxlab.parts.receiver import Receiver
from demuxlab.parts.segment import MODULUS, Segment, add, distance
from demuxlab.parts.sender import Sender
from demuxlab.parts.simulation import Flow, Simulation
from demuxlab.wire import packet
from demuxlab.wire.segment import FIN, TCPSegment

CAPTURE = Path(__file__).resolve().parents[2] / "captures" / "18_stream_receiver.pcapng"
NOTHING = None
Answer = tuple[int, int] | None
"""The one ACK that is sent, with acknowledged byte and window; or none."""


class Peer(Script):
    """Sends parts of a stream to the learner's receiver, and lets it be read."""

    def __init__(
        self, submission: Submission, about: str, *, segments: int = 8, mss: int = 0, wraps_at: int = 0
    ) -> None:
        """The buffer holds so many full segments; byte `wraps_at` of the stream has the number 0."""
        self.draw = drawing(about)
        self.mss = mss or self.draw.randrange(400, 1400)
        self.capacity = segments * self.mss
        self.first = MODULUS - wraps_at if wraps_at else self.draw.randrange(1 << 20, 1 << 30)
        self.stream = bytes(self.draw.choices(b"0123456789pqrstuvwxyz", k=24 * self.mss))
        super().__init__(submission, "Receiver", self.first, self.capacity, self.mss, peer=self.first)
        self.wait(self.draw.randrange(100, 9000) / 8)

    def send(self, start: int, end: int, sends: Answer, hint: str, *, fin: bool = False) -> None:
        """A segment comes with the bytes from `start` until before `end`."""
        segment = Segment(add(self.first, start), data=self.stream[max(start, 0) : max(end, 0)], fin=fin)
        self.step("receive", segment, sends=self._acks(sends), hint=hint)
        self.wait(0.01)

    def take(self, start: int, end: int) -> None:
        """The same, in order, before anything is read; whether its ACK waits is asked by other checks."""
        segment, whole = Segment(add(self.first, start), data=self.stream[start:end]), self.capacity
        hint = "the segment is in order, and within the window"
        found, ack = self.step("receive", segment, hint=hint), self._acks((end, whole - end))
        if found not in ([], ack):
            fail(self.shown(ack), self.shown(found), hint)
        self.wait(0.01)

    def poll(self, sends: Answer, hint: str) -> None:
        """`poll` is called, now."""
        self.step("poll", sends=self._acks(sends), hint=hint)

    def delayed(self, sends: Answer, after: float, hint: str) -> None:
        """The delayed ACK is sent when it is due, so many seconds after the last segment came."""
        self.timer(sends=self._acks(sends), at=self.now - 0.01 + after, hint=hint)

    def read(self, count: int, start: int, end: int, hint: str) -> None:
        """At most `count` bytes are read: those from `start` until before `end`."""
        self.value("read", count, expected=self.stream[start:end], hint=hint)

    def reads(self, count: int, start: int, end: int, sends: Answer, hint: str) -> None:
        """The same; then `poll` is called."""
        self.read(count, start, end, hint)
        self.poll(sends, hint)

    def has(self, acknowledged: int, window: int, hint: str) -> None:
        """RCV.NXT and RCV.WND."""
        self.value("ack", expected=add(self.first, acknowledged), hint=hint)
        self.value("window", expected=window, hint=hint)

    def finished(self, expected: bool, hint: str) -> None:
        """Whether FIN has counted."""
        self.value("finished", expected=expected, hint=hint)

    def _acks(self, answer: Answer) -> list[Segment]:
        return [] if answer is None else [Segment(ack=add(self.first, answer[0]), window=answer[1])]


# In order


@pytest.mark.points(1)
@pytest.mark.facts("S20")
def test_data_in_order_can_be_read(submission: Submission) -> None:
    peer = Peer(submission, "in order")
    size = peer.draw.randrange(100, peer.mss)
    peer.read(100, 0, 0, "nothing has come yet")
    peer.take(0, size)
    peer.has(size, peer.capacity - size, f"{size} bytes have come in order")
    peer.read(40, 0, 40, "count is the most that a read takes")
    peer.read(peer.capacity, 40, size, "all that is left, once")
    peer.read(100, 0, 0, "all is read")


@pytest.mark.points(1)
def test_the_ack_of_one_segment_waits(submission: Submission) -> None:
    peer = Peer(submission, "waits")
    size = peer.draw.randrange(100, peer.mss)
    hint = "rule 3: the ACK of the first segment is due 0.2 seconds later"
    peer.send(0, size, NOTHING, hint)
    peer.wait(0.1)
    peer.poll(NOTHING, hint)
    peer.wait(-0.1)
    peer.delayed((size, peer.capacity - size), 0.2, hint)
    peer.no_timer("the ACK has been sent: none is due")
    peer.poll(NOTHING, "the ACK has been sent: none is due")


@pytest.mark.points(1)
def test_the_second_segment_is_acknowledged_at_once(submission: Submission) -> None:
    peer = Peer(submission, "second")
    end = 0
    for size in (peer.mss, peer.mss, peer.mss, peer.draw.randrange(10, 100)):
        end += size
        second = end == 2 * peer.mss or size < peer.mss
        answer = (end, peer.capacity - end) if second else NOTHING
        peer.send(end - size, end, answer, "rule 3: one ACK for two segments, when the second comes")
    peer.no_timer("both are acknowledged: no ACK is due")


@pytest.mark.points(1)
def test_an_ack_is_not_acknowledged(submission: Submission) -> None:
    peer = Peer(submission, "ack of an ack")
    peer.take(0, peer.mss)
    for _ in range(2):
        hint = "rule 2: a segment without data and FIN, within the window, is not answered: it is an ACK"
        peer.send(peer.mss, peer.mss, NOTHING, hint)
        peer.send(3 * peer.mss, 3 * peer.mss, NOTHING, hint)
    peer.has(peer.mss, 7 * peer.mss, "an ACK has no number and moves nothing")
    peer.send(peer.mss, 2 * peer.mss, (2 * peer.mss, 6 * peer.mss), "the second segment with data")


# Early


@pytest.mark.points(2)
def test_what_is_early_is_answered_at_once(submission: Submission) -> None:
    peer = Peer(submission, "early")
    m, start = peer.mss, peer.draw.randrange(10, 100)
    for number in range(3):
        hint = "rule 4: it is early; a duplicate ACK for each, at once, with the number that is still missing"
        peer.send(start + number * m, start + (number + 1) * m, (0, peer.capacity), hint)
    peer.read(100, 0, 0, "nothing can be read that has a gap before it")
    peer.has(0, peer.capacity, f"bytes 0 to {start - 1} are missing: byte 0 is still the next one expected")


@pytest.mark.points(2)
def test_a_gap_that_is_filled_is_acknowledged_at_once(submission: Submission) -> None:
    peer = Peer(submission, "filled")
    m = peer.mss
    peer.send(m, 3 * m, (0, 8 * m), "rule 4: it is early")
    hint = "the gap is filled: all that waited behind it is in order now; rule 4: at once"
    peer.send(0, m, (3 * m, 5 * m), hint)
    peer.no_timer("it was acknowledged at once: no ACK is due")
    peer.read(9 * m, 0, 3 * m, hint)


@pytest.mark.points(1)
def test_part_of_a_gap_is_acknowledged_at_once(submission: Submission) -> None:
    peer = Peer(submission, "part")
    m, part = peer.mss, peer.draw.randrange(100, 300)
    peer.send(2 * m, 3 * m, (0, 8 * m), "rule 4: it is early")
    hint = "rule 4: something early still waits, so the sender must hear at once how far the gap is filled"
    peer.send(0, part, (part, 8 * m - part), hint)
    peer.send(part, m, (m, 7 * m), hint)
    peer.send(m, 2 * m, (3 * m, 5 * m), "rule 4: the gap is filled")
    peer.send(3 * m, 4 * m, NOTHING, "rule 3: no gap is left, so the ACK waits again")


@pytest.mark.points(2)
@pytest.mark.facts("S13")
def test_segments_may_come_in_any_order(submission: Submission) -> None:
    peer = Peer(submission, "any order")
    m, there = peer.mss, set[int]()
    for place in (5, 2, 6, 0, 7, 4, 1, 3):
        there.add(place)
        missing = min(set(range(9)) - there)
        answer = missing * m, (8 - missing) * m
        peer.send(place * m, place * m + m, answer, f"bytes 0 to {missing * m - 1} are there without a gap")
    peer.read(9 * m, 0, 8 * m, "each byte once, in order")


@pytest.mark.points(2)
def test_early_segments_may_overlap(submission: Submission) -> None:
    peer = Peer(submission, "early overlap")
    m = peer.mss
    for start, end in ((200, 300), (250, 350), (100, 150), (120, 360), (300, 340), (210, 220)):
        hint = "rule 4; of early segments that overlap, each byte is kept once"
        peer.send(start, end, (0, 8 * m), hint)
    peer.send(0, 130, (360, 8 * m - 360), "the gap is filled; what waits behind it ends at byte 359")
    peer.read(m, 0, 360, "each byte once, in order")


# Again


@pytest.mark.points(1)
def test_a_duplicate_is_answered_at_once_and_taken_once(submission: Submission) -> None:
    peer = Peer(submission, "duplicate")
    m = peer.mss
    peer.take(0, m)
    hint = "rule 1: all of it has come before; the sender has not heard so, or would not send it again"
    peer.send(0, m, (m, 7 * m), hint)
    peer.no_timer("that ACK was for both: none is due")
    peer.read(100, 0, 100, "each byte once")
    peer.send(50, 150, (m, 7 * m), "rule 1: read or not, these bytes have come before")
    peer.read(9 * m, 100, m, "each byte once: the others were read")


@pytest.mark.points(2)
def test_of_an_overlap_the_new_bytes_are_taken(submission: Submission) -> None:
    peer = Peer(submission, "overlap")
    m, part = peer.mss, peer.draw.randrange(100, 300)
    peer.take(0, m)
    hint = "the sender may cut the stream otherwise the second time: of this segment some bytes are new"
    peer.send(part, m + part, (m + part, 7 * m - part), hint)
    peer.send(
        0, 2 * m, NOTHING, "rule 3: it moves ack(), although it begins with bytes that have come before"
    )
    peer.has(2 * m, 6 * m, hint)
    peer.read(9 * m, 0, 2 * m, "each byte once, in order")


@pytest.mark.points(1)
def test_a_keep_alive_is_answered(submission: Submission) -> None:
    peer = Peer(submission, "keep-alive")
    size = peer.draw.randrange(100, 300)
    peer.take(0, size)
    hint = "rule 1: its number is one before ack(), on purpose: the sender asks whether anybody is there"
    peer.send(size - 1, size - 1, (size, peer.capacity - size), hint)
    hint = "rule 1: a keep-alive may carry one byte that has come before"
    peer.send(size - 1, size, (size, peer.capacity - size), hint)
    peer.read(peer.mss, 0, size, "each byte once")


# The window


@pytest.mark.points(1)
def test_the_window_is_what_is_left(submission: Submission) -> None:
    peer = Peer(submission, "left")
    m = peer.mss
    for number in (2, 4, 6, 8):
        hint = f"{number} segments wait in a buffer of 8 until they are read"
        peer.take((number - 2) * m, (number - 1) * m)
        peer.send((number - 1) * m, number * m, (number * m, (8 - number) * m), hint)


@pytest.mark.points(2)
def test_what_is_early_does_not_shrink_the_window(submission: Submission) -> None:
    peer = Peer(submission, "no shrinking")
    m = peer.mss
    hint = (
        "the right edge never moves back: what is early lies within the window, it does not count against it"
    )
    peer.send(2 * m, 4 * m, (0, 8 * m), hint)
    peer.send(5 * m, 8 * m, (0, 8 * m), hint)
    peer.has(0, 8 * m, hint)
    peer.send(0, m, (m, 7 * m), hint)
    peer.reads(9 * m, 0, m, (m, 8 * m), "the buffer is empty but for what is early: a whole window again")


@pytest.mark.points(2)
def test_what_is_beyond_the_window_is_thrown_away(submission: Submission) -> None:
    peer = Peer(submission, "beyond", segments=2)
    m, part = peer.mss, peer.draw.randrange(100, 300)
    hint = "rule 1: no byte of it is within the window"
    peer.send(2 * m, 3 * m, (0, 2 * m), hint)
    peer.send(2 * m, 2 * m, (0, 2 * m), hint)
    peer.send(part, 3 * m, (0, 2 * m), "rule 4: it is early; its bytes beyond the window are thrown away")
    peer.send(0, part, (2 * m, 0), "rule 4: the gap is filled; what lay beyond the window was not kept")
    peer.read(9 * m, 0, 2 * m, "only what was within the window")


@pytest.mark.points(1)
def test_a_closed_window_answers_a_probe(submission: Submission) -> None:
    peer = Peer(submission, "probe", segments=2)
    m = peer.mss
    peer.take(0, m)
    peer.send(m, 2 * m, (2 * m, 0), "the buffer is full: the window is 0")
    for _ in range(2):
        hint = "rule 1: one byte, to make the receiver say its window again; it is not taken"
        peer.send(2 * m, 2 * m + 1, (2 * m, 0), hint)
    peer.send(2 * m, 2 * m, NOTHING, "rules 1 and 2: an ACK at ack() is acceptable, even to a closed window")
    peer.read(9 * m, 0, 2 * m, "the probe's byte was not taken")


@pytest.mark.points(2)
def test_the_window_opens_by_a_segment_or_half_the_buffer(submission: Submission) -> None:
    for count, share in ((4, 1), (1, 2)):
        peer = Peer(submission, f"opens {count}", segments=count)
        size, step = peer.capacity, peer.mss // share
        peer.take(0, size - 10)
        peer.send(size - 10, size, (size, 0), "the buffer is full: the window is 0")
        hint = (
            f"a window of a few bytes would bring a tiny segment: {step} bytes are free, or none is offered"
        )
        peer.reads(step - 1, 0, step - 1, NOTHING, hint)
        peer.no_timer(hint)
        peer.send(size, size + 1, (size, 0), hint)
        peer.reads(1, step - 1, step, (size, step), f"{step} bytes are free now")


@pytest.mark.points(1)
def test_a_read_that_opens_the_window_sends_an_ack(submission: Submission) -> None:
    peer = Peer(submission, "update")
    m = peer.mss
    peer.take(0, m)
    peer.send(m, 2 * m, (2 * m, 6 * m), "rule 3: the second segment")
    peer.no_timer("nothing has been read")
    peer.read(2 * m, 0, 2 * m, "both segments")
    hint = "a sender before a closed window sends nothing: the receiver must tell it that there is room"
    peer.value("deadline", expected=0.0, hint=hint)
    peer.has(2 * m, 6 * m, "the window is what the last ACK has said, until the next one is made")
    peer.poll((2 * m, 8 * m), hint)
    peer.no_timer("the sender knows the window: once is enough")
    peer.poll(NOTHING, "the sender knows the window: once is enough")

    peer = Peer(submission, "update, due")
    peer.take(0, m := peer.mss)
    peer.read(m, 0, m, "what has come")
    peer.value("deadline", expected=0.0, hint="the read has made room: at once, whether an ACK waits or not")
    hint = "each ACK moves the right edge if there is room, not only that of poll"
    peer.send(0, m, (m, 8 * m), hint)
    peer.no_timer("that ACK has carried the new window: none is due")


# Numbers that wrap


@pytest.mark.points(2)
def test_numbers_wrap(submission: Submission) -> None:
    wraps_at = drawing("wrap").randrange(700, 780)
    peer = Peer(submission, "wraps", mss=500, segments=4, wraps_at=wraps_at)
    hint = (
        f"byte {wraps_at} has the number 0: those from there on are later, although their numbers are smaller"
    )
    peer.send(1000, 1500, (0, 2000), hint)
    peer.send(500, 1000, (0, 2000), hint)
    peer.send(0, 500, (1500, 500), hint)
    peer.send(500, 1000, (1500, 500), hint)
    peer.send(0, 500, (1500, 500), "rule 1: a duplicate, although its number is larger than ack()")
    peer.read(2000, 0, 1500, "each byte once, in order")


# FIN


@pytest.mark.points(1)
def test_fin_takes_a_number_and_is_acknowledged_at_once(submission: Submission) -> None:
    for size in (drawing("fin").randrange(100, 300), 0):
        peer = Peer(submission, f"fin {size > 0}")
        peer.finished(False, "no FIN has come")
        hint = "rule 4: FIN has the number after the last byte, and is acknowledged like a byte"
        peer.send(0, size, (size + 1, peer.capacity - size - 1), hint, fin=True)
        peer.finished(True, "FIN has come, and all data before it")
        peer.send(0, size, (size + 1, peer.capacity - size - 1), "rule 1: FIN has come before", fin=True)
        peer.read(peer.mss, 0, size, "what came before FIN can still be read; FIN is no byte")


@pytest.mark.points(2)
def test_fin_waits_for_all_data_before_it(submission: Submission) -> None:
    peer = Peer(submission, "early fin")
    m = peer.mss
    hint = "FIN counts once all data before it is there"
    peer.send(2 * m, 3 * m, (0, 8 * m), hint, fin=True)
    peer.finished(False, hint)
    peer.send(0, m, (m, 7 * m), "rule 4: FIN waits, behind a gap, when this segment comes")
    peer.finished(False, hint)
    peer.read(9 * m, 0, m, "what has no gap before it")
    peer.send(m, 2 * m, (3 * m + 1, 6 * m), "the gap is filled: all data is there, and FIN counts")
    peer.finished(True, hint)
    peer.reads(
        9 * m, m, 3 * m, NOTHING, "the rest of the stream; nothing comes after FIN: no window is opened"
    )

    peer = Peer(submission, "bare fin")
    m = peer.mss
    peer.send(m, m, (0, 8 * m), "rule 4: FIN is early", fin=True)
    peer.send(0, m - 50, (m - 50, 7 * m + 50), "rule 4: FIN waits, without data too, when this segment comes")
    peer.finished(False, hint)
    peer.send(m - 50, m, (m + 1, 7 * m - 1), "the gap is filled: all data is there, and FIN counts")
    peer.finished(True, hint)


@pytest.mark.points(1)
def test_nothing_behind_fin_is_taken(submission: Submission) -> None:
    peer = Peer(submission, "behind fin")
    m = peer.mss
    peer.send(m, 2 * m, (0, 8 * m), "rule 4: it is early", fin=True)
    hint = "the stream ends at FIN: what lies behind it does not belong to it"
    peer.send(m, 3 * m, (0, 8 * m), hint)
    peer.send(
        m, 3 * m, (0, 8 * m), "the first FIN ends the stream: a second one behind it is not taken", fin=True
    )
    peer.send(0, m, (2 * m + 1, 6 * m - 1), "FIN counts")
    peer.send(2 * m + 1, 3 * m, (2 * m + 1, 6 * m - 1), "rule 4: nothing of it is taken")
    peer.read(9 * m, 0, 2 * m, hint)

    peer = Peer(submission, "late fin")
    m = peer.mss
    peer.send(m, 2 * m, (0, 8 * m), "rule 4: it is early")
    hint = "what waited behind FIN, although it came first, does not belong to the stream"
    peer.send(0, m, (m + 1, 7 * m - 1), hint, fin=True)
    peer.finished(True, "FIN has come, and all data before it")
    peer.send(m + 1, m + 2, (m + 1, 7 * m - 1), hint)
    peer.read(9 * m, 0, m, hint)

    peer = Peer(submission, "fin alone")
    hint = "the stream is empty: FIN has the first number, and it counts"
    peer.send(0, 0, (1, 8 * peer.mss - 1), hint, fin=True)
    peer.send(1, 9, (1, 8 * peer.mss - 1), hint, fin=True)
    peer.has(1, 8 * peer.mss - 1, hint)
    peer.read(9, 0, 0, hint)


@pytest.mark.points(1)
def test_a_fin_beyond_the_window_is_not_taken(submission: Submission) -> None:
    peer = Peer(submission, "fin beyond", segments=2)
    m = peer.mss
    hint = "the data fills the window, so FIN's number is beyond it: it comes again"
    peer.send(0, 2 * m, (2 * m, 0), "rule 4: it has FIN, taken or not", fin=True)
    peer.finished(False, hint)
    peer.send(2 * m, 2 * m, (2 * m, 0), "rule 1: the window is closed, for FIN too", fin=True)
    peer.reads(9 * m, 0, 2 * m, (2 * m, 2 * m), "all is read: the window opens, FIN has not counted")
    peer.send(2 * m, 2 * m, (2 * m + 1, 2 * m - 1), "now FIN's number is within the window", fin=True)
    peer.finished(True, "FIN has come, and all data before it")


# The whole


class Reading(Receiver):
    """Our receiver, of which all is read after each segment."""

    def receive(self, segment: Segment, now: float) -> list[Segment]:
        """A segment comes."""
        sent = super().receive(segment, now)
        self.read(self._capacity)
        return sent


@pytest.mark.points(2)
def test_a_stream_comes_whole_over_a_bad_link(submission: Submission) -> None:
    draw = drawing("bad link")
    mss, stream, seed = 500, draw.randbytes(20_000), draw.getrandbits(32)
    arguments = MODULUS - draw.randrange(2000, 9000), 8 * mss, mss
    submission.new("Receiver", *arguments)

    def build(end: Any) -> tuple[Simulation, Callable[[], bool]]:
        faults = Random(seed)
        there = Link(faults, loss=0.1, repeat=0.1, reorder=0.2, corrupt=0.05)
        sender = Sender(arguments[0], mss, FixedWindow(8 * mss))
        simulation = Simulation([Flow(sender, end, there, Link(faults, loss=0.1))])
        simulation.put(0, "A", sender.send(stream, 0.0))
        return simulation, lambda: not sender.waiting()

    learner = Learner(submission, reads=True)
    about = "20,000 bytes cross a link that loses, repeats, reorders and corrupts segments"
    hint = "every byte arrives once, in order, and in the end the sender knows it"
    transfer(submission, about, build, learner, Reading(*arguments), seconds=600, hint=hint, end="B")
    if learner.stream != stream:
        fail(f"{len(stream)} bytes of the stream", f"{len(learner.stream)} other bytes", hint)


STEPS = (
    *[("segment", 4, 0), ("due", 0, 5), ("segment", 6, 0), ("segment", 7, 8), ("read", 3000, 9)],
    *[("segment", 10, 11), ("segment", 12, 13), ("segment", 14, 15), ("segment", 16, 17), ("segment", 18, 0)],
    *[("segment", 19, 20), ("segment", 21, 22), ("read", 500, 0), ("read", 1500, 23), ("segment", 24, 25)],
    *[("segment", 26, 27), ("read", 3000, 0), ("segment", 28, 29)],
)
"""What happens in the reference capture: C's frame or the bytes that P4 reads, and B's frame or none."""


@pytest.mark.points(2)
def test_the_reference_capture_is_answered(submission: Submission) -> None:
    with Capture(CAPTURE) as capture:
        frames = {frame.number: packet.read(frame.data) for frame in capture}
    peer = Peer(submission, "capture", mss=1000, segments=4, wraps_at=4000)
    peer.stream = bytes(8000)
    for frame in frames.values():
        assert isinstance(frame, TCPSegment)
        start = distance(peer.first, frame.sequence)
        if frame.payload:
            peer.stream = peer.stream[:start] + frame.payload + peer.stream[start + len(frame.payload) :]
    read = 0
    for what, number, answer in STEPS:
        found = frames.get(answer)
        sends = found and (distance(peer.first, found.acknowledgment), found.window)
        if what == "due":
            peer.delayed(sends, 0.2, f"frame {answer} of the reference capture, though later")
        elif what == "read":
            hint = f"P4 reads {number} bytes in the reference capture, and the window opens, or does not"
            peer.reads(number, read, read + number, sends, hint)
            read += number
        else:
            sent = frames[number]
            start = distance(peer.first, sent.sequence)
            hint = f"frame {number} of the reference capture: look at what B sends after it"
            peer.send(start, start + len(sent.payload), sends, hint, fin=bool(sent.flags & FIN))
    assert read == 8000
    peer.finished(True, "frame 27 acknowledges FIN")
