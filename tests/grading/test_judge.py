"""The judge of labs 17 to 21: our own parts pass; a failure names steps, fields and the first difference."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from tests.parts.test_parts import NEAR_THE_END, STREAM, ack, data

from demuxlab.grading.judge import Learner, Made, Script, transfer
from demuxlab.grading.practice import Practice
from demuxlab.grading.submission import Submission
from demuxlab.parts.controller import FixedWindow
from demuxlab.parts.link import Link
from demuxlab.parts.receiver import Receiver
from demuxlab.parts.sender import Sender
from demuxlab.parts.simulation import Flow, Reading, Simulation
from demuxlab.wire import packet

Ask = Callable[..., Submission]
HINT = "the timer sends the first segment again"
OURS = Path(__file__).parents[2] / "src/demuxlab/parts"


def source() -> str:
    """Return our sender as a file of a learner's."""
    files = [
        (OURS / name).read_text(encoding="utf-8") for name in ("segment.py", "controller.py", "sender.py")
    ]
    return (
        "\n".join(
            line
            for text in files
            for line in text.splitlines()
            if "import" not in line[:5] and "from demuxlab" not in line
        )
        .replace("from typing import NamedTuple, Protocol", "")
        .join(("from typing import NamedTuple, Protocol\n", "\n"))
    )


@pytest.fixture(params=[Submission, Practice])
def ask(request: pytest.FixtureRequest, tmp_path: Path):
    asked: list[Submission] = []

    def written(old: str = "", new: str = "") -> Submission:
        path = tmp_path / "exercise.py"
        text = source()
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        asked.append(request.param(path))
        return asked[-1]

    yield written
    for submission in asked:
        submission.close()


def script(submission: Submission) -> Script:
    """Two segments, of which none arrives."""
    arguments, ours = (NEAR_THE_END, 100), Sender(NEAR_THE_END, 100, FixedWindow(200))
    play = Script(
        submission, "Sender", *arguments, Made("FixedWindow", (200,)),
        ours=ours, base=NEAR_THE_END, fields=("seq", "data"),
    )  # fmt: skip
    play.step("send", STREAM[:300], sends=[data(0, 100), data(100, 200)], hint=HINT)
    play.timer([data(0, 100)], hint=HINT, at=1.0)
    play.wait(0.5)
    play.step("receive", ack(200), hint=HINT)
    play.value("waiting", expected=100, hint=HINT)
    return play


def test_our_own_part_passes(ask: Ask):
    submission = ask()
    script(submission)
    assert submission.story[1:] == [
        "0.000 send(300 bytes) → . 0:100(100), . 100:200(100)",
        "called deadline() → 1.0",
        "1.000 poll() → . 0:100(100)",
        "1.500 receive(. 0:0(0) ack 200 win 1000) → . 200:300(100)",
        "called waiting() → 100",
    ]
    assert [len(packet.read(each[0]).payload) for each in submission.packets] == [100, 100, 100, 0, 100]
    assert [each[2] for each in submission.packets] == [0.0, 0.0, 1.0, 1.5, 1.5]


def test_a_failure_names_the_fields_and_where_ours_parted(ask: Ask):
    submission = ask(
        "return [self._first()]\n\n    def deadline", "return [self._first()] * 2\n\n    def deadline"
    )
    with pytest.raises(AssertionError) as failed:
        script(submission)
    assert str(failed.value).splitlines() == [
        "expected . 0:100(100)",
        "found . 0:100(100), . 0:100(100)",
        "segments: expected 1, found 2",
        "first different from ours in step 4: ours sends . 0:100(100)",
        f"hint: {HINT}",
    ]


def test_a_failure_counts_numbers_as_the_script_does(ask: Ask):
    """NEAR_THE_END + 100 lies behind the wrap, and is shown as 100."""
    submission = ask()
    play = Script(submission, "Sender", NEAR_THE_END, 100, Made("FixedWindow", (200,)), base=NEAR_THE_END)
    play.now = 0.7 + 0.1  # 0.7999999999999999
    with pytest.raises(AssertionError) as failed:
        play.step("send", STREAM[:200], sends=[data(0, 100), data(0, 100)], hint=HINT)
    assert "segment 2, seq: expected 0, found 100" in str(failed.value).splitlines()
    play.due(1.8, HINT)
    assert submission.story[-1] == "called deadline() → 1.8"


@pytest.mark.parametrize("answer", ["None", "self._first()", "[None]", "[(1, 2)]", "[Segment()] * 2000"])
def test_what_is_no_list_of_segments_is_said(ask: Ask, answer: str):
    submission = ask("return [self._first()]\n\n    def deadline", f"return {answer}\n\n    def deadline")
    with pytest.raises(AssertionError, match="segments"):
        script(submission)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ("Segment(window=-1)", "window is -1: it cannot be less than 0"),
        ("Segment(ack=2**32)", "ack is 4294967296: it has 32 bits"),
    ],
)
def test_a_number_outside_its_bounds_is_named(ask: Ask, answer: str, hint: str):
    submission = ask("return [self._first()]\n\n    def deadline", f"return [{answer}]\n\n    def deadline")
    with pytest.raises(AssertionError) as failed:
        script(submission)
    field, number = hint.split(":", maxsplit=1)[0].split(" is ")
    assert str(failed.value) == f"expected {field} from 0 to 4294967295\nfound {number}\nhint: {hint}"


def whole(submission: Submission) -> Simulation:
    submission.new("Sender", NEAR_THE_END, 1000, Made("FixedWindow", (4000,)))
    receivers = []

    def build(end):
        draw, receiver = Random(3), Reading(Receiver(NEAR_THE_END, 65_535))
        receivers.append(receiver)
        simulation = Simulation([Flow(end, receiver, Link(draw, loss=0.1), Link(draw, loss=0.1))])
        send = end.do if isinstance(end, Learner) else lambda name, *given: getattr(end, name)(*given)
        simulation.put(0, "A", send("send", STREAM[:40_000], 0.0))
        return simulation, lambda: receiver.stream == STREAM[:40_000]

    ours = Sender(NEAR_THE_END, 1000, FixedWindow(4000))
    return transfer(submission, "40,000 bytes", build, Learner(submission), ours, seconds=60, hint=HINT)


def test_a_whole_transfer_is_one_step(ask: Ask):
    submission = ask()
    assert len(whole(submission).events) > 80
    assert submission.story[1:] == ["40,000 bytes"]


def test_a_transfer_that_does_not_end_shows_its_last_segments(ask: Ask):
    submission = ask("return [self._first()]\n\n    def deadline", "return []\n\n    def deadline")
    with pytest.raises(AssertionError, match=r"is the first that differs from ours: .*; here: "):
        whole(submission)
    assert len(submission.story) == 14
    assert len(submission.packets) > 20
