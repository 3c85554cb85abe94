"""In a browser there is one process: the same checks, loops that end, and what a file changes is undone."""

import base64
import errno
import json
import os
import subprocess
import sys

import pytest
from tests import solutions

from demuxlab.site import browser, linux_errors

BEGIN = """
import json, sys
from demuxlab.grading import sandbox
sandbox.best = lambda: sandbox.PRACTICE
import pytest

from demuxlab.site import browser, linux_errors
browser.prepare()
"""


def graded(lab: str, source: str, repository) -> dict:
    """Grade a file as a browser does, in a process of its own."""
    script = BEGIN + f"print(json.dumps(browser.grade({lab!r}, sys.stdin.read())))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=source,
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


LOOP = """
def ports(packet):
    while True:
        print("again")
"""
CHEAT = """
from demuxlab.grading import checks
checks.expect = lambda *arguments: None
import builtins
builtins.len = lambda *arguments: 4
"""


def test_a_loop_without_end_is_stopped_with_its_line(repository):
    found = graded("01_port_fields", LOOP, repository)
    stories = "\n".join(test["story"] for test in found["tests"])
    assert "did not come to an end in line" in stories
    assert found["points"] == 0


def test_checks_that_a_file_changes_are_put_back_and_named(repository):
    found = graded("01_port_fields", CHEAT, repository)
    assert found["points"] == 0
    assert {"demuxlab.grading.checks.expect", "builtins.len"} <= set(found["changed"])


def test_what_comes_with_a_failure_can_be_opened(repository):
    found = graded("01_port_fields", "def ports(packet):\n    return 1, 2\n", repository)
    capture = base64.b64decode(next(iter(found["captures"].values())))
    assert capture.startswith(b"\n\r\r\n")
    wrong = solutions.find("20", "timeout_halves")
    found = graded(wrong.lab, wrong.source(), repository)
    assert found["pictures"][wrong.check].startswith("<svg")
    assert found["pictures"].keys() <= {test["name"] for test in found["tests"] if not test["passed"]}


def test_a_run_gives_packets_with_endpoints_fields_decisions_and_steps(monkeypatch):
    monkeypatch.setattr("demuxlab.links.rights.drop", lambda *_keep: "")  # this process goes on as it is
    got = browser.run("04")
    first, sent = got["packets"][:2]
    assert (first["source"], first["destination"]) == ("10.9.0.10:9157", "10.9.0.20:80")
    assert first["decision"] == {
        "verdict": "delivered",
        "socket": "web",
        "rule": "wildcard listener",
        "reply": None,
    }
    assert any("every address?" in step for step in first["steps"])
    assert {"name": "Destination port", "value": "80", "start": 22, "end": 24} in first["fields"]
    assert (sent["decision"], sent["steps"]) == (None, [])
    again = browser.packets(got["capture"])
    assert [{**each, "steps": []} for each in got["packets"]] == again


def test_errors_are_told_with_the_numbers_and_texts_of_linux(monkeypatch):
    monkeypatch.setattr(errno, "errorcode", {8: "EBADF", 33: "EMFILE", 77: "ENEW"})
    strerror = linux_errors.strerror(lambda code: f"error {code}")
    assert [strerror(code) for code in (8, 33, 77)] == [
        "Bad file descriptor",
        "Too many open files",
        "error 77",
    ]
    told = "accept: OSError: [Errno 33] Too many, [Errno 77] new; EBADF (8), found EOF (3)"
    assert linux_errors.numbered(told) == (
        "accept: OSError: [Errno 24] Too many, [Errno 77] new; EBADF (9), found EOF (3)"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux's own")
def test_the_table_of_errors_is_that_of_linux():
    for name, (number, text) in linux_errors._LINUX.items():
        assert (int(number), text) == (getattr(errno, name), os.strerror(int(number)))
