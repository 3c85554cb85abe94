"""Differences from Linux that are permitted, and after which the two states are no longer the same.

A story is compared up to there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from demuxlab.drill.lockstep import PAUSE, Observed, Story, segment_of
from demuxlab.drill.packets import MODULUS
from demuxlab.drill.permitted import Packets
from demuxlab.drill.script import TCPPacket
from demuxlab.language import marked
from demuxlab.wire.segment import ACK, FIN, RST, SYN

_LARGE_WRITE, _SMALL_WINDOW, _WINDOW = 5000, 3000, 65_535


class Parting(NamedTuple):
    """A difference after which the two states differ."""

    name: str
    source: str
    why: str
    happens: Callable[["Moment"], bool]


class Moment(NamedTuple):
    """A step in which the two differ, and what came before."""

    story: Story
    number: int
    ours: Packets
    kernels: Packets
    before: Sequence[Observed]
    """The kernel's outcomes of the earlier steps."""

    @property
    def segment(self) -> TCPPacket | None:
        """What arrives in this step."""
        return segment_of(self.story.steps[self.number])

    @property
    def segments(self) -> list[TCPPacket]:
        """What has arrived up to this step."""
        found = (segment_of(step) for step in self.story.steps[: self.number + 1])
        return [segment for segment in found if segment is not None]

    @property
    def last(self) -> TCPPacket | None:
        """The kernel's last ACK before."""
        sent = (packet for observed in reversed(self.before) for packet in reversed(observed.sent))
        return next((packet for packet in sent if packet.flags & (ACK | RST) == ACK), None)


def _window_of_segments(moment: Moment) -> bool:
    data = [
        [packet for packet in sent if packet.size or packet.flags & FIN]
        for sent in (moment.ours, moment.kernels)
    ]
    fewer, more = sorted(data, key=len)
    alike = all(one.sequence == other.sequence for one, other in zip(fewer, more, strict=False))
    rest = more[len(fewer) :]
    full = moment.story.written >= _LARGE_WRITE or PAUSE in moment.story.steps[: moment.number + 1]
    return full and alike and bool(rest)


def _cut_otherwise(moment: Moment) -> bool:
    data = [packet for packet in (*moment.ours, *moment.kernels) if packet.size]
    if PAUSE in moment.story.steps[: moment.number + 1] and moment.ours and moment.kernels:
        return moment.ours[0].sequence == moment.kernels[0].sequence and bool(data)
    small = any(segment.window is not None and segment.window < _SMALL_WINDOW for segment in moment.segments)
    rest = [packet for packet in (*moment.ours, *moment.kernels) if not packet.size]
    return small and bool(data) and all(packet.flags == ACK for packet in rest)


def _sack_beside_data(moment: Moment) -> bool:
    options = [packet.options for packet in moment.kernels if packet.size]
    told = any(option.kind == "sack" for found in options if isinstance(found, tuple) for option in found)
    return told and any(packet.size for packet in moment.ours)


def _goes_on_after_fin(moment: Moment) -> bool:
    """Tell whether the peer contradicts itself: data or another FIN beyond its first FIN."""
    ends = [segment.sequence + segment.size for segment in moment.segments if segment.flags & FIN]
    reach = [segment.sequence + segment.size for segment in moment.segments if segment.size]
    return any(0 < (end - first) % MODULUS < MODULUS // 2 for first in ends for end in ends + reach)


def _crosses_edge(moment: Moment) -> bool:
    segment, last = moment.segment, moment.last
    if segment is None or last is None or last.acknowledgment is None:
        return False
    start = (segment.sequence - last.acknowledgment) % MODULUS
    return start <= _WINDOW + 1 and start + segment.size + bool(segment.flags & FIN) >= _WINDOW


def _old_acknowledgment(moment: Moment) -> bool:
    segment, last = moment.segment, moment.last
    if segment is None or last is None or segment.acknowledgment is None:
        return False
    if any(earlier.acknowledgment == 0 for earlier in moment.segments):
        return True
    age = (last.sequence - segment.acknowledgment) % MODULUS
    return 0 < age < MODULUS // 2 and (segment.size > 0 or age > _WINDOW // 2)


def _syn_ack_to_half_open(moment: Moment) -> bool:
    listens = any(step.startswith("listen(") for step in moment.story.steps)
    both = SYN | ACK
    return listens and any(segment.flags & both == both for segment in moment.segments)


def _forgotten(moment: Moment) -> bool:
    """Tell whether the socket is closed and its FIN acknowledged: Linux keeps only a small part of it."""
    fins = [
        (packet.sequence + packet.size + 1) % MODULUS
        for observed in moment.before
        for packet in observed.sent
        if packet.flags & FIN
    ]
    closed = any(step.startswith("close(") for step in moment.story.steps[: moment.number])
    return closed and any(segment.acknowledgment in fins for segment in moment.segments)


def _closes_half_open(moment: Moment) -> bool:
    both_opened = any(segment.flags & (SYN | ACK) == SYN for segment in moment.segments)
    connects = any(step.startswith("connect(") for step in moment.story.steps[: moment.number])
    shut = any(step.startswith(("close(", "shutdown(")) for step in moment.story.steps[: moment.number + 1])
    segment = moment.segment
    odd = segment is not None and (segment.acknowledgment == 0 or segment.flags & SYN > 0)
    return both_opened and connects and (shut or odd)


PARTINGS: Sequence[Parting] = (
    Parting(
        marked("how many segments the congestion window lets out"),
        "RFC 5681, section 3.1; RFC 3465, section 2.3",
        "ours counts bytes, and grows by two segments an ACK; Linux counts segments",
        _window_of_segments,
    ),
    Parting(
        marked("into which segments waiting data is cut"),
        "RFC 9293, section 3.8.6.2.1",
        "Linux cuts what is written by the window of that time, ours by the window when it is sent; "
        "sent again, Linux joins small segments",
        _cut_otherwise,
    ),
    Parting(
        marked("SACK beside data"),
        "RFC 2018, section 3",
        "ours tells of gaps where a segment has room left over; Linux makes room by sending less data",
        _sack_beside_data,
    ),
    Parting(
        marked("a peer that goes on after its FIN"),
        "RFC 9293, section 3.10.7.4",
        "nothing follows a FIN: ours ignores it, Linux takes some of it, or resets",
        _goes_on_after_fin,
    ),
    Parting(
        marked("data across the window's edge"),
        "RFC 9293, section 3.10.7.4",
        "ours takes what lies in the window; Linux the whole segment that begins in it or at its edge",
        _crosses_edge,
    ),
    Parting(
        marked("an ACK that is too old"),
        "RFC 5961, section 5.2",
        "ours drops the segment; Linux takes data or stamp where the rest of the header is what it expects",
        _old_acknowledgment,
    ),
    Parting(
        marked("a SYN,ACK to a half-open connection of a listener"),
        "RFC 9293, section 3.10.7.4",
        "ours takes its ACK and is established; Linux challenges its SYN and is so by half",
        _syn_ack_to_half_open,
    ),
    Parting(
        marked("a closed socket whose FIN is acknowledged"),
        "RFC 9293, section 3.10.7.4; RFC 5961",
        "Linux keeps a small part of it, which any RST ends and which looks at no ACK; ours obeys the RFCs",
        _forgotten,
    ),
    Parting(
        marked("the FIN of a connection that is half open"),
        "RFC 9293, section 3.10.4",
        "opened from both sides: ours sends it when the connection is established, Linux at once",
        _closes_half_open,
    ),
)


def parting(moment: Moment) -> Parting | None:
    """Return the rule by which the two part here; None: it is a disagreement."""
    return next((rule for rule in PARTINGS if rule.happens(moment)), None)
