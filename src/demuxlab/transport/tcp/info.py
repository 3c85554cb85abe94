"""TCP_INFO (tcp(7)), by the field names of Linux's struct tcp_info."""

from demuxlab.transport.tcp import congestion
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.listener import TCPListener
from demuxlab.transport.tcp.states import State

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
_TIMESTAMPS, _SACK, _WINDOW_SCALE = 1, 2, 4
_INFINITE_SSTHRESH = 0x7FFFFFFF
"""Linux's TCP_INFINITE_SSTHRESH: no loss yet."""
_OPEN, _RECOVERY, _LOSS = 0, 3, 4


def _ssthresh(size: int, mss: int) -> int:
    return _INFINITE_SSTHRESH if size >= congestion.INFINITE else size // mss


def info(state: State, connection: TCPConnection | None, listener: TCPListener | None) -> dict[str, int]:
    """Return the fields that have a meaning here; times in microseconds, windows in segments as in Linux."""
    if connection is None:
        waiting = listener.waiting if listener is not None else 0
        return {"tcpi_state": STATES[state], "tcpi_unacked": waiting}
    sender, receiver = connection.sender, connection.receiver
    recovery, rtt = sender.recovery, sender.rtt
    options = _TIMESTAMPS * (connection.timestamps is not None) + _SACK * recovery.sack
    options += _WINDOW_SCALE * bool(connection.receive_shift or connection.send_shift)
    recovering = _OPEN if recovery.recovery_point is None else _RECOVERY if recovery.fast else _LOSS
    return {
        "tcpi_state": STATES[state],
        "tcpi_ca_state": recovering,
        "tcpi_backoff": rtt.backoff,
        "tcpi_options": options,
        "tcpi_snd_wscale": connection.send_shift,
        "tcpi_rcv_wscale": connection.receive_shift,
        "tcpi_rto": int(rtt.rto * 1_000_000),
        "tcpi_snd_mss": sender.mss,
        "tcpi_unacked": len(recovery.queue),
        "tcpi_total_retrans": sender.retransmissions,
        "tcpi_rtt": int(rtt.srtt * 1_000_000),
        "tcpi_rttvar": int(rtt.rttvar * 1_000_000),
        "tcpi_snd_ssthresh": _ssthresh(sender.congestion.ssthresh, sender.mss),
        "tcpi_snd_cwnd": sender.congestion.cwnd // sender.mss,
        "tcpi_rcv_space": receiver.limit,
        "tcpi_snd_wnd": sender.window,
    }
