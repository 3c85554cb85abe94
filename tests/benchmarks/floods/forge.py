"""Forged packets: each function is an endless generator, the same in every run.

B is under attack, A is the real client. The attacker knows A's 4-tuple, but not the sequence numbers.
"""

import random
from itertools import count

from demuxlab.wire import icmp, ip, ipv4, packet, tcp, udp
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

A, B = from_text("10.9.0.1"), from_text("10.9.0.20")
WEB, SERVED, FLOODED, CLOSED = 80, 53, 9, 7777
"""B's ports: TCP; UDP read by a process; UDP with a full queue; UDP without a socket."""


def chance():
    return random.Random(20260101)


def stranger(dice):
    """Return an unused address (RFC 5737 or the benchmark networks of RFC 2544), and a port."""
    return bytes((198, 18 + dice.randrange(2))) + dice.randbytes(2), dice.randrange(1024, 65536)


def segment(source, port, flags, sequence=0, acknowledgment=0, data=b"", window=65535, to=WEB, options=b""):
    numbers = {"sequence": sequence & 0xFFFFFFFF, "acknowledgment": acknowledgment & 0xFFFFFFFF}
    body = tcp.build(source, B, port, to, data, flags=flags, window=window, options=options, **numbers)
    return packet.build(source, B, ip.TCP, body)


def syns(_pair=None):
    dice, options = chance(), tcp.build_options(tcp.Options(mss=1460))
    while True:
        yield segment(*stranger(dice), SYN, dice.getrandbits(32), options=options)


def segments(flags, port):
    """Half from strangers, half in the name of A's connection from `port`, with numbers out of the air."""
    dice = chance()
    while True:
        yield segment(*stranger(dice), flags, dice.getrandbits(32), dice.getrandbits(32))
        yield segment(A, port, flags, dice.getrandbits(32), dice.getrandbits(32))


def acks(port):
    return segments(ACK, port)


def resets(port):
    return segments(RST, port)


def fins(port):
    return segments(FIN | ACK, port)


def near_the_window(port, expected, unacked):
    """Data at most 1 MB beside what B expects; the ACK number is wrong by more than the largest window."""
    dice = chance()
    while True:
        wrong = dice.randrange(1 << 21, 1 << 31)
        sequence = expected() + dice.randrange(-1 << 20, 1 << 20)
        yield segment(A, port, ACK | PSH, sequence, unacked() + wrong, b"forged" * 20)


def never_sent(port, expected, unacked):
    """An on-path attacker: the right sequence number, and ACKs of data that B has never sent."""
    for number in count(1):
        yield segment(A, port, ACK, expected(), unacked() + 1_000_000 + number)


def datagrams(to):
    dice = chance()
    while True:
        source, port = stranger(dice)
        yield packet.build(source, B, ip.UDP, udp.build(source, B, port, to, b"forged" * 10))


def to_a_full_queue(_port):
    return datagrams(FLOODED)


def to_a_closed_port(_port):
    return datagrams(CLOSED)


def pieces(source, identification, *places):
    for offset, size in places:
        place = offset // 8 | ipv4.MORE_FRAGMENTS
        yield ipv4.build(source, B, ip.UDP, bytes(size), identification=identification, fragment=place)


def never_complete(_port):
    dice = chance()
    for number in count():
        yield from pieces(stranger(dice)[0], number & 0xFFFF, (0, dice.choice((8, 1480))))


def overlapping(_port):
    dice = chance()
    for number in count():
        yield from pieces(stranger(dice)[0], number & 0xFFFF, (0, 1480), (1472, 1480))


def unreachables(port):
    """ICMP errors about A's connection, with numbers out of the air: to close it or cut it."""
    dice = chance()
    while True:
        quoted = tcp.build(B, A, WEB, port, sequence=dice.getrandbits(32), flags=ACK)
        code = dice.choice((0, 1, 2, 3, icmp.FRAGMENTATION_NEEDED))
        about = packet.build(B, A, ip.TCP, quoted)
        source = stranger(dice)[0]
        yield packet.build(source, B, ip.ICMP, icmp.build(source, B, icmp.UNREACHABLE, code, 68, about))
