"""How the congestion window grows and shrinks: RFC 5681, RFC 9438."""

import pytest

from demuxlab.transport.tcp.congestion import ALGORITHMS, Cubic, NewReno

MSS = 1000
BOTH = pytest.mark.parametrize("algorithm", [NewReno, Cubic])


def avoiding(algorithm, segments):
    """Return a control in congestion avoidance with a window of so many segments."""
    control = algorithm(MSS)
    control.cwnd = control.ssthresh = segments * MSS
    return control


def a_round_trip(control, now, round_trip=0.1):
    """Acknowledge a whole window, segment by segment; return by how many bytes it grew."""
    before = control.cwnd
    for _ in range(before // MSS):
        control.acknowledged(MSS, now, round_trip)
    return control.cwnd - before


def test_they_are_found_by_the_names_of_linux():
    assert {name: kind.name for name, kind in ALGORITHMS.items()} == {"cubic": "cubic", "reno": "reno"}


@BOTH
def test_slow_start_doubles_a_window_of_ten_segments_in_a_round_trip(algorithm):
    control = algorithm(MSS)
    assert control.cwnd == 10 * MSS
    assert a_round_trip(control, 1.0) == 10 * MSS


@BOTH
def test_slow_start_counts_at_most_two_segments_for_an_acknowledgment(algorithm):
    control = algorithm(MSS)
    control.acknowledged(5 * MSS, 1.0, 0.1)
    assert control.cwnd == 12 * MSS


def test_reno_grows_by_one_segment_in_a_round_trip():
    control = avoiding(NewReno, 20)
    assert [a_round_trip(control, now) for now in (1.0, 1.1, 1.2)] == [MSS, MSS, MSS]


def test_reno_carries_over_what_is_left_of_a_window():
    control = avoiding(NewReno, 10)
    control.acknowledged(15 * MSS, 1.0, 0.1)
    assert control.cwnd == 11 * MSS
    control.acknowledged(6 * MSS, 1.0, 0.1)
    assert control.cwnd == 12 * MSS


def test_reno_halves_what_was_in_flight():
    control = avoiding(NewReno, 20)
    control.recovery_begins(16 * MSS, 1.0)
    assert control.cwnd == control.ssthresh == 8 * MSS


def test_cubic_shrinks_to_seven_tenths():
    control = avoiding(Cubic, 20)
    control.recovery_begins(20 * MSS, 1.0)
    assert control.cwnd == control.ssthresh == 14 * MSS


@BOTH
def test_no_window_shrinks_below_two_segments_in_a_recovery(algorithm):
    control = avoiding(algorithm, 2)
    control.recovery_begins(MSS, 1.0)
    assert control.cwnd == 2 * MSS


@BOTH
def test_a_timeout_starts_over_with_one_segment_and_remembers_half_the_way(algorithm):
    control = avoiding(algorithm, 20)
    control.timed_out(20 * MSS, 1.0)
    assert control.cwnd == MSS
    assert control.ssthresh == (10 if algorithm is NewReno else 14) * MSS


@BOTH
def test_after_silence_the_initial_window_is_the_limit(algorithm):
    control = avoiding(algorithm, 50)
    control.restart_after_idle()
    assert control.cwnd == 10 * MSS
    small = avoiding(algorithm, 4)
    small.restart_after_idle()
    assert small.cwnd == 4 * MSS


def test_cubic_is_back_at_its_old_window_after_k_seconds():
    # K = cubic root of (W_max * (1 - beta) / C) = cubic root of (100 * 0.3 / 0.4) = 4.2 s.
    control = avoiding(Cubic, 100)
    control.recovery_begins(100 * MSS, 0.0)
    windows = []
    for step in range(80):
        a_round_trip(control, step * 0.1)
        windows.append(control.cwnd / MSS)
    assert windows[0] == pytest.approx(70, abs=2)
    assert windows[20] == pytest.approx(96, abs=3), "fast at first"
    assert windows[41] == pytest.approx(100, abs=1.5), "slow around the old window"
    assert windows[79] == pytest.approx(0.4 * (8.0 - 4.217) ** 3 + 100, rel=0.03), "and faster beyond it"


def test_cubic_never_grows_slower_than_reno_would():
    # A short round trip and a small window: the Reno-friendly region (RFC 9438, section 4.3).
    control = avoiding(Cubic, 10)
    control.recovery_begins(10 * MSS, 0.0)
    before = control.cwnd
    for step in range(100):
        a_round_trip(control, step * 0.001, round_trip=0.001)
    assert control.cwnd - before > 40 * MSS  # 3 * 0.3 / 1.7 of a segment each round trip


def test_cubic_gives_way_to_a_new_flow_when_it_loses_below_its_old_window():
    control = avoiding(Cubic, 100)
    control.recovery_begins(100 * MSS, 0.0)
    control.recovery_begins(70 * MSS, 1.0)
    # Fast convergence: W_max is 70 * (1 + 0.7) / 2 = 59.5, less than the 70 that were lost at.
    assert control.cwnd == pytest.approx(49 * MSS, abs=2)
    # K = cubic root of ((59.5 - 49) / 0.4) = 3.0 s. The round trip is so long that Reno would be slower.
    for step in range(6):
        a_round_trip(control, 1.0 + step * 0.5, round_trip=0.5)
    assert control.cwnd / MSS == pytest.approx(59.5, abs=1)
