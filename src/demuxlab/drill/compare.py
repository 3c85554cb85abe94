"""Random stories on our stack and on the kernel: where do they disagree?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from demuxlab.drill import lockstep, partings, permitted, random_stories
from demuxlab.drill.crowd import KernelCrowd
from demuxlab.drill.lockstep import Observed, Story
from demuxlab.drill.packets import script_text
from demuxlab.drill.script import TCPPacket

_BATCH = 200
_KEPT = "fcntl"
"""Without it a call would block when the script is played by itself."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Where the two disagree first, in a story made as short as it can be."""

    story: Story
    step: int
    field: str
    ours: str
    kernels: str
    kernel: tuple[Observed, ...]

    def script(self) -> tuple[str, int]:
        """Return the story as a packet script with what the kernel did, and the line of the disagreement."""
        notes = (
            f"{self.story.name}: our stack and the Linux kernel disagree; expected is what the kernel does.",
            f"step {self.step + 1}, {self.field}: kernel {self.kernels}, ours {self.ours}",
        )
        text, lines = lockstep.as_script(self.story, self.kernel, notes)
        return text, lines[self.step]


@dataclass(slots=True)
class Tally:
    """What was compared so far."""

    scripts: int = 0
    steps: int = 0
    packets: int = 0
    permitted: Counter[str] = field(default_factory=Counter)
    """How often each rule of what is permitted was needed."""


def compare(count: int, seed: int, tally: Tally) -> Iterator[Disagreement]:
    """Play `count` random stories on both; yield each disagreement. LinkUnavailable: no kernel to ask."""
    with KernelCrowd() as kernel:
        begun: list[tuple[Story, list[Observed]]] = []
        for start in range(0, count, _BATCH):
            # The kernel's process plays one batch while this one makes the next.
            batch = [
                random_stories.story(f"seed {seed}, script {number}", f"{seed}.{number}")
                for number in range(start, min(start + _BATCH, count))
            ]
            if begun:
                yield from _answered(begun, kernel, tally)
            kernel.ask([story for story, _ours in batch])
            begun = batch
        if begun:
            yield from _answered(begun, kernel, tally)


def _answered(
    batch: Sequence[tuple[Story, list[Observed]]], kernel: KernelCrowd, tally: Tally
) -> Iterator[Disagreement]:
    found = []
    for (story, ours), theirs in zip(batch, kernel.answer(), strict=True):
        tally.scripts += 1
        tally.steps += len(theirs)
        tally.packets += sum(len(observed.sent) for observed in theirs)
        if _first(story, ours, theirs, tally.permitted) is not None:
            found.append(story)
    for story in found:
        if (smallest := _minimised(story, kernel)) is not None:
            yield smallest


def _played(story: Story, kernel: KernelCrowd) -> Disagreement | None:
    return _first(story, lockstep.on_stack(story), kernel.play([story])[0])


def _minimised(story: Story, kernel: KernelCrowd) -> Disagreement | None:
    """Drop steps as long as the two disagree; None where they do so no more when played again."""
    found = _played(story, kernel)
    if found is None:
        return None
    story = replace(story, steps=story.steps[: found.step + 1])
    for index in reversed(range(len(story.steps) - 1)):
        if story.steps[index].startswith(_KEPT):
            continue
        shorter = _played(lockstep.without(story, index), kernel)
        if shorter is not None and shorter.field == found.field:
            found = shorter
            story = replace(shorter.story, steps=shorter.story.steps[: shorter.step + 1])
    return replace(found, story=story)


def _first(
    story: Story, ours: Sequence[Observed], kernel: Sequence[Observed], used: Counter[str] | None = None
) -> Disagreement | None:
    expected = []
    for step, (mine, theirs) in enumerate(zip(ours, kernel, strict=True)):
        own, kernels, rules = permitted.without(story, step, mine, theirs)
        expected.append(kernels)
        if used is not None:
            used.update(rules)
        different = difference(own, kernels)
        if different is None:
            continue
        moment = partings.Moment(story, step, own.sent, kernels.sent, expected[:-1])
        rule = partings.parting(moment)
        if rule is None:
            return Disagreement(story, step, *different, tuple(expected))
        if used is not None:
            used[rule.name] += 1
        return None
    return None


def difference(ours: Observed, kernel: Observed) -> tuple[str, str, str] | None:
    """Return the first field in which a step's outcomes differ, ours and the kernel's; None: in none."""
    if ours.result != kernel.result:
        return "result", ours.result, kernel.result
    if ours.told != kernel.told and not permitted.hung_up(ours.told, kernel.told):
        return "value", ours.told, kernel.told
    for mine, theirs in zip(ours.sent, kernel.sent, strict=False):
        for name, one, other in _fields(mine, theirs):
            if one != other:
                return name, _text(mine), _text(theirs)
    if len(ours.sent) != len(kernel.sent):
        return "packets", _texts(ours.sent), _texts(kernel.sent)
    return None


def _fields(mine: TCPPacket, theirs: TCPPacket) -> Iterator[tuple[str, object, object]]:
    for name in ("ports", "flags", "sequence", "acknowledgment", "size", "window", "urgent"):
        yield name, getattr(mine, name), getattr(theirs, name)
    yield "options", _in_any_order(mine), _in_any_order(theirs)


def _in_any_order(packet: TCPPacket) -> dict[str, tuple[int, ...]]:
    options = packet.options if isinstance(packet.options, tuple) else ()
    return {option.kind: option.values for option in options}


def _text(packet: TCPPacket) -> str:
    return script_text(packet, 0).partition(" ")[2]


def _texts(sent: Sequence[TCPPacket]) -> str:
    return "; ".join(map(_text, sent)) or "nothing"


def save(found: Disagreement, folder: Path) -> Path:
    """Write a disagreement as a script; return its path. OSError where that cannot be."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.story.name.replace(', ', '_').replace(' ', '_')}.pkt"
    path.write_text(found.script()[0], encoding="utf-8")
    return path
