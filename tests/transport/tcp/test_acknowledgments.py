"""When an ACK is owed: at once, delayed, or not at all."""

from demuxlab.transport.tcp.acknowledgments import QUICK_ACKS, Acknowledgments

TWO_SEGMENTS = 2000


def test_the_first_segments_are_acknowledged_at_once():
    acknowledgments = Acknowledgments()
    for number in range(QUICK_ACKS):
        assert not acknowledgments.data_received(1, TWO_SEGMENTS, quickack=True)
        assert acknowledgments.wanted
        acknowledgments.sent(number)
    assert acknowledgments.data_received(1, TWO_SEGMENTS, quickack=True)
    assert not acknowledgments.wanted


def test_every_second_full_segment_is_acknowledged_at_once():
    acknowledgments = Acknowledgments()
    for number in range(3):
        assert acknowledgments.data_received(1000, TWO_SEGMENTS, quickack=False)
        assert not acknowledgments.data_received(1000, TWO_SEGMENTS, quickack=False)
        acknowledgments.sent(number)
        assert (acknowledgments.wanted, acknowledgments.last_sent) == (False, number)


def test_challenges_are_ten_in_a_second():
    acknowledgments = Acknowledgments()
    assert [acknowledgments.challenge(5.0 + number / 100, limited=True) for number in range(12)] == (
        [True] * 10 + [False] * 2
    )
    assert acknowledgments.challenge(6.0, limited=True)


def test_without_a_limit_every_challenge_is_answered():
    acknowledgments = Acknowledgments()
    assert all(acknowledgments.challenge(5.0, limited=False) for _ in range(100))
