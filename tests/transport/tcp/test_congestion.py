"""How the congestion window grows and shrinks: RFC 5681, RFC 9438."""

import pytest

from demuxlab.transport.tcp.congestion import ALGORITHMS, INFINITE, Cubic, NewReno
from demuxlab.transport.tcp.rtt import RTTEstimator
from demuxlab.transport.tcp.undo import Undo
from demuxlab.transport.tcp.window_use import WindowUse

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
    control.measured(round_trip, 0, 0)
    for _ in range(before // MSS):
        control.acknowledged(MSS, now)
    return control.cwnd - before


def test_they_are_found_by_the_names_of_linux():
    assert {name: kind.name for name, kind in ALGORITHMS.items()} == {"cubic": "cubic", "reno": "reno"}


@BOTH
def test_slow_start_doubles_a_window_of_ten_segments_in_a_round_trip(algorithm):
    control = algorithm(MSS)
    assert control.cwnd == 10 * MSS
    assert a_round_trip(control, 1.0) == 10 * MSS


@BOTH
def test_slow_start_grows_by_all_that_an_acknowledgment_covers_up_to_ssthresh(algorithm):
    control = algorithm(MSS)
    control.acknowledged(5 * MSS, 1.0)
    assert control.cwnd == 15 * MSS
    control.ssthresh = 18 * MSS
    control.acknowledged(5 * MSS, 1.0)
    assert 18 * MSS <= control.cwnd < 19 * MSS


def test_reno_grows_by_one_segment_in_a_round_trip():
    control = avoiding(NewReno, 20)
    assert [a_round_trip(control, now) for now in (1.0, 1.1, 1.2)] == [MSS, MSS, MSS]


def test_reno_carries_over_what_is_left_of_a_window():
    control = avoiding(NewReno, 10)
    control.acknowledged(15 * MSS, 1.0)
    assert control.cwnd == 11 * MSS
    control.acknowledged(6 * MSS, 1.0)
    assert control.cwnd == 12 * MSS


def test_reno_halves_the_window_though_less_is_in_flight():
    control = avoiding(NewReno, 20)
    control.recovery_begins()
    assert control.cwnd == control.ssthresh == 10 * MSS


def test_cubic_shrinks_to_seven_tenths():
    control = avoiding(Cubic, 20)
    control.recovery_begins()
    assert control.cwnd == control.ssthresh == 14 * MSS


@BOTH
def test_no_window_shrinks_below_two_segments_in_a_recovery(algorithm):
    control = avoiding(algorithm, 2)
    control.recovery_begins()
    assert control.cwnd == 2 * MSS


@BOTH
def test_a_timeout_starts_over_with_one_segment_and_remembers_half_the_way(algorithm):
    control = avoiding(algorithm, 20)
    control.timed_out()
    assert control.cwnd == MSS
    assert control.ssthresh == (10 if algorithm is NewReno else 14) * MSS


@BOTH
def test_silence_halves_the_window_each_timeout_down_to_the_initial_one(algorithm):
    control = avoiding(algorithm, 80)
    control.idled(0.1, 0.2)
    assert control.cwnd == 80 * MSS
    control.idled(0.5, 0.2)
    assert (control.cwnd, control.ssthresh) == (20 * MSS, 80 * MSS)
    control.idled(9.0, 0.2)
    assert control.cwnd == 10 * MSS
    small = avoiding(algorithm, 4)
    small.idled(9.0, 0.2)
    assert small.cwnd == 4 * MSS


def windows(control, start, rounds=10):
    found = []
    for step in range(rounds):
        a_round_trip(control, start + step * 0.1)
        found.append(control.cwnd / MSS)
    return found


def test_cubic_does_not_grow_by_the_time_of_silence():
    steady, idle = avoiding(Cubic, 100), avoiding(Cubic, 100)
    for control in steady, idle:
        control.recovery_begins()
        windows(control, 0.0)
    idle.resumed(20.0, 21.0)
    assert windows(idle, 21.0) == pytest.approx(windows(steady, 1.0))


def test_silence_from_before_the_cubic_began_does_not_delay_it():
    control = avoiding(Cubic, 10)
    control.recovery_begins()
    control.acknowledged(6 * MSS, 1.0)
    control.resumed(0.016, 1.01)
    control.acknowledged(7 * MSS, 1.01)
    assert control.cwnd == 8 * MSS


def test_nor_by_the_time_in_which_the_application_sent_less():
    steady, limited = avoiding(Cubic, 100), avoiding(Cubic, 100)
    for control in steady, limited:
        control.recovery_begins()
        windows(control, 0.0)
    for step in range(200):
        limited.limited_by_application(1.0 + step * 0.1)
    assert windows(limited, 21.0)[-1] == pytest.approx(windows(steady, 1.0)[-1], rel=0.02)


def test_cubic_carries_over_growth_below_a_segment():
    control = avoiding(Cubic, 1000)
    control.recovery_begins()
    before = control.cwnd
    for _ in range(3000):
        control.acknowledged(MSS, 3.0)
    assert control.cwnd > before


# HyStart++ (RFC 9406)


def rounds_of(control, *round_trips, start=0):
    """Acknowledge a window in each round, with that round trip; return the windows in segments."""
    found, number = [], start
    for round_trip in round_trips:
        following = number + control.cwnd
        for _ in range(control.cwnd // MSS):
            number += MSS
            control.measured(round_trip, number, following)
            if control.cwnd < control.ssthresh:
                control.acknowledged(MSS, 1.0)
        number = following
        found.append(control.cwnd // MSS)
    return found


def test_slow_start_is_conservative_once_the_round_trip_grows_and_ends_after_five_rounds():
    control = Cubic(MSS)
    assert rounds_of(control, 0.1, 0.1) == [20, 40]
    grown = rounds_of(control, *[0.12] * 7, start=100 * MSS)
    assert grown[1] < 80 * 1.3
    assert control.ssthresh < INFINITE
    assert control.ssthresh == pytest.approx(control.cwnd, rel=0.05)


def test_slow_start_goes_on_when_the_round_trip_falls_again():
    control = Cubic(MSS)
    rounds_of(control, 0.1, 0.1, 0.12)
    before = control.cwnd
    assert rounds_of(control, 0.1, 0.1, start=1000 * MSS)[-1] * MSS > 2 * before
    assert control.ssthresh == INFINITE


def test_a_steady_round_trip_never_ends_slow_start():
    control = Cubic(MSS)
    assert rounds_of(control, *[0.1] * 6) == [20, 40, 80, 160, 320, 640]


def test_slow_start_that_an_undo_continues_ends_when_the_round_trip_grows_as_well():
    control = Cubic(MSS)
    undo = Undo(control, 0)
    control.recovery_begins()
    undo.restore(control)
    assert control.ssthresh == INFINITE
    rounds_of(control, 0.1, 0.1, *[0.12] * 7)
    assert control.ssthresh < INFINITE


def test_a_timeout_within_a_recovery_forgets_the_old_window():
    control = avoiding(Cubic, 10)
    control.recovery_begins()
    control.forget()
    control.acknowledged(7 * MSS, 1.0)
    assert control.cwnd == 7 * MSS


# Congestion window validation (RFC 2861, RFC 7661)


def test_a_window_that_is_not_in_use_does_not_grow_and_falls_half_way_to_what_is():
    control, use = avoiding(NewReno, 100), WindowUse(0.0)
    assert use.sent(control, 0, 20 * MSS, 20 * MSS, 0.1)
    assert not use.is_full(control)
    assert not use.is_due(0.1, RTTEstimator())
    rtt = RTTEstimator()
    rtt.sample(0.01)
    assert not use.is_due(0.2, rtt)
    assert use.is_due(0.22, rtt)
    use.validate(control, 0.22, True)
    assert control.cwnd == 60 * MSS
    use.validate(control, 0.5, False)
    assert control.cwnd == 60 * MSS


def test_in_slow_start_half_of_the_window_in_flight_is_enough():
    control, use = NewReno(MSS), WindowUse(0.0)
    use.sent(control, 0, 5 * MSS, 5 * MSS, 0.0)
    assert not use.is_full(control)
    use.sent(control, 0, 6 * MSS, 6 * MSS, 0.0)
    assert use.is_full(control)


def test_cubic_is_back_at_its_old_window_after_k_seconds():
    # K = cubic root of (W_max * (1 - beta) / C) = cubic root of (100 * 0.3 / 0.4) = 4.2 s.
    control = avoiding(Cubic, 100)
    control.recovery_begins()
    windows = []
    for step in range(80):
        a_round_trip(control, step * 0.1)
        windows.append(control.cwnd / MSS)
    assert windows[0] == pytest.approx(70, abs=2)
    assert windows[20] == pytest.approx(96, abs=3), "fast at first"
    assert windows[41] == pytest.approx(100, abs=1.5), "slow around the old window"
    assert windows[79] == pytest.approx(0.4 * (8.0 - 4.217) ** 3 + 100, rel=0.03), "and faster beyond it"


def test_cubic_never_grows_slower_than_reno_would():
    # A small window: the Reno-friendly region (RFC 9438, section 4.3). On a path shorter than 1/32 s growth
    # is computed less often than once a round trip.
    control = avoiding(Cubic, 10)
    control.recovery_begins()
    before = control.cwnd
    for step in range(100):
        a_round_trip(control, step * 0.04, round_trip=0.04)
    assert control.cwnd - before > 40 * MSS  # 3 * 0.3 / 1.7 of a segment each round trip


def test_cubic_gives_way_to_a_new_flow_when_it_loses_below_its_old_window():
    control = avoiding(Cubic, 100)
    control.recovery_begins()
    control.recovery_begins()
    # Fast convergence: W_max is 70 * (1 + 0.7) / 2 = 59.5, less than the 70 that were lost at.
    assert control.cwnd == pytest.approx(49 * MSS, abs=2)
    # K = cubic root of ((59.5 - 49) / 0.4) = 3.0 s. The round trip is so long that Reno would be slower.
    for step in range(6):
        a_round_trip(control, 1.0 + step * 0.5, round_trip=0.5)
    assert control.cwnd / MSS == pytest.approx(59.5, abs=1)
