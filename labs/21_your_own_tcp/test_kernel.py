"""Lets the Linux kernel talk to exercise.py: without points, for it needs root, a TUN and real time."""

import pytest

from demuxlab.grading.checks import drawing
from demuxlab.grading.judge import stand_in
from demuxlab.grading.submission import Submission


@pytest.mark.kernel
def test_the_linux_kernel_and_yours_exchange_two_streams(submission: Submission) -> None:
    from demuxlab.grading.kernel_peer import Streams, converse
    from demuxlab.links.base import LinkUnavailable

    draw = drawing("the Linux kernel")
    streams = Streams(draw.randbytes(20_000), draw.randbytes(30_000))
    for opens in (True, False):
        stand_in(submission)
        submission.new("Connection", draw.randrange(1 << 32), 1000, 9000)
        hint = "a timer of yours runs by the clock here: see what the kernel sends again and again"
        try:
            converse(submission, streams, learner_opens=opens, seed=draw.getrandbits(32), hint=hint)
        except LinkUnavailable as error:
            pytest.skip(str(error))
