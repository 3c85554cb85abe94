"""CPython's own suites on our sockets beside the kernel's.

    python -m tests.sockets.cpython_suites [-v] [SUITE...]

Each suite runs in a process of its own, twice. The last column names what passes on the kernel's sockets
alone; exit status 1 where such a test is not in `EXPLAINED`, or where fewer than 99 % pass. The interpreter
is one that has the package `test` (see `run_cpython_tests`, which runs test_socket class by class).
"""

import json
import subprocess
import sys
import unittest
from importlib import import_module, util
from pathlib import Path
from typing import Any

SUITES = (
    *("test_ssl", "test_ftplib", "test_poplib", "test_imaplib", "test_httplib", "test_urllib2_localnet"),
    *("test_nntplib", "test_smtplib", "test_asyncore", "test_socketserver", "test_os", "test_logging"),
    *("test_selectors", "test_poll", "test_epoll", "test_asyncio.test_ssl", "test_asyncio.test_sslproto"),
    *("test_asyncio.test_sendfile", "test_asyncio.test_events", "test_asyncio.test_streams"),
    *("test_asyncio.test_sock_lowlevel", "test_asyncio.test_unix_events"),
)
QUICK = ("test_epoll", "test_httplib", "test_smtplib", "test_nntplib")
"""Those that CI runs."""
EXPLAINED = {
    "BasicSocketTests.test_ssl_types": "expects that _ssl._SSLContext is made in C, and so immutable",
}
"""Tests that cannot pass, and why."""
_TIMEOUT = 400
_ENOUGH = 0.99


def main(arguments: list[str]) -> int:
    """Run the suites named, or all that this Python has."""
    verbose = "-v" in arguments
    wrong = passed_ours = passed_kernel = 0
    for suite in [name for name in arguments if name != "-v"] or SUITES:
        if util.find_spec("test") is None or not _exists(suite):
            print(f"{suite}: this Python has none")
            continue
        kernel, ours = _run(suite, "kernel"), _run(suite, "ours")
        worse = sorted(name for name, result in ours.items() if result != "ok" and kernel.get(name) == "ok")
        worse += sorted(f"{name} (not reached)" for name in kernel if name not in ours)
        unexplained = [name for name in worse if name not in EXPLAINED]
        passed = [list(results.values()).count("ok") for results in (kernel, ours)]
        passed_kernel, passed_ours = passed_kernel + passed[0], passed_ours + passed[1]
        wrong += len(unexplained)
        print(
            f"{suite}: kernel {passed[0]} passed, ours {passed[1]}; {', '.join(worse) or 'none less'}",
            flush=True,
        )
        for name in unexplained if verbose else ():
            print(f"    {name}: {ours.get(name)}")
    print(f"kernel {passed_kernel} passed, ours {passed_ours}")
    return 1 if wrong or passed_ours < _ENOUGH * passed_kernel else 0


def _exists(suite: str) -> bool:
    try:
        return util.find_spec(f"test.{suite}") is not None
    except ImportError:
        return False


def _run(suite: str, where: str) -> dict[str, str]:
    """Run a suite in a process of its own; return each test's result: ok, skipped, or why it failed."""
    command = [sys.executable, "-W", "ignore", __file__, "--one", suite, where]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * _TIMEOUT, check=False
    )
    lines = (line.partition(b"RESULT ")[2] for line in done.stdout.splitlines() if b"RESULT " in line)
    return dict(json.loads(line) for line in lines)


class _Result(unittest.TestResult):
    def _tell(self, test: unittest.TestCase, result: str) -> None:
        name = ".".join(test.id().split(".")[-2:])
        sys.__stdout__.write(f"\nRESULT {json.dumps([name, result])}\n")
        sys.__stdout__.flush()

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._tell(test, "ok")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._tell(test, f"skipped: {reason}")

    def addExpectedFailure(self, test: unittest.TestCase, _error: Any) -> None:
        self._tell(test, "ok")

    def addError(self, test: unittest.TestCase, error: Any) -> None:
        super().addError(test, error)
        self._tell(test, f"{error[0].__name__}: {error[1]}")

    addFailure = addError

    def addSubTest(self, test: unittest.TestCase, _subtest: unittest.TestCase, error: Any) -> None:
        if error is not None:
            self.addError(test, error)


def _one(suite: str, where: str) -> None:
    if where == "ours":
        sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
        from demuxlab.sockets.install import install

        install()
    import faulthandler

    from test import support

    support.use_resources = ["network", "largefile", "cpu"]
    faulthandler.dump_traceback_later(_TIMEOUT, exit=True)
    module = import_module(f"test.{suite}")
    unittest.defaultTestLoader.loadTestsFromModule(module).run(_Result())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).parent]
        _one(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:]))
