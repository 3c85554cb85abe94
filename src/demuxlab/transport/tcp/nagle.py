"""Whether a segment that is less than full should wait (RFC 9293, sections 3.7.4 and 3.8.6.2.1)."""


def holds_back(
    *,
    is_last: bool,
    closing: bool,
    nodelay: bool,
    small_in_flight: bool,
    streaming: bool,
    corked: bool = False,
) -> bool:
    """Tell whether a small segment waits for more data or for an acknowledgment.

    `is_last`: it carries all that is unsent; otherwise the peer's window cut it (silly window avoidance).
    `closing`: FIN follows, so no more data will come. `nodelay`: TCP_NODELAY is set.
    `small_in_flight`: another small segment is not acknowledged (Nagle with Minshall's change, as in Linux).
    `streaming`: so much is in flight that the next write will come before its acknowledgment, and fill the
    segment up (Linux does the same by looking at the device's queue: tcp_autocorking).
    `corked`: TCP_CORK is set, or MSG_MORE says that more data follows.
    """
    if not is_last:
        return True
    if closing:
        return False
    if corked:
        return True
    return not nodelay and (small_in_flight or streaming)
