"""Checks of lab 20's exercise."""

from pathlib import Path
from typing import Any

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.checks import drawing, varying
from demuxlab.grading.submission import Submission, SubmissionError
from demuxlab.parts import controller as ours
from demuxlab.parts.bottleneck import Bottleneck, Flow
from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.segment import Segment
from demuxlab.parts.sender import Sender
from demuxlab.report.windows import Curve, picture
from demuxlab.wire import packet

CAPTURE = Path(__file__).resolve().parents[2] / "captures" / "20_congestion_control.pcapng"
MOST = 1 << 30
ADVICE = {
    float: "all sizes are whole numbers of bytes: divide with //",
    type(None): "the method returns nothing: it ends with `return`, and the window in bytes",
}


class Asked(FixedWindow):
    """The learner's controller. Beside it ours, to which the same happens, if the windows must be equal.

    Ours begins with the learner's first window, where another check is about that one. `name` is its name in
    the story, where a check has several.
    """

    def __init__(
        self, submission: Submission, mss: int, *, alike: bool = True, first: bool = False, name: str = ""
    ) -> None:
        self.mss, self._submission, self._alike, self._name = mss, submission, alike, name
        self._which = submission.which = 2 if name == "second" else 1
        submission.new("Controller", mss)
        self.ours = ours.Controller(mss)
        self.found: list[tuple[float, float]] = []
        self.expected: list[tuple[float, float]] = []
        self._now = 0.0
        hint = "the first window: 4 segments, 3 if mss is above 1095, 2 if it is above 2190"
        self.hint = hint
        self._compare(
            f"made {name} = Controller({mss})" if name else f"made Controller({mss})", adopt=not first
        )

    def window(self) -> int:
        """Return what the learner's window was after the last event."""
        return self._window

    def acknowledged(self, count: int, flight: int, now: float) -> None:
        """An ACK of new data."""
        self._happen("acknowledged", count, flight, now)

    def duplicate(self, flight: int, now: float) -> None:
        """A duplicate ACK."""
        self._happen("duplicate", flight, now)

    def timeout(self, flight: int, now: float) -> None:
        """The timer has expired."""
        self._happen("timeout", flight, now)

    def acks(self, counts: list[int], flight: int, hint: str) -> None:
        """ACKs of so many bytes each."""
        for count in counts:
            self._next("acknowledged", count, flight, hint)

    def duplicates(self, number: int, flight: int, hint: str) -> None:
        """So many duplicate ACKs."""
        for _ in range(number):
            self._next("duplicate", flight, hint)

    def expires(self, flight: int, hint: str) -> None:
        """The timer expires."""
        self._next("timeout", flight, hint)

    def _next(self, method: str, *values: object) -> None:
        *arguments, self.hint = values  # type: ignore[assignment]
        self._happen(method, *arguments, round(self._now + 0.05, 2))

    def _happen(self, method: str, *arguments: object) -> None:
        self._now = float(arguments[-1])  # type: ignore[arg-type]
        getattr(self.ours, method)(*arguments)
        self._submission.which = self._which
        try:
            self._submission.ahead([(method, *arguments), ("window",)])
            self._submission.call(method, *arguments)
        except SubmissionError as error:
            raise AssertionError(f"expected that nothing is raised, but {error}") from None
        whose = f"{self._name}." if self._name else ""
        self._compare(f"called {whose}{method}({', '.join(map(str, arguments))})")

    def _compare(self, after: str, *, adopt: bool = False) -> None:
        """Ask for the window after a step, which is one step with it in the story; ours may `adopt` it."""
        found = self._submission.call("window")
        if self._submission.story[-1]:  # it is empty where many steps are summed up
            self._submission.story[-2:] = [f"{after}; window() → {found}"]
        if adopt and type(found) is int:
            vars(self.ours)["_cwnd"] = found
        expected = self.ours.window()
        if type(found) is not int or not 0 < found < MOST:
            self._wrong(expected if self._alike else max(expected, self.mss), found)
        if self._alike and found != expected:
            self._wrong(expected, found)
        self._note(expected, found)
        self._window = found

    def _note(self, expected: int, found: float) -> None:
        self.expected.append((len(self.expected), expected / self.mss))
        self.found.append((len(self.found), found / self.mss))

    def _wrong(self, expected: int, found: object) -> None:
        """Fail, with a picture of the windows if the answer is a number."""
        if isinstance(found, int | float):
            self._note(expected, found)
            curves = [Curve("yours", self.found), Curve("expected", self.expected, expected=True)]
            title = "The window after each event"
            self._submission.picture = picture(title, curves, len(self.found), "event", "segments")
        advice = f"hint: {ADVICE.get(type(found), self.hint)}"
        raise AssertionError(f"window: expected {expected}, found {found!r}\n{advice}")


def began(submission: Submission, words: str) -> Asked:
    """Begin a connection with some size of segment; with a seed any, and some ACKs have come already."""
    draw, more = drawing(words), varying(submission)
    asked = Asked(submission, draw.randrange(300, 1095) if more else 100 * draw.randrange(3, 11))
    if more:
        grow(asked, more.randrange(1, 4))
    return asked


def grow(asked: Asked, number: int) -> None:
    """Let ACKs of whole segments come in slow start."""
    asked.acks([asked.mss] * number, 4 * asked.mss, "slow start: a segment more for each ACK of a segment")


def avoid(asked: Asked, segments: int) -> None:
    """Let a timeout, and slow start, lead to congestion avoidance with a window of so many segments."""
    asked.expires(2 * segments * asked.mss, "a timeout: cwnd is one segment, ssthresh half of flight")
    asked.acks([asked.mss] * (segments - 1), asked.mss, "slow start while cwnd < ssthresh, half of flight")


def lose(asked: Asked, segments: int, hint: str = "") -> int:
    """Let three duplicates tell of a loss with so many segments under way; return the bytes under way."""
    flight = segments * asked.mss
    hint = hint or "the third duplicate: ssthresh is half of flight, cwnd is that and 3 segments"
    asked.duplicates(3, flight, hint)
    return flight


def recover(asked: Asked, flight: int) -> None:
    """Let all be acknowledged that was under way at a loss."""
    asked.acks([flight], flight, "all is acknowledged: the recovery is over, and cwnd = ssthresh")


# Growing


@pytest.mark.points(1)
def test_the_first_window_is_that_of_rfc_5681(submission: Submission) -> None:
    draw = drawing("first")
    for low, high in ((100, 1096), (1096, 2191), (2191, 9000)):
        for mss in (low, draw.randrange(low, high), high - 1):
            Asked(submission, mss, first=True)


@pytest.mark.points(1)
def test_slow_start_adds_a_segment_for_each_ack(submission: Submission) -> None:
    asked = began(submission, "slow start")
    grow(asked, 4)
    again = Asked(submission, 100 * drawing("large").randrange(88, 91))
    hint = "ssthresh is infinite at first: slow start does not end before the first loss"
    again.acks([again.mss] * 8, 2 * again.mss, hint)


@pytest.mark.points(1)
def test_an_ack_adds_no_more_than_it_acknowledges_and_no_more_than_a_segment(submission: Submission) -> None:
    asked = began(submission, "small acks")
    small = drawing("small").randrange(1, asked.mss)
    hint = "slow start, an ACK of less than a segment: no more than it acknowledges"
    asked.acks([small, 1, asked.mss - 1], 4 * asked.mss, hint)
    hint = "slow start, an ACK of several segments: one segment, so that ACKs that are lost make no bursts"
    asked.acks([2 * asked.mss, 3 * asked.mss], 4 * asked.mss, hint)


@pytest.mark.points(2)
def test_slow_start_ends_at_the_threshold(submission: Submission) -> None:
    asked = began(submission, "threshold")
    segments = drawing("segments").randrange(6, 10)
    asked.expires(segments * asked.mss, "a timeout: cwnd is one segment, ssthresh half of flight")
    hint = "cwnd < ssthresh is slow start; from ssthresh on a segment more for each window"
    asked.acks([asked.mss] * ((segments + 1) // 2 + 1), 2 * asked.mss, hint)


@pytest.mark.points(2)
def test_congestion_avoidance_adds_a_segment_for_each_window(submission: Submission) -> None:
    asked = began(submission, "avoidance")
    avoid(asked, drawing("windows").randrange(3, 5))
    hint = "congestion avoidance: when the sum has reached cwnd, subtract cwnd from it; then cwnd grows"
    asked.acks([asked.mss] * 10, 4 * asked.mss, hint)


@pytest.mark.points(1)
def test_bytes_are_counted_not_acks(submission: Submission) -> None:
    asked = began(submission, "bytes")
    avoid(asked, 4)
    hint = "congestion avoidance: an ACK of two segments counts twice, one of half a segment half"
    twice, half = 2 * asked.mss, asked.mss // 2
    asked.acks([twice, twice, half, asked.mss - half, twice, twice], 4 * asked.mss, hint)


@pytest.mark.points(1)
def test_what_is_acknowledged_beyond_a_window_is_kept(submission: Submission) -> None:
    asked = began(submission, "kept")
    avoid(asked, 5)
    hint = "the sum is reduced by cwnd as it was, and what is left counts for the next window"
    asked.acks([4 * asked.mss, 4 * asked.mss, 2 * asked.mss, asked.mss, asked.mss], 5 * asked.mss, hint)


# Losses


@pytest.mark.points(1)
def test_two_duplicates_are_no_loss_and_the_third_is(submission: Submission) -> None:
    asked = began(submission, "two")
    asked.duplicates(2, asked.window(), "one or two duplicates: a segment may have overtaken another")
    asked.acks([asked.mss], asked.window(), "slow start goes on: there was no loss")
    flight = asked.window()
    asked.duplicates(2, flight, "an ACK of new data has come between: count the duplicates from 0")
    asked.duplicates(
        1, flight, "the third duplicate in a row is a loss: cwnd is half of flight, and 3 segments"
    )


@pytest.mark.points(2)
def test_the_third_duplicate_halves_what_is_under_way(submission: Submission) -> None:
    asked = began(submission, "halves")
    grow(asked, 6)
    flight = drawing("flight").randrange(5, 8) * asked.mss + 1
    asked.duplicates(2, flight - asked.mss, "one or two duplicates: a segment may have overtaken another")
    asked.duplicates(
        1, flight, "the third duplicate: half of flight as it is now, not of cwnd, and 3 segments"
    )
    recover(asked, flight)


@pytest.mark.points(1)
def test_the_threshold_is_two_segments_at_least(submission: Submission) -> None:
    asked = began(submission, "least")
    hint = "half of flight is less than 2 segments: ssthresh is 2 segments"
    asked.duplicates(3, 3 * asked.mss, hint)
    recover(asked, 3 * asked.mss)
    asked.expires(2 * asked.mss, "a timeout: cwnd is one segment")
    asked.acks([asked.mss // 2] * 2 + [asked.mss] * 3, 2 * asked.mss, hint)


@pytest.mark.points(1)
def test_each_further_duplicate_lets_a_segment_out(submission: Submission) -> None:
    asked = began(submission, "further")
    flight = lose(asked, drawing("out").randrange(10, 16))
    asked.duplicates(5, flight, "in a recovery each duplicate makes cwnd larger by a segment")


@pytest.mark.points(2)
def test_a_recovery_ends_at_the_threshold(submission: Submission) -> None:
    asked = began(submission, "ends")
    flight = lose(asked, drawing("end").randrange(8, 12))
    asked.duplicates(4, flight, "in a recovery each duplicate makes cwnd larger by a segment")
    hint = (
        "all that was under way at the loss is acknowledged, and cwnd = ssthresh; what was sent since is new"
    )
    asked.acks([flight], flight + 3 * asked.mss, hint)
    hint = "after a recovery cwnd is ssthresh: congestion avoidance, not slow start"
    asked.acks([asked.mss] * 3, flight // 2, hint)
    flight = lose(asked, 6)
    hint = "more is acknowledged than was under way at the loss: the recovery is over, and cwnd = ssthresh"
    asked.acks([flight + 2 * asked.mss], flight + 3 * asked.mss, hint)


@pytest.mark.points(1)
def test_a_partial_ack_takes_out_what_it_acknowledges(submission: Submission) -> None:
    asked = began(submission, "partial")
    flight = left = lose(asked, 14)
    asked.duplicates(4, flight, "in a recovery each duplicate makes cwnd larger by a segment")
    hint = "a partial ACK: cwnd is smaller by count, and larger by a segment if count is one or more"
    small = drawing("part").randrange(1, asked.mss)
    for part in (3 * asked.mss, asked.mss, small, 9 * asked.mss - small):
        asked.acks([part], left, hint)
        asked.duplicates(1, left, "a partial ACK does not end the recovery: a duplicate adds a segment")
        left -= part
    recover(asked, left)


@pytest.mark.points(2)
def test_the_losses_of_one_window_halve_once(submission: Submission) -> None:
    asked = began(submission, "once")
    flight = lose(asked, drawing("of one").randrange(12, 16))
    for _ in range(2):
        hint = "more was lost of the window that was under way: it has been halved for that already"
        asked.acks([2 * asked.mss], flight, hint)
        asked.duplicates(4, flight, hint)
    recover(asked, flight - 4 * asked.mss)


@pytest.mark.points(1)
def test_a_loss_after_a_recovery_halves_again(submission: Submission) -> None:
    asked = began(submission, "again")
    for segments in (16, drawing("again").randrange(6, 9)):
        recover(asked, lose(asked, segments))
    flight = 4 * asked.mss
    asked.acks([asked.mss] * 2, flight, "congestion avoidance: a segment more for each window")
    recover(asked, lose(asked, 4))
    asked.acks([asked.mss], flight, "a loss: what was added up before it is forgotten")


@pytest.mark.points(1)
def test_each_connection_has_a_window_of_its_own(submission: Submission) -> None:
    first, second = (Asked(submission, 500, name=name) for name in ("first", "second"))
    hint = "two objects of the class Controller: what one has counted, the other does not know"
    first.duplicates(2, 4 * first.mss, hint)
    second.duplicates(1, 4 * second.mss, hint)
    second.acks([second.mss], 4 * second.mss, hint)
    first.duplicates(1, 4 * first.mss, hint)
    second.expires(6 * second.mss, hint)
    first.duplicates(1, 4 * first.mss, hint)
    for asked in (second, first, second, first, first, second, second):
        asked.acks([3 * asked.mss], 4 * asked.mss, hint)


# Timeouts


@pytest.mark.points(2)
def test_after_a_timeout_the_window_is_one_segment(submission: Submission) -> None:
    asked = began(submission, "timeout")
    grow(asked, 3)
    flight = drawing("expired").choice((7, 9)) * asked.mss
    asked.expires(flight, "a timeout: cwnd is one segment, not half")
    hint = "then slow start while cwnd < ssthresh, which is half of flight: it may end above ssthresh"
    asked.acks([asked.mss] * 6, 2 * asked.mss, hint)
    asked.expires(flight, "a timeout: cwnd is one segment, not half")
    hint = "the sum of congestion avoidance begins at 0 again after a timeout"
    asked.acks([asked.mss] * 7, 2 * asked.mss, hint)


@pytest.mark.points(1)
def test_a_segment_that_is_lost_again_leaves_the_threshold(submission: Submission) -> None:
    asked = began(submission, "lost again")
    asked.expires(drawing("first time").randrange(8, 11) * asked.mss, "a timeout: cwnd is one segment")
    hint = "the timer has expired before, with no new data acknowledged since: ssthresh stays"
    asked.expires(asked.mss, hint)
    asked.duplicates(1, asked.mss, "one duplicate changes nothing")
    asked.expires(asked.mss, hint)
    asked.acks([asked.mss] * 5, asked.mss, hint)
    asked.expires(4 * asked.mss, "a timeout: cwnd is one segment")
    hint = "new data had been acknowledged before this timeout: ssthresh is half of flight again"
    asked.acks([asked.mss] * 2, asked.mss, hint)


@pytest.mark.points(1)
def test_a_timeout_ends_a_recovery(submission: Submission) -> None:
    asked = began(submission, "ends it")
    flight = lose(asked, 2 * drawing("by it").randrange(5, 7))
    asked.acks([flight // 2], flight, "a partial ACK: the recovery goes on")
    asked.expires(flight // 2, "a timeout in a recovery: cwnd is one segment")
    hint = "the timeout has ended the recovery: slow start up to half of what was under way at the timeout"
    asked.acks([asked.mss] * 4, flight, hint)
    asked.duplicates(1, flight, "the recovery is over: a duplicate adds nothing")


@pytest.mark.points(1)
def test_duplicates_after_a_timeout_begin_no_recovery(submission: Submission) -> None:
    asked = began(submission, "go back")
    mss, segments = asked.mss, drawing("go back").randrange(8, 12)
    asked.expires(segments * mss, "a timeout: cwnd is one segment")
    hint = "what was under way at the timeout is not all acknowledged: duplicates of it are no new loss"
    for count, flight in ((2, 3), (segments - 3, segments - 3)):  # then one segment is left
        asked.acks([count * mss], flight * mss, "slow start after the timeout")
        asked.duplicates(4, 3 * mss, hint)
    asked.expires(3 * mss, "a timeout: cwnd is one segment")
    asked.acks([mss], mss, "slow start after the timeout")
    asked.duplicates(3, 2 * mss, hint)
    asked.acks([2 * mss], 2 * mss, "congestion avoidance: a segment more for each window")
    hint = "all that was under way at the last timeout is acknowledged: three duplicates are a loss again"
    lose(asked, 6, hint)


# CUBIC


@pytest.mark.points(1)
def test_cubic_grows_by_the_time_since_the_loss(submission: Submission) -> None:
    draw = drawing("cubic")
    for seconds in (0.0, 1.0, round(draw.uniform(2, 4), 1), round(draw.uniform(5, 9), 1)):
        largest = draw.randrange(40, 200)
        found = submission.function("cubic", largest, seconds)
        hint = "0.4 * (seconds - K) ** 3 + largest, where K is the cube root of largest * 0.3 / 0.4"
        near(ours.cubic(largest, seconds), found, hint)


@pytest.mark.points(1)
def test_a_long_round_trip_makes_reno_slow_and_not_cubic(submission: Submission) -> None:
    draw = drawing("return")
    for round_trip in (0.01, round(draw.uniform(0.1, 0.4), 2)):
        largest = draw.randrange(40, 200)
        found = submission.function("seconds_to_return", largest, round_trip)
        found = found if isinstance(found, list) and len(found) == 2 else [found, found]
        reno, cubic = ours.seconds_to_return(largest, round_trip)
        near(reno, found[0], "Reno has lost half of its segments, and gets one back in each round trip")
        near(cubic, found[1], "CUBIC is back after K seconds, however long a round trip takes")


def near(expected: float, found: object, hint: str) -> None:
    """Compare numbers to a thousandth."""
    told = f"expected {expected:.3f}, found {found!r}\nhint: {hint}"
    is_near = isinstance(found, int | float) and abs(found - expected) < 0.001 * abs(expected)
    assert is_near, told


# The bottleneck


class Noted:
    """Ours, which notes each thing that happens to it, and its window after that."""

    def __init__(self, mss: int) -> None:
        self.mss, self._ours = mss, ours.Controller(mss)
        self.calls: list[tuple[Any, ...]] = []
        self.answers: list[int | None] = []

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any) -> int | None:
            if method != "window":
                getattr(self._ours, method)(*arguments)
                self.calls += [(method, *arguments), ("window",)]
                self.answers += [None, self._ours.window()]
            return self._ours.window()

        return call

    def is_like(self, submission: Submission) -> bool:
        """Tell whether the learner's controller has the same windows, asked many at a time."""
        submission.new("Controller", self.mss)
        submission.ahead(self.calls)
        answers = (submission.call(*call) for call in self.calls)
        same = all(answer in (None, found) for answer, found in zip(self.answers, answers, strict=True))
        submission.ahead([])
        return same


def through_a_bottleneck(submission: Submission, mss: int, starts: list[float], end: int) -> list[Flow]:
    """Let the learner's flow, and ours where there is a second start, send 50 segments a second in all."""
    seed = drawing("bottleneck").random()

    def run(first: Any) -> list[Flow]:
        both = zip(("yours", "ours"), (first, ours.Controller(mss)), starts, strict=False)
        flows = [Flow(*each) for each in both]
        Bottleneck(50, 0.1, 10, mss, seed).run(flows, end)
        return flows

    with submission.summed_up(f"sent through a bottleneck for {end} seconds"):
        noted = Noted(mss)
        flows = run(noted)
        if not noted.is_like(submission):  # then each of its windows decides what happens next
            submission.close()
            flows = run(Asked(submission, mss, alike=False))
    curves = [Curve(flow.name, [(t, size / mss) for t, size in flow.windows], flow.losses) for flow in flows]
    title = "The window over time; a dot is a segment that found the queue full"
    submission.picture = picture(title, curves, end, "seconds", "segments")
    return flows


@pytest.mark.points(2)
def test_one_flow_fills_the_link_and_loses_little(submission: Submission) -> None:
    mss = drawing("fills").randrange(80, 120)
    [flow] = through_a_bottleneck(submission, mss, [0.0], 30)
    carried, lost = flow.carried(5, 30) // (mss * 25 // 2), len(flow.losses)
    hint = "a window that stays small leaves the link idle, one that stays large fills the queue"
    told = f"expected 90 % of the link or more and 80 losses or fewer, found {carried} % and {lost}"
    assert carried >= 90, f"{told}\nhint: {hint}"
    assert lost <= 80, f"{told}\nhint: {hint}"


@pytest.mark.facts("S1")
@pytest.mark.points(3)
def test_two_flows_share_a_bottleneck_within_10_percent(submission: Submission) -> None:
    draw = drawing("share")
    mss, starts = draw.randrange(80, 120), [0.0, draw.uniform(1, 8)]
    draw.shuffle(starts)
    yours, others = (flow.carried(20, 60) for flow in through_a_bottleneck(submission, mss, starts, 60))
    share = 100 * yours / max(yours + others, 1)
    hint = "both add a segment a round trip and halve at a loss: with other rules you get another share"
    assert 45 <= share <= 55, f"expected 45 to 55 % of both, found {share:.2f} %\nhint: {hint}"


@pytest.mark.points(2)
def test_the_reference_capture_has_these_windows(submission: Submission) -> None:
    asked, seen = Asked(submission, 100), 0
    sender = Sender(1000, 100, asked)
    sender.send(bytes(3400), 0.0)
    with Capture(CAPTURE) as capture:
        frames = [(frame.number, frame.time, packet.read(frame.data)) for frame in capture][3:]
    for number, moment, segment in frames:
        asked.hint = f"this is frame {number} of captures/20_congestion_control.pcapng"
        now, deadline = round(moment - frames[0][1], 6), sender.deadline()
        if segment.source_port == 80:
            sender.receive(Segment(segment.sequence, segment.acknowledgment, segment.window), now)
            seen += 1
        elif deadline is not None and now > deadline:
            sender.poll(now)
            seen += 1
    assert seen > 25
