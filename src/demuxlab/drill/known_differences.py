"""Known differences between our stack and Linux that leave both connections in the same state.

Each has the RFC that leaves the choice and a function that removes the difference from both outcomes of a
step, so that the rest can be compared. Differences after which the states differ are in `divergences`;
features of Linux that are switched off for a comparison are in `on_kernel`.
"""

import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from demuxlab.drill.flow import MODULUS
from demuxlab.drill.lockstep import PAUSES, Observed, Scenario, segment_of
from demuxlab.drill.script import Option, TCPPacket
from demuxlab.language import marked
from demuxlab.transport.tcp.info import TFO_CHILD
from demuxlab.transport.tcp.mss import MAX_WINDOW_FIELD
from demuxlab.wire.segment import ACK, FIN, PSH, RST, SYN

Packets = tuple[TCPPacket, ...]
_WRITE = re.compile(r"write\(\d+, \.\.\., (\d+)\)")
_FIELDS = ("flags", "sequence", "size", "acknowledgment", "window", "options")


class Step(NamedTuple):
    """One step of a scenario, and the segments that each side sent."""

    scenario: Scenario
    number: int
    ours: Packets
    kernels: Packets

    @property
    def text(self) -> str:
        """The call or segment of the step."""
        return self.scenario.steps[self.number]

    def before(self, call: str) -> bool:
        """Tell whether a step before this one begins with `call`."""
        return any(step.startswith(call) for step in self.scenario.steps[: self.number])


class KnownDifference(NamedTuple):
    """A difference that an RFC allows."""

    name: str
    source: str
    why: str
    remove: Callable[[Step], tuple[Packets, Packets]]
    """Returns our packets and the kernel's without the difference."""


def _of_each(change: Callable[[TCPPacket], TCPPacket]) -> Callable[[Step], tuple[Packets, Packets]]:
    return lambda step: (tuple(map(change, step.ours)), tuple(map(change, step.kernels)))


def _no_window_of_reset(packet: TCPPacket) -> TCPPacket:
    if not packet.flags & RST or not isinstance(packet.options, tuple):
        return packet
    return replace(packet, window=None, options=tuple(one for one in packet.options if one.kind != "sack"))


def _no_size_of_window(step: Step) -> tuple[Packets, Packets]:
    """Remove the size of an open window, unless both have the same room and no scale shifts it."""
    if (
        step.scenario.ip_version == 6
        or any("wscale" in one for one in step.scenario.steps[: step.number + 1])
        or step.before("connect(")
    ):
        return _of_each(_any_open_window)(step)
    return step.ours, step.kernels


def _any_open_window(packet: TCPPacket) -> TCPPacket:
    return replace(packet, window=None) if packet.window else packet


def _no_timestamp(packet: TCPPacket) -> TCPPacket:
    shown = (Option("TS", (0, one.values[1])) if one.kind == "TS" else one for one in _options(packet))
    return replace(packet, options=tuple(shown))


def _no_scale(packet: TCPPacket) -> TCPPacket:
    shown = (Option("wscale", (0,)) if one.kind == "wscale" else one for one in _options(packet))
    return replace(packet, options=tuple(shown))


def _no_sack_of_the_acknowledged(packet: TCPPacket) -> TCPPacket:
    options = _options(packet)
    kept = (replace(one, values=_above(one.values, packet)) if one.kind == "sack" else one for one in options)
    return replace(packet, options=tuple(one for one in kept if one.kind != "sack" or one.values))


def _above(edges: tuple[int, ...], packet: TCPPacket) -> tuple[int, ...]:
    """Return the SACK blocks that end above a packet's acknowledgment number."""
    pairs = zip(edges[::2], edges[1::2], strict=True)
    above = [pair for pair in pairs if 0 < (pair[1] - (packet.acknowledgment or 0)) % MODULUS < MODULUS // 2]
    return tuple(edge for pair in above for edge in pair)


def _only_the_reset(step: Step) -> tuple[Packets, Packets]:
    if not step.ours or not all(packet.flags & RST for packet in step.ours):
        return step.ours, step.kernels
    kernels = tuple(packet for packet in step.kernels if packet.flags & RST)
    return (step.ours, kernels) if kernels else (step.ours, step.kernels)


def _no_push_within(step: Step) -> tuple[Packets, Packets]:
    """Remove PSH from all data segments but the one at the end of what was written."""
    written = (known[1] for known in map(_WRITE.match, step.scenario.steps[: step.number + 1]) if known)
    end = 1 + sum(map(int, written))
    return _of_each(
        lambda packet: (
            packet
            if packet.sequence + packet.size == end and packet.size
            else replace(packet, flags=packet.flags & ~PSH)
        )
    )(step)


def _no_redundant_ack(step: Step) -> tuple[Packets, Packets]:
    return _without_redundant_acks(step.ours), _without_redundant_acks(step.kernels)


def _without_redundant_acks(sent: Packets) -> Packets:
    """Drop the pure ACKs whose acknowledgment number the last segment repeats."""
    last = sent[-1].acknowledgment if sent else None
    return tuple(
        packet
        for packet in sent
        if packet is sent[-1]
        or not (packet.flags == ACK and not packet.size and packet.acknowledgment == last)
    )


def _no_sack_in_an_ack_of_its_own(step: Step) -> tuple[Packets, Packets]:
    """Join a pure ACK of the kernel's at the end with the data before it, where ours has its SACK blocks."""
    if not step.ours or len(step.kernels) != len(step.ours) + 1:
        return step.ours, step.kernels
    mine, (theirs, ack) = step.ours[-1], step.kernels[-2:]
    blocks = [option for option in _options(ack) if option.kind == "sack"]
    same = ack.flags == ACK and not ack.size and mine.size and ack.acknowledgment == theirs.acknowledgment
    if same and blocks and blocks == [option for option in _options(mine) if option.kind == "sack"]:
        return step.ours, (*step.kernels[:-2], replace(theirs, options=(*_options(theirs), *blocks)))
    return step.ours, step.kernels


def _options(packet: TCPPacket) -> tuple[Option, ...]:
    return packet.options if isinstance(packet.options, tuple) else ()


def _no_options_in_simultaneous_open(step: Step) -> tuple[Packets, Packets]:
    if not step.before("connect("):
        return step.ours, step.kernels
    both = SYN | ACK
    return _of_each(lambda packet: replace(packet, options=()) if packet.flags & both == both else packet)(
        step
    )


def _no_answer_to_reset(step: Step) -> tuple[Packets, Packets]:
    parts = step.text.split()
    pure_acks = all(packet.flags == ACK and not packet.size for packet in step.kernels)
    # A step that is a segment begins with "<" and its flags.
    rst_or_no_ack = parts[0] == "<" and ("R" in parts[1] or not {".", "S"} & set(parts[1]))
    if step.before("close(") and rst_or_no_ack and pure_acks and not step.ours:
        return (), ()
    return step.ours, step.kernels


def _no_window_update(step: Step) -> tuple[Packets, Packets]:
    if not step.text.startswith(("read(", "recv(")):
        return step.ours, step.kernels
    return tuple(filter(_is_not_pure_ack, step.ours)), tuple(filter(_is_not_pure_ack, step.kernels))


def _is_not_pure_ack(packet: TCPPacket) -> bool:
    return packet.flags != ACK or packet.size > 0


def _no_reset_of_new_syn(step: Step) -> tuple[Packets, Packets]:
    parts = step.text.split()
    challenged = [packet.flags for packet in step.ours] == [ACK]
    reset = [packet.flags & RST for packet in step.kernels] == [RST]
    if step.before("close(") and parts[0] == "<" and "S" in parts[1] and challenged and reset:
        return (), ()
    return step.ours, step.kernels


def _no_repeated_syn(step: Step) -> tuple[Packets, Packets]:
    if step.text.startswith("connect("):
        return step.ours, step.kernels
    # An ACK that does not acknowledge its SYN lets Linux send it again, two ticks of its clock later.
    hastened = step.text in PAUSES or (not _is_syn(segment_of(step.text)) and _acknowledged_before_syn(step))
    again = (SYN, SYN | ACK) if hastened else (SYN,)
    return (
        tuple(packet for packet in step.ours if packet.flags not in again),
        tuple(packet for packet in step.kernels if packet.flags not in again),
    )


def _acknowledged_before_syn(step: Step) -> bool:
    """Tell whether an active open has met an ACK before the peer's SYN."""
    injected = [one for one in map(segment_of, step.scenario.steps[: step.number]) if one is not None]
    syn = next((at for at, one in enumerate(injected) if _is_syn(one)), 0)
    return step.before("connect(") and any(one.flags & (ACK | RST) == ACK for one in injected[:syn])


def _is_syn(segment: TCPPacket | None) -> bool:
    return segment is not None and segment.flags & (SYN | ACK | RST) == SYN


def _no_answer_to_old_timestamp(step: Step) -> tuple[Packets, Packets]:
    pure_ack = step.text.startswith(("< . ", "< P. ")) and "(0)" in step.text and "TS val" in step.text
    if (
        pure_ack
        and not step.kernels
        and [packet.flags for packet in step.ours] == [ACK]
        and not step.ours[0].size
    ):
        return (), ()
    return step.ours, step.kernels


def _no_overflow_in_time_wait(step: Step) -> tuple[Packets, Packets]:
    """Remove the window of an ACK in TIME-WAIT, where ours is the largest that the field can express."""
    if not (step.before("close(") or step.before("shutdown(")):
        return step.ours, step.kernels
    injected = [one for one in map(segment_of, step.scenario.steps[: step.number]) if one is not None]
    acknowledged = {one.acknowledgment for one in injected}
    ends = {(one.sequence + one.size + 1) % MODULUS for one in injected if one.flags & FIN}
    pairs = list(zip(step.ours, step.kernels, strict=False))
    overflown = {
        theirs
        for mine, theirs in pairs
        if mine.flags == ACK
        and not mine.size
        and mine.window == MAX_WINDOW_FIELD
        and theirs.window is not None
        if mine.sequence in acknowledged and mine.acknowledgment in ends
    }
    return step.ours, tuple(
        replace(one, window=MAX_WINDOW_FIELD) if one in overflown else one for one in step.kernels
    )


def _in_first_window(segment: TCPPacket) -> bool:
    """Tell whether a segment lies in the window that a SYN,ACK offers, or reaches it."""
    end = (segment.sequence + segment.size) % MODULUS
    return segment.sequence <= MAX_WINDOW_FIELD + 1 or 0 < end <= MAX_WINDOW_FIELD + 1


def _no_number_of_our_syn(step: Step) -> tuple[Packets, Packets]:
    """Let an ACK with the number of the SYN pass for one with the next, where no window was offered."""
    injected = [one for one in map(segment_of, step.scenario.steps[: step.number]) if one is not None]
    first = next((at for at, one in enumerate(injected) if one.flags & (SYN | ACK) == SYN), len(injected))
    closed = [one.window for one in injected[first : first + 1]] == [0]
    answered = any(one.acknowledgment == 1 and _in_first_window(one) for one in injected[first:])
    if not step.before("connect(") or not closed or answered:
        return step.ours, step.kernels
    if len(step.ours) != len(step.kernels):
        return step.ours, step.kernels
    return step.ours, tuple(
        replace(one, sequence=1)
        if one.flags & ~RST == ACK and not one.size and (mine.sequence, one.sequence) == (1, 0)
        else one
        for mine, one in zip(step.ours, step.kernels, strict=True)
    )


KNOWN_DIFFERENCES: Sequence[KnownDifference] = (
    KnownDifference(
        marked("window and SACK of a RST"),
        "RFC 9293, section 3.10.7.1",
        "they have no meaning in a RST, which ends the connection: ours has none, Linux the last ones",
        _of_each(_no_window_of_reset),
    ),
    KnownDifference(
        marked("the size of an open window"),
        "RFC 9293, section 3.8.6; RFC 7323, section 2.3",
        "a receiver chooses how much it advertises, and Linux whole segments; where both have the same room, "
        "on IPv4 without a scale, the size is compared, and everywhere whether it is zero",
        _no_size_of_window,
    ),
    KnownDifference(
        marked("the value of a timestamp"),
        "RFC 7323, section 5.4",
        "each side has a clock of its own, and real time differs from virtual; TSecr is compared",
        _of_each(_no_timestamp),
    ),
    KnownDifference(
        marked("the window scale that is offered"),
        "RFC 7323, section 2.3",
        "each side chooses its own shift; whether the option is present is compared",
        _of_each(_no_scale),
    ),
    KnownDifference(
        marked("SACK blocks on data or on an ACK behind it"),
        "RFC 2018, section 4",
        "Linux sends again what is lost before it receives the segment's data, and then an ACK with the SACK "
        "blocks; ours sends both in one segment",
        _no_sack_in_an_ack_of_its_own,
    ),
    KnownDifference(
        marked("a SACK block below the acknowledgment number"),
        "RFC 2883, section 4",
        "Linux goes on reporting an out-of-order segment after the gap before it is filled",
        _of_each(_no_sack_of_the_acknowledged),
    ),
    KnownDifference(
        marked("segments that are sent before a RST"),
        "RFC 9293, section 3.10.7.4",
        "Linux first retransmits what a SACK shows to be lost, then sends the RST that ends the connection",
        _only_the_reset,
    ),
    KnownDifference(
        marked("where PSH is set"),
        "RFC 9293, section 3.9.1.2",
        "Linux also sets it within a write, on each packet that its card is to segment",
        _no_push_within,
    ),
    KnownDifference(
        marked("a pure ACK before a segment with the same acknowledgment number"),
        "RFC 9293, section 3.8.6.3",
        "data can carry the ACK; Linux sends one more where data and FIN fill a gap",
        _no_redundant_ack,
    ),
    KnownDifference(
        marked("the options of a SYN,ACK in a simultaneous open"),
        "RFC 7323, section 1.3; RFC 2018, section 2",
        "ours has only the options that the peer's SYN had; Linux repeats the options of its own SYN",
        _no_options_in_simultaneous_open,
    ),
    KnownDifference(
        marked("a window update after reading"),
        "RFC 9293, section 3.8.6.2.2",
        "ours sends one when the window has grown by two segments; Linux when it has doubled",
        _no_window_update,
    ),
    KnownDifference(
        marked("an ACK for a segment with RST or without ACK, after close"),
        "RFC 9293, section 3.10.7.4",
        "such a segment gets no answer; Linux answers it for a connection whose socket is closed",
        _no_answer_to_reset,
    ),
    KnownDifference(
        marked("a SYN in the window, after close"),
        "RFC 5961, section 4",
        "ours sends a challenge ACK in every state; Linux a RST for a connection whose socket is closed",
        _no_reset_of_new_syn,
    ),
    KnownDifference(
        marked("the time of a SYN's retransmission"),
        "RFC 6298, section 2",
        "Linux retransmits its SYN at once after an ACK that does not acknowledge it",
        _no_repeated_syn,
    ),
    KnownDifference(
        marked("an ACK for a pure ACK with an old timestamp"),
        "RFC 7323, section 5.3, R1",
        "ours answers it; Linux assumes that the ACK was reordered",
        _no_answer_to_old_timestamp,
    ),
    KnownDifference(
        marked("a window above 65,535 in TIME-WAIT"),
        "RFC 9293, section 3.1",
        "without a scale the field has 16 bits: Linux cuts a larger window off at its low 16 bits there, and "
        "nothing is received in TIME-WAIT",
        _no_overflow_in_time_wait,
    ),
    KnownDifference(
        marked("the number of an ACK in a simultaneous open without a window"),
        "RFC 9293, section 3.10.7.4",
        "ours is SND.NXT; Linux stays within the window, which is closed, and repeats the number of its SYN",
        _no_number_of_our_syn,
    ),
)


_TIMEOUT = "rto="
_CLOCKS, _JIFFIES = 0.15, 20_000
_TELLS_TFO_CHILD = [int(part) for part in re.findall(r"\d+", platform.release())[:2]] >= [6, 15]


def same_values(ours: str, kernels: str) -> bool:
    """Tell whether two outputs are the same; fields of TCP_INFO except for three.

    Linux counts the timeout in jiffies of up to 10 ms, and its round trips pass in real time (RFC 6298,
    section 2); it tells half of the peer's largest window as the MSS where that is less (RFC 9293, section
    3.8.6.2.1), and before 6.15 nothing of a connection whose SYN brought data.
    """
    if _TIMEOUT not in ours or _TIMEOUT not in kernels:
        return ours == kernels
    mine, theirs = (dict(part.split("=") for part in text.split()) for text in (ours, kernels))
    one, other = int(mine.pop("rto")), int(theirs.pop("rto"))
    if int(theirs["snd_mss"]) < int(mine["snd_mss"]) and int(theirs["snd_wnd"]) < 2 * int(mine["snd_mss"]):
        del mine["snd_mss"], theirs["snd_mss"]
    if not _TELLS_TFO_CHILD:
        mine["options"] = str(int(mine["options"]) & ~TFO_CHILD)
    return mine == theirs and abs(one - other) <= max(_CLOCKS * other, _JIFFIES)


HANG_UP = "POLLHUP"


def hung_up(ours: str, kernels: str) -> bool:
    """Tell whether the revents of poll(2) differ only in how they report that there is no connection."""
    # No RFC says anything of poll(2). On a socket without a connection Linux sets POLLHUP; ours sets it once
    # a connection has ended, and POLLIN before there was one.
    return HANG_UP in kernels and ("POLLIN" in ours or HANG_UP in ours)


def without(
    scenario: Scenario, number: int, ours: Observed, kernel: Observed
) -> tuple[Observed, Observed, list[str]]:
    """Return a step's outcomes without the known differences, and the names of those that were found."""
    step = Step(scenario, number, ours.sent, kernel.sent)
    found = []
    for known in KNOWN_DIFFERENCES:
        mine, theirs = known.remove(step)
        if _distance(mine, theirs) < _distance(step.ours, step.kernels):
            found.append(known.name)
        step = step._replace(ours=mine, kernels=theirs)
    return replace(ours, sent=step.ours), replace(kernel, sent=step.kernels), found


def _distance(ours: Packets, kernels: Packets) -> int:
    """Return the number of fields in which the packets differ."""
    if ours == kernels:
        return 0
    both = zip(ours, kernels, strict=False)
    pairs = [(getattr(mine, name), getattr(theirs, name)) for mine, theirs in both for name in _FIELDS]
    different = [pair for pair in pairs if pair[0] != pair[1]]
    return len(different) + len(_FIELDS) * abs(len(ours) - len(kernels))
