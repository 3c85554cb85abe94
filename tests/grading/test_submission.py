"""A learner's file in a process of its own: what it may use, what a failure keeps."""

import errno
import subprocess
import sys
from collections.abc import Callable
from itertools import chain, count, repeat
from pathlib import Path
from typing import ClassVar

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.grading.failure_capture import path_of, save, save_picture
from demuxlab.grading.printed import Printed
from demuxlab.grading.submission import LoadError, Submission, SubmissionError
from demuxlab.grading.values import RemoteObject
from demuxlab.wire import ip, packet, udp

Ask = Callable[[str], Submission]


class Clock(RemoteObject):
    METHODS = frozenset(("read", "split", "fail", "wait"))
    CONSTANTS: ClassVar = {"TICK": 5}

    def __init__(self) -> None:
        self.reads = 0

    def read(self, add: int = 0) -> int:
        self.reads += 1
        return self.reads + add

    def split(self) -> "tuple[Clock, bytes]":
        return Clock(), b"\x01"

    def fail(self) -> None:
        raise OSError(errno.EADDRINUSE, "it is in use")

    def wait(self, seconds: int) -> None:
        if seconds < 0:
            raise ValueError("a time is not negative")

    def secret(self) -> str:
        return "never"


@pytest.fixture
def ask(tmp_path: Path):
    asked: list[Submission] = []

    def written(source: str) -> Submission:
        path = tmp_path / "exercise.py"
        path.write_text(source, encoding="utf-8")
        asked.append(Submission(path, timeout=5))
        return asked[-1]

    yield written
    for submission in asked:
        submission.close()


def test_what_is_offered_stays_with_the_checker(ask: Ask):
    clock = Clock()
    submission = ask("def run(clock): return clock.read(), clock.read(10), clock.TICK")
    assert submission.function("run", clock) == [1, 12, 5]
    assert clock.reads == 2
    assert submission.story == ["called run(clock) → (1, 12, 5)"]


def test_what_an_offer_returns_can_be_used_and_given_back(ask: Ask):
    source = "def run(clock):\n    other, data = clock.split()\n    return other.read(), data, other"
    value = ask(source).function("run", Clock())
    assert value[:2] == [1, b"\x01"]
    assert isinstance(value[2], Clock)


def test_an_os_error_of_an_offer_reaches_the_learners_code(ask: Ask):
    source = "def run(c):\n try:\n  c.fail()\n except OSError as e:\n  return e.errno, e.strerror"
    assert ask(source).function("run", Clock()) == [errno.EADDRINUSE, "it is in use"]


@pytest.mark.parametrize("method", ["secret", "reads", "mro"])
def test_nothing_else_of_an_offer_can_be_reached(ask: Ask, method: str):
    with pytest.raises(SubmissionError, match=f"clock has no '{method}' here: there are fail, read, split"):
        ask(f"def run(clock): return clock.{method}()").function("run", Clock())


VARYING = """
import datetime, os, random, resource, secrets, tempfile, time, uuid
class Thing: pass
def f():
    things = list({Thing() for _ in range(8)})
    chance = [random.random(), secrets.randbelow(1000), os.urandom(4), str(uuid.uuid4()), str(uuid.uuid1())]
    random.seed()
    chance += [random.random(), random.Random().random(), os.getrandom(4), tempfile.mktemp()]
    one, other = random.Random(), random.Random()
    assert one.random() != other.random()
    system = [os.stat(__file__).st_mtime_ns, os.path.getmtime("/tmp"), os.getloadavg(), os.cpu_count()]
    system += [str(os.times()), str(resource.getrusage(resource.RUSAGE_SELF)), list(os.sched_getaffinity(0))]
    clock = [time.time(), str(datetime.datetime.now()), time.ctime(), time.monotonic(), time.strftime("%S")]
    return [chance, system, clock, list({"a", "b", "c", "d"}), sorted(range(8), key=lambda n: id(things[n]))]
"""


def test_the_same_file_gives_the_same_answers_each_time(ask: Ask):
    assert ask(VARYING).function("f") == ask(VARYING).function("f")


def test_time_goes_on_so_that_waiting_ends(ask: Ask):
    source = "import time\ndef f():\n    end = time.time() + 0.01\n    while time.time() < end: pass\n"
    source += "    a = time.monotonic()\n    time.sleep(0.01)\n    return time.monotonic() - a > 0.009"
    assert ask(source).function("f") is True


def test_the_time_that_others_have_the_processor_does_not_count(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    submission = ask("import time\ndef f(seconds):\n    time.sleep(seconds)\n    return 1")
    submission.timeout = 0.1
    waited = chain((0.0,), repeat(5.0))
    monkeypatch.setattr(submission._patience, "_delay", lambda: next(waited))
    monkeypatch.setattr("demuxlab.grading.submission._OWN_ALARM", 0)
    assert submission.function("f", 0.3) == 1  # 5 seconds of the queue are made up for
    submission.timeout = 0.1
    with pytest.raises(SubmissionError, match=r"no answer within 0\.1 seconds"):
        submission.function("f", 30)


def test_a_process_that_waits_for_a_processor_is_not_given_up(ask: Ask, monkeypatch: pytest.MonkeyPatch):
    submission = ask("import time\ndef f(seconds):\n    time.sleep(seconds)\n    return 1")
    submission.timeout = 0.1
    monkeypatch.setattr("demuxlab.grading.submission._OWN_ALARM", 0)
    monkeypatch.setattr("demuxlab.grading.processes.state", lambda _process: "R")
    assert submission.function("f", 0.3) == 1  # it sleeps; it could be in the queue as well
    computed = count(1)
    monkeypatch.setattr("demuxlab.grading.processes.scheduled", lambda _process: (0.05 * next(computed), 0.0))
    with pytest.raises(SubmissionError, match=r"no answer within 0\.1 seconds"):
        submission.function("f", 30)  # and here it would have computed for too long


def test_what_one_check_waited_in_the_queue_is_given_back_to_the_next(ask: Ask, monkeypatch):
    submission = ask("def f(): return 1")
    submission.function("f")
    before = submission._budget.left
    patience = submission._patience
    monkeypatch.setattr(patience, "_delay", lambda: patience._delayed + 3.0)
    submission.close()
    assert submission._budget.left == before + 3.0


def test_the_process_of_the_learner_s_file_is_found(ask: Ask):
    submission = ask("import os\ndef f(): return 1")
    submission.function("f")
    assert submission._running is not None
    assert b"exercise.py" in Path(f"/proc/{submission._running.inside}/cmdline").read_bytes()
    assert submission._patience._delay() >= 0


def test_nobody_is_at_the_keyboard(ask: Ask):
    with pytest.raises(LoadError, match=r"EOFError in line 1: there is no input to read here"):
        ask("name = input('your name? ')\ndef f(): return 1").function("f")
    assert ask("import sys\ndef f(): return sys.stdin.read()").function("f") == ""


def test_wrong_arguments_are_told(ask: Ask):
    with pytest.raises(SubmissionError, match=r"read: .*takes from 1 to 2 positional arguments"):
        ask("def run(clock): return clock.read(1, 2, 3)").function("run", Clock())


def test_an_offer_closes_with_a_with_block(ask: Ask):
    with pytest.raises(SubmissionError, match="clock has no 'close'"):
        ask("def run(clock):\n    with clock: pass").function("run", Clock())


def test_tuples_and_bytes_arrive_as_such(ask: Ask):
    assert ask("def run(a, b): return [type(a).__name__, a, b]").function("run", ("x", 1), b"\0") == [
        "tuple",
        ["x", 1],
        b"\0",
    ]


def datagram(port: int) -> bytes:
    a, b = b"\x0a\x09\0\x0a", b"\x0a\x09\0\x14"
    return packet.build(a, b, ip.UDP, udp.build(a, b, 9157, port, b"hello"))


def test_the_packets_of_a_failure_are_kept_in_order(ask: Ask, tmp_path: Path):
    submission = ask("def deliver(packet): return None\ndef other(data): return None")
    for port in (80, 81):
        submission.function("deliver", datagram(port))
    submission.function("other", b"no packet")
    lab = tmp_path / "course" / "labs" / "03_udp_two_tuple"
    (tmp_path / "course" / "captures").mkdir(parents=True)
    path = path_of(lab, "a check")
    assert path == tmp_path / "course" / "captures" / "failures" / "03_a_check.pcapng"
    said = save(submission.packets, path, "a check", ["expected 'P1', found None"])
    assert said == f"this check's packets (frame 2 is the one that failed): {path}"
    assert (
        path_of(lab, "a long name " * 6).name == "03_a_long_name_a_long_name_a_long_name_a_long_name_a.pcapng"
    )
    with Capture(path) as capture:
        frames = list(capture)
    assert [frame.data for frame in frames] == [datagram(80), datagram(81)]
    assert frames[0].comment.startswith("deliver(packet UDP 10.9.0.10:9157 → 10.9.0.20:80")
    assert frames[1].comment.endswith("\nexpected 'P1', found None")


def test_a_capture_that_cannot_be_kept_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captures").write_text("a file in the way")
    (tmp_path / "labs").mkdir()
    path = path_of(tmp_path / "labs" / "03_x", "a check")
    assert "not saved" in save([(datagram(80), "asked")], path, "a check", [])
    assert "not saved" in save_picture("<svg/>", path)


def test_a_picture_is_kept_while_its_check_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lab = tmp_path / "labs" / "03_x"
    lab.mkdir(parents=True)
    (lab / "lab.py").write_text("")
    check = (
        "import pytest\n@pytest.mark.points(1)\ndef test_a(submission):\n    submission.picture = '<svg/>'\n"
    )
    check += "    assert (found := submission.function('f')) == 1, f'expected 1, found {found}'\n"
    (lab / "test_exercise.py").write_text(check)
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "captures" / "failures" / "03_a.svg"
    for answer in (2, 1):
        (lab / "exercise.py").write_text(f"def f(): return {answer}")
        command = [sys.executable, "-m", "pytest", str(lab), "-p", "no:cacheprovider"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        assert kept.is_file() == (answer == 2) == ("picture: captures/failures/03_a.svg" in said), said


def test_words_that_are_no_utf_8_can_still_be_written_down(ask: Ask):
    # Half a surrogate pair has no UTF-8, and what an exception says is written in it.
    submission = ask("def f(): raise ValueError(chr(0xD83D))")
    with pytest.raises(SubmissionError) as error:
        submission.function("f")
    assert "raised ValueError" in str(error.value)
    assert str(error.value).encode()


def test_a_value_that_an_offer_does_not_take_is_the_learner_s_mistake(ask: Ask):
    # What an offer raises is the submission's mistake, not the checker's.
    submission = ask("def f(clock): return clock.read(1, 'x')\ndef g(clock): return clock.wait(-1)")
    with pytest.raises(SubmissionError, match="AttributeError"):
        submission.function("f", Clock())
    with pytest.raises(SubmissionError, match="wait: a time is not negative"):
        submission.function("g", Clock())


def test_printed_is_what_came_before_the_last_answer(ask: Ask):
    submission = ask(
        "import os, sys\n"
        "def before():\n  print('without a newline', end='')\n  os.write(2, b', by write(2)')\n"
        "def after():\n  sys.modules['__main__'].tell({'value': 1})\n  print(', after the answer')\n"
    )
    submission.function("before")
    submission.function("after")
    submission.close()
    assert str(submission.printed) == ", by write(2)without a newline"


def test_the_token_of_a_request_is_not_shown(ask: Ask):
    submission = ask("def f():\n  import sys\n  print(sys.modules['__main__'].asked[0])\n  return 1\n")
    assert submission.function("f") == 1
    submission.close()
    assert str(submission.printed) == "********\n"


@pytest.mark.parametrize("size", [1, 3, 10, 4000, 100_000])
def test_what_is_printed_after_the_answer_is_shown_only_where_there_is_none(size):
    written = b"one\n\x0012345678\x00" + b"x" * size + b"\0\0two\n\x00abcdef01\x00three\n\0\0"
    printed = Printed()
    printed.answer(), printed.answer(), printed.answer()
    for at in range(0, len(written), size):
        printed.add(written[at : at + size])
    assert str(printed) == f"one\n{'x' * size}two\n"[:2000]
    printed.answered = False
    assert str(printed) == f"one\n{'x' * size}two\nthree\n"[:2000]
