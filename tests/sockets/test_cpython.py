"""A quick part of CPython's own tests; `run_cpython_tests.py` runs them all."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sockets import cpython_suites

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "BasicTCPTest BasicTCPTest2 BasicUDPTest RecvmsgUDPTest RecvmsgIntoUDP6Test SendmsgTCPTest "
    "RecvmsgTCPTest RecvmsgIntoTCPTest NonBlockingTCPTests BufferIOTest NetworkConnectionNoServer "
    "CreateServerTest "
    "NetworkConnectionAttributesTest ContextManagersTest InheritanceTest NonblockConstantTest SendmsgUDPTest "
    "CreateServerFunctionalTest TestExceptions InterruptedSendTimeoutTest InterruptedRecvTimeoutTest"
)


def test_quick_ones():
    if importlib.util.find_spec("test.test_socket") is None:
        pytest.skip("this Python has no test.test_socket: sudo apt install libpython3.11-testsuite")
    script = Path(__file__).with_name("run_cpython_tests.py")
    done = subprocess.run(
        [sys.executable, script, "-v", *QUICK.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_quick_suites():
    if importlib.util.find_spec("test.test_socket") is None:
        pytest.skip("this Python has no test.test_socket: sudo apt install libpython3.11-testsuite")
    command = [sys.executable, "-m", "tests.sockets.cpython_suites", "-v", *cpython_suites.QUICK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
