"""The same scripts on the kernel's sockets and on ours: every value and every exception must agree."""

import importlib.util
import socket
from itertools import zip_longest
from pathlib import Path

import pytest

from demuxlab import sockets

_spec = importlib.util.spec_from_file_location("socket_scripts", Path(__file__).with_name("scripts.py"))
scripts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scripts)


@pytest.mark.parametrize("script", scripts.SCRIPTS, ids=lambda script: script.__name__)
def test_as_the_kernel(script):
    expected, actual = list(script(socket)), list(script(sockets))
    different = [
        f"step {number}: kernel {kernel!r}, ours {ours!r}"
        for number, (kernel, ours) in enumerate(zip_longest(expected, actual), 1)
        if kernel != ours
    ]
    assert not different, "\n".join(different)
