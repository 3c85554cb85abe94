"""The picture in the handout is drawn from the run: sockets without a peer, and the frames that they got."""

import os
import re
import subprocess
import sys

import pytest
from tests.labs.runs import ROOT
from wcwidth import wcswidth

from demuxlab.wire.address import endpoint_text, from_text

_ROW = re.compile(r"│ (?:(tcp|udp) (\S+))? *│─▶│ (\S+(?:, \S+)*) +(\S+) +([\d ]+?) *│")
DUAL_STACK = "both"
MULTICAST = "224.0.0.251"


def test_each_destination_has_its_sockets_with_their_frames(decisions, figures):
    expected = {}
    for row in decisions:
        if row["protocol"] is None or row["rule"] == "connection":
            continue
        address, port = row["destination"]
        bound = endpoint_text(from_text(address), port)
        name = row["socket"] or "✗"
        if row["rule"] is None:
            where = "RST"
        elif address == MULTICAST:
            name, where = "P7, P8", f"0.0.0.0:{port}"
        elif "wildcard" in row["rule"]:
            where = f"{'[::]' if name == DUAL_STACK else '0.0.0.0'}:{port}"
        else:
            where = bound
        expected.setdefault((row["protocol"], bound, name, where), []).append(row["frame"])
    for figure in figures:
        drawn, destination = {}, ("", "")
        for protocol, bound, name, where, frames in _ROW.findall(figure):
            destination = (protocol, bound) if protocol else destination
            drawn[(*destination, name, where)] = list(map(int, frames.split()))
        assert drawn == expected


@pytest.mark.parametrize("spoken", ["en", "ko"])
def test_this_kernel_answers_as_the_lab_does(spoken, tmp_path):
    command = [sys.executable, str(ROOT / "labs" / "15_who_may_have_the_port" / "kernel.py")]
    environment = {**os.environ, "LANGUAGE": spoken, "COLUMNS": "80"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("  ✗")] == []
    assert sum(line.startswith("  ✓") for line in lines) >= 6
    assert max(wcswidth(line) for line in lines if "users:(" not in line) <= 80
