"""The labs' exercises solved: once as they should be, and in each way that learners get them wrong.

`NN_name/reference.py` scores everything. `NN_name/wrong.diff` has the wrong solutions, each as what it
changes in the reference:

    any_protocol: test_a_udp_datagram_is_not_for_a_tcp_socket
    Does not look at the protocol: takes UDP datagrams too.
    -        if int.from_bytes(packet[6:8], "big") & 0x1FFF or packet[9] != 6:
    +        if int.from_bytes(packet[6:8], "big") & 0x1FFF:

Its name and the check on which it must fail; the misunderstanding, in a sentence; its changes, with a line
`@@` between them. A change has no line numbers: its place is where the lines that it removes ("-") and those
that it leaves (" ") occur in the reference, which must be once. So an edit of the reference breaks only the
solutions that change the edited lines.

`python -m tests.solutions` lists them, shows one as a whole file, and takes an edited file back.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

FOLDER = Path(__file__).parent
_ENTRY = re.compile(r"^([a-z]\w*): (test_\w+)\n(.+)\n", re.MULTILINE)
"""How an entry of `wrong.diff` begins."""
_SOURCE = re.compile(r'# fails: (test_\w+)\n"""(.+)"""\n')
"""How a whole file begins."""

Change = tuple[str, ...]
"""Lines that begin with "-", "+" or " "; one that is empty stands for an empty line that stays."""


class SolutionError(Exception):
    """A wrong solution cannot be found, read or rebuilt; the message names it and says why."""


@dataclass(frozen=True)
class Wrong:
    """A wrong solution."""

    lab: str
    """The name of the lab's folder."""
    name: str
    check: str
    """The check on which it must fail."""
    misunderstanding: str
    changes: tuple[Change, ...]

    def source(self) -> str:
        """Return the whole file; SolutionError where a change does not fit the reference."""
        lines = _reference(self.lab)
        end = len(lines)
        try:
            placed = sorted(((_place(change, lines), change) for change in self.changes), reverse=True)
            # From the last on, so that a change does not move the others' places.
            for start, change in placed:
                stop = start + len(_before(change))
                if stop > end:
                    raise SolutionError("two changes overlap: join\n" + "\n".join(change) + "\nwith the next")
                lines[start:stop] = [line[1:] for line in change if line[:1] != "-"]
                end = start
        except SolutionError as error:
            raise SolutionError(f"{self.lab}, {self.name}: {error}") from None
        return "\n".join([f"# fails: {self.check}", f'"""{self.misunderstanding}"""', *lines, ""])

    def save(self, folder: Path) -> Path:
        """Write the whole file into a folder; return its path."""
        path = folder / f"wrong_{self.name}.py"
        path.write_text(self.source(), encoding="utf-8")
        return path

    def entry(self) -> str:
        """Return the solution as `wrong.diff` has it."""
        changes = "\n@@\n".join("\n".join(change) for change in self.changes)
        return f"{self.name}: {self.check}\n{self.misunderstanding}\n{changes}\n"


def folder(lab: str) -> Path:
    """Return the folder of a lab's solutions, by its number or name."""
    for path in FOLDER.glob("[0-9]*"):
        if lab in (path.name, path.name[:2]):
            return path
    raise SolutionError(f"there is no lab {lab}: name one by its number, such as 04")


def wrong(lab: str = "") -> list[Wrong]:
    """Return the wrong solutions of a lab, or of all labs."""
    folders = [folder(lab)] if lab else sorted(FOLDER.glob("[0-9]*"))
    return [solution for path in folders for solution in _read(path / "wrong.diff")]


def find(lab: str, name: str) -> Wrong:
    """Return one wrong solution."""
    for solution in wrong(lab):
        if solution.name == name:
            return solution
    raise SolutionError(
        f"{folder(lab).name} has no {name}: `python -m tests.solutions list {lab}` has the names"
    )


def from_source(lab: str, name: str, source: str) -> Wrong:
    """Return a wrong solution out of a whole file, by comparing it with the reference."""
    begins = _SOURCE.match(source)
    if not begins or not source.endswith("\n"):
        raise SolutionError(
            "a wrong solution begins with a line `# fails: test_…`, the check that it fails, "
            "and a docstring of one line, the misunderstanding"
        )
    lab = folder(lab).name
    changes = _changes(_reference(lab), source[begins.end() : -1].split("\n"))
    return Wrong(lab, name, begins[1], begins[2], tuple(changes))


def keep(solution: Wrong) -> Path:
    """Add a wrong solution to its lab's file, or replace the one of its name; return the file's path."""
    others = (other for other in wrong(solution.lab) if other.name != solution.name)
    kept = sorted([*others, solution], key=lambda each: each.name)
    path = FOLDER / solution.lab / "wrong.diff"
    path.write_text("\n".join(each.entry() for each in kept), encoding="utf-8")
    return path


def _reference(lab: str) -> list[str]:
    """Return a reference's lines, but for its docstring: a wrong solution has its own."""
    return (FOLDER / lab / "reference.py").read_text(encoding="utf-8").splitlines()[1:]


def _read(path: Path) -> Iterator[Wrong]:
    """Yield what a lab's `wrong.diff` holds."""
    begins, *found = _ENTRY.split(path.read_text(encoding="utf-8") if path.exists() else "")
    if begins:
        raise SolutionError(f"{path}: begins with no `name: test_…` and sentence: {begins.splitlines()[0]}")
    for name, check, misunderstanding, body in zip(*[iter(found)] * 4, strict=True):
        changes = tuple(tuple(part.split("\n")) for part in body.strip("\n").split("\n@@\n"))
        for line in (line for change in changes for line in change):
            if line[:1] not in ("", " ", "-", "+"):
                raise SolutionError(f"{path}, {name}: neither a line of a change nor a heading: {line}")
        yield Wrong(path.parent.name, name, check, misunderstanding, changes)


def _before(change: Change) -> list[str]:
    """Return the lines by which a change is found."""
    return [line[1:] for line in change if line[:1] != "+"]


def _places(part: list[str], lines: list[str]) -> list[int]:
    """Return where a part occurs among lines."""
    starts = range(len(lines) - len(part) + 1)
    return [start for start in starts if part and lines[start : start + len(part)] == part]


def _place(change: Change, lines: list[str]) -> int:
    """Return the one place of a change in the reference."""
    before = _before(change)
    places = _places(before, lines)
    if len(places) == 1:
        return places[0]
    shown = "\n".join(change)
    if len(places) > 1:
        raise SolutionError(f"{len(places)} places of reference.py fit this, add a line around it:\n{shown}")
    wanted = difflib.SequenceMatcher(None, b="\n".join(before), autojunk=False)
    likeness = []
    for start in range(len(lines)):
        wanted.set_seq1("\n".join(lines[start : start + len(before)]))
        likeness.append(wanted.ratio())
    start = likeness.index(max(likeness))
    # The first line of the file is its docstring.
    near = "\n".join(
        f"{start + number}: {line}" for number, line in enumerate(lines[start:][: len(before)], 2)
    )
    raise SolutionError(f"nothing in reference.py fits this:\n{shown}\nthe nearest lines are\n{near}")


def _changes(old: list[str], new: list[str]) -> Iterator[Change]:
    """Yield what makes `new` out of `old`, with as few lines around each change as say where it is."""
    operations = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    parts: list[tuple[int, int]] = []
    for kind, start, stop, _, _ in operations:
        if kind != "equal":
            first, last = _widened(old, start, stop)
            while parts and first <= parts[-1][1]:
                first = min(first, parts.pop()[0])
            parts.append((first, last))
    for first, last in parts:
        change = []
        for kind, start, stop, new_start, new_stop in operations:
            if kind == "equal":
                change += [f" {line}" if line else "" for line in old[max(first, start) : min(last, stop)]]
            elif first <= start <= stop <= last:
                change += [f"-{line}" for line in old[start:stop]]
                change += [f"+{line}" for line in new[new_start:new_stop]]
        yield tuple(change)


def _widened(lines: list[str], start: int, stop: int) -> tuple[int, int]:
    """Return the smallest part around lines that occurs once; its ends are no empty lines that stay."""
    for more in count():
        for above in range(more, -1, -1):
            first, last = max(0, start - above), min(len(lines), stop + more - above)
            ends = (*lines[first:start][:1], *lines[stop:last][-1:])
            if all(ends) and len(_places(lines[first:last], lines)) == 1:
                return first, last
    raise AssertionError("count() does not end")
