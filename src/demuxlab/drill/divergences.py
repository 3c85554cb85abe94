"""Known differences between our stack and Linux after which the two connections are in different states.

A scenario is compared only up to the step of such a divergence. Each names the RFC that leaves the choice, or
that our stack follows and Linux does not.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from demuxlab.drill.flow import MODULUS
from demuxlab.drill.known_differences import Packets, same_values
from demuxlab.drill.lockstep import PAUSES, Observed, Scenario, segment_of
from demuxlab.drill.script import TCPPacket
from demuxlab.language import marked
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

_SMALL_WINDOW, _WINDOW, _SEGMENT = 3000, 65_535, 1461
_LEAST = 48
"""Bytes to which Linux cuts data at least: 68 with a TCP header (RFC 791, section 3.2)."""
_DUPLICATES = 2
"""So many duplicate ACKs count beyond the ACK that follows them: one of them is for what it acknowledges."""
_SACK_SIZES = (12, 20, 28, 36)
"""Bytes of one to four SACK blocks as an option, padded."""


class Divergence(NamedTuple):
    """A known difference after which the two connections are in different states."""

    name: str
    source: str
    why: str
    applies: Callable[["DifferingStep"], bool]


class DifferingStep(NamedTuple):
    """A step in which the two outcomes differ: the segments each side sent, and what came before."""

    scenario: Scenario
    number: int
    ours: Packets
    kernels: Packets
    before: Sequence[Observed]
    """The kernel's outcomes of the earlier steps."""
    own: Sequence[Observed]
    """Ours, this step's included."""
    theirs: Sequence[Observed]
    """The kernel's as it was, with what known differences have removed."""

    def only_differs_in(self, name: str) -> tuple[int, int] | None:
        """Return both values of the one field of TCP_INFO that differs, ours first; None if others do."""
        texts = self.own[-1].value, self.theirs[-1].value
        mine, theirs = (dict(part.split("=") for part in text.split() if "=" in part) for text in texts)
        if name not in mine or name not in theirs or self.ours != self.kernels:
            return None
        found = int(mine[name]), int(theirs[name])
        same = texts[0].replace(f"{name}={found[0]}", f"{name}={found[1]}")
        return found if same_values(same, texts[1]) else None

    @property
    def segment(self) -> TCPPacket | None:
        """The segment that this step injects."""
        return segment_of(self.scenario.steps[self.number])

    @property
    def segments(self) -> list[TCPPacket]:
        """The segments injected up to this step."""
        found = (segment_of(step) for step in self.scenario.steps[: self.number + 1])
        return [segment for segment in found if segment is not None]

    @property
    def last_ack(self) -> TCPPacket | None:
        """The last segment with ACK that the kernel sent before this step."""
        sent = (packet for observed in reversed(self.before) for packet in reversed(observed.sent))
        return next((packet for packet in sent if packet.flags & (ACK | RST) == ACK), None)


def _segmentation(step: DifferingStep) -> bool:
    """Tell whether the same data was cut into other segments.

    That may be after a timeout, with a small window, or when the path's MTU has become smaller.
    """
    ours, kernels = _reach(step.ours), _reach(step.kernels)
    # Linux sends again what is lost before it receives the segment's data, with the acknowledgment so far.
    acknowledged = {packet.acknowledgment for packet in step.ours}
    if step.last_ack is not None:
        acknowledged.add(step.last_ack.acknowledgment)
    if ours is None or kernels is None or any(one.acknowledgment not in acknowledged for one in step.kernels):
        return False
    if [one for one in step.ours if not one.size] != [one for one in step.kernels if not one.size]:
        return False
    timed_out = any(pause in step.scenario.steps[: step.number + 1] for pause in PAUSES)
    single = [len(sent) for sent in (step.ours, step.kernels)] == [1, 1]
    small = any(segment.window is not None and segment.window < _SMALL_WINDOW for segment in step.segments)
    # The segment at the end may be cut where the other stack's is not.
    near = ours[0] == kernels[0] and abs(ours[1] - kernels[1]) < _SEGMENT
    too_big = "frag_needed" in step.scenario.steps[step.number]
    return (near and (small or (timed_out and single))) or (too_big and ours == kernels)


def _cut_at_the_write(step: DifferingStep) -> bool:
    """Tell whether a window opens for data written before, which the kernel has cut by the small window."""
    ours, kernels, opening = _reach(step.ours), _reach(step.kernels), step.segment
    if kernels is None or opening is None or opening.window is None:
        return False
    writes = [text for text in step.scenario.steps[: step.number] if text.startswith("write(")]
    small = max(_offered(step), default=_SMALL_WINDOW)
    opened = small < _SMALL_WINDOW and small < opening.window
    if not (writes and opened and step.kernels[-1].size <= 2 * max(small, _LEAST)):
        return False
    if ours is None:
        # Nagle's algorithm holds back what is left, but not its pieces.
        return sum(int(text.rstrip(")").rpartition(" ")[2]) for text in writes) + 1 - kernels[0] < _SEGMENT
    # Linux queues pieces of two segments at most, each of half the window or all of a small one.
    pieces = all(one.size <= other.size for one, other in zip(step.kernels, step.ours[:-1], strict=False))
    return ours[0] == kernels[0] and pieces and kernels[1] <= ours[1]


def _offered(step: DifferingStep) -> list[int]:
    """Return the windows that were offered before this step, by segments in order that are taken.

    That is none of a RST, and none that comes with an ACK of unsent data. That of a SYN counts where there is
    no other, and the SYN opens the connection: a later one is challenged.
    """
    offered: list[int] = []
    first: list[int] = []
    sent = expected = 1
    is_open = False
    for text, observed in zip(step.scenario.steps[: step.number], step.before, strict=False):
        segment = segment_of(text)
        if segment is not None and segment.window is not None and not segment.flags & RST:
            if segment.flags & SYN:
                first += [] if is_open else [segment.window]
            elif segment.sequence == expected and segment.flags & ACK and _acknowledges(segment, sent):
                offered.append(segment.window)
                expected += segment.size
        sent = max(sent, *(packet.sequence + packet.size for packet in observed.sent), 1)
        is_open = is_open or any(not packet.flags & SYN for packet in observed.sent)
    return offered or first


def _acknowledges(segment: TCPPacket, sent: int) -> bool:
    """Tell whether a segment acknowledges nothing that was not sent."""
    return segment.acknowledgment is not None and segment.acknowledgment <= sent


def _reach(sent: Packets) -> tuple[int, int] | None:
    """Return where the data of segments begins and ends; None where they are not one run of data."""
    data = [packet for packet in sent if packet.size]
    follows = all((one.sequence + one.size) % MODULUS == other.sequence for one, other in pairwise(data))
    if not data or not follows:
        return None
    return data[0].sequence, data[-1].sequence + data[-1].size


def _new_data_by_the_timer(step: DifferingStep) -> bool:
    """Tell whether ours has sent one new segment more after a timeout and a SACK."""
    number = len(step.kernels)
    more = step.ours[number:]
    sent = max((one.sequence + one.size for observed in step.before for one in observed.sent), default=1)
    timed_out = any(pause in step.scenario.steps[: step.number] for pause in PAUSES)
    after = timed_out and "sack" in step.scenario.steps[step.number]
    is_new = [one.size > 0 and one.sequence >= sent for one in more]
    return after and step.ours[:number] == step.kernels and is_new == [True]


def _loss_after_an_undone_timeout(step: DifferingStep) -> bool:
    """Tell whether ours has sent a lost segment more, after a SACK of what the timeout did not lose."""
    number = len(step.kernels)
    segment, more = step.segment, step.ours[number:]
    pause = next((at for at, text in enumerate(step.scenario.steps[: step.number]) if text in PAUSES), None)
    blocks = _blocks(segment)
    if pause is None or len(more) != 1 or not number or step.ours[:number] != step.kernels or not blocks:
        return False
    sent = [packet for observed in step.before for packet in observed.sent if packet.size]
    again = {packet.sequence for observed in step.before[pause:] for packet in observed.sent}
    spared = any(packet.sequence not in again and _within(packet, blocks) for packet in sent)
    old = any(packet.sequence == more[0].sequence for packet in sent)
    # The segment that the timeout has sent again is not acknowledged.
    assert segment is not None
    open_ = segment.acknowledgment in {packet.sequence for packet in step.before[pause].sent}
    return spared and old and open_ and more[0].sequence not in again and not _within(more[0], blocks)


def _duplicates_beyond_a_timeout(step: DifferingStep) -> bool:
    """Tell whether, without SACK, the kernel sends one segment more at the end of a timeout's recovery."""
    texts, number = step.scenario.steps[: step.number + 1], len(step.ours)
    segments = [one for one in step.segments if one.acknowledgment is not None]
    if len(segments) < _DUPLICATES + 2 or any("sackOK" in text for text in texts):
        return False
    last, *earlier = reversed([one.acknowledgment or 0 for one in segments])
    timed_out = any(text in PAUSES for text in texts)
    # The ACKs before this one were duplicates.
    repeated = len(set(earlier[: _DUPLICATES + 1])) == 1 and last > earlier[0]
    return timed_out and repeated and len(step.kernels) == number + 1 and step.kernels[:number] == step.ours


def _blocks(segment: TCPPacket | None) -> list[tuple[int, int]]:
    """Return the SACK blocks of a segment."""
    options = segment.options if segment is not None and isinstance(segment.options, tuple) else ()
    edges = next((option.values for option in options if option.kind == "sack"), ())
    return list(zip(edges[::2], edges[1::2], strict=True))


def _within(packet: TCPPacket, blocks: Sequence[tuple[int, int]]) -> bool:
    return any(left <= packet.sequence and packet.sequence + packet.size <= right for left, right in blocks)


def _exceeded_while_connecting(step: DifferingStep) -> bool:
    steps = step.scenario.steps[: step.number + 1]
    exceeded = next((number for number, text in enumerate(steps) if "icmp time_exceeded" in text), len(steps))
    answered = any(segment is not None for segment in map(segment_of, steps[:exceeded]))
    return exceeded < len(steps) and not answered and any(text.startswith("connect(") for text in steps)


def _sack_on_data(step: DifferingStep) -> bool:
    """Tell whether a segment of the kernel's has less data by just the room of its SACK blocks."""
    ours, kernels = ([packet for packet in sent if packet.size] for sent in (step.ours, step.kernels))
    if not ours or not kernels or ours[0].sequence != kernels[0].sequence:
        return False
    room = [one.size - other.size for one, other in zip(ours, kernels, strict=False)]
    options = [packet.options for packet in kernels]
    sacks = any(option.kind == "sack" for found in options if isinstance(found, tuple) for option in found)
    segment, last = step.segment, step.last_ack
    if not sacks and segment is not None and last is not None and last.acknowledgment is not None:
        # A block below the acknowledgment number is a known difference, which is removed.
        sacks = 0 < (last.acknowledgment - segment.sequence) % MODULUS < MODULUS // 2
    return sacks and room[0] in _SACK_SIZES and all(size >= 0 for size in room[:-1])


def _beyond_fin(step: DifferingStep) -> bool:
    """Tell whether the kernel has taken what the peer sent beyond its FIN, or has reset such a segment."""
    segment, last = step.segment, step.last_ack
    if segment is None or last is None or last.acknowledgment is None:
        return False
    fins = {_end(one) for one in step.segments if one.flags & FIN}
    if any(answer.flags & RST for answer in step.kernels):
        length = (_end(segment) - segment.sequence) % MODULUS
        return last.acknowledgment in fins and 0 < (last.acknowledgment - segment.sequence) % MODULUS < length
    if not step.kernels or len(step.ours) != len(step.kernels):
        return False
    for mine, theirs in zip(step.ours, step.kernels, strict=True):
        own, reach = _reported(mine), _reported(theirs)
        beyond = any(0 < (number - end) % MODULUS < MODULUS // 2 for number in reach for end in fins)
        if not (fins & own and beyond and mine.sequence == theirs.sequence):
            return False
    return True


def _reported(packet: TCPPacket) -> set[int]:
    """Return up to where a segment acknowledges, and up to where its SACK blocks report."""
    return {packet.acknowledgment or 0, *(right for _left, right in _blocks(packet))}


def _end(segment: TCPPacket) -> int:
    """Return the number after a segment."""
    return (segment.sequence + segment.size + bool(segment.flags & FIN)) % MODULUS


def _crosses_edge(step: DifferingStep) -> bool:
    """Tell whether the segment reaches the right edge of the receive window or crosses it."""
    segment, last = step.segment, step.last_ack
    if segment is None or last is None or last.acknowledgment is None:
        return False
    start = (segment.sequence - last.acknowledgment) % MODULUS
    return start <= _WINDOW + 1 and start + segment.size + bool(segment.flags & FIN) >= _WINDOW


def _old_acknowledgment(step: DifferingStep) -> bool:
    """Tell whether the kernel has taken data or timestamp of the next segment, whose ACK is below SND.UNA."""
    segment, last = step.segment, step.last_ack
    if segment is None or last is None or segment.acknowledgment is None or len(step.kernels) != 1:
        return False
    sent = (packet for observed in step.before for packet in observed.sent)
    ends = {0, 1} | {_end(packet) for packet in sent}
    acknowledged = [one.acknowledgment for one in step.segments[:-1] if one.acknowledgment in ends]
    unacked = max((number for number in acknowledged if number is not None), default=0)  # SND.UNA
    old = segment.acknowledgment == 0 or 0 < (unacked - segment.acknowledgment) % MODULUS < MODULUS // 2
    following = segment.sequence == last.acknowledgment and segment.flags & ~PSH == ACK
    [answer] = step.kernels
    data = segment.size > 0 and answer.acknowledgment == _end(segment)
    return old and following and (data or _timestamp(answer, 1) == _timestamp(segment, 0) is not None)


def _timestamp(packet: TCPPacket, which: int) -> int | None:
    """Return TSval (0) or TSecr (1) of a segment; None without the option."""
    options = packet.options if isinstance(packet.options, tuple) else ()
    return next((option.values[which] for option in options if option.kind == "TS"), None)


def _ack_of_nothing(step: DifferingStep) -> bool:
    """Tell whether, after both SYNs have crossed, ours has answered an ACK of nothing with RST."""
    crossed = False
    for text, mine in zip(step.scenario.steps, step.own, strict=False):
        segment = segment_of(text)
        if segment is None:
            continue
        reset = [(packet.flags, packet.sequence) for packet in mine.sent] == [(RST, 0)]
        if crossed and reset and segment.flags & (ACK | SYN) == ACK and segment.acknowledgment == 0:
            return any(one.startswith("connect(") for one in step.scenario.steps)
        crossed = crossed or segment.flags & (SYN | ACK | RST) == SYN
    return False


def _count_of_a_cut_packet(step: DifferingStep) -> bool:
    """Tell whether ours counts one segment more in flight, of which a part is acknowledged."""
    counts = step.only_differs_in("unacked")
    acks = [one.acknowledgment or 0 for one in step.segments if one.flags & ACK and not one.flags & RST]
    sent = [packet for observed in step.before for packet in observed.sent if packet.size]
    unacked = max((ack for ack in acks if any(ack <= one.sequence + one.size for one in sent)), default=0)
    cut = any(one.sequence < unacked < one.sequence + one.size for one in sent)
    return counts is not None and cut and counts[0] == counts[1] + 1


def _window_of_a_segment_ahead(step: DifferingStep) -> bool:
    """Tell whether only SND.WND differs, after a segment far ahead whose window the next data had as well.

    It is told by TCP_INFO, or the kernel's is open and it sends, where ours is closed.
    """
    counts, ahead, confirmed = step.only_differs_in("snd_wnd"), None, None
    expected = 1
    for segment in step.segments:
        if segment.flags & (SYN | RST) or not segment.flags & ACK:
            continue
        if segment.sequence > expected and segment.window is not None:
            if confirmed is not None and segment.sequence < confirmed.sequence:
                return counts is not None and counts[0] == confirmed.window and counts[1] == segment.window
            ahead = segment
        elif segment.sequence == expected:
            if confirmed is not None and not confirmed.window and segment.window and not step.ours:
                return [bool(one.size) for one in step.kernels] == [True]
            if ahead is not None and segment.size and segment.window == ahead.window:
                confirmed = ahead
            expected += segment.size
    return False


def _after_a_hastened_syn(step: DifferingStep) -> bool:
    """Tell whether only the kernel has sent its SYN again; ours sends FIN at a close, or TCP_INFO counts."""
    again = sum(packet.flags & SYN for observed in step.theirs for packet in observed.sent) > 2 * SYN
    closes = step.scenario.steps[step.number].startswith("close(")
    crossed = any(segment.flags & (ACK | SYN | RST) == SYN for segment in step.segments)
    if not (crossed and again) or step.kernels:
        return False
    texts = step.own[-1].value, step.theirs[-1].value
    counted = ["total_retrans=0 " in texts[0], "total_retrans=1 " in texts[1]] == [True, True]
    return (closes and [one.flags for one in step.ours] == [FIN | ACK]) or (counted and not step.ours)


def _syn_ack_to_half_open(step: DifferingStep) -> bool:
    listens = any(step.startswith("listen(") for step in step.scenario.steps)
    both = SYN | ACK
    return listens and any(segment.flags & both == both for segment in step.segments)


def _reduced_socket(step: DifferingStep) -> bool:
    """Tell whether the socket is closed and its FIN acknowledged.

    Linux then keeps only a reduced socket (inet_timewait_sock), in FIN-WAIT-2 as well.
    """
    fins = [
        (packet.sequence + packet.size + 1) % MODULUS
        for observed in step.before
        for packet in observed.sent
        if packet.flags & FIN
    ]
    closed = any(text.startswith("close(") for text in step.scenario.steps[: step.number])
    # It can send nothing but RST and ACK, and only in answer to a segment.
    answers = step.segment is not None and all(one.flags & RST or not one.size for one in step.kernels)
    return closed and answers and any(segment.acknowledgment in fins for segment in step.segments)


DIVERGENCES: Sequence[Divergence] = (
    Divergence(
        marked("the segmentation of queued data"),
        "RFC 9293, section 3.8.6.2.1",
        "Linux segments data by the window at the time of the write, ours by the window when it is sent; "
        "Linux joins small segments when it retransmits them; ours cuts each by itself where the path's "
        "MTU has become smaller",
        _segmentation,
    ),
    Divergence(
        marked("data written while the window was small"),
        "RFC 9293, section 3.8.6.2.1",
        "Linux cuts data at the write(2), by the largest window until then, and sends these pieces when the "
        "window has opened; ours cuts what is queued by the window in which it is sent",
        _cut_at_the_write,
    ),
    Divergence(
        marked("new data when RACK's timer has expired"),
        "RFC 8985, section 6.3",
        "ours sends what the window allows, new data too; Linux only what is lost, and new data later",
        _new_data_by_the_timer,
    ),
    Divergence(
        marked("the last loss after an undone timeout"),
        "RFC 5682, section 3.1; RFC 8985, section 6.2",
        "ours sends all that is lost; Linux one segment less, since it counts the one that the timeout has "
        "sent again among the lost ones that went again",
        _loss_after_an_undone_timeout,
    ),
    Divergence(
        marked("duplicate ACKs at the end of a timeout's recovery"),
        "RFC 6582, section 4",
        "they say nothing of what was sent later; Linux counts them on without SACK, takes so many later "
        "segments for arrived, and three of them for a loss",
        _duplicates_beyond_a_timeout,
    ),
    Divergence(
        marked("an ICMP error while connecting"),
        "RFC 9293, section 3.9.2.2 (MUST-56); RFC 5461, section 4.1",
        "time exceeded does not end our attempt to connect; it ends that of Linux",
        _exceeded_while_connecting,
    ),
    Divergence(
        marked("the count of a segment that is acknowledged in part"),
        "RFC 9293, section 3.10.7.4",
        "ours counts the segments that it sent; Linux cuts what is left of those that its card segments anew",
        _count_of_a_cut_packet,
    ),
    Divergence(
        marked("the window of a segment far ahead"),
        "RFC 9293, section 3.10.7.4 (SND.WL1)",
        "a later window counts only from a later segment; in Linux data in order that changes nothing makes "
        "its own number SND.WL1, where memory is at hand",
        _window_of_a_segment_ahead,
    ),
    Divergence(
        marked("SACK blocks on a data segment"),
        "RFC 2018, section 3",
        "ours adds SACK blocks where a segment has room left; Linux makes room by sending less data",
        _sack_on_data,
    ),
    Divergence(
        marked("data beyond the peer's FIN"),
        "RFC 9293, section 3.10.7.4",
        "nothing can follow a FIN: ours ignores it; Linux takes a segment that begins before it, or resets",
        _beyond_fin,
    ),
    Divergence(
        marked("data across the right edge of the window"),
        "RFC 9293, section 3.10.7.4",
        "ours accepts the part within the window; Linux the whole segment that begins in it or at its edge",
        _crosses_edge,
    ),
    Divergence(
        marked("an ACK that is too old"),
        "RFC 5961, section 5.2",
        "ours drops the segment; Linux takes data and timestamp where its header prediction matches",
        _old_acknowledgment,
    ),
    Divergence(
        marked("an ACK of nothing in a simultaneous open"),
        "RFC 9293, section 3.10.7.4",
        "ours answers it with RST; Linux takes it for an ACK of its SYN",
        _ack_of_nothing,
    ),
    Divergence(
        marked("the FIN behind a SYN that was sent again"),
        "RFC 6298, section 2; RFC 5681, section 3.1",
        "Linux retransmits its SYN at once after an ACK that does not acknowledge it; a lost SYN leaves a "
        "window of one segment, so that FIN waits, and counts in TCP_INFO",
        _after_a_hastened_syn,
    ),
    Divergence(
        marked("a SYN,ACK for a connection in SYN-RECEIVED"),
        "RFC 9293, section 3.10.7.4",
        "ours processes its ACK and is ESTABLISHED; Linux sends a challenge ACK and accepts it only in part",
        _syn_ack_to_half_open,
    ),
    Divergence(
        marked("a closed socket whose FIN is acknowledged"),
        "RFC 9293, section 3.10.7.4; RFC 5961",
        "Linux keeps a reduced socket, which any RST ends and which checks no ACK; ours follows the RFCs",
        _reduced_socket,
    ),
)


def applicable(step: DifferingStep) -> Divergence | None:
    """Return the first divergence that explains the difference; None where it is a disagreement."""
    return next((divergence for divergence in DIVERGENCES if divergence.applies(step)), None)
