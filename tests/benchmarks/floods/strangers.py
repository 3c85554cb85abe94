"""Floods from off-path attackers, and from one that knows the connection: B and a client in memory."""

from functools import partial

from tests.benchmarks.floods import forge
from tests.benchmarks.floods.stage import flood

FORGED = {
    "SYN flood": (1_000_000, forge.syns, "256 half-open connections, then cookies (RFC 4987)"),
    "ACK flood": (100_000, forge.acks, "an RST each; 10 challenge ACKs a second (RFC 5961)"),
    "RST flood": (100_000, forge.resets, "only the exact number resets; 10 challenge ACKs a second"),
    "FIN flood": (100_000, forge.fins, "an RST each; 10 challenge ACKs a second"),
    "UDP flood, one queue": (100_000, forge.to_a_full_queue, "212,992 bytes a queue"),
    "UDP flood, closed port": (100_000, forge.to_a_closed_port, "6 ICMP errors a host, 1000 a second to all"),
    "fragments never complete": (100_000, forge.never_complete, "4 MiB of fragments, 30 s"),
    "fragments overlap": (100_000, forge.overlapping, "the datagram is discarded (RFC 5722)"),
    "ICMP about others' connection": (100_000, forge.unreachables, "its number must be under way (RFC 5927)"),
}


def knowing(source):
    """Return a source that knows the sequence numbers of the established connection."""

    def of(stage):
        block = stage.block
        return source(stage.port, lambda: block.receiver.next, lambda: block.sender.next)

    return of


KNOWING = {
    "data near the window": (
        forge.near_the_window,
        "an ACK 2 MB off is not believed; 1 guess of 16,384 would be (RFC 5961, 5.2)",
    ),
    "ACKs of what was never sent": (forge.never_sent, "10 challenge ACKs a second"),
}


def seeing_nothing(source):
    """Return a source that knows A's port."""
    return lambda stage: source(stage.port)


def floods(scale):
    for name, (packets, source, bound) in FORGED.items():
        yield name, partial(flood, name, seeing_nothing(source), int(packets * scale), bound)
    for name, (source, bound) in KNOWING.items():
        yield name, partial(flood, name, knowing(source), int(100_000 * scale), bound)
