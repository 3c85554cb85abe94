"""Several processes that are one host."""

import subprocess
import sys

ONE_DIES = """
import os, signal
from demuxlab.serving.workers import Workers
workers = Workers(3)
number = workers.split()
if number == 1:
    os._exit(1)
ready = workers.ready()
if number:
    signal.pause()
print(ready)
workers.stop()
"""


def test_the_first_does_not_wait_for_one_that_died_before_it_was_ready():
    ran = subprocess.run(
        [sys.executable, "-c", ONE_DIES], capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stdout == "False\n"
