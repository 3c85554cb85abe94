"""RFC 6298, by its own numbers."""

import pytest

from demuxlab.transport.tcp.rtt import FALLBACK, INITIAL, MAXIMUM, MINIMUM, RTTEstimator


def test_before_the_first_measurement_the_timeout_is_a_second():
    assert RTTEstimator().rto == INITIAL == 1.0


def test_the_first_measurement():
    rtt = RTTEstimator()
    rtt.sample(0.4)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (0.4, 0.2, pytest.approx(1.2))


def test_later_ones_are_weighed_by_an_eighth_and_a_quarter():
    rtt = RTTEstimator()
    rtt.sample(0.4)
    rtt.sample(0.8)
    assert rtt.rttvar == pytest.approx(3 / 4 * 0.2 + 1 / 4 * 0.4)
    assert rtt.srtt == pytest.approx(7 / 8 * 0.4 + 1 / 8 * 0.8)
    assert rtt.rto == pytest.approx(rtt.srtt + 4 * rtt.rttvar)


@pytest.mark.parametrize("sample", [0.0, 0.001, 0.3])
def test_the_timeout_keeps_a_margin_above_a_steady_round_trip(sample):
    rtt = RTTEstimator()
    for number in range(100):
        rtt.sample(sample, unacked=number, following=number)
    assert rtt.rto == pytest.approx(sample + MINIMUM, abs=1e-5)


def test_the_margin_is_the_largest_of_a_round_trip_and_falls_by_a_quarter_each():
    rtt = RTTEstimator()
    for number, sample in enumerate((0.1, 0.1, 0.9, 0.1, 0.1, 0.1)):
        rtt.sample(sample, unacked=number, following=100)
    late = rtt.rto
    assert late - rtt.srtt > 4 * rtt.rttvar
    margins = []
    for number in range(100, 1000, 100):
        rtt.sample(0.1, unacked=number + 1, following=number + 100)
        margins.append(rtt.rto - rtt.srtt)
    assert margins == sorted(margins, reverse=True)
    assert MINIMUM < margins[-1] < 0.5 * margins[0]


def test_a_path_that_becomes_faster_hardly_changes_the_timeout():
    rtt = RTTEstimator()
    rtt.sample(0.4)
    before = rtt.rttvar
    rtt.sample(0.1)
    assert before < rtt.rttvar == pytest.approx(before + (0.3 - before) / 32)


def test_the_timeout_has_an_upper_bound():
    rtt = RTTEstimator()
    rtt.sample(50.0)
    assert rtt.rto == MAXIMUM


def test_the_back_off_of_a_syn_is_not_that_of_data():
    measured, unmeasured = RTTEstimator(), RTTEstimator()
    measured.sample(0.1)
    for rtt in measured, unmeasured:
        rtt.backoff = 3
        rtt.established()
    assert (measured.rto, unmeasured.rto) == (pytest.approx(0.3), FALLBACK)


def test_the_timeout_doubles_up_to_a_minute_and_a_measurement_ends_that():
    rtt = RTTEstimator()
    timeouts = []
    for _ in range(8):
        timeouts.append(rtt.rto)
        rtt.back_off()
    assert timeouts == [1, 2, 4, 8, 16, 32, 60, 60]
    assert rtt.rto_without_backoff == 1.0
    rtt.sample(0.1)
    assert (rtt.backoff, rtt.rto) == (0, pytest.approx(0.3))
