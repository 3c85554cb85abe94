"""The phases of loss recovery: what an ACK or a timeout does to them and to the congestion window.

    OPEN → DISORDER      something arrived out of order
    → RECOVERY           a segment is lost: the window shrinks by PRR (RFC 9937), lost segments go again
    → LOSS               the timer expired: one segment, then slow start (RFC 5681, section 3.1)
    → CWR                the peer echoes congestion (ECN): the window shrinks by PRR, nothing goes again
    RECOVERY, LOSS, CWR → OPEN    all sent before is acknowledged, or it was spurious (RFC 4015, RFC 5682)

As Linux does it (`tcp_fastretrans_alert`). Each function acts on the `Sender` of a connection.
"""

from demuxlab.transport.tcp.loss_recovery import Acknowledgment, Episode, Phase
from demuxlab.transport.tcp.prr import ProportionalRateReduction
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.tcp.undo import Undo


def respond(sender: Sender, ack: Acknowledgment) -> float | None:
    """Move on after an ACK, whose segments have left the queue or are marked.

    Returns after how many seconds RACK is to look for losses again; 0: not at all, None: as before.
    """
    recovery = sender.recovery
    if recovery.undisturbed and not ack.echo:
        # There is nothing to detect or to undo.
        if ack.advanced:
            sender.grow(ack.segments, ack.now)
        return 0.0
    if recovery.reneged and ack.advanced:
        _set_window(sender, ack)
        return None
    if _holds(sender):
        recovery.queue.clear_sacked()
        recovery.queue.duplicates = 0
        if recovery.phase is Phase.RECOVERY:
            _undo(sender, ack)
        else:
            _in_loss(sender, ack)
        _set_window(sender, ack)
        return None
    _note_duplicates(sender, ack)
    if recovery.probe is not None:
        _probe_answered(sender, ack)
    wait: float | None = None
    episode = recovery.episode
    if ack.echo:
        _echoed(sender, ack)
    if episode is not None and _has_ended(sender, ack, episode):
        _end(sender, ack)
    if recovery.phase is Phase.RECOVERY:
        if not _undo(sender, ack):
            wait = _detect(sender, ack)
    elif recovery.phase is Phase.LOSS:
        _in_loss(sender, ack)
        wait = _detect(sender, ack)
        if recovery.phase is Phase.LOSS and ack.lost_again:
            _reduce(sender, Phase.RECOVERY)  # what was sent again after the timeout is lost, too
    if recovery.phase < Phase.RECOVERY:
        found = _detect(sender, ack)
        wait = wait if found is None else found
        if ack.lost and _mtu_probe_lost(sender):
            return wait
        if ack.lost:
            _reduce(sender, Phase.RECOVERY)
        elif ack.echo and recovery.phase is not Phase.CWR:
            # Once a round trip; what was marked is not undone (RFC 3168, section 6.1.2).
            _reduce(sender, Phase.CWR)
        elif recovery.phase is not Phase.CWR:
            _open_or_disorder(sender)
    _set_window(sender, ack)
    return wait


def look_for_losses(sender: Sender, now: float) -> float | None:
    """RACK's reordering timer has expired (RFC 8985, section 6.3)."""
    ack = Acknowledgment(sender.unacked, now)
    ack.segments = 1
    if sender.recovery.rack is not None:
        sender.recovery.rack.advanced = True
    wait = _detect(sender, ack)
    phase = sender.recovery.phase
    if ack.lost and phase is not Phase.RECOVERY and not (phase < Phase.RECOVERY and _mtu_probe_lost(sender)):
        _reduce(sender, Phase.RECOVERY)  # after a timeout as well: what was sent again is lost
        _set_window(sender, ack)
    return wait


def timed_out(sender: Sender, now: float, *, frto: bool) -> None:
    """The retransmission timer has expired (RFC 5681, section 3.1; RFC 6298, section 5).

    `frto`: the next ACKs shall show whether it was spurious (RFC 5682).
    """
    sender.cut_large()
    recovery, control = sender.recovery, sender.congestion
    new, episode = recovery.phase < Phase.RECOVERY, recovery.episode
    again = recovery.phase is Phase.LOSS and sender.timeouts == 0
    if new or episode is None or episode.point <= sender.unacked or again:
        undo: Undo | None = Undo(control, sender.unacked)
        control.timed_out()
    else:
        undo = episode.undo
        control.forget()
    recovery.episode = Episode(sender.next, undo, None)
    recovery.episode.frto = frto and (new or sender.timeouts > 0)
    if sender.search is not None and sender.search.size:
        sender.search.give_up()
        recovery.queue.cut(sender.mss)
    recovery.phase, recovery.probe = Phase.LOSS, None
    recovery.lose_all(now)
    control.cwnd = recovery.queue.pipe + sender.mss
    sender.notify_reduction()


def send_again(sender: Sender) -> None:
    """All in flight is sent again, with the window as it is: lost for another reason than congestion."""
    recovery = sender.recovery
    recovery.queue.clear_sacked()
    for segment in recovery.queue:
        recovery.queue.mark_lost(segment)
    recovery.queue.duplicates = 0
    if recovery.queue:
        recovery.phase, recovery.episode = Phase.LOSS, Episode(sender.next, None, None)


# The parts of `respond`


def _note_duplicates(sender: Sender, ack: Acknowledgment) -> None:
    recovery = sender.recovery
    episode = recovery.episode
    # After a timeout a duplicate ACK is for new data, or for what was under way before it.
    counts = recovery.phase is not Phase.LOSS or episode is None or sender.next > episode.point
    if ack.duplicate and not recovery.sack and counts:
        recovery.duplicate(ack)
    undo = episode.undo if episode is not None else None
    if ack.duplicated is not None and undo is not None:
        undo.duplicated(*ack.duplicated, ack.number)


def _echoed(sender: Sender, ack: Acknowledgment) -> None:
    """Count what was delivered; a reduction that congestion caused is not undone."""
    if sender.ecn is not None:
        sender.ecn.delivered += ack.segments
    if sender.recovery.episode is not None:
        sender.recovery.episode.undo = None


def _probe_answered(sender: Sender, ack: Acknowledgment) -> None:
    """A tail loss probe is out: did it repair a loss? (RFC 8985, section 7.4.2)."""
    recovery = sender.recovery
    assert recovery.probe is not None
    end, again = recovery.probe
    if ack.number < end:
        return
    if not again or ack.duplicated is not None or (ack.duplicate and not ack.sacked):
        recovery.probe = None  # the original has arrived as well
    elif ack.number > end:
        recovery.probe = None
        if recovery.phase < Phase.CWR:
            # An acknowledgment of more than the probe: the original was lost, and nothing else shows it.
            sender.congestion.recovery_begins()
            sender.notify_reduction()


def _holds(sender: Sender) -> bool:
    """Tell whether all is acknowledged that was sent before a recovery, but nothing beyond it.

    Without SACK, duplicate ACKs may then be of the same loss (RFC 6582, section 4): they do not count.
    """
    recovery = sender.recovery
    episode = recovery.episode
    return (
        not recovery.sack
        and recovery.phase >= Phase.RECOVERY
        and episode is not None
        and sender.unacked == episode.point
    )


def _has_ended(sender: Sender, ack: Acknowledgment, episode: Episode) -> bool:
    if sender.recovery.phase is Phase.CWR:
        # As in Linux: an ACK beyond it shows that CWR has arrived.
        return ack.number > episode.point
    return ack.number > episode.point - sender.recovery.sack


def _end(sender: Sender, ack: Acknowledgment) -> None:
    recovery, episode = sender.recovery, sender.recovery.episode
    if recovery.phase is Phase.LOSS and _frto(sender, ack):
        return
    if not _undo(sender, ack):
        if episode is not None and episode.prr is not None:
            sender.congestion.cwnd = sender.congestion.ssthresh
        if recovery.rack is not None:
            recovery.rack.recovered()
        _open(sender)


def _undo(sender: Sender, ack: Acknowledgment) -> bool:
    """Put the window back if the recovery was spurious (RFC 4015); return whether it was."""
    episode = sender.recovery.episode
    undo = episode.undo if episode is not None else None
    if undo is None:
        return False
    delayed = ack.advanced and undo.by_echo(ack.round_trip, ack.now)
    if delayed and sender.recovery.sack and sender.recovery.phase is Phase.RECOVERY:
        sender.recovery.filled_by_original(ack.before, sender.mss)
    if not undo.by_dsack and not delayed:
        return False
    _restore(sender, undo)
    return True


def _restore(sender: Sender, undo: Undo) -> None:
    recovery = sender.recovery
    sender.restore(undo)
    recovery.queue.clear_lost()
    if recovery.rack is not None:
        recovery.rack.advanced = True  # what is not lost by the timeout may be lost all the same
    if _holds(sender):
        assert recovery.episode is not None
        recovery.episode.undo = None
    else:
        _open(sender)


def _open(sender: Sender) -> None:
    sender.recovery.episode = None
    sender.recovery.phase = Phase.OPEN
    _open_or_disorder(sender)


def _open_or_disorder(sender: Sender) -> None:
    recovery = sender.recovery
    if recovery.queue.sacked or recovery.queue.duplicates:
        recovery.phase = Phase.DISORDER
    else:
        recovery.phase = Phase.OPEN
        recovery.queue.forget_times()


def _in_loss(sender: Sender, ack: Acknowledgment) -> None:
    """After a timeout: was it spurious? (RFC 4015, RFC 5682)."""
    recovery, episode = sender.recovery, sender.recovery.episode
    assert episode is not None
    episode.new_first = False
    if (recovery.sack and _undo(sender, ack)) or _frto(sender, ack):
        return
    if episode.frto and sender.next > episode.point:
        if ack.sacked or ack.duplicate:
            episode.frto = False  # step 3a: the loss was real
    elif episode.frto and ack.advanced:
        # Step 2b: let new data show whether what follows arrives in order.
        episode.point = sender.next
        episode.new_first = True


def _frto(sender: Sender, ack: Acknowledgment) -> bool:
    """Data that was not sent again has arrived: the timeout was spurious (RFC 5682, section 2.1, step 3b)."""
    episode = sender.recovery.episode
    if episode is None or not episode.frto or not ack.original or episode.undo is None:
        return False
    _restore(sender, episode.undo)
    return True


def _detect(sender: Sender, ack: Acknowledgment) -> float | None:
    rtt = sender.rtt
    return sender.recovery.detect(ack, sender.mss, rtt.minimum, rtt.srtt)


def _mtu_probe_lost(sender: Sender) -> bool:
    """Only a probe of the path's MTU is lost: send it again in parts, and keep the window (RFC 4821, 7.6.2).

    Of a probe that is lost with other data nothing can be said; it goes again in parts as well.
    """
    search, recovery = sender.search, sender.recovery
    if search is None or not search.size:
        return False
    alone = sender.unacked == search.start and recovery.phase < Phase.CWR
    if alone:
        search.lost()
        recovery.phase, recovery.episode = Phase.LOSS, Episode(sender.next, None, None)
    else:
        search.give_up()
    recovery.queue.cut(sender.mss)
    return alone


def _reduce(sender: Sender, phase: Phase) -> None:
    """Begin to shrink the congestion window by PRR."""
    recovery, control = sender.recovery, sender.congestion
    undo = Undo(control, sender.unacked, recovery.queue.sent_again_at) if phase is Phase.RECOVERY else None
    before = control.cwnd
    control.recovery_begins()
    prr = ProportionalRateReduction(control.ssthresh, before)
    recovery.episode, recovery.phase = Episode(sender.next, undo, prr), phase
    recovery.probe = None
    sender.notify_reduction()


def _set_window(sender: Sender, ack: Acknowledgment) -> None:
    recovery, control, episode = sender.recovery, sender.congestion, sender.recovery.episode
    if episode is not None and episode.prr is not None:
        if ack.segments:
            safe, delivered = ack.advanced and not ack.lost, ack.segments * sender.mss
            control.cwnd = episode.prr.cwnd(recovery.queue.pipe, delivered, safe, sender.mss)
    elif ack.advanced or (ack.sacked and recovery.reorders):
        sender.grow(ack.segments, ack.now)
