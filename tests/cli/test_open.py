"""`demuxlab open` and `run --live`, with a program in Wireshark's place that notes what it is given."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from demuxlab.capture.reader import Capture
from demuxlab.wireshark import live
from demuxlab.wireshark import program as wireshark

# The path of an interpreter with a space in it cannot stand in the first line.
STAND_IN = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import json, os, sys, time
piped = sys.stdin.buffer.read({read}) if "-" in sys.argv else b""
with open({notes!r} + ".part", "w") as file:
    config = os.environ["WIRESHARK_CONFIG_DIR"]
    json.dump({{"arguments": sys.argv[1:], "config": config, "profiles": os.listdir(config + "/profiles"),
               "piped": piped.hex()}}, file)
os.replace({notes!r} + ".part", {notes!r})
sys.exit({status})
"""


@pytest.fixture
def demuxlab(tmp_path, repository):
    """`demuxlab("open", …)` with only the stand-in, Python and no other program on PATH."""

    def run(*arguments, read=-1, status=0, present=True, **environment):
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        stand_in = programs / "wireshark"
        stand_in.unlink(missing_ok=True)
        if present:
            notes = str(tmp_path / "notes.json")
            text = STAND_IN.format(python=sys.executable, notes=notes, read=read, status=status)
            stand_in.write_text(text, encoding="utf-8")
            stand_in.chmod(0o755)
        places = {"PATH": str(programs), "HOME": str(tmp_path / "home"), "DISPLAY": ":none"}
        kept = {name: os.environ[name] for name in ("LANGUAGE",)}
        return subprocess.run(
            [sys.executable, "-m", "demuxlab", *map(str, arguments)],
            **{"env": kept | places | environment, "cwd": repository},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def notes(tmp_path, deadline):
    """`notes()`: what the stand-in was given, as soon as it has noted it."""

    def read():
        path = tmp_path / "notes.json"
        deadline(path.exists)
        return json.loads(path.read_text())

    return read


@pytest.fixture
def deadline():
    """`deadline(holds)`: wait until something holds, at most for 20 seconds."""
    import threading
    import time

    def wait(holds):
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end
            threading.Event().wait(0.01)

    return wait


@pytest.fixture
def capture(demuxlab, tmp_path):
    folder = tmp_path / "captures"
    demuxlab("run", "04", "--link", "memory", "--captures", folder)
    return next(folder.iterdir())


def test_open_starts_wireshark_on_the_capture_with_our_profile(demuxlab, notes, capture, tmp_path):
    done = demuxlab("open", capture)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    given = notes()
    own = tmp_path / "home" / ".cache" / "demuxlab" / "wireshark"
    lua = own / "demuxlab.lua"
    assert given["arguments"] == ["-C", "demuxlab", "-X", f"lua_script:{lua}", "-r", str(capture)]
    assert lua.is_file()
    assert (given["config"], given["profiles"]) == (str(own), ["demuxlab"])
    assert not (tmp_path / "home" / ".config").exists()


def test_how_the_user_left_the_columns_stays(demuxlab, notes, capture, tmp_path):
    demuxlab("open", capture)
    profile = Path(notes()["config"]) / "profiles" / "demuxlab"
    (profile / "recent").write_text("mine")
    (profile / "colorfilters").write_text("old")
    demuxlab("open", capture)
    assert (profile / "recent").read_text() == "mine"
    assert "No socket" in (profile / "colorfilters").read_text()


@pytest.mark.parametrize(
    ("arguments", "circumstances", "message"),
    [
        (
            ["x"],
            {"status": 3},
            "Wireshark ended at once with status 3: start it by itself to see what it lacks",
        ),
        (["x"], {"present": False}, "Wireshark is not installed: sudo apt install wireshark, or get it from"),
        (
            ["x"],
            {"DISPLAY": ""},
            "there is no screen here for Wireshark: take the capture to a computer that",
        ),
        (["none"], {}, "File 'none' does not exist"),
        (["."], {}, "File '.' is a directory"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(demuxlab, capture, arguments, circumstances, message):
    given = [capture if argument == "x" else argument for argument in arguments]
    done = demuxlab("open", *given, **circumstances)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("demuxlab: ")
    assert message in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_does_not_matter_to_open(demuxlab, notes, capture, tmp_path):
    (tmp_path / "home").mkdir(mode=0o500)
    assert demuxlab("open", capture).returncode == 0
    assert notes()["profiles"] == ["demuxlab"]


def test_a_file_in_the_folders_place_does_not_matter_to_open(demuxlab, notes, capture, tmp_path):
    (tmp_path / "blocked").write_text("")
    assert demuxlab("open", capture, XDG_CACHE_HOME=str(tmp_path / "blocked")).returncode == 0
    assert notes()["profiles"] == ["demuxlab"]


def test_install_says_what_it_wrote_and_writes_it_again(demuxlab, tmp_path):
    for _again in range(2):
        done = demuxlab("open", "--install")
        assert done.returncode == 0, done.stderr
        written = [Path(line.removeprefix("installed: ")) for line in done.stdout.splitlines()]
        assert [path.relative_to(tmp_path / "home").as_posix() for path in written] == [
            ".config/wireshark/profiles/demuxlab",
            ".local/lib/wireshark/plugins/demuxlab.lua",
            ".config/wireshark/extcap/demuxlab",
        ]
    assert (written[0] / "preferences").is_file()
    assert written[2].stat().st_mode & stat.S_IXUSR


def test_install_where_nothing_may_be_written(demuxlab, tmp_path):
    (tmp_path / "home").write_text("a file")
    done = demuxlab("open", "--install")
    assert done.returncode == 2
    assert done.stderr.startswith(f"demuxlab: {tmp_path}/home")
    assert done.stderr.endswith(": make it yours, or free its place\n")


def test_live_gives_wireshark_what_the_capture_gets(demuxlab, notes, tmp_path):
    folder = tmp_path / "live"
    done = demuxlab("run", "04", "--link", "memory", "--captures", folder, "--live")
    assert done.returncode == 0, done.stderr
    given = notes()
    assert given["arguments"][-3:] == ["-k", "-i", "-"]
    [capture] = folder.iterdir()
    assert bytes.fromhex(given["piped"]) == capture.read_bytes()
    with Capture(capture) as frames:
        assert len(list(frames)) == 30
    assert done.stdout.splitlines()[-1] == f"capture: {capture}"


def test_wireshark_ends_with_a_run_that_cannot_begin(monkeypatch):
    monkeypatch.setattr(wireshark, "follow", lambda: subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE))
    started = live.Live()
    with pytest.raises(OSError, match="full"), live.ended_on_failure(started):
        raise OSError("the disk is full")
    assert started._process.returncode == -signal.SIGTERM


@pytest.mark.long
@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, "Wireshark was closed during the run"), (1, "Wireshark ended at once with status 1")],
)
def test_a_wireshark_that_ends_early_ends_nothing_else(demuxlab, tmp_path, status, expected):
    """Lab 11 runs for seconds, so the stand-in is gone long before its end."""
    folder = tmp_path / "live"
    options = ("--link", "memory", "--captures", folder, "--live")
    done = demuxlab("run", "11", *options, read=1, status=status)
    assert done.returncode == 0
    assert expected in done.stderr
    [capture] = folder.iterdir()
    with Capture(capture) as frames:
        assert len(list(frames)) > 30
        assert frames.damage == ""


@pytest.mark.parametrize(
    ("arguments", "circumstances", "message"),
    [
        (["all"], {}, "--live shows one lab, in the full format: name the lab and leave --format out"),
        (["04", "--format", "pcap"], {}, "--live shows one lab, in the full format"),
        (["04"], {"present": False}, "Wireshark is not installed"),
    ],
)
def test_a_live_run_that_cannot_be_says_so_before_anything_is_sent(
    demuxlab, tmp_path, arguments, circumstances, message
):
    folder = tmp_path / "live"
    options = ("--link", "memory", "--captures", folder, "--live")
    done = demuxlab("run", *arguments, *options, **circumstances)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not folder.exists()


def test_beyond_wsl_windows_wireshark_gets_windows_paths(monkeypatch, tmp_path):
    monkeypatch.setattr(wireshark.shutil, "which", lambda *_: None)
    monkeypatch.setattr(wireshark, "_PLACES", (str(tmp_path / "Wireshark.exe"),))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "Wireshark.exe").write_text("")
    started = {}

    def popen(command, **more):
        started.update(command=command, environment=more["env"])
        raise OSError(8, "Exec format error")

    def wslpath(command, **_):
        return subprocess.CompletedProcess(command, 0, stdout=f"W:{command[-1]}\n")

    monkeypatch.setattr(wireshark.subprocess, "Popen", popen)
    monkeypatch.setattr(wireshark.subprocess, "run", wslpath)
    with pytest.raises(wireshark.NoWireshark, match=r"Wireshark.exe cannot be started \(Exec format error\)"):
        wireshark.show(tmp_path / "x.pcapng")
    assert started["command"][-2:] == ["-r", f"W:{tmp_path / 'x.pcapng'}"]
    assert started["environment"]["WSLENV"].endswith("WIRESHARK_CONFIG_DIR/p")
