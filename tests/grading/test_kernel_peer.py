"""Lab 21 against the Linux kernel: a check without points, which `grade` leaves out."""

import re
import subprocess
import sys
from pathlib import Path

from tests import solutions

from demuxlab.grading import inventory

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "labs" / "21_your_own_tcp"
RIGHT = solutions.folder("21") / "reference.py"
COMMAND = ("-m", "pytest", LAB, "-p", "no:cacheprovider", "--no-packets", "--submission")


def kernels(file: Path) -> str:
    """Return what plain pytest prints of the kernel's check alone."""
    command = [sys.executable, *COMMAND, file, "-k", "kernel"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    return " ".join(done.stdout.split())


def test_the_reference_understands_the_kernel(need_root):
    said = "without points, the linux kernel and yours exchange two streams: passed"
    assert said in kernels(RIGHT)


def test_a_stream_without_its_first_byte_is_shown_with_its_segments(need_root, tmp_path):
    shown = kernels(solutions.find("21", "syn_has_no_number").save(tmp_path))
    assert "19999 of 20000 bytes have reached the kernel" in shown
    assert re.search(r"\d\.\d{3} receives [F.] \d+:\d+\(\d+\) ack", shown)
    assert "without points, the linux kernel and yours exchange two streams: failed, see above" in shown


def test_an_ordinary_user_is_told_what_was_not_run(as_ordinary_user, tmp_path):
    done = as_ordinary_user([sys.executable, *COMMAND, RIGHT, "-k", "kernel"], cwd=ROOT)
    assert "not run (only root may let the kernel answer: run it with sudo)" in " ".join(done.stdout.split())


def test_the_kernels_check_waits_for_all_others_and_is_none_of_the_graders():
    command = [sys.executable, *COMMAND, LAB / "exercise.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert "not run (the checks with points come first)" in " ".join(done.stdout.split())
    assert sum(points for _name, points in inventory.checks(LAB)) == 40
