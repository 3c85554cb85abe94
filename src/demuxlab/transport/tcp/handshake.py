"""How a connection begins: its first number, and what the two SYNs agree on."""

from demuxlab.transport.tcp import cookies, sequence
from demuxlab.transport.tcp.control_block import ControlBlock
from demuxlab.transport.tcp.output import Output
from demuxlab.transport.tcp.receiver import MAX_FIELD, Receiver
from demuxlab.transport.tcp.sender import Sender
from demuxlab.wire import tcp
from demuxlab.wire.segment import SYN, TCPSegment


def begin(block: ControlBlock, mss: int, now: float) -> None:
    """Choose the initial sequence number (RFC 6528); the socket has all four values."""
    first = sequence.initial(block.socket.key, block.services.secret, now)
    block.sender = Sender(first, mss, block.settings.send_buffer)


def meet(block: ControlBlock, output: Output, syn: TCPSegment, now: float) -> tcp.Options:
    """Take the peer's SYN: its number and its options, returned (RFC 9293, 3.7.1; RFC 7323, 1.3 and 2.2)."""
    options = tcp.read_options(syn.options)
    settings, sender = block.settings, block.sender
    block.receiver = Receiver(syn.sequence + 1, settings.receive_buffer)
    block.timestamps = options.timestamps is not None and settings.timestamps
    if options.timestamps is not None and block.timestamps:
        block.recent, block.recent_at = options.timestamps[0], now
    if options.window_scale is not None and settings.window_scale:
        block.scale_out, block.scale_in = options.window_scale, output.own_scale()
        block.receiver.widest = MAX_FIELD << block.scale_in
    sender.sacks = options.sack_permitted and settings.sack
    output.peer_mss = options.mss
    sender.nodelay = settings.nodelay
    sender.mss, sender.largest = output.send_mss(), block.services.largest
    sender.algorithm = settings.congestion
    sender.offered(syn.sequence, 0, syn.window)
    return options


def remember(block: ControlBlock, output: Output, ack: TCPSegment, options: tcp.Options, now: float) -> None:
    """Make up for the SYN and the SYN,ACK whose options a cookie has kept (RFC 4987, section 3.6)."""
    first = (ack.acknowledgment - 1) % sequence.MODULUS
    block.sender = Sender(first, 536, block.settings.send_buffer)
    block.sender.next += 1
    before = (ack.sequence - 1) % sequence.MODULUS
    syn = ack._replace(sequence=before, options=tcp.build_options(options), flags=SYN)
    meet(block, output, syn, now)
    block.scale_in = 0
    block.receiver.widest = MAX_FIELD
    block.receiver.edge = block.receiver.next + cookies.WINDOW
