"""What a connection does when a deadline has passed: retransmission, probes of window and tail, keepalive.

Each function returns the errno that ends the connection, None where it goes on. Times are in seconds.
"""

import errno

from demuxlab.transport.tcp import phases
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.deadlines import Deadline
from demuxlab.transport.tcp.path_mtu import BLACK_HOLE_TIMEOUTS, SMALLEST, Search
from demuxlab.transport.tcp.rtt import MAXIMUM
from demuxlab.transport.timers import NEVER

_SYN_RETRIES, _DATA_RETRIES, _ORPHAN_RETRIES = 6, 15, 8
"""Linux: net.ipv4.tcp_syn_retries, tcp_retries2, tcp_orphan_retries."""
_FLOAT_ERROR = 1e-9
_SILENCE = 2 * MAXIMUM
"""Seconds without any answer after which a peer that has closed its window is given up (Linux)."""


def handle_due(block: ControlBlock, now: float) -> int | None:
    """Do the most important thing that is due; 0: the connection's time is over."""
    due = block.deadlines.pop_due(now)
    if due is Deadline.END:
        return 0
    if due is Deadline.RETRANSMISSION:
        return _retransmission_timeout(block, now)
    if due is Deadline.LOSS_DETECTION:
        if block.deadlines.probes:
            _probe_timeout(block, now)
        else:
            _reordering_timeout(block, now)
    if due is Deadline.PERSIST:
        return _persist_timeout(block, now)
    if due is Deadline.KEEPALIVE:
        return _keepalive_timeout(block, now)
    return None


def _retransmission_timeout(block: ControlBlock, now: float) -> int | None:
    """Nothing was acknowledged: send again, or give up (RFC 6298, section 5; RFC 9293, section 3.8.3)."""
    sender, handshake = block.sender, block.in_handshake
    window_closed = sender.window == 0 and not handshake and not block.orphan
    if _user_timeout_passed(block, now):
        return errno.ETIMEDOUT
    if window_closed:
        # A peer that has taken its window back and answers is alive (RFC 9293, 3.8.6: MUST-37, SHLD-17).
        if now - block.last_received_at > _SILENCE:
            return errno.ETIMEDOUT
    elif sender.timeouts >= (_SYN_RETRIES if handshake else _DATA_RETRIES):
        return errno.ETIMEDOUT
    block.deadlines.stalled(now - sender.rtt.rto)
    first = sender.recovery.queue.first
    may_be_black_hole = sender.timeouts >= BLACK_HOLE_TIMEOUTS and sender.window > 0 and not handshake
    if may_be_black_hole and block.settings.mtu_probing and first is not None and len(first) > SMALLEST:
        _leave_black_hole(block, now)
    if handshake and first is not None:
        # Nothing but the SYN is sent again: what follows it may have arrived (Linux).
        sender.recovery.queue.mark_lost(first)
    else:
        phases.timed_out(sender, now, frto=block.settings.frto)
    sender.timeouts += not window_closed
    sender.rtt.back_off()
    block.retransmit_lost(now)
    return None


def _leave_black_hole(block: ControlBlock, now: float) -> None:
    """Perhaps the path takes no segments of this size, and no router says so (RFC 4821, section 7.7)."""
    sender = block.sender
    if sender.search is None:
        sender.search = Search(block.send_mss, now)
    else:
        sender.search.shrink()
    block.adjust_mss()


def _reordering_timeout(block: ControlBlock, now: float) -> None:
    """What is late by more than the reordering window is lost (RFC 8985, section 6.3)."""
    wait = phases.look_for_losses(block.sender, now)
    block.deadlines.look_for_losses(now + wait if wait else NEVER)
    block.deadlines.retransmitted(now, block.sender.rtt.rto)


def _probe_timeout(block: ControlBlock, now: float) -> None:
    """Ask with a segment whether the last ones have arrived (RFC 8985, section 7.3)."""
    segment = block.sender.probe_segment(now)
    if segment is not None:
        block.transmit(segment, now)
        block.deadlines.retransmitted(now, block.sender.rtt.rto)


def _user_timeout_passed(block: ControlBlock, now: float) -> bool:
    """Tell whether data has waited for too long, in flight or for the peer's window (RFC 5482)."""
    user_timeout = block.settings.user_timeout
    return 0 < user_timeout <= block.deadlines.stalled_for(now) + _FLOAT_ERROR


def _persist_timeout(block: ControlBlock, now: float) -> int | None:
    """Use what little is open of the window, or probe it (RFC 9293, section 3.8.6.1)."""
    sender = block.sender
    # A peer that answers may keep its window closed as long as it likes, but not for an orphaned connection.
    orphan_expired = block.orphan and sender.rtt.backoff >= _ORPHAN_RETRIES
    if block.unanswered_probes >= _DATA_RETRIES or orphan_expired or _user_timeout_passed(block, now):
        return errno.ETIMEDOUT
    block.unanswered_probes += 1
    block.deadlines.stalled(now)
    segment = sender.persist_segment(now)
    if segment is not None:
        block.deadlines.window_opened(sender.rtt)
        block.transmit(segment, now)
    else:
        sender.rtt.backoff += 1
        block.probe(now)
    return None


def _keepalive_timeout(block: ControlBlock, now: float) -> int | None:
    """Probe a silent peer (RFC 9293, section 3.8.4)."""
    settings, deadlines = block.settings, block.deadlines
    if now - block.last_received_at < settings.keepalive_idle or block.sender.in_flight:
        at = block.last_received_at + settings.keepalive_idle
        deadlines.set_keepalive(at if at > now else now + settings.keepalive_idle)
        return None
    if block.unanswered_probes >= settings.keepalive_probes:
        block.reset(now)
        return errno.ETIMEDOUT
    block.unanswered_probes += 1
    block.probe(now)
    deadlines.set_keepalive(now + settings.keepalive_interval)
    return None
