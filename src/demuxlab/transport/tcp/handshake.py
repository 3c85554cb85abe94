"""How a connection begins: its initial sequence number, and what the two SYNs agree on."""

from demuxlab.transport.tcp import cookies, ecn, mss, sequence
from demuxlab.transport.tcp.control_block import ControlBlock
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
        block.receiver.shift = mss.window_shift(settings.receive_buffer)
    sender.recovery.sack = options.sack_permitted and settings.sack
    answers = block.state is State.SYN_SENT and bool(syn.flags & ACK)
    sender.ecn = ecn.ECN() if ecn.agreed(_ecn_setting(block), syn, answers=answers) else None
    block.peer_mss = options.mss
    sender.mss, sender.offload_size = block.send_mss, block.services.largest
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
