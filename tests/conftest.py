"""What every test may use."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

try:
    from hypothesis import settings
except ModuleNotFoundError:
    raise SystemExit(
        "The project's own tests need more packages: .venv/bin/pip install -e '.[test]'\n"
        "To grade an exercise name its folder: .venv/bin/pytest labs/01_port_fields"
    ) from None

from demuxlab.grading import another_user
from demuxlab.host import Host

os.environ["LANGUAGE"] = "en"  # what the tests compare with, here and in what they start
# A shell starts a command in the background with SIGINT ignored, and what a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.umask(0o022)  # what other users shall read in the tests, they can

PACKAGES = {
    "nc": "netcat-openbsd",
    "ping": "iputils-ping",
    "nsenter": "util-linux",
    "editcap": "wireshark-common",
    "setsid": "util-linux",
}
"""Debian's packages, where they have another name than their program."""
_AS_NAMED = pytest.Config.ArgsSource.ARGS
"""The tests to run are named in the command."""
MOST_PROCESSES = 4
TIMEOUT = 120
"""Seconds that a test may take: far more than any does."""
ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--offload", action="store_true", help="give every host a link that offloads")
    parser.addoption("--gso", action="store_true", help="let every host cut segments where they leave")
    parser.addoption("--long", action="store_true", help="run the judges that take minutes too")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in several processes; a file's tests share one, with what they set up for all."""
    if not config.pluginmanager.has_plugin("xdist") or hasattr(config, "workerinput"):
        return  # not installed, or this is one of the processes
    options = config.option
    if options.numprocesses is None and not (options.usepdb or config.args_source is _AS_NAMED):
        # Two for each core: many tests wait for other processes, or for time to pass.
        options.numprocesses = min(MOST_PROCESSES, 2 * (os.cpu_count() or 1))
    if options.numprocesses and options.dist == "no":
        options.dist = "loadfile"


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--offload"):
        Host.__init__.__kwdefaults__["offload"] = True
    if config.getoption("--gso"):
        Host.__init__.__kwdefaults__["gso"] = True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.args_source is not _AS_NAMED and not config.getoption("--long"):
        terminalreporter.write_line("Left out: the judges that take minutes. To run them too: pytest --long")


def _cannot(reason: str) -> None:
    """Skip with the reason; as root in CI nothing may be missing, so there it fails."""
    if os.environ.get("CI") and sys.platform == "linux" and os.geteuid() == 0:
        pytest.fail(f"CI must have what the tests need: {reason}")
    pytest.skip(reason)


@pytest.fixture
def command_line(capsys, monkeypatch):
    """`command_line("run", "04")` → (exit status, standard output, standard error); as root it stays root."""
    from demuxlab.cli.main import main

    monkeypatch.setattr("demuxlab.links.rights.drop", lambda *_keep: "rights: kept for the test")

    def run(*arguments):
        try:
            main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def need_tool():
    """`need_tool("tshark")` skips the test where the program is not installed."""

    def need(*names: str) -> None:
        for name in names:
            if shutil.which(name) is None:
                _cannot(f"{name} is not installed: sudo apt install {PACKAGES.get(name, name)}")

    return need


@pytest.fixture(scope="session")
def need_root():
    """Skip the test where it is not run by root on Linux."""
    if sys.platform != "linux" or os.geteuid() != 0:
        _cannot("needs root on Linux: run it with sudo")


@pytest.fixture(scope="session")
def as_ordinary_user(need_root):
    """`as_ordinary_user(command, **options)` runs a command as nobody, wherever Python and we lie."""
    needed = [Path(sys.base_prefix), Path(sys.prefix), ROOT]

    def run(command, *, timeout=TIMEOUT, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = another_user.start([*map(str, command)], another_user.NOBODY, needed, **options)
        with process:
            return subprocess.CompletedProcess(command, *_ended(process, timeout))

    def _ended(process, timeout):
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err

    return run


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        left_out = [item for item in items if item.get_closest_marker("long") is not None]
        items[:] = [item for item in items if item.get_closest_marker("long") is None]
        config.hook.pytest_deselected(items=left_out)
    # Not in pyproject: a learner who grades an exercise has no pytest-timeout.
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


# The same examples each time, and no limit by the clock: a slow machine is no failure.
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")
