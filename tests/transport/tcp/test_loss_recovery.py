"""What acknowledgments say about losses: the queue and the recovery alone, segments of 1000 bytes."""

import pytest

from demuxlab.transport.tcp.loss_recovery import LossRecovery
from demuxlab.transport.tcp.retransmission_queue import EMPTY, RetransmissionQueue, SentSegment
from demuxlab.wire.segment import FIN, SYN

MSS = 1000


class Flow:
    """Segments 0 to `count` are in flight; numbers are in segments."""

    def __init__(self, count, sack=True):
        self.recovery = LossRecovery()
        self.recovery.sack = sack
        self.count = count
        for number in range(count):
            self.recovery.sent(SentSegment(number * MSS, (number + 1) * MSS, 0, 0.0))

    @property
    def pipe(self):
        return self.recovery.queue.pipe / MSS

    @property
    def lost(self):
        return [segment.start // MSS for segment in self.recovery.queue if segment.lost]

    def acknowledge(self, number):
        return self.recovery.acknowledged(number * MSS)

    def sack(self, *blocks, cut=False):
        numbers = [(round(left * MSS), round(right * MSS)) for left, right in blocks]
        first = self.recovery.queue.first
        return self.recovery.sacked(numbers, first.start if first else 0, self.count * MSS, cut)

    def detect(self):
        return self.recovery.detect(MSS, self.count * MSS)

    def duplicates(self, count):
        for _ in range(count):
            self.recovery.duplicate()

    def retransmit(self):
        segment = self.recovery.next_lost()
        self.recovery.queue.mark_retransmitted(segment, 1.0)
        return segment.start // MSS


# With SACK (RFC 6675)


def test_three_later_arrivals_make_a_loss_and_two_do_not():
    flow = Flow(5)
    assert flow.sack((1, 3))
    assert (flow.detect(), flow.lost) == (False, [])
    assert flow.sack((3, 4))
    assert (flow.detect(), flow.lost) == (True, [0])
    assert flow.recovery.recovery_point == 5 * MSS
    assert flow.recovery.fast


def test_the_pipe_is_what_is_neither_lost_nor_arrived():
    flow = Flow(6)
    assert flow.pipe == 6
    flow.sack((2, 5))
    flow.detect()
    assert flow.lost == [0, 1]
    assert flow.pipe == 1
    assert flow.retransmit() == 0
    assert flow.pipe == 2


def test_a_recovery_begins_once_and_ends_with_all_that_was_sent_before_it():
    flow = Flow(8)
    flow.sack((1, 4))
    assert flow.detect()
    flow.sack((5, 8))
    assert not flow.detect(), "more losses belong to the same recovery"
    assert flow.lost == [0, 4]
    flow.retransmit()
    flow.acknowledge(4)
    assert flow.recovery.recovery_point == 8 * MSS
    assert flow.retransmit() == 4
    flow.acknowledge(8)
    assert flow.recovery.recovery_point is None
    assert flow.recovery.queue is EMPTY


def test_the_same_block_again_says_nothing_new():
    flow = Flow(5)
    assert flow.sack((1, 2))
    assert not flow.sack((1, 2))


@pytest.mark.parametrize("block", [(-3, -1), (-1, 0), (2, 2), (3, 2), (4, 9)])
def test_a_block_outside_of_what_is_in_flight_is_ignored(block):
    flow = Flow(5)
    assert not flow.sack(block)
    assert flow.pipe == 5


def test_a_block_that_ends_within_a_large_segment_cuts_it():
    flow = Flow(0)
    flow.recovery.sent(SentSegment(0, 8 * MSS, 0, 0.0))
    flow.count = 8
    assert flow.sack((2, 6), cut=True)
    assert [(s.start, s.end, s.sacked) for s in flow.recovery.queue] == [
        (0, 2000, False),
        (2000, 6000, True),
        (6000, 8000, False),
    ]
    assert flow.detect()
    assert flow.lost == [0]


def test_what_was_sent_again_is_not_found_lost_by_the_same_arrivals():
    flow = Flow(6)
    flow.sack((1, 4))
    flow.detect()
    flow.retransmit()
    flow.sack((4, 6))
    assert (flow.detect(), flow.lost) == (False, [])


# Without (RFC 5681, RFC 6582)


def test_the_third_duplicate_makes_a_loss():
    flow = Flow(5, sack=False)
    flow.duplicates(2)
    assert not flow.detect()
    flow.duplicates(1)
    assert flow.detect()
    assert flow.lost == [0]


def test_each_duplicate_counts_as_one_arrival():
    flow = Flow(5, sack=False)
    flow.duplicates(3)
    assert flow.pipe == 2


def test_a_partial_acknowledgment_shows_the_next_hole():
    flow = Flow(6, sack=False)
    flow.duplicates(5)
    flow.detect()
    flow.retransmit()
    flow.acknowledge(3)
    assert flow.lost == [3]
    assert flow.pipe == 2, "which segments the duplicates stood for is unknown: 4 and 5 may be under way"
    assert flow.recovery.partial_hole
    assert flow.recovery.duplicates == 0
    flow.acknowledge(6)
    assert not flow.recovery.partial_hole


def test_an_acknowledgment_within_what_was_sent_again_shows_no_hole():
    flow = Flow(3, sack=False)
    flow.duplicates(3)
    flow.detect()
    flow.retransmit()
    flow.recovery.acknowledged(400)
    assert flow.lost == []


# The timeout


def test_after_a_timeout_all_is_sent_again_in_order_whatever_sack_said():
    flow = Flow(3)
    flow.sack((1, 2))
    flow.recovery.lose_all(3 * MSS)
    assert (flow.lost, flow.pipe) == ([0, 1, 2], 0)
    assert not flow.recovery.fast
    assert [flow.retransmit() for _ in range(3)] == [0, 1, 2]
    assert flow.recovery.next_lost() is None


def test_a_timeout_with_nothing_in_flight_begins_no_recovery():
    recovery = LossRecovery()
    recovery.lose_all(0)
    assert recovery.recovery_point is None


# The queue


def test_what_is_acknowledged_as_a_whole_leaves_and_the_newest_is_returned():
    flow = Flow(4)
    assert flow.acknowledge(3).start == 2 * MSS
    assert (len(flow.recovery.queue), flow.pipe) == (1, 1)
    assert flow.recovery.acknowledged(3 * MSS + 1) is None, "a part of a segment measures no round trip"
    assert flow.recovery.queue.first.start == 3 * MSS + 1
    assert flow.recovery.queue.pipe == 999


def test_segments_too_large_for_the_path_are_cut_and_only_the_ends_keep_syn_and_fin():
    queue = RetransmissionQueue()
    queue.append(SentSegment(0, 2500, SYN | FIN, 0.0))
    queue.cut(1000)
    assert [(s.start, s.end, s.flags) for s in queue] == [
        (0, 1000, SYN),
        (1000, 2000, 0),
        (2000, 2500, FIN),
    ]


def test_a_syn_is_sent_once_its_data_may_be_sent_again():
    queue = RetransmissionQueue()
    queue.append(SentSegment(0, 5, SYN, 0.0))
    queue.acknowledge(1)
    assert (queue.first.start, queue.first.flags) == (1, 0)


def test_an_empty_queue_is_shared_and_stays_empty():
    one, other = LossRecovery(), LossRecovery()
    assert one.queue is other.queue is EMPTY
    one.sent(SentSegment(0, 1, SYN, 0.0))
    assert (len(one.queue), len(other.queue)) == (1, 0)
    one.acknowledged(1)
    assert one.queue is EMPTY
