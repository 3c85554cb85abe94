"""`why` and `why bind` against real sockets in a namespace: a small part each time, more with --long.

The whole, a matter of half an hour, is `python -m tests.kernel.lookups 1000`, `… binds 5000` and
`… exhaustive 1 1 20`, as root.
"""

import json
import subprocess
import sys

import pytest
from tests.kernel.laboratory import ALONE


def judged(module: str, *arguments: object) -> dict[str, object]:
    # With a /proc of its own, in which there are few processes to look through.
    alone = [*ALONE, "--net"] if module == "watched" else ALONE
    command = [*alone, sys.executable, "-m", f"tests.kernel.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if any(missing in done.stderr for missing in ("unshare: ", "/dev/net/tun", "OracleUnavailable")):
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("tables", [10, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_the_one_that_is_named_is_the_one_that_got_it(tables):
    found = judged("lookups", tables)
    assert found["wrong"] == 0, found["stories"]


@pytest.mark.parametrize(
    "binds", [100, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_the_errno_of_bind_is_the_kernels(binds):
    found = judged("binds", binds)
    assert found["wrong"] == 0, found["stories"]


@pytest.mark.parametrize(
    ("shares", "cases"),
    [
        ((2000, 40, 10), 25_000),
        pytest.param((10, 10, 400), 90_000, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_kernel_readable_way_and_quick_way_agree_about_every_table_of_up_to_three_sockets(shares, cases):
    found = judged("exhaustive", *shares)
    assert found["wrong"] == 0, found["stories"]
    assert found["cases by both ways"] > cases
    assert found["tables in the kernel"] > 80


@pytest.mark.parametrize(
    ("every", "tables"),
    [(1000, 40), pytest.param(10, 200, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
)
def test_the_kernel_and_ours_find_connections_in_every_state(every, tables):
    found = judged("exhaustive", "states", every)
    assert found["wrong"] == 0, found["stories"]
    assert found["tables"] > tables
    for state in ("syn-received", "established", "time-wait"):
        assert found[f"cases of a connection in {state}"] > 20


@pytest.mark.timeout(120)
def test_the_stored_verdicts_of_lab_15_are_still_the_kernels():
    found = judged("lab_15")
    assert found["wrong"] == 0, found["stories"]
    assert found["cases"] > 250


@pytest.mark.parametrize(
    ("seconds", "packets"),
    [(1, 200), pytest.param(20, 10_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])],
)
def test_the_processes_that_watch_names_had_the_packets(need_tool, seconds, packets):
    need_tool("tshark", "curl", "ip")
    found = judged("watched", seconds, 3, 0)
    assert "wrong" not in found, found["stories"]
    assert found["status"] == 0, found["said"]
    assert found["right"] + found.get("unknown", 0) > packets
    assert found["right"] > 0
