"""Quick writing: data that leaves as one segment at once, while nothing else is under way.

So does each answer of an interactive server. What this does is what `TCPConnection.write` and `flush` would
do; all other writes are left to them.
"""

from demuxlab.transport.tcp import output
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.tcp.loss_recovery import Phase
from demuxlab.transport.tcp.mss import MAX_WINDOW_FIELD
from demuxlab.transport.tcp.retransmission_queue import EMPTY
from demuxlab.transport.tcp.states import State
from demuxlab.transport.tcp.statistics import Statistics
from demuxlab.transport.timers import NEVER
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, PSH

_ESTABLISHED, _OPEN = State.ESTABLISHED, Phase.OPEN


def write(connection: TCPConnection, data: Bytes, now: float) -> bool:
    """Write and send data with PSH; False, and nothing changed, where it is not the usual case."""
    sender, receiver, statistics = connection.sender, connection.receiver, connection.statistics
    size, mss, buffer, recovery, settings = (
        len(data),
        sender.mss,
        sender.buffer,
        sender.recovery,
        sender.settings,
    )
    if (
        recovery.queue is not EMPTY
        or not 0 < size <= mss
        or connection.state is not _ESTABLISHED
        or buffer
        or size > sender.window
        or sender.max_window < 2 * mss  # segments may have to be smaller
        or (statistics is not None and statistics.limit)
        or receiver.disturbed
        or recovery.phase is not _OPEN
        or recovery.probe is not None
        or sender.ecn is not None
        or sender.search is not None
        or sender.pacing is not None
        or connection.reported is not None
        or connection.fast_open is not None
        or buffer.fin is not None
        or size > buffer.limit
        or settings.cork
        or settings.max_pacing_rate
        or settings.user_timeout
    ):
        return False
    if statistics is None:
        statistics = connection.statistics = Statistics()
    sender.age(now)
    buffer.write(data)
    segment = sender.send_lone(size, now)
    acknowledgments, deadlines, stamps = (
        connection.acknowledgments,
        connection.deadlines,
        connection.timestamps,
    )
    acknowledgments.sent(receiver.next)
    deadlines.delayed_ack = NEVER
    statistics.sent_data(size, mss, now)
    output.submit(
        connection.services,
        connection.socket,
        sequence=segment.start,
        acknowledgment=receiver.next,
        flags=ACK | PSH,
        window=min(receiver.advertise(mss) >> receiver.shift, MAX_WINDOW_FIELD),
        options=tcp.build_timestamps(*stamps.option(now)) if stamps is not None else b"",
        data=buffer.at(0, size),
        mss=mss,
        fields=settings.ip,
    )
    sender.all_sent(now, new=True)
    deadlines.in_flight(now, sender.rtt)
    deadlines.probe_loss(now + sender.probe_timeout)
    statistics.busy_since = now
    connection.deadline = deadlines.earliest
    connection.services.timers.update(connection)
    return True
