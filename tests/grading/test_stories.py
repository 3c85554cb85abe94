"""What a learner reads: one mistake is one story, and the last lines say what to do first."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import solutions
from wcwidth import wcswidth

from demuxlab import language
from demuxlab.course import next_steps
from demuxlab.grading.sentences import translated
from demuxlab.grading.stories import Stories, mistaken_type, on_screen
from demuxlab.grading.submission import Submission
from demuxlab.grading.words import as_text

PORTS = """
def ports(header: bytes) -> tuple[int, int]:
    return int.from_bytes(header[0:2], "big"), int.from_bytes(header[2:4], "big")
"""


@pytest.fixture
def graded(repository: Path, tmp_path: Path):
    """Grade a source text as exercise 01 in a terminal of 80 columns; return the lines."""

    def grade(source: str, *options: str, code: str = "en") -> list[str]:
        file = tmp_path / "mine.py"
        file.write_text(source, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "labs/01_port_fields", "--submission", str(file), "--no-packets",
             "-p", "no:cacheprovider", *options],
            cwd=repository, env={**os.environ, "COLUMNS": "80", "LANGUAGE": code}, capture_output=True,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not done.stderr
        return done.stdout.splitlines()

    return grade


def wide(lines: list[str]) -> int:
    """Return the widest line below pytest's own head."""
    return max(wcswidth(line) for line in lines[lines.index("") :] if not line.startswith("rootdir"))


def test_a_file_that_cannot_be_loaded_is_one_story(graded):
    lines = graded(PORTS.replace('header[0:2], "big")', 'header[0:2], "big"'))
    assert len(lines) <= 40
    text = "\n".join(lines)
    assert text.count("cannot be loaded") == 1
    at = lines.index("mine.py cannot be loaded: SyntaxError in line 3: '(' was never closed")
    assert lines[at + 2].index("^") == lines[at + 1].index("(header")
    assert "hint" not in text
    assert "FAILED" not in text
    assert "next: make the file load. The line above says where it stops." in lines[-4:]
    assert wide(lines) <= 80


def test_an_endless_loop_costs_its_own_function_and_names_its_line(graded):
    loop = "\ndef ports_in_packet(packet):\n    while True:\n        pass\n"
    lines = graded(PORTS + loop)
    text = "\n".join(lines)
    assert "points: 6 of 25" in text
    assert text.count("did not come to an end") == 1
    assert re.search("did not come to an end in line [67]", text)
    assert re.search(r"^udp and tcp are read alike +0/1 +line [67]: no end$", text, re.MULTILINE)
    assert "the file has no function answer: was it renamed?" in " ".join(text.split())
    assert wide(lines) <= 80


def test_input_a_wrong_type_and_a_crash_are_called_what_they_are(graded):
    text = "\n".join(
        graded(
            "import os, signal\n"
            "def ports(header):\n    return [header[0] * 256 + header[1], header[2] * 256 + header[3]]\n"
            "def ports_in_packet(packet):\n    return str(ports(packet[20:24]))\n"
            "def udp_datagram(source, destination, data):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
            "def answer(datagram, data):\n    input('press enter')\n"
        )
    )
    assert text.count("a list, where a tuple is asked for") == 1
    assert text.count("a text (str), where a tuple is asked for") == 1
    assert re.search(r"^ports have no sign +0/1 +this is a list$", text, re.MULTILINE)
    text = " ".join(text.split())
    assert "the process crashed (SIGSEGV) while it was asked for udp_datagram" in text
    assert "EOFError in line 9: there is no input to read here" in text
    assert "hint" not in text


def test_the_starter_is_told_once_and_each_check_has_a_row(graded, repository):
    lines = graded((repository / "labs" / "01_port_fields" / "exercise.py").read_text())
    assert len(lines) <= 50
    rows = [line.split("  ")[0] for line in lines if line.endswith("still to be written")]
    assert "udp and tcp are read alike" in rows
    assert len(rows) == 21 + 1  # the story says it, too


def test_one_misunderstanding_is_one_story_and_all_are_told_where_asked(graded):
    [exchanged] = (each for each in solutions.wrong("01_port_fields") if each.name == "exchanged")
    lines = graded(exchanged.source())
    assert len(lines) <= 60
    stories = [line for line in lines if line.startswith("check: ")]
    assert stories == [
        "check: the ports are the first four bytes",
        "check: the ports stand behind the ip header",
    ]
    row = next(line for line in lines if line.startswith("ports have no sign "))
    assert row.endswith("0/1     a wrong answer")
    command = next_steps.typed("labs/01_port_fields -k the_ports_are", "pytest")
    assert lines[-5:-1] == [
        "points: 8 of 25",
        "next: the ports are the first four bytes. Its story alone:",
        f"    {command}",
        "every story: add -v",
    ]
    every = [line for line in graded(exchanged.source(), "-v") if line.startswith("check: ")]
    assert len(every) == 15


def test_what_is_passed_says_what_comes_next(graded):
    lines = graded((solutions.folder("01") / "reference.py").read_text())
    program = next_steps.typed("", "demuxlab")
    assert lines[-4:-1] == [
        "well done! Next:",
        f"    {program}quiz 01 --student YOUR_NAME",
        f"    {program}run 02",
    ]


def test_a_part_of_the_checks_says_how_many_were_not_run(graded):
    lines = graded((solutions.folder("01") / "reference.py").read_text(), "-k", "first_four")
    assert "points: 1 of 1 so far; checks not run: 20; all are worth 25" in lines
    assert lines[-3:-1] == [
        "next: run all checks:",
        f"    {next_steps.typed('labs/01_port_fields', 'pytest')}",
    ]


def test_the_story_in_korean_has_no_english_left(graded):
    loop = "\ndef ports_in_packet(packet):\n    while True:\n        pass\n"
    text = "\n".join(graded(PORTS.replace("header[2:4]", "header[4:6]") + loop, code="ko"))
    for english in ("expected", "found", "hint:", "did not", "in line", "was it", "check:", "next:"):
        assert english not in text


@pytest.mark.parametrize(
    ("said", "mistaken"),
    [
        ("expected (1, 2), found [1, 2]\nhint: x", ("list", "tuple")),
        ("expected 2c e7\nfound    '2c e7'", ("str", "bytes")),
        ("send: expected 3, found '3'", ("str", "int")),
        ("expected 10, found '10'", ("str", "int")),
        ("expected 10, found 8", None),
        ("expected 7, found 10", None),
        ("expected 2c, found 8", ("int", "bytes")),
        ("expected 3, found None", None),
        ("expected None, found 3", None),
        ("expected 'P4', found 'P5'", None),
        ("expected OSError, found 3", None),
    ],
)
def test_types_are_compared_as_they_are_written(said, mistaken):
    assert mistaken_type(said) == mistaken


def test_each_part_of_a_raise_is_translated_on_its_own():
    from demuxlab import language

    language.use("ko")
    try:
        text = translated(
            "deliver(b'x') raised NotImplementedError in line 21: deliver is still to be written"
        )
    finally:
        language.use("en")
    assert "NotImplementedError" in text
    assert "in line" not in text
    assert "발생했습니다NotImplementedError" not in text


@pytest.mark.parametrize(
    ("lab", "line", "told"),
    [
        (
            "07",
            "hint: 2517 bytes make 3 segments of at most 839",
            "2517바이트는 최대 839바이트짜리",
        ),
        (
            "12",
            "expected 08 4b as TCP checksum in bytes 36-37, found 08 4c",
            "36-37의 TCP 체크섬: 08 4b",
        ),
        ("05", "clients served: expected 5, found 1", "응답을 받은 클라이언트: "),
        (
            "04",
            "hint: only 43 of 44 bytes came: compare the lengths before you read a field",
            "44바이트 가운데 43",
        ),
        ("04", "given 0a", "주어진 것: 0a"),
        (
            "05",
            "serve() raised OSError in line 9: [Errno 22] this socket does not listen",
            "[Errno 22] 이 소켓은",
        ),
    ],
)
def test_sentences_with_values_are_told_in_korean(lab, line, told, repository):
    language.use("ko")
    try:
        [folder] = (repository / "labs").glob(f"{lab}_*")
        language.add(folder, "checks")
        assert told in translated(line)
    finally:
        language.use("en")


@pytest.mark.parametrize(
    ("message", "end"),
    [
        ("expected 1, found 2\nhint: the ID is known", ["expected 1, found 2", "hint: the ID is known"]),
        ("it fell\nhint: the ID is known", ["it fell", "hint: the ID is known", "assert 2 == 1"]),
    ],
)
def test_a_hint_behind_an_assert_is_a_line_as_any_other(message, end, tmp_path):
    """pytest indents it and adds the comparison; then no catalog had the line, and it stayed English."""
    found = 2
    with pytest.raises(AssertionError) as failure:
        assert found == 1, message
    assert "\n  hint: " in str(failure.value)
    asked = Submission(tmp_path / "mine.py")
    assert Stories().of(asked, "an id", failure.value)[-len(end) :] == [f"  {line}" for line in end]


def test_a_long_value_ends_behind_an_item_and_says_how_many_follow():
    table = [
        [f"P{number}", "tcp", "10.9.0.20", 60402, "", 0, "listening", ["SO_REUSEADDR"]]
        for number in (1, 2, 3)
    ]
    assert as_text((table, 80)) == f"[{table[0]!r}, … (+2)], 80"
    assert as_text((table[:1],)) == repr(table[:1])
    numbers = as_text((list(range(60000, 61000)),))
    assert re.fullmatch(r"\[60000, (\d{5}, )+… \(\+\d{3}\)\]", numbers)
    assert len(numbers) < 220
    assert as_text(("x" * 300,)) == f"'{'x' * 199}…'"


def test_lines_of_a_story_wrap_below_their_first_word_and_source_code_stays(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    row = "    - P7: tcp listening 10.9.0.20:60402, SO_REUSEADDR, user 1000"
    assert on_screen([row, "  12. " + "word " * 9 + "end"]).splitlines() == [
        "    - P7: tcp listening 10.9.0.20:60402,",
        "      SO_REUSEADDR, user 1000",
        "  12. word word word word word word word",
        "      word word end",
    ]
    source = "   12 |    return (" + "one, " * 20
    assert on_screen([source]) == source


def test_where_no_file_can_be_run_the_run_ends_with_one_sentence(graded, tmp_path, monkeypatch):
    broken = "def best():\n    raise sandbox.DemuxlabError('a learner cannot be run (why)', 'the cure')\n"
    (tmp_path / "broken.py").write_text(
        f"from demuxlab.grading import sandbox\n{broken}sandbox.best = best\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    text = "\n".join(graded(PORTS, "-p", "broken"))
    assert text.count("a learner cannot be run (why): the cure") == 1
    assert "def best" not in text
