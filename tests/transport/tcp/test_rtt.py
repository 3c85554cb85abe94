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
    for _ in range(100):
        rtt.sample(sample)
    assert rtt.rto == pytest.approx(sample + MINIMUM, abs=1e-5)


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
        rtt.backoff += 1
    assert timeouts == [1, 2, 4, 8, 16, 32, 60, 60]
    assert rtt.rto_without_backoff == 1.0
    rtt.sample(0.1)
    assert (rtt.backoff, rtt.rto) == (0, pytest.approx(0.3))
