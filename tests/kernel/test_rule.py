"""Listener rules: what is compiled is what Python does, and what cannot be compiled is named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kernel.laboratory import ALONE

from demuxlab.kernel.rule import RuleError, compile_rule

LAB = Path(__file__).resolve().parents[2] / "labs" / "14_your_own_demultiplexer" / "rule.py"
HEAD = "def rule(source_address, source_port, destination_address, destination_port):\n    "
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare"
)


def in_namespace(*words: str, **more: object) -> subprocess.CompletedProcess:
    command = [*ALONE, "--net", sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if "unshare failed" in done.stderr or "does not accept" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    return done


@needs_root
def test_linux_and_python_agree_about_random_rules():
    done = in_namespace("-m", "tests.kernel.rules", "60", "1", cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr


@needs_root
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_reaches_the_server_that_the_labs_rule_names():
    script = (
        "import struct, subprocess, sys; from demuxlab.kernel import bpf\n"
        "def programs():\n"
        "    found, last = [], 0\n"
        "    try:\n"
        "        while True:\n"
        "            import ctypes\n"
        "            asked = ctypes.create_string_buffer(struct.pack('=II', last, 0), 16)\n"
        "            bpf.call(11, asked)\n"  # BPF_PROG_GET_NEXT_ID
        "            last = struct.unpack_from('=I', asked.raw, 4)[0]\n"
        "            found.append(last)\n"
        "    except FileNotFoundError:\n"
        "        return found\n"
        "before = programs()\n"
        "subprocess.run([sys.executable, *sys.argv[1:]], check=True)\n"
        "assert set(programs()) <= set(before)\n"
    )
    done = in_namespace("-c", script, str(LAB), "--language", "en")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("✓") == 5
    assert "10.9.0.30:9157  10.9.0.20:80    P5                  P5               ✓" in done.stdout
    command = in_namespace(str(LAB), "curl", "-s", "http://10.9.0.20:7123/")
    assert command.stdout.splitlines()[-1] in ("P7", "P8")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("return 'web' if len(source_address) else None", "'len(source_address)': a rule becomes a program"),
        ("for port in range(9): pass", "'for port in range(9):': a rule becomes a program"),
        ("return source_port", "'source_port': a rule returns the name of a socket"),
        (
            "return 'web' if source_address < '10.0.0.1' else None",
            "'10.0.0.1'\": an address is not calculated",
        ),
        ("return 'web' if source_address == 80 else None", "'80': an address is compared with a port"),
        ("return 'web' if source_address == 'here' else None", "a rule becomes a program"),
        ("return 'web' if source_address else None", "an address is not calculated with"),
        ("return 'web' if source_port // destination_port else None", "the right side must be a constant"),
        ("return 'web' if source_port % 0 else None", "the right side must be a constant"),
        ("return 'web' if source_port << 63 else None", "the right side must be a constant"),
        ("return 'web' if source_port - 1 else None", "a rule becomes a program"),
        ("return 'web' if (source_port << 47) * 2 else None", "this number can leave 63 bits"),
        ("return 'web' if elsewhere else None", "'elsewhere': a rule becomes a program"),
        (
            "if source_port: a = 1\n    return 'web' if a else None",
            "'a': this variable may have no value here",
        ),
    ],
)
def test_what_cannot_be_compiled_is_named(body, wrong, tmp_path):
    with pytest.raises(RuleError) as raised:
        compile_rule(loaded(HEAD + body, tmp_path))
    assert f"rule.py, line {2 + body.count(chr(10))}, " in str(raised.value)
    assert wrong in str(raised.value)


def test_another_function_is_no_rule(tmp_path):
    with pytest.raises(RuleError, match="not a function of source_address, source_port"):
        compile_rule(loaded("def rule(packet):\n    return None", tmp_path))


def test_an_ordinary_user_is_sent_to_sudo(as_ordinary_user):
    done = as_ordinary_user([sys.executable, LAB, "--language", "en"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "demuxlab: only root may attach a program to Linux: run it with sudo\n"


def test_a_program_that_is_not_there_is_named():
    done = subprocess.run([sys.executable, LAB, "nosuch", "x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "demuxlab: nosuch is not there: give a program and its arguments\n"


def loaded(text: str, folder: Path):
    """Return the function `rule` of a file with this text."""
    file = folder / "rule.py"
    file.write_text(text, encoding="utf-8")
    names: dict = {}
    exec(compile(text, str(file), "exec"), names)
    return names["rule"]
