"""A few rounds of `kill_anytime`: each command killed, and asked to end, at a moment in its middle."""

import signal

import pytest
from tests.interop import kill_anytime


@pytest.mark.long
@pytest.mark.parametrize(
    ("signals", "seed"), [((signal.SIGKILL,), 3), ((signal.SIGINT, signal.SIGTERM), 1)], ids=["kill", "ask"]
)
def test_nothing_stays_behind_and_nothing_is_lost(need_root, need_tool, signals, seed):
    need_tool("unshare", "nsenter", "ip")
    assert kill_anytime.sweep(4, seed, signals) == []
