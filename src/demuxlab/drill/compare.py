"""Play random scripts on our stack and on the kernel, and report where they disagree."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from demuxlab.drill import divergences, known_differences, lockstep, random_scripts
from demuxlab.drill.kernel_process import KernelProcess
from demuxlab.drill.lockstep import Observed, Scenario
from demuxlab.drill.packet_text import script_text
from demuxlab.drill.script import Packet, TCPPacket

# So many that the pauses at the end of a batch matter little.
_BATCH = 1000
_REPLAYS = 20
"""How often a disagreement is played again: where the kernel once does as ours, its clock has decided."""
# Steps that minimising keeps: without O_NONBLOCK, calls would block when the script is played by itself.
_KEPT = "fcntl"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The first step of a scenario in which the two stacks disagree.

    `field` is what differs ("result", "value", "packets" or a packet's field), `ours` and `kernels` its
    values as text, `kernel` the kernel's outcome of every step up to this one.
    """

    scenario: Scenario
    step: int
    field: str
    ours: str
    kernels: str
    kernel: tuple[Observed, ...]

    def script(self) -> tuple[str, int]:
        """Return a packet script that expects what the kernel did, and the line of the disagreement."""
        notes = (
            f"{self.scenario.name}: our stack and the Linux kernel disagree; expected: the kernel.",
            f"step {self.step + 1}, {self.field}: kernel {self.kernels}, ours {self.ours}",
        )
        text, lines = lockstep.as_script(self.scenario, self.kernel, notes)
        return text, lines[self.step]


@dataclass(slots=True)
class Tally:
    """Counts of what has been compared so far."""

    scripts: int = 0
    steps: int = 0
    packets: int = 0
    late: int = 0
    """Scripts that could not be played in time on the kernel, and were not compared."""
    known: Counter[str] = field(default_factory=Counter)
    """How often each known difference or divergence was met, by its name."""
    unrepeated: list[Disagreement] = field(default_factory=list)
    """Disagreements over what the kernel, played again, once does as ours does: its clock decides."""


def compare(count: int, seed: int, tally: Tally) -> Iterator[Disagreement]:
    """Play `count` random scripts on both stacks; yield each disagreement, minimised, and count in `tally`.

    Raises LinkUnavailable where no namespace with a TUN device can be made for the kernel.
    """
    with KernelProcess() as kernel:
        submitted: list[tuple[Scenario, list[Observed]]] = []
        for start in range(0, count, _BATCH):
            # The kernel's process plays one batch while this one generates the next.
            batch = [
                random_scripts.generate(f"seed {seed}, script {number}", f"{seed}.{number}")
                for number in range(start, min(start + _BATCH, count))
            ]
            if submitted:
                yield from _disagreements(submitted, kernel, tally)
            kernel.submit([scenario for scenario, _ours in batch])
            submitted = batch
        if submitted:
            yield from _disagreements(submitted, kernel, tally)


def _disagreements(
    batch: Sequence[tuple[Scenario, list[Observed]]], kernel: KernelProcess, tally: Tally
) -> Iterator[Disagreement]:
    found: list[Disagreement] = []
    for (scenario, ours), theirs in zip(batch, kernel.results(), strict=True):
        if theirs is None:
            tally.late += 1
            continue
        tally.scripts += 1
        tally.steps += len(theirs)
        tally.packets += sum(len(observed.sent) for observed in theirs)
        if (disagreement := _first(scenario, ours, theirs, tally.known)) is not None:
            found.append(disagreement)
    for disagreement in found:
        again = _played(disagreement.scenario, kernel, _REPLAYS)
        if None in again or not again:
            tally.unrepeated.append(disagreement)
        else:
            yield _minimised(disagreement, kernel)


def _played(scenario: Scenario, kernel: KernelProcess, times: int = 1) -> list[Disagreement | None]:
    """Play a scenario on both, so many times on the kernel; return the first disagreement of each."""
    ours, played = lockstep.on_stack(scenario), kernel.play([scenario] * times)
    return [_first(scenario, ours, theirs, Counter()) for theirs in played if theirs is not None]


def _minimised(found: Disagreement, kernel: KernelProcess) -> Disagreement:
    """Remove steps while the disagreement remains."""
    scenario = replace(found.scenario, steps=found.scenario.steps[: found.step + 1])
    for index in reversed(range(len(scenario.steps) - 1)):
        if scenario.steps[index].startswith(_KEPT):
            continue
        [shorter] = _played(lockstep.without(scenario, index), kernel) or [None]
        if shorter is not None and shorter.field == found.field:
            found = shorter
            scenario = replace(shorter.scenario, steps=shorter.scenario.steps[: shorter.step + 1])
    return replace(found, scenario=scenario)


def _first(
    scenario: Scenario, ours: Sequence[Observed], kernel: Sequence[Observed], known: Counter[str]
) -> Disagreement | None:
    """Return the first disagreement; count in `known` the rules that explain other differences."""
    expected = []
    for number, (mine, theirs) in enumerate(zip(ours, kernel, strict=True)):
        own, kernels, rules = known_differences.without(scenario, number, mine, theirs)
        expected.append(kernels)
        known.update(rules)
        different = difference(own, kernels)
        if different is None:
            continue
        step = divergences.DifferingStep(
            scenario, number, own.sent, kernels.sent, expected[:-1], ours[: number + 1], kernel[: number + 1]
        )
        divergence = divergences.applicable(step)
        if divergence is None:
            return Disagreement(scenario, number, *different, tuple(expected))
        # From here on the two connections are in different states: the rest cannot be compared.
        known[divergence.name] += 1
        return None
    return None


def difference(ours: Observed, kernel: Observed) -> tuple[str, str, str] | None:
    """Return the first field in which two outcomes differ, with both values; None where they are equal."""
    if ours.result != kernel.result:
        return "result", ours.result, kernel.result
    values = ours.value, kernel.value
    if not (known_differences.same_values(*values) or known_differences.hung_up(*values)):
        return "value", ours.value, kernel.value
    for mine, theirs in zip(ours.sent, kernel.sent, strict=False):
        for name, one, other in _fields(mine, theirs):
            if one != other:
                return name, _text(mine), _text(theirs)
    if len(ours.sent) != len(kernel.sent):
        return "packets", _texts(ours.sent), _texts(kernel.sent)
    if ours.others != kernel.others:
        return "packets", _texts(ours.others), _texts(kernel.others)
    return None


def _fields(mine: TCPPacket, theirs: TCPPacket) -> Iterator[tuple[str, object, object]]:
    for name in ("ports", "flags", "sequence", "acknowledgment", "size", "window", "urgent"):
        yield name, getattr(mine, name), getattr(theirs, name)
    yield "options", _in_any_order(mine), _in_any_order(theirs)


def _in_any_order(packet: TCPPacket) -> dict[str, tuple[int, ...]]:
    options = packet.options if isinstance(packet.options, tuple) else ()
    return {option.kind: option.values for option in options}


def _text(packet: Packet) -> str:
    return script_text(packet, 0).partition(" ")[2]


def _texts(sent: Sequence[Packet]) -> str:
    return "; ".join(map(_text, sent)) or "nothing"


def save(found: Disagreement, folder: Path) -> Path:
    """Write a disagreement as a script; return its path. Raises OSError where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.scenario.name.replace(', ', '_').replace(' ', '_')}.pkt"
    path.write_text(found.script()[0], encoding="utf-8")
    return path
