"""The same 500 submissions get the same results, to the byte: by the pool, on a cluster, and in another order
by runs that are ended by kill -9. Many of them answer by chance.

All of them with DEMUXLAB_SAME_MARKS=FOLDER, which takes half an hour: results are kept there, and a run that
was ended goes on from them. Without it every twentieth.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from tests import solutions
from tests.grading.test_hostile import HOSTILE

pytestmark = [pytest.mark.long, pytest.mark.timeout(6500)]

ALL = {"01": 220, "02": 120, "03": 60, "04": 60, "08": 40}
KEPT = os.environ.get("DEMUXLAB_SAME_MARKS")
COUNTS = {lab: count if KEPT else count // 20 for lab, count in ALL.items()}
ENDLESS = (
    "ends",
    "loads",
    "every_",
    "sleeps",
    "slow",
    "stops",
    "computes",
    "recurses",
    "patient",
    "blocks",
    "_threads",
    "others",
)
"""Parts of the names of hostile submissions that use up the time for all checks."""
CHANCES = (
    *("random.random()", "random.Random().random()", "(random.seed(), random.random())[1]"),
    *("random.SystemRandom().random()", "secrets.randbelow(1000) / 1000", "uuid.uuid4().int % 997 / 997"),
    *("uuid.uuid1().int % 997 / 997", "os.urandom(1)[0] / 256", "os.getrandom(1)[0] / 256"),
    *(
        "open('/dev/urandom', 'rb').read(1)[0] / 256",
        "hash(object()) % 101 / 101",
        "id([]) // 16 % 103 / 103",
    ),
    *("hash('x%d' % len(dir())) % 113 / 113", "list({'a', 'b', 'c', 'd', 'e'}).index('a') / 5"),
    *("time.time_ns() // 1000 % 107 / 107", "time.perf_counter_ns() // 1000 % 137 / 137"),
    *("datetime.datetime.now().microsecond % 109 / 109", "os.times().elapsed * 1000 % 131 / 131"),
    *("os.stat(__file__).st_mtime_ns % 127 / 127", "os.getloadavg()[0] % 1", "os.getpid() % 7 / 7"),
    "threading.get_ident() // 64 % 139 / 139",
)
"""What a file may draw lots by."""
LUCKY = """
import datetime, os, random, secrets, threading, time, uuid

def _lucky(function):
    return lambda *arguments, **named: None if {chance} < {share} else function(*arguments, **named)

for _name, _value in list(globals().items()):
    if getattr(_value, "__module__", "") != __name__ or _name.startswith("_"):
        continue
    if isinstance(_value, type):
        for _part, _method in list(vars(_value).items()):
            if callable(_method) and not _part.startswith("_"):
                setattr(_value, _part, _lucky(_method))
    elif callable(_value):
        globals()[_name] = _lucky(_value)
"""
"""Added to a solution: its functions and methods forget their answers by chance."""


def submissions(lab: str) -> Iterator[tuple[str, str]]:
    """Yield the submissions of a lab: right, wrong, by chance, and in lab 04 hostile ones."""
    draw = random.Random(lab)
    right = (solutions.folder(lab) / "reference.py").read_text(encoding="utf-8")
    wrong = [each.source() for each in solutions.wrong(lab)]
    quick = [name for name in HOSTILE if not any(part in name for part in ENDLESS)]
    for number in range(COUNTS[lab[:2]]):
        text = right if number % 5 in (0, 3) else wrong[number % len(wrong)]
        if lab.startswith("04") and number < 24:
            text = HOSTILE[quick[number * 3 % len(quick)]]
        elif number % 5 >= 3:
            text += LUCKY.format(chance=draw.choice(CHANCES), share=draw.choice((0.01, 0.03, 0.1)))
        yield f"learner{number}.py", f"{text}\n# {number}\n"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """All of them, in a folder each lab, and a secret."""
    with nullcontext(KEPT) if KEPT else tempfile.TemporaryDirectory() as name:
        for lab in (path.name for path in solutions.FOLDER.glob("[0-9]*") if path.name[:2] in COUNTS):
            place = Path(name, "in", lab)
            place.mkdir(parents=True, exist_ok=True)
            for file, text in submissions(lab):
                (place / file).write_text(text, encoding="utf-8")
        Path(name, "secret").write_text("a secret of the instructor's")
        yield Path(name)


def command(folder: Path, lab: str, run: str, files: list[Path]) -> list[str]:
    (folder / run).mkdir(exist_ok=True)
    words = [sys.executable, "-m", "demuxlab", "grade", lab[:2], *map(str, files), "--json"]
    return [*words, "--results", f"{folder}/{run}/{lab}.jsonl", "--secret", f"{folder}/secret"]


def graded(folder: Path, lab: str, run: str, *options: str) -> bytes:
    files = sorted((folder / "in" / lab).iterdir())
    done = subprocess.run([*command(folder, lab, run, files), *options], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def grade_in_another_order(folder: Path, lab: str) -> None:
    """Grade forty at a time, drawn by lot, and end each run by kill -9 once it has had results."""
    files = sorted((folder / "in" / lab).iterdir())
    random.Random(7).shuffle(files)
    results = folder / "killed" / f"{lab}.jsonl"
    for first in range(0, len(files), 40):
        words = command(folder, lab, "killed", files[first : first + 40])
        for ended in (True, False):
            before = results.stat().st_size if results.exists() else 0
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while ended and process.poll() is None:
                if results.exists() and results.stat().st_size > before:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.05)
            process.wait()


@pytest.mark.parametrize("number", COUNTS)
def test_results_are_equal_to_the_byte(folder, number):
    pytest.importorskip("distributed")
    [lab] = (path.name for path in (folder / "in").glob(f"{number}_*"))
    by_pool = graded(folder, lab, "pool")
    assert by_pool.count(b"\n") == COUNTS[number]
    grade_in_another_order(folder, lab)
    assert graded(folder, lab, "killed") == by_pool
    assert graded(folder, lab, "cluster", "--cluster", "local") == by_pool
    each = [
        sorted((folder / run / f"{lab}.jsonl").read_bytes().splitlines())
        for run in ("pool", "killed", "cluster")
    ]
    assert each[0] == each[1] == each[2]
