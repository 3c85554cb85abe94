"""The fuzzer: `python -m tests.fuzz TARGET [--runs N | --seconds N]`, or all targets with `--table`.

    --grow       keep in the corpus what reached something new, and of the whole corpus only what is needed
    --table      all targets, and their figures as a table (docs/trust.md has the sums)
    --seed N     another row of inputs

A finding is printed with its traceback, and its input is saved in the folder for temporary files; once fixed,
it becomes a test of its module.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha1
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from tests.fuzz import TARGETS

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).resolve().parents[2]
MAX_LENGTH = 4096
"""The greatest length of an input in bytes: longer ones find nothing more and take time."""
RUNS = 2000
FINDING = Path(tempfile.gettempdir()) / "finding"
_DONE = re.compile(r"stat::number_of_executed_units: +(\d+)")
_PROGRESS = re.compile("#[0-9]|INFO|stat::|WARNING")
_INSIDE = "--inside"
"""The argument that marks the process in which atheris runs."""


@dataclass(frozen=True)
class Result:
    """The inputs that a run generated and executed, and its output."""

    target: str
    inputs: int
    exceptions: int
    said: str


def load(target: str) -> Callable[[bytes], None]:
    """Return a target's function."""
    one: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.{target}").one
    return one


def corpus(target: str) -> dict[str, bytes]:
    """Return the inputs that are kept for a target, by name."""
    path = CORPUS / f"{target}.zip"
    if not path.exists():
        return {}
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Make inputs a target's corpus; the same inputs make the same archive."""
    CORPUS.mkdir(exist_ok=True)
    with ZipFile(CORPUS / f"{target}.zip", "w") as archive:
        for name, data in sorted((sha1(data).hexdigest()[:12], data) for data in inputs):
            # ZipInfo has a fixed date, so that the archive is reproducible.
            archive.writestr(ZipInfo(name), data, compress_type=ZIP_DEFLATED)


def fuzz(target: str, *flags: str, folders: Iterable[Path] = ()) -> Result:
    """Run atheris on a target in a process of its own."""
    command = [sys.executable, "-m", "tests.fuzz", target, _INSIDE]
    command += [
        *flags,
        "-print_final_stats=1",
        f"-max_len={MAX_LENGTH}",
        f"-artifact_prefix={FINDING}-{target}-",
    ]
    ran = subprocess.run(
        [*command, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    done = _DONE.search(ran.stderr)
    said = "".join(line for line in (ran.stdout + ran.stderr).splitlines(True) if not _PROGRESS.match(line))
    return Result(target, int(done[1]) if done else 0, int(ran.returncode != 0), said)


def run(target: str, runs: int = RUNS, *, seconds: int = 0, seed: int = 1, grow: bool = False) -> Result:
    """Fuzz a target from its corpus on; `grow` keeps what is new."""
    with tempfile.TemporaryDirectory() as made:
        new, known, seeds, kept = (Path(made) / name for name in ("new", "known", "seeds", "kept"))
        for folder in (new, known, seeds, kept):
            folder.mkdir()
        for name, data in corpus(target).items():
            (known / name).write_bytes(data)
        if grow or not any(known.iterdir()):
            for number, given in enumerate(importlib.import_module(f"tests.fuzz.{target}").seeds()):
                (seeds / str(number)).write_bytes(given[:MAX_LENGTH])
        # The inputs that it starts from, and the empty one, are run too but are not counted as new.
        first = len(list(known.iterdir())) + len(list(seeds.iterdir())) + 1
        limit = f"-max_total_time={seconds}" if seconds else f"-runs={runs + first}"
        result = fuzz(target, limit, f"-seed={seed}", folders=(new, known, seeds))
        result = replace(result, inputs=max(0, result.inputs - first))
        if grow:
            merged = fuzz(target, "-merge=1", "-use_counters=0", folders=(kept, known, seeds, new))
            if merged.exceptions or not any(kept.iterdir()):
                return Result(target, result.inputs, 1, result.said + merged.said)
            keep(target, [path.read_bytes() for path in kept.iterdir()])
    return result


def inside(target: str, flags: list[str]) -> None:
    """The process in which atheris runs."""
    import atheris

    with atheris.instrument_imports(include=["demuxlab"]):
        one = load(target)
    # libFuzzer starts itself again to merge: the first word is the command by which it can.
    again = f"{sys.executable} -m tests.fuzz {target} {_INSIDE}"
    atheris.Setup([again, *flags], one)
    atheris.Fuzz()


def main() -> None:
    if sys.argv[2:3] == [_INSIDE]:
        return inside(sys.argv[1], sys.argv[3:])
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--table", action="store_true", help="all targets, and a table of the figures")
    parser.add_argument("--runs", type=int, default=RUNS, help="inputs for each target")
    parser.add_argument("--seconds", type=int, default=0, help="seconds for each target, instead of --runs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grow", action="store_true", help="keep in the corpus what reached something new")
    asked = parser.parse_args()
    if not asked.target and not asked.table:
        parser.error("name a target, or --table for all")
    targets = TARGETS if asked.table else (asked.target,)
    results = [
        run(target, asked.runs, seconds=asked.seconds, seed=asked.seed, grow=asked.grow) for target in targets
    ]
    for result in results:
        if result.exceptions:
            print(result.said, file=sys.stderr)
    print("| target | mutated inputs | exceptions |\n|---|---|---|")
    for result in results:
        print(f"| {result.target} | {result.inputs:,} | {result.exceptions} |")
    if asked.table:
        inputs, exceptions = (
            sum(figures) for figures in zip(*((r.inputs, r.exceptions) for r in results), strict=True)
        )
        print(f"| all | {inputs:,} | {exceptions} |")
    sys.exit(any(result.exceptions for result in results))


if __name__ == "__main__":
    main()
