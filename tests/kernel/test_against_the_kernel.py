"""`why` and `why bind` against real sockets in a namespace: a small part each time, the whole with --long."""

import json
import subprocess
import sys

import pytest


def judged(module: str, *arguments: object) -> dict[str, object]:
    command = [sys.executable, "-m", f"tests.kernel.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare: " in done.stderr or "/dev/net/tun" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "tables", [10, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(3000)])]
)
def test_the_one_that_is_named_is_the_one_that_got_it(tables):
    found = judged("lookups", tables)
    assert found["wrong"] == 0, found["stories"]


@pytest.mark.parametrize(
    "binds", [100, pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(3000)])]
)
def test_the_errno_of_bind_is_the_kernels(binds):
    found = judged("binds", binds)
    assert found["wrong"] == 0, found["stories"]
