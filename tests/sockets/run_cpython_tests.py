"""Runs CPython's own tests of `socket` (test.test_socket) on our sockets, and says what came out.

    PYTHONPATH=src python3 tests/sockets/run_cpython_tests.py [-v] [CLASS[.test]...]

The interpreter is one that has the package `test` (python.org's and pyenv's do; on Debian, the package
libpython3-testsuite). Exit status 1 where a test fails that is not in `NOT_OURS`.
"""

import faulthandler
import importlib
import sys
import time
import unittest

OTHER_SOCKETS = "sockets of the kernel's (AF_UNIX, AF_CAN, SCTP, UDP-Lite, ...), which we hand through"
_TIMEOUT = 120
"""Seconds that a class of tests may take."""
LEFT_OUT = {
    "ThreadedVSOCKSocketStreamTest": OTHER_SOCKETS,
}
"""Classes that are about a kernel feature in which a userspace stack has no part, and why."""
NOT_OURS = {
    "GeneralModuleTests.test__sendfile_use_sendfile": "expects the socket's descriptor number to be taken "
    "before it is asked for",
    "GeneralModuleTests.test_socket_type": "expects that _socket.socket is made in C, and so immutable",
}
"""Tests that cannot pass, and why."""


class _Result(unittest.TestResult):
    passed = 0

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.passed += 1


def main(arguments: list[str]) -> int:
    verbose = "-v" in arguments
    names = [name for name in arguments if name != "-v"]
    from demuxlab.sockets.install import install

    install()
    tests = importlib.import_module("test.test_socket")
    loader = unittest.TestLoader()
    classes = {
        name: value
        for name, value in vars(tests).items()
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and loader.getTestCaseNames(value)
    }
    if names:
        suites = {name: loader.loadTestsFromName(name, tests) for name in names}
    else:
        suites = {name: loader.loadTestsFromTestCase(value) for name, value in classes.items()}
    tests.setUpModule()
    totals = [0, 0, 0]
    bad = 0
    for name, suite in suites.items():
        if name in LEFT_OUT:
            print(f"{name}: left out: {LEFT_OUT[name]}")
            continue
        result = _Result()
        started = time.perf_counter()
        faulthandler.dump_traceback_later(_TIMEOUT, exit=True)
        suite.run(result)
        faulthandler.cancel_dump_traceback_later()
        # A test in two threads may have failed in both.
        problems = {test.id(): trace for test, trace in result.failures + result.errors}
        counts = result.passed, len(problems), len(result.skipped)
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        print(
            f"{name}: {result.passed} passed, {len(problems)} failed, {len(result.skipped)} skipped"
            f" ({time.perf_counter() - started:.1f} s)",
            flush=True,
        )
        for test, trace in problems.items():
            reason = NOT_OURS.get(test.removeprefix("test.test_socket."))
            bad += reason is None
            print(f"    {test}: {reason or trace.strip().splitlines()[-1]}")
            if verbose and reason is None:
                print(trace)
        for test, reason in result.skipped if verbose else ():
            print(f"    {test.id()}: skipped: {reason}")
    print("{} passed, {} failed, {} skipped".format(*totals))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
