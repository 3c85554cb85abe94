"""A connection's deadlines: which runs when, and which comes first."""

import ast
from pathlib import Path

import pytest

import demuxlab.transport.tcp
from demuxlab.transport.tcp.deadlines import DELAYED_ACK, Deadline, Deadlines
from demuxlab.transport.tcp.rtt import RTTEstimator
from demuxlab.transport.timers import NEVER

SOURCE = Path(demuxlab.transport.tcp.__file__).parent
NAMES = frozenset(Deadlines.__slots__)


def test_a_fresh_connection_waits_for_nothing():
    deadlines = Deadlines()
    assert deadlines.earliest == NEVER
    assert deadlines.pop_due(1e9) is None


def test_the_retransmission_timer_runs_while_something_is_in_flight():
    deadlines, rtt = Deadlines(), RTTEstimator()
    deadlines.in_flight(10.0, rtt)
    assert deadlines.earliest == 11.0
    deadlines.in_flight(10.5, rtt)
    assert deadlines.earliest == 11.0, "more data in flight does not restart it (RFC 6298, section 5.1)"
    deadlines.acknowledged()
    deadlines.in_flight(10.7, rtt)
    assert deadlines.earliest == 11.7, "an acknowledgment does (section 5.3)"
    deadlines.nothing_in_flight(False, 10.9, rtt)
    assert deadlines.earliest == NEVER


def test_the_persist_timer_runs_while_nothing_is_in_flight_and_data_waits():
    deadlines, rtt = Deadlines(), RTTEstimator()
    deadlines.nothing_in_flight(True, 10.0, rtt)
    assert deadlines.persist == deadlines.earliest == 11.0
    deadlines.in_flight(10.5, rtt)
    assert (deadlines.persist, deadlines.retransmission) == (NEVER, 11.5)
    deadlines.nothing_in_flight(True, 10.6, rtt)
    assert (deadlines.persist, deadlines.retransmission) == (11.6, NEVER)
    deadlines.nothing_in_flight(False, 10.7, rtt)
    assert deadlines.earliest == NEVER


def test_what_is_due_comes_once_the_most_important_first():
    deadlines, rtt = Deadlines(), RTTEstimator()
    deadlines.set_keepalive(1.0)
    deadlines.set_end(3.0)
    deadlines.in_flight(1.0, rtt)
    assert deadlines.pop_due(0.9) is None
    assert [deadlines.pop_due(5.0) for _ in range(4)] == [
        Deadline.END,
        Deadline.RETRANSMISSION,
        Deadline.KEEPALIVE,
        None,
    ]
    deadlines.nothing_in_flight(True, 5.0, rtt)
    assert deadlines.pop_due(6.0) is Deadline.PERSIST
    assert deadlines.earliest == NEVER


def test_a_delayed_ack_is_not_put_off_by_more_data():
    deadlines = Deadlines()
    deadlines.delay_acknowledgment(1.0)
    deadlines.delay_acknowledgment(1.02)
    assert deadlines.earliest == 1.0 + DELAYED_ACK
    assert deadlines.pop_due(2.0) is None, "it leaves with the ACK, not with its deadline"
    deadlines.acknowledgment_sent()
    assert deadlines.earliest == NEVER


def test_while_rack_waits_for_what_is_late_the_retransmission_timer_begins_anew():
    deadlines, rtt = Deadlines(), RTTEstimator()
    deadlines.in_flight(1.0, rtt)
    deadlines.look_for_losses(NEVER)
    assert deadlines.retransmission == 1.0 + rtt.rto
    deadlines.look_for_losses(1.9)
    deadlines.in_flight(1.8, rtt)
    assert (deadlines.loss_detection, deadlines.retransmission) == (1.9, 1.8 + rtt.rto)


def test_the_user_timeout_runs_from_the_first_segment_that_stalled():
    deadlines = Deadlines()
    assert deadlines.stalled_for(9.0) == 0.0
    deadlines.stalled(2.0)
    deadlines.stalled(5.0)
    assert deadlines.stalled_for(9.0) == 7.0
    deadlines.acknowledged()
    assert deadlines.stalled_for(9.0) == 0.0


def test_nothing_is_due_once_the_connection_is_over():
    deadlines, rtt = Deadlines(), RTTEstimator()
    deadlines.in_flight(1.0, rtt)
    deadlines.delay_acknowledgment(1.0)
    deadlines.set_keepalive(2.0)
    deadlines.set_end(3.0)
    deadlines.clear()
    assert deadlines.earliest == NEVER


@pytest.mark.parametrize("file", sorted(SOURCE.glob("*.py")), ids=lambda file: file.stem)
def test_nothing_else_assigns_a_deadline(file):
    if file.stem == "deadlines":
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            of_deadlines = ast.unparse(node.value).endswith("deadlines")
            assert not (of_deadlines and node.attr in NAMES), f"{file.name}:{node.lineno}"
