"""Header prediction: the segment that is expected, processed without the tests that it cannot fail.

Most segments of an established connection carry the next data in order or acknowledge data in order, while
nothing is lost or out of order (Van Jacobson, "4BSD header prediction", 1990; Linux: tcp_rcv_established).
What this does with them is what `arrival` would do; all others are left to it.
"""

from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.loss_recovery import Phase
from demuxlab.transport.tcp.retransmission_queue import EMPTY
from demuxlab.transport.tcp.states import State
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, PSH, TCPSegment

_MASK = 0xFFFFFFFF
_HALF = 1 << 31
_ESTABLISHED, _FIN_WAIT_1, _OPEN = State.ESTABLISHED, State.FIN_WAIT_1, Phase.OPEN
_EXPECTED = ACK, ACK | PSH


def is_disturbed(block: ControlBlock) -> bool:
    """Tell whether the connection's state rules out that the next segment is the one expected."""
    receiver, sender = block.receiver, block.sender
    return (
        (block.state is not _ESTABLISHED and block.state is not _FIN_WAIT_1)
        or receiver.disturbed
        or sender.recovery.phase is not _OPEN
        or sender.recovery.probe is not None
        or sender.ecn is not None
        or block.urgent is not None
    )


def ends(block: ControlBlock, size: int, number: int) -> bool:
    """Tell whether a segment is part of the end of a connection: our FIN is sent, and it is no ACK before it.

    `size`: bytes of its data, `number`: SEG.ACK, unwrapped.
    """
    fin = block.sender.buffer.fin
    return fin is not None and (size > 0 or number > fin)


def handle_segment(block: ControlBlock, segment: TCPSegment, now: float) -> bool:
    """Process a segment if it is the one expected; return whether it was."""
    if segment.flags not in _EXPECTED or is_disturbed(block):
        return False
    sender, receiver = block.sender, block.receiver
    recovery, start = sender.recovery, receiver.next
    acknowledged = (segment.acknowledgment - sender.unacked) & _MASK
    size = len(segment.payload)
    if (
        segment.sequence != start & _MASK
        or acknowledged > sender.next - sender.unacked
        or not (size or acknowledged)
        or start + size > receiver.right_edge
        or recovery.rack is not None
        or not recovery.sack
        or sender.search is not None
        or block.fast_open is not None
        or block.read_shutdown
        or ends(block, size, sender.unacked + acknowledged)
    ):
        return False
    timestamps, echoed = block.timestamps, 0
    if timestamps is not None:
        stamps = tcp.read_timestamps(segment.options)
        if stamps is None or (stamps[0] - timestamps.recent) & _MASK >= _HALF:
            return False  # other options, or a timestamp to be tested by PAWS
        if start <= block.acknowledgments.last_sent:
            timestamps.recent, timestamps.recent_at = stamps[0], now
        echoed = stamps[1]
    elif segment.options:
        return False
    block.last_received_at = now
    block.unanswered_probes = block.soft_error = 0
    number = sender.unacked + acknowledged
    sender.update_window(start, number, segment.window << block.send_shift)
    if recovery.queue is EMPTY:
        block.deadlines.window_reported(now, sender.rtt)
    elif acknowledged:
        sender.acknowledge(number, now, timestamps.elapsed_since(echoed, now) if timestamps else None)
        block.deadlines.acknowledged()
    if size:
        receiver.take_next(segment.payload)
        block.data_received(size, now)
    return True
