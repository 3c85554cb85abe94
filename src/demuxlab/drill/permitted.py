"""In what our stack may differ from Linux in a comparison, and who permits it.

A rule looks at both sides' outcome of a step and takes the difference out of it. After other differences the
two states are no longer the same: `partings`. What is switched off in Linux, because our TCP lacks it, stands
in `on_kernel`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from demuxlab.drill.lockstep import PAUSE, Observed, Story
from demuxlab.drill.packets import MODULUS
from demuxlab.drill.script import Option, TCPPacket
from demuxlab.language import marked
from demuxlab.wire.segment import ACK, PSH, RST, SYN

Packets = tuple[TCPPacket, ...]
_FIELDS = ("flags", "sequence", "size", "acknowledgment", "window", "options")


class Step(NamedTuple):
    """One step of a story on both: what was done, and what was sent."""

    story: Story
    number: int
    ours: Packets
    kernels: Packets

    @property
    def text(self) -> str:
        """The step."""
        return self.story.steps[self.number]

    def before(self, call: str) -> bool:
        """Tell whether a call was made earlier in the story."""
        return any(step.startswith(call) for step in self.story.steps[: self.number])


class Permitted(NamedTuple):
    """A difference that is no disagreement."""

    name: str
    source: str
    why: str
    take_out: Callable[[Step], tuple[Packets, Packets]]
    """Returns our packets and the kernel's without what may differ."""


def _of_each(change: Callable[[TCPPacket], TCPPacket]) -> Callable[[Step], tuple[Packets, Packets]]:
    return lambda step: (tuple(map(change, step.ours)), tuple(map(change, step.kernels)))


def _no_window_of_reset(packet: TCPPacket) -> TCPPacket:
    if not packet.flags & RST or not isinstance(packet.options, tuple):
        return packet
    return replace(packet, window=None, options=tuple(one for one in packet.options if one.kind != "sack"))


def _no_size_of_window(packet: TCPPacket) -> TCPPacket:
    return replace(packet, window=None) if packet.window else packet


def _no_stamp(packet: TCPPacket) -> TCPPacket:
    options = packet.options if isinstance(packet.options, tuple) else ()
    shown = (Option("TS", (0, option.values[1])) if option.kind == "TS" else option for option in options)
    return replace(packet, options=tuple(shown))


def _no_scale(packet: TCPPacket) -> TCPPacket:
    options = packet.options if isinstance(packet.options, tuple) else ()
    shown = (Option("wscale", (0,)) if option.kind == "wscale" else option for option in options)
    return replace(packet, options=tuple(shown))


def _no_sack_of_the_acknowledged(packet: TCPPacket) -> TCPPacket:
    options = packet.options if isinstance(packet.options, tuple) else ()
    told = (replace(one, values=_above(one.values, packet)) if one.kind == "sack" else one for one in options)
    return replace(packet, options=tuple(one for one in told if one.kind != "sack" or one.values))


def _above(edges: tuple[int, ...], packet: TCPPacket) -> tuple[int, ...]:
    """Return the blocks that lie above a packet's acknowledgment."""
    pairs = zip(edges[::2], edges[1::2], strict=True)
    above = [pair for pair in pairs if 0 < (pair[1] - (packet.acknowledgment or 0)) % MODULUS < MODULUS // 2]
    return tuple(edge for pair in above for edge in pair)


def _nothing_beside_a_reset(step: Step) -> tuple[Packets, Packets]:
    if not any(packet.flags & RST for packet in step.ours):
        return step.ours, step.kernels
    kernels = tuple(packet for packet in step.kernels if packet.flags & RST)
    return (step.ours, kernels) if kernels else (step.ours, step.kernels)


def _no_push(packet: TCPPacket) -> TCPPacket:
    return replace(packet, flags=packet.flags & ~PSH)


def _no_acknowledgment_beside_others(step: Step) -> tuple[Packets, Packets]:
    return _without_beside(step.ours), _without_beside(step.kernels)


def _without_beside(sent: Packets) -> Packets:
    last = sent[-1].acknowledgment if sent else None
    return tuple(
        packet
        for packet in sent
        if packet is sent[-1]
        or not (packet.flags == ACK and not packet.size and packet.acknowledgment == last)
    )


def _no_offer_in_simultaneous_open(step: Step) -> tuple[Packets, Packets]:
    if not step.before("connect("):
        return step.ours, step.kernels
    both = SYN | ACK
    return _of_each(lambda packet: replace(packet, options=()) if packet.flags & both == both else packet)(
        step
    )


def _no_answer_to_reset(step: Step) -> tuple[Packets, Packets]:
    words = step.text.split()
    silent = not step.ours and all(packet.flags == ACK and not packet.size for packet in step.kernels)
    unfit = words[0] == "<" and ("R" in words[1] or not {".", "S"} & set(words[1]))
    if step.before("close(") and unfit and silent:
        return (), ()
    return step.ours, step.kernels


def _no_window_update(step: Step) -> tuple[Packets, Packets]:
    if not step.text.startswith(("read(", "recv(")):
        return step.ours, step.kernels
    return tuple(filter(_carries, step.ours)), tuple(filter(_carries, step.kernels))


def _carries(packet: TCPPacket) -> bool:
    return packet.flags != ACK or packet.size > 0


def _no_reset_of_new_syn(step: Step) -> tuple[Packets, Packets]:
    words = step.text.split()
    challenged = [packet.flags for packet in step.ours] == [ACK]
    reset = [packet.flags & RST for packet in step.kernels] == [RST]
    if step.before("close(") and words[0] == "<" and "S" in words[1] and challenged and reset:
        return (), ()
    return step.ours, step.kernels


def _no_repeated_syn(step: Step) -> tuple[Packets, Packets]:
    if step.text.startswith("connect("):
        return step.ours, step.kernels
    again = (SYN, SYN | ACK) if step.text == PAUSE else (SYN,)
    return (
        tuple(packet for packet in step.ours if packet.flags not in again),
        tuple(packet for packet in step.kernels if packet.flags not in again),
    )


def _no_answer_to_old_stamp(step: Step) -> tuple[Packets, Packets]:
    alone = step.text.startswith(("< . ", "< P. ")) and "(0)" in step.text and "TS val" in step.text
    if (
        alone
        and not step.kernels
        and [packet.flags for packet in step.ours] == [ACK]
        and not step.ours[0].size
    ):
        return (), ()
    return step.ours, step.kernels


PERMITTED: Sequence[Permitted] = (
    Permitted(
        marked("window and SACK of a reset"),
        "RFC 9293, section 3.10.7.1",
        "a reset ends the connection, so that both have no meaning: ours has none, Linux the last ones",
        _of_each(_no_window_of_reset),
    ),
    Permitted(
        marked("the size of an open window"),
        "RFC 9293, section 3.8.6; RFC 7323, section 2.3",
        "how much a receiver offers is its own affair; that a window is closed is compared",
        _of_each(_no_size_of_window),
    ),
    Permitted(
        marked("the value of a timestamp"),
        "RFC 7323, section 5.4",
        "the clock is each side's own, and real time differs from virtual; what is echoed is compared",
        _of_each(_no_stamp),
    ),
    Permitted(
        marked("the window scale that is offered"),
        "RFC 7323, section 2.3",
        "each side chooses its own; that it is offered is compared",
        _of_each(_no_scale),
    ),
    Permitted(
        marked("a SACK block of what is acknowledged"),
        "RFC 2883, section 4",
        "Linux goes on to tell of an early segment when it is no longer early",
        _of_each(_no_sack_of_the_acknowledged),
    ),
    Permitted(
        marked("what is sent beside a reset"),
        "RFC 9293, section 3.10.7.4",
        "Linux first sends again what a SACK shows to be lost, and then the reset that ends it all",
        _nothing_beside_a_reset,
    ),
    Permitted(
        marked("where PSH is set"),
        "RFC 9293, section 3.9.1.2",
        "Linux also sets it within a large write, at half of the largest window",
        _of_each(_no_push),
    ),
    Permitted(
        marked("an ACK by itself beside a segment that has the same"),
        "RFC 9293, section 3.8.6.3",
        "an ACK may travel with data; Linux sends one more where data and FIN fill a gap",
        _no_acknowledgment_beside_others,
    ),
    Permitted(
        marked("what is offered in a simultaneous open"),
        "RFC 7323, section 1.3; RFC 2018, section 2",
        "ours offers in a SYN,ACK only what the peer's SYN offered; Linux repeats the options of its own SYN",
        _no_offer_in_simultaneous_open,
    ),
    Permitted(
        marked("a window update after reading"),
        "RFC 9293, section 3.8.6.2.2",
        "ours tells of two segments' more room; Linux, of as much again as is open",
        _no_window_update,
    ),
    Permitted(
        marked("an ACK in answer to RST or to no ACK, after close"),
        "RFC 9293, section 3.10.7.4",
        "what has RST or no ACK gets no answer; Linux gives one where nobody has the socket any more",
        _no_answer_to_reset,
    ),
    Permitted(
        marked("a SYN in the window, after close"),
        "RFC 5961, section 4",
        "ours challenges it in every state; Linux resets where nobody has the socket any more",
        _no_reset_of_new_syn,
    ),
    Permitted(
        marked("when a SYN goes again"),
        "RFC 6298, section 2",
        "Linux repeats its SYN at once after an ACK that is none of it",
        _no_repeated_syn,
    ),
    Permitted(
        marked("an ACK for an old timestamp on an ACK alone"),
        "RFC 7323, section 5.3, R1",
        "ours answers; Linux takes it for an ACK that was overtaken",
        _no_answer_to_old_stamp,
    ),
)


HANG_UP = "POLLHUP"
"""No RFC knows poll(2). Where there is no connection, any more or yet, Linux tells of it with POLLHUP; so
does ours once there was one, and else it is ready to read."""


def hung_up(ours: str, kernels: str) -> bool:
    """Tell whether poll found what only differs by how the two tell that there is no connection."""
    return HANG_UP in kernels and ("POLLIN" in ours or HANG_UP in ours)


def without(
    story: Story, number: int, ours: Observed, kernel: Observed
) -> tuple[Observed, Observed, list[str]]:
    """Return a step's outcomes without what may differ, and the names of the rules that were needed."""
    step = Step(story, number, ours.sent, kernel.sent)
    used = []
    for permitted in PERMITTED:
        mine, theirs = permitted.take_out(step)
        if _apart(mine, theirs) < _apart(step.ours, step.kernels):
            used.append(permitted.name)
        step = step._replace(ours=mine, kernels=theirs)
    return replace(ours, sent=step.ours), replace(kernel, sent=step.kernels), used


def _apart(ours: Packets, kernels: Packets) -> int:
    """Return in how many fields packets differ."""
    if ours == kernels:
        return 0
    both = zip(ours, kernels, strict=False)
    pairs = [(getattr(mine, name), getattr(theirs, name)) for mine, theirs in both for name in _FIELDS]
    different = [pair for pair in pairs if pair[0] != pair[1]]
    return len(different) + len(_FIELDS) * abs(len(ours) - len(kernels))
