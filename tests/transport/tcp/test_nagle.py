"""When a small segment waits (RFC 9293, section 3.7.4), one reason at a time."""

import pytest

from demuxlab.transport.tcp import nagle

PLAIN = {
    "is_last": True,
    "closing": False,
    "nodelay": False,
    "small_in_flight": False,
    "streaming": False,
}


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({}, False),
        ({"small_in_flight": True}, True),
        ({"streaming": True}, True),
        ({"small_in_flight": True, "nodelay": True}, False),
        ({"streaming": True, "nodelay": True}, False),
        ({"small_in_flight": True, "closing": True}, False),
        ({"is_last": False}, True),
        ({"is_last": False, "nodelay": True}, True),
        ({"is_last": False, "closing": True}, True),
    ],
    ids=str,
)
def test_a_small_segment(change, waits):
    assert nagle.holds_back(**PLAIN | change) is waits
