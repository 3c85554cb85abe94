"""TCP_INFO (tcp(7)), by the field names of Linux's struct tcp_info."""

from collections.abc import Callable

from demuxlab.transport.tcp import congestion, pacing
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.deadlines import DELAYED_ACK
from demuxlab.transport.tcp.listener import TCPListener
from demuxlab.transport.tcp.retransmission_queue import SentSegment, segments_in
from demuxlab.transport.tcp.states import State
from demuxlab.transport.tcp.statistics import Limit, Statistics

STATES = {
    State.ESTABLISHED: 1,
    State.SYN_SENT: 2,
    State.SYN_RECEIVED: 3,
    State.FIN_WAIT_1: 4,
    State.FIN_WAIT_2: 5,
    State.TIME_WAIT: 7,  # for the application the socket is closed: only the host still waits
    State.CLOSED: 7,
    State.CLOSE_WAIT: 8,
    State.LAST_ACK: 9,
    State.LISTEN: 10,
    State.CLOSING: 11,
}
"""Linux's numbers of the states."""
_TIMESTAMPS, _SACK, _WINDOW_SCALE, _ECN, _ECN_SEEN, _SYN_DATA = 1, 2, 4, 8, 16, 32
TFO_CHILD = 128
"""The connection of a SYN whose data was accepted (Linux since 6.15)."""
_NOTHING = Statistics()
_INFINITE_SSTHRESH = 0x7FFFFFFF
"""Linux's TCP_INFINITE_SSTHRESH: no loss yet."""


def _ssthresh(size: int, mss: int) -> int:
    return _INFINITE_SSTHRESH if size >= congestion.INFINITE else size // mss


def _age(at: float, now: float | None) -> int:
    """Return milliseconds."""
    return 0 if now is None or not at else max(round((now - at) * 1000), 0)


def info(
    state: State, connection: TCPConnection | None, listener: TCPListener | None, now: float | None = None
) -> dict[str, int]:
    """Return the fields that have a meaning here.

    Times are microseconds, those since something happened milliseconds, and windows segments, as in Linux.
    """
    if connection is None:
        waiting = listener.waiting if listener is not None else 0
        return {"tcpi_state": STATES[state], "tcpi_unacked": waiting}
    return {"tcpi_state": STATES[state]} | _sending(connection, now) | _receiving(connection, now)


def _sent_again(segment: SentSegment) -> bool:
    """Tell whether a segment was lost, and is sent again."""
    return segment.transmissions > 1 and segment.in_pipe == 1


def _sending(connection: TCPConnection, now: float | None) -> dict[str, int]:
    sender, statistics = connection.sender, connection.statistics or _NOTHING
    recovery, rtt, queue = sender.recovery, sender.rtt, sender.recovery.queue
    control = sender.congestion_to_read

    def count(which: Callable[[SentSegment], bool]) -> int:
        return sum(segments_in(len(segment), sender.mss) for segment in queue if which(segment))

    sacked = count(lambda segment: segment.sacked)
    unacked = count(lambda _segment: True)
    return {
        "tcpi_ca_state": recovery.phase.value,
        "tcpi_retransmits": sender.timeouts,
        "tcpi_probes": connection.unanswered_probes,
        "tcpi_backoff": rtt.backoff,
        "tcpi_rto": int(rtt.rto * 1_000_000),
        "tcpi_snd_mss": sender.mss,
        "tcpi_unacked": unacked,
        "tcpi_sacked": sacked,
        "tcpi_lost": count(lambda segment: segment.lost or _sent_again(segment)),
        "tcpi_retrans": count(lambda segment: segment.transmissions > 1 and segment.in_pipe > 0),
        "tcpi_total_retrans": sender.retransmissions,
        "tcpi_rtt": int(rtt.srtt * 1_000_000),
        "tcpi_rttvar": int(rtt.rttvar * 1_000_000),
        "tcpi_min_rtt": int(rtt.minimum * 1_000_000),
        "tcpi_snd_ssthresh": _ssthresh(control.ssthresh, sender.mss),
        "tcpi_snd_cwnd": control.cwnd // sender.mss,
        "tcpi_pacing_rate": int(sender.pacing_rate),
        "tcpi_max_pacing_rate": sender.settings.max_pacing_rate or pacing.UNLIMITED,
        "tcpi_snd_wnd": sender.window,
        "tcpi_reordering": recovery.dup_thresh,
        "tcpi_reord_seen": int(recovery.rack is not None and recovery.rack.reordered),
        "tcpi_pmtu": connection.mtu,
        "tcpi_bytes_acked": sender.unacked - sender.first_acknowledgeable,
        "tcpi_bytes_sent": statistics.bytes_sent,
        "tcpi_bytes_retrans": statistics.bytes_retransmitted,
        "tcpi_notsent_bytes": sender.buffer.unsent(sender.next),
        "tcpi_segs_out": statistics.sent,
        "tcpi_data_segs_out": statistics.data_segments_sent,
        # Our SYN was delivered as well.
        "tcpi_delivered": 1 + statistics.data_segments_sent - sender.retransmissions - unacked + sacked,
        "tcpi_delivered_ce": sender.ecn.delivered if sender.ecn is not None else 0,
        "tcpi_dsack_dups": statistics.dsacks,
    } | _limits(statistics, now)


def _limits(statistics: Statistics, now: float | None) -> dict[str, int]:
    """What kept the connection from sending more, in microseconds."""
    return {
        "tcpi_busy_time": int(statistics.busy_for(now) * 1_000_000),
        "tcpi_rwnd_limited": int(statistics.limited_for(Limit.WINDOW, now) * 1_000_000),
        "tcpi_sndbuf_limited": int(statistics.limited_for(Limit.BUFFER, now) * 1_000_000),
    }


def _receiving(connection: TCPConnection, now: float | None) -> dict[str, int]:
    receiver, statistics = connection.receiver, connection.statistics or _NOTHING
    options = _TIMESTAMPS * (connection.timestamps is not None) + _SACK * connection.sender.recovery.sack
    options += _WINDOW_SCALE * bool(receiver.shift or connection.send_shift)
    if connection.fast_open is not None and connection.fast_open.data:
        options += _SYN_DATA
    if connection.fast_open is not None and connection.fast_open.initial >= 0:
        options += TFO_CHILD
    ecn = connection.sender.ecn
    if ecn is not None:
        options += _ECN + _ECN_SEEN * ecn.seen
    return {
        "tcpi_options": options,
        "tcpi_fastopen_client_fail": connection.fast_open.failure if connection.fast_open is not None else 0,
        "tcpi_snd_wscale": connection.send_shift,
        "tcpi_rcv_wscale": receiver.shift,
        "tcpi_ato": int(DELAYED_ACK * 1_000_000),
        "tcpi_advmss": connection.offered_mss,
        "tcpi_rcv_space": receiver.limit,
        "tcpi_rcv_ssthresh": min(receiver.limit, receiver.max_window),
        "tcpi_bytes_received": statistics.bytes_received,
        "tcpi_segs_in": statistics.received,
        "tcpi_data_segs_in": statistics.data_segments_received,
        "tcpi_rcv_ooopack": statistics.out_of_order,
        "tcpi_last_data_sent": _age(statistics.data_sent_at, now),
        "tcpi_last_data_recv": _age(statistics.data_received_at or connection.last_received_at, now),
        "tcpi_last_ack_recv": _age(connection.last_received_at, now),
    }
