"""How a connection begins: its initial sequence number, and what the two SYNs agree on."""

from demuxlab.transport.tcp import cookies, ecn, fast_open, mss, phases, sequence
from demuxlab.transport.tcp.byte_queue import Bytes
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.fast_open import Failure, FastOpen, Switch
from demuxlab.transport.tcp.states import State
from demuxlab.wire import tcp
from demuxlab.wire.segment import ACK, CWR, ECE, SYN, TCPSegment


def _ecn_setting(block: ControlBlock) -> int:
    """An active open has asked for ECN, or cannot have it (RFC 3168, section 6.1.1)."""
    asked = block.passive or block.settings.ecn == ecn.ASK
    return block.settings.ecn if asked else ecn.OFF


def receive_syn(block: ControlBlock, syn: TCPSegment, now: float) -> tcp.Options:
    """Set IRS and the options that both sides have (RFC 9293, 3.7.1; RFC 7323, 1.3); return the peer's."""
    options = tcp.read_options(syn.options)
    settings, sender = block.settings, block.sender
    block.receiver.synchronize(syn.sequence)
    if options.timestamps is not None and settings.timestamps:
        block.timestamps = block.new_timestamps(options.timestamps[0], now)
    if options.window_scale is not None and settings.window_scale:
        block.send_shift = options.window_scale
        block.receiver.shift = mss.window_shift(settings.receive_limits.most)
    sender.recovery.sack = options.sack_permitted and settings.sack
    answers = block.state is State.SYN_SENT and bool(syn.flags & ACK)
    sender.ecn = ecn.ECN() if ecn.agreed(_ecn_setting(block), syn, answers=answers) else None
    block.peer_mss = options.mss
    sender.mss = block.send_mss
    sender.recovery.queue.resize(sender.mss)
    sender.offload_size, sender.link_cuts = block.services.largest, block.services.link_cuts
    sender.update_window(syn.sequence, 0, syn.window)
    return options


def restore_from_cookie(block: ControlBlock, ack: TCPSegment, options: tcp.Options, now: float) -> None:
    """Stand in for the SYN and the SYN,ACK of a SYN cookie, which kept these options (RFC 4987, 3.6)."""
    block.sender.next += 1
    before = (ack.sequence - 1) % sequence.MODULUS
    flags = SYN | (ECE | CWR if cookies.decode_ecn(ack) else 0)
    receive_syn(block, ack._replace(sequence=before, options=tcp.build_options(options), flags=flags), now)
    # The SYN,ACK offered an unshifted window.
    block.receiver.shift = 0
    block.receiver.right_edge = block.receiver.next + cookies.WINDOW


# TCP Fast Open (RFC 7413)


def begin_fast_open(block: ControlBlock, data: Bytes, now: float) -> int:
    """Put data in flight with our SYN, where a cookie permits it, else ask for one (section 4.2.1).

    Returns how many bytes.
    """
    block.fast_open = FastOpen()
    server = block.services.fast_open[block.socket.remote_address]
    if not may_send_early(block):
        block.fast_open = FastOpen(server.request())
        block.fast_open.failure = Failure.COOKIE_UNAVAILABLE
        return 0
    if not without_cookie(block):
        block.fast_open = FastOpen(server.request())
    room = fast_open.room(block.path_mss, server)
    block.fast_open.sent = block.sender.send_with_syn(data, room, now)
    return block.fast_open.sent


def may_send_early(block: ControlBlock) -> bool:
    """Tell whether a SYN to this server may carry data."""
    return without_cookie(block) or bool(block.services.fast_open[block.socket.remote_address].cookie)


def without_cookie(block: ControlBlock) -> bool:
    """Tell whether a client needs no cookie."""
    settings = block.settings
    return settings.fast_open_without_cookie or bool(settings.fast_open & Switch.CLIENT_WITHOUT_COOKIE)


def finish_fast_open(block: ControlBlock, syn: TCPSegment, options: tcp.Options, now: float) -> None:
    """The SYN,ACK of a client that uses it has come: keep the cookie, and send again what did not arrive.

    Without a sign of congestion: the server did not want the data, or never saw it (section 4.2.1).
    """
    state, sender = block.fast_open, block.sender
    if state is None:
        return
    again = sender.retransmissions > 0
    block.services.fast_open.answered(
        block.socket.remote_address,
        options.mss or 0,
        state.requested,
        options.fast_open,
        tried=options.fast_open is None and not state.sent and not again,
    )
    if sender.in_flight:
        state.failure = Failure.SYN_RETRANSMITTED if again else Failure.DATA_NOT_ACKNOWLEDGED
        sender.recovery.queue.cut(sender.mss)
        phases.send_again(sender)
    else:
        state.data = state.sent
    if syn.payload:
        take_data_of_syn(block, syn, now)


def take_data_of_syn(block: ControlBlock, syn: TCPSegment, now: float) -> None:
    """Receive the data of a SYN or SYN,ACK; a FIN in it has to be sent again."""
    receiver = block.receiver
    receiver.right_edge = receiver.next + min(receiver.limit, mss.MAX_WINDOW_FIELD)
    size = len(syn.payload)
    if receiver.receive(receiver.next, syn.payload, False):
        block.count_received(size, size, now)
    if block.passive and block.fast_open is not None:
        block.fast_open.data = size
