"""How long a learner's process is waited for, on a machine that may have other things to do."""

import time
from dataclasses import dataclass, field

from demuxlab.grading import processes

CALL_TIMEOUT = 10.0
"""Seconds that one call may take."""
_LOOK_AGAIN = 0.05
"""Seconds after which a process is looked at again that has no processor when its time is over."""


@dataclass(slots=True)
class Budget:
    """Seconds that all checks of one submission may wait for it, together."""

    left: float = 6 * CALL_TIMEOUT
    hung: set[str] = field(default_factory=set)
    """The functions of which a call did not end: the next call gets less time."""


@dataclass(slots=True)
class Deadline:
    """When an answer must be there; it moves by the time that the process waited for a processor."""

    at: float
    more: float = 0.0
    """Seconds that the learner's process may compute after that, if it is not asleep."""
    computed: float | None = None
    """Seconds that it had computed when the time was over for the first time."""


class Patience:
    """Gives deadlines and the budget back the time in which the process waited for a processor."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.inside: int | None = None
        """The process that is waited for, once it is known."""
        self._delayed = 0.0
        """Seconds of waiting for a processor that have been added to deadlines."""

    def begin(self, inside: int | None) -> None:
        """Count from now on for this process, or for none."""
        self.inside = inside
        self._delayed = self._delay() if inside is not None else 0.0

    def seconds_until(self, deadline: Deadline) -> float:
        """Move a deadline by the time spent waiting for a processor; return the seconds until then.

        On a busy machine an honest answer is late, and that is no fault of the submission. A process that
        waits in the queue right now has that time counted only afterwards: it is looked at again.
        """
        deadline.at += self.credit()
        left = deadline.at - time.monotonic()
        if left <= 0 and self._is_runnable(deadline):
            deadline.at, left = time.monotonic() + _LOOK_AGAIN, _LOOK_AGAIN
        return left

    def credit(self) -> float:
        """Give the budget back what was spent in the queue since the last time; return the seconds."""
        delay = self._delay()
        more, self._delayed = max(0.0, delay - self._delayed), max(delay, self._delayed)
        self.budget.left += more
        return more

    def _delay(self) -> float:
        """Return the seconds that the learner's process and this one have waited for a processor."""
        return processes.scheduled("thread-self")[1] + processes.scheduled(self.inside)[1]

    def _is_runnable(self, deadline: Deadline) -> bool:
        """Tell whether the process neither sleeps nor has computed for too long after its deadline."""
        computed = processes.scheduled(self.inside)[0]
        if deadline.computed is None:
            deadline.computed = computed
        return processes.state(self.inside) == "R" and 0 < computed < deadline.computed + deadline.more
