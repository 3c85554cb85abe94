"""Korean for people, English for programs, and no traceback where a terminal can show neither."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from wcwidth import wcswidth

from demuxlab import language

KOREAN = re.compile("[가-힣]")
VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
RUN = ("run", "04", "--link", "memory")


def call(*words: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the command as a shell does, with these variables of the language and no others."""
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return subprocess.run(
        [sys.executable, "-m", "demuxlab", *map(str, words)],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.fixture
def english():
    """The language that other tests expect, also after this one."""
    language.use("en")
    yield
    language.use("en")


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "ko"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "kok_IN"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko_KR"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "ko:en"}, "ko"),
        ({"LANG": "ko_KR.UTF-8", "LANGUAGE": ""}, "ko"),
    ],
)
def test_the_environment_says_which_language(environment, code, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language.preferred() == code


def test_texts_and_values(english):
    assert language._("capture: {path}", path="a{b}") == "capture: a{b}"
    language.use("ko")
    assert language._("capture: {path}", path="a{b}") == "캡처: a{b}"
    assert language._("nobody says this: {it}", it=1) == "nobody says this: 1"
    assert language._("") == ""
    with pytest.raises(ValueError, match="no language 'fr'"):
        language.use("fr")
    assert language.code() == "ko"


@pytest.mark.parametrize("lang", ["C", "ko_KR.UTF-8"])
@pytest.mark.parametrize("words", [("--language", "ko", *RUN), (*RUN, "--language", "ko")])
def test_a_run_speaks_korean_when_told_to(words, lang, tmp_path):
    done = call(*words, folder=tmp_path, LANG=lang)
    assert done.returncode == 0
    assert "송신지" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("캡처: ")
    assert done.stderr.startswith("링크: memory")


def test_english_can_be_asked_for(tmp_path):
    done = call("--language", "en", *RUN, "--captures", "here", folder=tmp_path, LANG="ko_KR.UTF-8")
    assert done.stdout.splitlines()[-1].startswith("capture: here")
    assert not KOREAN.search(done.stdout + done.stderr)


def test_what_doctor_finds_stands_below_each_other(tmp_path):
    lines = call("doctor", folder=tmp_path, LANG="ko_KR.UTF-8").stdout.splitlines()
    found = [(line, *re.split("  +", line)) for line in lines if line[:1] in ("✓", "✗")]
    assert any(KOREAN.search(what) for _line, what, _detail in found)
    for line, _what, *detail in found:
        # A cure that is too long for the column has lines of its own below.
        below = lines[lines.index(line) + 1]
        assert below.startswith("    ") if not detail else wcswidth(line.removesuffix(*detail)) == 37, line


def test_programs_read_the_same_in_every_language(tmp_path):
    kept = []
    for code in ("en", "ko"):
        done = call("--language", code, *RUN, "--json", "--captures", code, folder=tmp_path)
        [capture] = (tmp_path / code).iterdir()
        kept.append((done.returncode, done.stdout, capture.read_bytes()))
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    "words",
    [(), *((name,) for name in ("run", "demux", "serve", "exec", "labs", "quiz", "new", "doctor"))],
    ids=lambda words: " ".join(words) or "demuxlab",
)
def test_help_is_korean_and_no_wider_than_a_terminal(words, tmp_path):
    done = call(*words, "--help", folder=tmp_path, LANG="ko_KR.UTF-8")
    assert done.returncode == 0
    assert done.stdout.startswith(f"사용법: {' '.join(('demuxlab', *words))} [OPTIONS]")
    assert "보여 주고 끝냅니다." in done.stdout
    for line in done.stdout.splitlines():
        assert 0 <= wcswidth(line) <= 80, line
    assert call("--language", "ko", *words, "--help", folder=tmp_path).stdout == done.stdout


def test_help_of_a_run_obeys_its_own_option(tmp_path):
    assert (
        call("run", "--language", "ko", "--help", folder=tmp_path).stdout
        == call("--language", "ko", "run", "--help", folder=tmp_path).stdout
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--language", "fr", "run"),
        ("--language", "ko", "dmux"),
        ("--language", "ko", "run", "99"),
        ("--language", "ko", "run", "--link", "ether"),
        ("--language", "ko", "run", "--nonsense"),
        ("--language", "ko", "demux"),
        ("--language", "ko", "demux", "none", "--sockets", "none"),
        ("run", "--language", "fr"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_told_in_one_line(words, tmp_path):
    done = call(*words, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert re.match("demuxlab: .+: ", done.stderr)
    assert bool(KOREAN.search(done.stderr)) == ("ko" in words)


def test_a_lab_script_speaks_as_the_command_does(tmp_path, repository):
    script = [sys.executable, repository / "labs/04_tcp_four_tuple/lab.py"]
    outcomes = []
    for words in (["--link", "memory", "--captures", "."], ["--nonsense"], ["--language", "fr"]):
        done = subprocess.run(
            [*script, "--language", "ko", *words],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        outcomes.append((done.returncode, done.stderr.count("demuxlab: "), "Traceback" in done.stderr))
        assert done.returncode or done.stdout.splitlines()[-1].startswith("캡처: ")
    assert outcomes == [(0, 0, False), (2, 1, False), (2, 1, False)]


@pytest.mark.parametrize("code", language.CODES)
@pytest.mark.parametrize("words", [RUN, ("labs",), ("doctor",), ("--help",)], ids=" ".join)
def test_a_terminal_without_these_characters_is_no_traceback(words, code, tmp_path):
    done = call("--language", code, *words, folder=tmp_path, LANG="C", PYTHONIOENCODING="ascii")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_who_speaks_english_does_not_wait_for_babel(tmp_path):
    script = "import demuxlab.cli.main, sys; assert 'babel' not in sys.modules"
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=kept, check=False)
    assert done.returncode == 0
