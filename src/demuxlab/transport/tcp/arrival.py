"""What a segment does to a connection: SEGMENT ARRIVES (RFC 9293, sections 3.10.7.3 and 3.10.7.4).

The steps are in the order of the RFC: sequence number, RST, SYN, ACK, data, FIN. Where Linux is stricter than
the RFC, this does as Linux; a comment says where.
"""

import errno
from collections.abc import Sequence

from demuxlab.demux.socket import Drop
from demuxlab.demux.verdicts import Reply
from demuxlab.transport.tcp import handshake, phases, sequence, time_wait
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.loss_recovery import Acknowledgment, Phase
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.tcp.states import CAN_RECEIVE, Event, State
from demuxlab.transport.tcp.time_wait import MAXIMUM_SEGMENT_LIFETIME
from demuxlab.transport.tcp.urgent import UrgentMark
from demuxlab.transport.timers import NEVER
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, ECE, FIN, PSH, RST, SYN, URG, TCPSegment

_RENEGED = 0.01
"""Seconds, or half a round trip, after which all is sent again to a peer that has dropped data (Linux)."""
_REORDERING_TOLERANCE = 1
"""Ticks of the peer's clock by which a segment may be older than the one before (Linux: TCP_PAWS_WINDOW)."""


def handle_segment(block: ControlBlock, segment: TCPSegment, now: float) -> Drop | None:
    """Process a segment; the drop of one that is to be answered with RST, or dropped."""
    if block.state is State.SYN_SENT:
        return _in_syn_sent(block, segment, now)
    return _otherwise(block, segment, now)


def _in_syn_sent(block: ControlBlock, segment: TCPSegment, now: float) -> Drop | None:
    """RFC 9293, section 3.10.7.3."""
    has_ack = segment.flags & ACK
    number = sequence.unwrap(segment.acknowledgment, block.sender.unacked)  # SEG.ACK
    acknowledges_syn = has_ack and block.sender.unacked < number <= block.sender.next
    if has_ack and not acknowledges_syn:
        return None if segment.flags & RST else Drop(reply=Reply.RST)
    if segment.flags & RST:
        if acknowledges_syn:
            block.end(errno.ECONNREFUSED)
        return None
    if not segment.flags & SYN:
        return None
    options = handshake.receive_syn(block, segment, now)
    block.last_received_at = now
    if not acknowledges_syn:
        # Simultaneous open: our SYN goes again, with an ACK (RFC 9293, section 3.5, figure 7).
        block.transition(Event.SYN)
        first = block.sender.recovery.queue.first
        if first is not None:
            first.sent_at = now  # its ACK is of this SYN,ACK
            block.transmit(first, now)
        return None
    block.sender.complete_handshake(number, now, _round_trip(block, options, now))
    block.transition(Event.SYN_ACK)
    block.establish(now)
    handshake.finish_fast_open(block, segment, options, now)
    if block.fast_open is not None and block.fast_open.waits:
        block.acknowledgments.become_interactive()
        block.deadlines.delay_acknowledgment(now)
    else:
        block.acknowledgments.wanted = True
    return None


def _otherwise(block: ControlBlock, segment: TCPSegment, now: float) -> Drop | None:
    """RFC 9293, section 3.10.7.4."""
    sender, receiver = block.sender, block.receiver
    syn_received = block.state is State.SYN_RECEIVED
    passive_open = syn_received and block.passive
    if not passive_open and not segment.flags & (ACK | RST | SYN):
        return None  # no peer sends that, so not even its number is tested, as in Linux
    start = sequence.unwrap(segment.sequence, receiver.next)  # SEG.SEQ
    options = tcp.read_options(segment.options) if segment.options else None
    acknowledges_all = segment.acknowledgment == sender.next % sequence.MODULUS
    early = block.early
    crossed = syn_received and acknowledges_all and start + 1 == receiver.next and segment.length == 1
    crossed = crossed and segment.flags & (SYN | ACK | RST) == SYN | ACK
    if crossed:
        # The SYN,ACK of a simultaneous open: process only its ACK (RFC 9293, section 3.5, figure 7).
        start += 1
        segment = segment._replace(sequence=start % sequence.MODULUS, flags=segment.flags & ~SYN)
    if passive_open and not early and not acknowledges_all and segment.flags & (ACK | RST) == ACK:
        # It acknowledges no SYN,ACK of ours: before any test of SEG.SEQ, as in Linux.
        return Drop(reply=Reply.RST)
    if not _is_acceptable(block, segment, start, options, now):
        return None
    if passive_open and segment.flags & (SYN | RST) == SYN:
        # Another SYN than the one that made this connection: its sender does not know it, as in Linux.
        block.end(errno.ECONNRESET if early else 0)
        return None if early else Drop(reply=Reply.RST)
    if segment.flags & RST:
        _handle_reset(block, start, now)
        return None
    if segment.flags & SYN:
        # A peer that has restarted answers the challenge ACK with RST (RFC 5961, section 4).
        block.challenge(now)
        return None
    if not segment.flags & ACK:
        return None
    number = sequence.unwrap(segment.acknowledgment, sender.unacked)  # SEG.ACK
    if (syn_received or early) and not sender.unacked < number <= sender.next:
        return Drop(reply=Reply.RST)
    if number > sender.next or number < sender.oldest_acknowledgment:
        # Perhaps forged: so far the segment has changed nothing (RFC 5961, section 5).
        block.challenge(now)
        return None
    block.last_received_at = now
    block.unanswered_probes = 0
    _update_recent_timestamp(block, segment, start, number, options, now)
    if syn_received or early:
        _complete_handshake(block, segment, start, number, options, now)
        block.acknowledgments.wanted = block.acknowledgments.wanted or crossed
    _handle_acknowledgment(block, segment, start, number, options, now)
    return _handle_data(block, segment, start, now)


# Sequence number, RST


def _is_acceptable(
    block: ControlBlock, segment: TCPSegment, start: int, options: tcp.Options | None, now: float
) -> bool:
    """Test the sequence number (RFC 9293, section 3.4) and the timestamp (PAWS); answer what fails."""
    receiver = block.receiver
    old = _is_old(block, segment, options, now)
    first = block.sender.recovery.queue.first
    passive_open = block.state is State.SYN_RECEIVED and block.passive
    if (
        (passive_open or (block.early and block.passive))
        and segment.flags & (SYN | ACK | RST) == SYN
        and start == (block.fast_open.initial if block.fast_open and block.early else receiver.next - 1)
        and first is not None
        and not old
    ):
        block.sender.count_again(first, now)
        block.transmit(first, now)  # the same SYN again: our SYN,ACK was lost
        return False
    end = start + segment.length
    in_window = start <= max(receiver.right_edge, receiver.next) and end >= receiver.next
    if passive_open:
        # Nothing can overlap before the handshake is complete, so the test is exact, as in Linux.
        in_window = start == receiver.next or (end > receiver.next and start < receiver.right_edge)
        in_window = in_window or start == end == receiver.right_edge
    if in_window and not old:
        return True
    if segment.flags & RST:
        return _follows_fin(block, start)
    if segment.length and not segment.flags & SYN:
        if start < receiver.next:
            receiver.note_duplicate(start, end)  # of what lies behind a gap it says nothing (Linux)
        block.acknowledgments.wanted = True
    else:
        # Rate-limited: two ends out of step would answer each other's empty segments for ever.
        block.challenge(now)
    return False


def _is_old(block: ControlBlock, segment: TCPSegment, options: tcp.Options | None, now: float) -> bool:
    """PAWS (RFC 7323, section 5.3); a reset is never too old."""
    timestamps = block.timestamps
    if timestamps is None or options is None or not options.timestamps or segment.flags & RST:
        return False
    passive_open = block.state is State.SYN_RECEIVED and block.passive
    tolerance = 0 if passive_open else _REORDERING_TOLERANCE
    return timestamps.is_old(options.timestamps[0], tolerance, now)


def _handle_reset(block: ControlBlock, start: int, now: float) -> None:
    """Only RCV.NXT resets; another number in the window is challenged (RFC 5961, section 3.2).

    As in Linux, the number behind all that has arrived out of order resets too: a peer whose data was lost
    uses the next that it would have sent.
    """
    receiver = block.receiver
    exact = start == receiver.next or (block.sender.recovery.sack and start == receiver.highest)
    if not exact and not _follows_fin(block, start):
        block.challenge(now)
        return
    block.end(errno.EPIPE if block.state is State.CLOSE_WAIT else errno.ECONNRESET)


def _follows_fin(block: ControlBlock, start: int) -> bool:
    """Tell whether a reset has the number of the FIN: some systems send one right after it (Linux)."""
    return block.receiver.finished and start + 1 == block.receiver.next


# ACK


def _round_trip(block: ControlBlock, options: tcp.Options | None, now: float) -> float | None:
    """Return the round trip by the timestamp that a segment echoes, in seconds (RFC 7323, section 4)."""
    if options is None or not options.timestamps or block.timestamps is None:
        return None
    return block.timestamps.elapsed_since(options.timestamps[1], now)


def _update_recent_timestamp(
    block: ControlBlock,
    segment: TCPSegment,
    start: int,
    number: int,
    options: tcp.Options | None,
    now: float,
) -> None:
    """RFC 7323, section 4.3: from a segment that begins at or before Last.ACK.sent."""
    timestamps = block.timestamps
    if timestamps is None or options is None or options.timestamps is None:
        return
    if number < block.sender.unacked and not _is_predicted(block, segment, start, options):
        return  # a pure ACK that was overtaken counts only where nothing else is new about it, as in Linux
    value = options.timestamps[0]
    if start <= block.acknowledgments.last_sent and timestamps.is_newer(value):
        timestamps.update(value, now)


def _is_predicted(block: ControlBlock, segment: TCPSegment, start: int, options: tcp.Options) -> bool:
    """Tell whether Linux's header prediction matches a pure ACK."""
    receiver, sender = block.receiver, block.sender
    return (
        block.state is State.ESTABLISHED
        and segment.flags in (ACK, ACK | PSH)
        and not segment.payload
        and not options.sack
        and start == receiver.next
        and segment.window << block.send_shift == sender.window
        and not receiver.has_gap
        and block.urgent is None
    )


def _complete_handshake(
    block: ControlBlock,
    segment: TCPSegment,
    start: int,
    number: int,
    options: tcp.Options | None,
    now: float,
) -> None:
    sender = block.sender
    shut = block.fast_open is not None and block.fast_open.shut
    if shut:
        sender.buffer.finish()
    if block.state is State.SYN_RECEIVED:
        # A CLOSE that was queued leads straight to FIN-WAIT-1.
        block.transition(Event.ACK_OF_SYN if sender.buffer.fin is None else Event.CLOSE)
    if block.fast_open is not None:
        block.fast_open.pending = False
    # Equal numbers as one object: a server keeps them for each idle connection.
    number = sender.next if number == sender.next else number
    start = block.receiver.next if start == block.receiver.next else start
    if block.passive:
        sender.first_acknowledgeable = number
        sender.max_window = 0  # the window of a SYN is not shifted: no measure of those to come
    sender.complete_handshake(number, now, _round_trip(block, options, now))
    sender.set_window(start, segment.window << block.send_shift)
    block.deadlines.acknowledged()
    block.establish(now)
    if sender.buffer.fin is not None:
        block.flush(now)  # the FIN leaves before the segment's data is received, as in Linux


def _handle_acknowledgment(
    block: ControlBlock,
    segment: TCPSegment,
    start: int,
    number: int,
    options: tcp.Options | None,
    now: float,
) -> None:
    """Process an ACK that is neither too old nor beyond SND.NXT, and its SACK blocks."""
    sender, deadlines = block.sender, block.deadlines
    window_changed = sender.update_window(start, number, segment.window << block.send_shift)
    if number < sender.unacked:
        _handle_old_acknowledgment(block, number, options, now)
        return
    block.soft_error = 0
    if not sender.in_flight:
        deadlines.window_reported(now, sender.rtt)
        return
    ack = Acknowledgment(number, now, _round_trip(block, options, now))
    ack.echo = sender.ecn is not None and bool(segment.flags & ECE)
    ack.duplicate = number == sender.unacked and not segment.length and not window_changed
    before = sender.recovery.phase
    sender.process(ack, _sack_blocks(sender, options))
    if ack.duplicated is not None and block.statistics is not None:
        block.statistics.dsacks += 1
    wait = phases.respond(sender, ack)
    if wait is not None and (before is not Phase.OPEN or sender.recovery.phase is not Phase.OPEN):
        deadlines.look_for_losses(now + wait if wait else NEVER)
    if ack.advanced:
        deadlines.acknowledged(looks_again=bool(wait))
        if sender.recovery.reneged:
            deadlines.retransmitted(now, max(sender.rtt.srtt / 2, _RENEGED))
        fin = sender.buffer.fin
        if fin is not None and number > fin:
            _fin_acknowledged(block, now)


def _handle_old_acknowledgment(
    block: ControlBlock, number: int, options: tcp.Options | None, now: float
) -> None:
    """An ACK below SND.UNA, which has been overtaken, can report what no other has (Linux)."""
    sender = block.sender
    if options is None or not options.sack or not sender.in_flight:
        return
    ack = Acknowledgment(number, now, _round_trip(block, options, now))
    sender.process(ack, _sack_blocks(sender, options))
    wait = phases.respond(sender, ack)
    if wait is not None:
        block.deadlines.look_for_losses(now + wait if wait else NEVER)


def _sack_blocks(sender: Sender, options: tcp.Options | None) -> Sequence[tuple[int, int]]:
    """Return the blocks that an ACK reports, unwrapped (RFC 2018)."""
    if options is None or not options.sack or not sender.recovery.sack:
        return ()
    unacked = sender.unacked
    return [(sequence.unwrap(left, unacked), sequence.unwrap(right, unacked)) for left, right in options.sack]


def _fin_acknowledged(block: ControlBlock, now: float) -> None:
    if not block.allows(Event.ACK_OF_FIN):
        return
    block.transition(Event.ACK_OF_FIN)
    if block.state is State.CLOSED:
        block.end(0)
    elif block.state is State.TIME_WAIT:
        _enter_time_wait(block, now)
    elif block.orphan:
        # Whatever the peer still sends will not be read: do not wait for its FIN for ever.
        block.deadlines.set_end(now + 2 * MAXIMUM_SEGMENT_LIFETIME)


# Data, FIN


def _handle_data(block: ControlBlock, segment: TCPSegment, start: int, now: float) -> Drop | None:
    if not segment.length:
        return None
    receiver = block.receiver
    if block.state in CAN_RECEIVE and not receiver.finished:
        return _receive_data(block, segment, start, now)
    if block.state is not State.CLOSED and start < receiver.next:
        # What follows a FIN is ignored (RFC 9293, section 3.10.7.4), but acknowledged.
        block.acknowledgments.wanted = True
    return None


def _receive_data(block: ControlBlock, segment: TCPSegment, start: int, now: float) -> Drop | None:
    receiver, acknowledgments = block.receiver, block.acknowledgments
    if segment.flags & URG:
        _note_urgent(block, start + segment.urgent - 1)
    if block.urgent is not None:
        block.urgent.arrived(start, segment.payload)
    ecn = block.sender.ecn
    if ecn is not None and ecn.arrived(segment):
        acknowledgments.hasten(2)
    size, fin = len(segment.payload), bool(segment.flags & FIN)
    half_closed = block.state in (State.FIN_WAIT_1, State.FIN_WAIT_2)
    if (block.orphan or (block.read_shutdown and half_closed)) and start + size > receiver.next:
        # No one will read it: RST, so that the peer knows that data was lost (RFC 1122, section 4.2.2.13).
        block.end(errno.ECONNRESET)
        return Drop(reply=Reply.RST)
    if start > receiver.next and receiver.out_of_order_full:
        acknowledgments.wanted = True
        return Drop("TcpExtTCPOFODrop")
    in_order = start <= receiver.next and not receiver.has_gap
    if block.statistics is not None and start > receiver.next:
        block.statistics.out_of_order += 1
    before = receiver.next
    advanced = receiver.receive(start, segment.payload, fin)
    if in_order and advanced and not fin:
        block.data_received(size, now)
    else:
        block.count_received(size, receiver.next - before - receiver.finished, now)
        acknowledgments.wanted = True
    if receiver.finished:
        block.transition(Event.FIN)
        if block.state is State.TIME_WAIT:
            _enter_time_wait(block, now)
    return None


def _note_urgent(block: ControlBlock, at: int) -> None:
    """Take the urgent pointer of a segment, unless it is old (RFC 9293, section 3.10.7.4; Linux)."""
    receiver, known = block.receiver, block.urgent
    if at < receiver.next or (known is not None and at <= known.at):
        return
    if known is not None and not block.settings.urgent_inline:
        data = receiver.data
        if data and known.at == receiver.next - len(data):
            # The application has read up to the earlier one, which is no data of the stream then (Linux).
            data.read(1)
    block.urgent = UrgentMark(at)


def _enter_time_wait(block: ControlBlock, now: float) -> None:
    if block.acknowledgments.wanted:
        block.acknowledge(now)
    if time_wait.enter(block, now):
        block.services.timers.forget(block)
        block.notify()
    else:
        block.end(0)
