"""Measuring: answers are compared first, then contenders run in turns; ratios are those of a round."""

import pytest

from demuxlab.bench import measure
from demuxlab.bench.measure import Benchmark, Disagreement, Effort, Entry, Goal, Unavailable, rows

TWO_ROUNDS = Effort(2, 0.0, quick=True)


def contender(turns, answers=("P4",), played=None, name=""):
    """A contender with these figures, one for each turn; an exception among them is raised."""
    left = iter(turns)

    def turn(_seconds):
        if played is not None:
            played.append(name)
        figure = next(left)
        if isinstance(figure, BaseException):
            raise figure
        return figure

    return lambda: Entry(lambda: answers, turn)


def against(reference, **contenders):
    return Benchmark("nobody", "packets/s", contenders, reference)


def test_a_contender_with_another_answer_is_caught_before_anything_is_timed():
    played = []
    benchmark = against(
        "ours",
        ours=contender([1, 1], ["P4", "P5", None], played),
        wrong=contender([9, 9], ["P4", "P6", None], played),
    )
    with pytest.raises(Disagreement) as caught:
        measure.measure(benchmark, TWO_ROUNDS)
    assert "wrong and ours disagree" in str(caught.value)
    assert "on question 2 the one says 'P6', the other 'P5'" in str(caught.value)
    assert played == []


@pytest.mark.parametrize("answers", [["P4"], ["P4", "P5", None]])
def test_an_answer_too_few_or_too_many_is_caught(answers):
    benchmark = against("ours", ours=contender([1], ["P4", "P5"]), wrong=contender([9], answers))
    with pytest.raises(Disagreement, match="no answer"):
        measure.measure(benchmark, TWO_ROUNDS)


def test_a_contender_without_answers_is_not_compared():
    silent = Entry(None, lambda _seconds: 2.0)
    benchmark = against("cat", cat=lambda: silent, ours=contender([1, 1]), peer=contender([1, 1]))
    assert measure.measure(benchmark, TWO_ROUNDS).rounds == 2


def test_each_round_begins_with_another_contender():
    played = []
    parts = {name: contender([1] * 3, played=played, name=name) for name in "abc"}
    measure.measure(against("a", **parts), Effort(3, 0.0, quick=True))
    assert "".join(played) == "abc" + "bca" + "cab"


def test_a_full_run_has_a_turn_before_the_first_round_that_does_not_count():
    report = measure.measure(against("a", a=contender([1000, 3, 3])), Effort(2, 0.0))
    assert report.rows[0].median == 3


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians():
    # The machine was ten times slower in the second round, and one contender was disturbed in the third.
    rounds = [{"ours": 40.0, "peer": 10.0}, {"ours": 5.0, "peer": 1.0}, {"ours": 20.0, "peer": 10.0}]
    [ours, peer] = rows(Benchmark("b", "x/s", {}, "peer"), rounds)
    assert (ours.contender, ours.reference) == ("ours", "peer")
    assert ours.median == 20.0
    assert ours.ratio == 4.0  # of 4, 5 and 2; that of the medians would be 2
    assert ours.ratio_spread == (3.0, 4.5)
    assert peer.ratio == 1.0


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (Goal("ours", "peer", at_least=4), True),
        (Goal("ours", "peer", at_least=4.1), False),
        (Goal("ours", "peer", at_most=4), True),
        (Goal("ours", "peer", at_most=3.9), False),
        (Goal("ours", "peer", at_most_over=30), True),
        (Goal("ours", "peer", at_most_over=29), False),
        (Goal("ours", at_most=40), True),
        (Goal("ours", at_most=39), False),
    ],
)
def test_a_goal_is_reached_or_not(goal, reached):
    benchmark = Benchmark("b", "ms", {}, "peer", [goal])
    found = rows(benchmark, [{"ours": 40.0, "peer": 10.0}])
    [row] = [row for row in found if row.target]
    assert row.reached is reached


def test_a_goal_against_another_than_the_reference_has_a_row_of_its_own():
    benchmark = Benchmark("b", "x/s", {}, "floor", [Goal("ours", "peer", at_least=5)])
    found = rows(benchmark, [{"ours": 10.0, "floor": 20.0, "peer": 2.0}])
    assert [(row.contender, row.reference, row.ratio, row.reached) for row in found] == [
        ("ours", "floor", 0.5, None),
        ("ours", "peer", 5.0, True),
        ("floor", "floor", 1.0, None),
        ("peer", "floor", 0.1, None),
    ]


def unavailable():
    raise Unavailable("peer is not installed", "pip install 'demuxlab[bench]'")


def test_a_contender_that_is_not_installed_is_left_out_with_the_command_that_installs_it():
    benchmark = Benchmark(
        "b",
        "x/s",
        {"ours": contender([2, 2]), "peer": unavailable},
        "peer",
        [Goal("ours", "peer", at_least=5)],
    )
    report = measure.measure(benchmark, TWO_ROUNDS)
    assert report.left_out == {"peer": "peer is not installed: pip install 'demuxlab[bench]'"}
    [row] = report.rows
    assert (row.median, row.reference, row.ratio, row.reached) == (2, None, None, None)


def test_a_contender_that_fails_during_the_run_has_no_figures():
    broken = contender([1.0, Unavailable("it failed", "out of memory")])
    benchmark = against("ours", ours=contender([2] * 3), peer=broken)
    report = measure.measure(benchmark, Effort(3, 0.0, quick=True))
    assert report.left_out == {"peer": "it failed: out of memory"}
    assert [row.contender for row in report.rows] == ["ours"]
    assert report.rounds == 3


def test_ctrl_c_keeps_the_complete_rounds():
    benchmark = against("ours", ours=contender([2] * 3), peer=contender([4, 4, KeyboardInterrupt()]))
    report = measure.measure(benchmark, Effort(3, 0.0, quick=True))
    assert report.interrupted
    assert report.rounds == 2
    assert [(row.contender, row.ratio) for row in report.rows] == [("ours", 1.0), ("peer", 2.0)]


def test_a_rate_counts_what_was_done_batch_after_batch(monkeypatch):
    seconds = iter([0.0, 1.0, 2.0, 4.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(seconds))
    done = []
    assert measure.rate(done.extend, ["ab", "c"])(3.0) == 5 / 4
    assert "".join(done) == "abcab"
