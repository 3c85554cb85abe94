"""Loss recovery: the sending half alone, in segments of 1000 bytes, numbers counted in segments."""

import pytest

from demuxlab.transport.tcp import phases
from demuxlab.transport.tcp.buffers import fixed
from demuxlab.transport.tcp.congestion import NewReno
from demuxlab.transport.tcp.loss_recovery import Acknowledgment, LossRecovery, Phase
from demuxlab.transport.tcp.prr import ProportionalRateReduction
from demuxlab.transport.tcp.rack import Rack
from demuxlab.transport.tcp.retransmission_queue import EMPTY, RetransmissionQueue, SentSegment
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.timers import NEVER
from demuxlab.wire.segment import FIN, SYN

MSS = 1000
RTT = 0.1


class Flow:
    """An established connection's sender with `count` segments in flight, and more to send."""

    def __init__(self, count=10, sack=True, more=100, cwnd=None, settle=True):
        self.now = 10.0
        settings = Settings(send_limits=fixed(1 << 20), nodelay=True, congestion=NewReno)
        self.sender = sender = Sender(-1, settings)
        sender.mss, sender.recovery.sack = MSS, sack
        sender.window = sender.max_window = 1 << 20
        sender.send_syn(self.now - RTT)
        sender.acknowledge(0, self.now, None)
        sender.buffer.write(bytes((count + more) * MSS))
        sender.congestion.cwnd = (cwnd or count) * MSS
        assert self.send() == list(range(count))

    @property
    def recovery(self):
        return self.sender.recovery

    @property
    def phase(self):
        return self.recovery.phase

    @property
    def pipe(self):
        return self.recovery.queue.pipe / MSS

    @property
    def cwnd(self):
        return self.sender.congestion.cwnd / MSS

    @property
    def lost(self):
        return [segment.start // MSS for segment in self.recovery.queue if segment.lost]

    def send(self):
        """Send all that may be sent; return the numbers of the segments."""
        sent, following = [], self.sender.next
        while (segment := self.sender.next_segment(self.now)) is not None:
            sent.append(segment.start // MSS)
        self.sender.all_sent(self.now, new=self.sender.next > following)
        return sent

    def ack(self, number=None, *blocks, after=0.0, echo=None, cut=""):
        """An ACK arrives; return what is sent then. `echo`: when the segment was sent that it is for."""
        self.now += after
        sender = self.sender
        if cut:
            sender.offload_size, sender.link_cuts = 1 << 16, cut == "by the link"
        number = sender.unacked if number is None else round(number * MSS)
        ack = Acknowledgment(number, self.now, None if echo is None else self.now - echo)
        ack.duplicate = number == sender.unacked
        sender.process(ack, [(round(left * MSS), round(right * MSS)) for left, right in blocks])
        self.wait = phases.respond(sender, ack)
        return self.send()

    def timeout(self, after=1.0, frto=True):
        self.now += after
        phases.timed_out(self.sender, self.now, frto=frto)
        self.sender.timeouts += 1
        return self.send()


# With SACK: RACK (RFC 8985), PRR (RFC 9937)


def test_three_later_arrivals_make_a_loss_and_two_do_not():
    flow = Flow()
    assert flow.ack(None, (1, 3), after=RTT) == [10, 11]
    assert (flow.phase, flow.lost) == (Phase.DISORDER, [])
    assert flow.ack(None, (3, 4)) == [0]
    assert flow.phase is Phase.RECOVERY


def test_the_pipe_is_what_is_neither_lost_nor_arrived():
    flow = Flow(6, more=0)
    assert flow.ack(None, (2, 5), after=RTT) == [0, 1]
    assert (flow.lost, flow.pipe) == ([], 3)


def test_a_recovery_shrinks_the_window_once_and_ends_with_all_that_was_sent_before_it():
    flow = Flow(20)
    flow.ack(None, (1, 5), after=RTT)
    assert flow.sender.congestion.ssthresh == 10 * MSS
    flow.ack(None, (1, 5), (6, 20))
    assert flow.sender.congestion.ssthresh == 10 * MSS, "segment 5 belongs to the same recovery"
    flow.ack(5, (6, 20), after=RTT)
    assert flow.phase is Phase.RECOVERY
    flow.ack(flow.sender.next / MSS, after=RTT)
    assert (flow.phase, flow.recovery.episode) == (Phase.OPEN, None)
    assert flow.cwnd in (10, 11), "ssthresh, and perhaps the first growth"


def test_the_window_shrinks_in_proportion_to_what_arrives():
    flow = Flow(20)
    sent = [number for last in range(2, 21) for number in flow.ack(None, (1, last))]
    # Limited transmit twice, then the retransmission, and about one segment for two that arrive.
    assert sent[:3] == [20, 21, 0]
    assert len(sent) - 2 == pytest.approx(9, abs=1)


@pytest.mark.parametrize(
    ("pipe", "delivered", "safe", "allowed"),
    [(19, 1, False, 1), (15, 4, False, 2), (4, 2, True, 6), (4, 2, False, 5), (9, 5, True, 1)],
)
def test_proportional_rate_reduction(pipe, delivered, safe, allowed):
    prr = ProportionalRateReduction(10 * MSS, 20 * MSS)
    assert prr.cwnd(pipe * MSS, delivered * MSS, safe, MSS) <= (pipe + max(allowed, 1)) * MSS


def test_what_arrives_late_was_reordered_and_from_then_on_time_decides():
    flow = Flow(10)
    flow.ack(None, (1, 3), after=RTT)
    flow.ack(3, after=0.001)
    assert flow.recovery.rack.reordered
    assert flow.phase is Phase.OPEN
    # Many later arrivals, but within a quarter of the round trip.
    assert 3 not in flow.ack(None, (4, 10), after=0.002)
    assert flow.phase is Phase.DISORDER
    assert flow.wait == pytest.approx(RTT / 4 + 0.002)
    flow.now += flow.wait
    assert phases.look_for_losses(flow.sender, flow.now) == 0
    assert flow.phase is Phase.RECOVERY
    assert flow.send()[0] == 3


def test_a_lost_retransmission_is_found_by_what_was_sent_after_it():
    flow = Flow(10)
    assert 0 in flow.ack(None, (1, 10), after=RTT)
    sent_after = flow.sender.next // MSS - 1
    assert flow.ack(None, (1, sent_after + 1), after=RTT)[0] == 0
    assert flow.sender.retransmissions == 2


def test_duplicates_make_rack_more_patient_for_some_recoveries():
    rack = Rack()
    rack.reordered = True
    assert rack.window(0.1, 1.0, True) == pytest.approx(0.025)
    rack.duplicated(0, 1000)
    rack.duplicated(500, 2000)
    assert rack.window(0.1, 1.0, True) == pytest.approx(0.05), "once in a round trip"
    assert rack.window(0.1, 0.03, True) == pytest.approx(0.03), "never more than SRTT"
    for _ in range(16):
        rack.recovered()
    assert rack.window(0.1, 1.0, True) == pytest.approx(0.025)


@pytest.mark.parametrize("block", [(-3, -1), (2, 2), (3, 2), (4, 19)])
def test_a_block_outside_of_what_is_in_flight_is_ignored(block):
    flow = Flow(5, more=0)
    flow.ack(None, block)
    assert (flow.pipe, flow.phase) == (5, Phase.OPEN)


@pytest.mark.parametrize(
    ("cut", "pieces"), [("by the link", [(3, 7)]), ("by the host", [(3, 4), (4, 5), (5, 6), (6, 7)])]
)
def test_a_block_that_ends_within_a_large_segment_cuts_it(cut, pieces):
    flow = Flow(1, more=0)
    flow.recovery.queue.append(SentSegment(1000, 9000, 0, flow.now))
    flow.sender.next = 9000
    flow.ack(None, (3, 7), cut=cut)
    assert [(s.start // MSS, s.end // MSS) for s in flow.recovery.queue if s.sacked] == pieces


# Tail loss probe (RFC 8985, section 7)


def test_a_probe_repairs_a_lost_tail_and_the_window_shrinks():
    flow = Flow(4, more=0)
    flow.ack(3, after=RTT)
    assert flow.sender.probe_segment(flow.now).start == 3 * MSS
    assert flow.sender.probe_timeout == NEVER
    flow.sender.buffer.write(bytes(MSS))
    assert flow.send() == [4]
    before = flow.cwnd
    flow.ack(5, after=RTT)
    assert flow.cwnd < before
    assert flow.recovery.probe is None


def test_a_probe_that_arrives_as_a_duplicate_costs_nothing():
    flow = Flow(4, more=0)
    flow.ack(3, after=RTT)
    flow.sender.probe_segment(flow.now)
    before = flow.cwnd
    flow.ack(4, (3, 4), after=RTT)
    assert (flow.cwnd >= before, flow.recovery.probe) == (True, None)


def test_a_probe_is_new_data_where_there_is_some():
    flow = Flow(4)
    assert flow.sender.probe_segment(flow.now).start == 4 * MSS
    assert flow.recovery.probe == (5 * MSS, False)


# Without SACK (RFC 6582)


def test_the_third_duplicate_makes_a_loss_and_each_counts_as_one_arrival():
    flow = Flow(10, sack=False)
    assert [flow.ack() for _ in range(2)] == [[10], [11]], "limited transmit (RFC 3042)"
    assert flow.ack() == [0]
    assert flow.phase is Phase.RECOVERY
    assert flow.pipe == 12 - 3


def test_more_duplicates_than_segments_mean_that_all_in_flight_may_be_reordered():
    flow = Flow(1, sack=False, cwnd=10, more=0)
    flow.ack()
    assert (flow.recovery.dup_thresh, flow.phase) == (1, Phase.OPEN)
    flow.sender.buffer.write(bytes(5 * MSS))
    flow.send()
    assert flow.ack() == [0]


def test_a_partial_acknowledgment_shows_the_next_hole():
    flow = Flow(6, sack=False, more=0)
    for _ in range(5):
        flow.ack()
    assert flow.ack(3) == [3]
    assert flow.phase is Phase.RECOVERY


def test_an_acknowledgment_within_what_was_sent_again_shows_no_hole():
    flow = Flow(4, sack=False, more=0)
    for _ in range(3):
        flow.ack()
    assert flow.ack(0.4) == []
    assert flow.lost == []


def test_a_recovery_lasts_until_something_beyond_it_is_acknowledged():
    flow = Flow(10, sack=False)
    sent = [number for _ in range(10) for number in flow.ack()]
    assert max(sent) * MSS >= flow.recovery.episode.point
    point = flow.recovery.episode.point / MSS
    flow.ack(point, after=RTT)
    assert flow.phase is Phase.RECOVERY, "duplicates may still be of the old loss"
    flow.ack(point + 1, after=RTT)
    assert flow.phase is Phase.OPEN


# The timeout


def test_after_a_timeout_only_what_has_not_arrived_is_sent_again():
    flow = Flow(10, more=0)
    flow.ack(None, (2, 4), after=RTT)
    assert flow.timeout() == [0]
    assert (flow.phase, flow.cwnd) == (Phase.LOSS, 1)
    again = [0]
    for number in 1, 4, 5, 6:
        again += flow.ack(number, after=RTT)
    assert sorted(again) == [0, 1, 4, 5, 6, 7, 8, 9]


def test_a_peer_that_drops_what_it_reported_gets_all_again():
    flow = Flow(4, more=0)
    flow.ack(None, (1, 3), after=RTT)
    flow.sender.acknowledge(1 * MSS, flow.now, None)
    assert flow.recovery.queue.first.sacked
    flow.timeout()
    assert not any(segment.sacked for segment in flow.recovery.queue)


def test_a_second_timeout_shrinks_the_window_no_further():
    flow = Flow(20, more=0)
    flow.timeout()
    flow.timeout()
    assert flow.sender.congestion.ssthresh == 10 * MSS


def test_a_segment_too_large_after_a_timeout_is_sent_in_parts():
    flow = Flow(1, more=0)
    flow.recovery.queue.append(SentSegment(1000, 9000, 0, flow.now))
    flow.sender.next = 9000
    flow.sender.acknowledge(1000, flow.now, None)
    assert flow.timeout() == [1]
    assert [len(segment) for segment in flow.recovery.queue] == [1000, 7000]


# Undo (RFC 4015), F-RTO (RFC 5682)


def test_an_ack_of_the_original_undoes_a_timeout():
    flow = Flow(10)
    sent_at = flow.now
    flow.timeout(1.0)
    flow.ack(1, after=0.01, echo=sent_at)
    assert (flow.phase, flow.lost) == (Phase.OPEN, [])
    assert flow.cwnd >= 10
    assert flow.sender.congestion.ssthresh > 1000 * MSS


def test_an_ack_of_the_retransmission_does_not():
    flow = Flow(10)
    flow.timeout(1.0)
    sent_at = flow.now
    flow.ack(1, after=RTT, echo=sent_at)
    assert flow.phase is Phase.LOSS


def test_f_rto_sends_new_data_and_learns_from_what_follows():
    flow = Flow(10)
    flow.timeout()
    assert flow.ack(1, after=0.01) == [10, 11], "new data, not what is taken for lost"
    flow.ack(2, after=0.01)
    assert (flow.phase, flow.lost) == (Phase.OPEN, []), "segment 1 was never sent again"


def test_what_an_undone_timeout_sent_again_is_still_under_way_when_the_original_is_lost():
    queue = RetransmissionQueue(MSS)
    segment = SentSegment(0, MSS, 0, 1.0)
    queue.append(segment)
    queue.mark_lost(segment)
    queue.mark_retransmitted(segment, 2.0)
    queue.clear_lost()
    assert (queue.pipe, queue.doubled) == (2 * MSS, 1)
    queue.mark_lost(segment)
    assert (segment.lost, queue.pipe, queue.doubled) == (False, MSS, 0)
    queue.mark_lost(segment)
    assert (segment.lost, queue.pipe) == (True, 0)


def test_f_rto_sees_a_real_loss_by_a_duplicate():
    flow = Flow(10)
    flow.timeout()
    flow.ack(1, after=RTT)
    assert flow.ack(None, (10, 11), after=RTT)[0] == 1
    assert flow.phase is Phase.LOSS


def test_dsack_for_each_retransmission_undoes_a_recovery():
    flow = Flow(10)
    flow.ack(None, (1, 4), after=RTT)
    assert flow.phase is Phase.RECOVERY
    flow.ack(4, after=0.001)
    assert flow.phase is Phase.RECOVERY
    flow.ack(5, (0, 1), after=RTT)
    assert flow.phase is Phase.OPEN
    assert flow.sender.congestion.ssthresh > 1000 * MSS


# The queue


def test_what_is_acknowledged_as_a_whole_leaves():
    flow = Flow(4, more=0)
    flow.sender.acknowledge(3 * MSS, flow.now, None)
    assert (len(flow.recovery.queue), flow.pipe) == (1, 1)
    assert flow.recovery.acknowledged(3 * MSS + 1) == []
    assert flow.recovery.queue.first.start == 3 * MSS + 1
    assert flow.recovery.queue.pipe == MSS, "the window counts whole segments"


def test_the_first_lost_is_found_in_the_order_of_numbers():
    queue = RetransmissionQueue()
    for number in range(5):
        queue.append(SentSegment(number, number + 1, 0, 0.0))
    third, first = [segment for segment in queue if segment.start in (1, 3)][::-1]
    queue.mark_lost(third)
    queue.mark_lost(first)
    assert queue.first_lost is first
    queue.mark_retransmitted(first, 1.0)
    assert queue.first_lost is third
    queue.acknowledge(5)
    assert queue.first_lost is None


def test_by_time_follows_what_is_sent_again():
    queue = RetransmissionQueue()
    for number in range(3):
        queue.append(SentSegment(number, number + 1, 0, float(number)))
    assert [segment.start for segment in queue.by_time()] == [0, 1, 2]
    queue.mark_lost(queue.first)
    queue.mark_retransmitted(queue.first, 5.0)
    assert [segment.start for segment in queue.by_time()] == [1, 2, 0]


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
    flow = Flow(1, more=0)
    flow.ack(1, after=RTT)
    assert flow.recovery.queue is EMPTY
    assert len(EMPTY) == 0


def test_what_left_later_in_one_moment_is_not_lost_by_what_left_before():
    # New data, then a lower number again, both at one time of the clock: the ACK of the first says nothing.
    recovery = LossRecovery()
    old, new = SentSegment(0, 100, 0, 1.0), SentSegment(100, 200, 0, 2.0)
    recovery.sent(old, 100)
    recovery.sent(new, 100)
    recovery.retransmitted(old, 2.0)
    rack = Rack()
    rack.arrived(new, 3.0, 1.0)
    assert rack.find_lost(recovery.queue, 0.0, 3.0) == ([], 0.0)
