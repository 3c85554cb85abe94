"""The checks of a lab, counted before anything is graded: what would be left out silently stops the run.

Checks come from the installed course or from a folder that the instructor names, never from beside a
submission. A check counts where it is a function `test_…` in a file `test_….py` with `points(n)`, n a whole
number of 1 or more.
"""

import ast
import contextlib
import io
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demuxlab.errors import CallError
from demuxlab.files import reading, reason
from demuxlab.grading import sandbox
from demuxlab.language import _

Checks = tuple[tuple[str, int], ...]
"""The name and the points of each check."""
_LAB = re.compile(r"\d\d_\w+")
_UNUSED = (
    *("unraisableexception", "threadexception", "faulthandler", "doctest", "junitxml", "pastebin"),
    *("setuponly", "setupplan", "stepwise", "subtests"),
)
"""Plugins of pytest's own that no check uses: the first one collects garbage after every run."""
_LEFT_OUT = ("skip", "skipif", "xfail")


def options(lab: str, hidden: str) -> list[str]:
    """Return pytest's options for the checks of a lab: no configuration, no plugin and no file but these."""
    chosen = [lab, *([f"--hidden={hidden}"] if hidden else []), "-c", os.devnull, "--rootdir", lab]
    # Else pytest looks through every folder on the way from the root of the file system to the lab.
    chosen += ["--confcutdir", lab]
    chosen += ["-m", "not kernel"]  # without points, and not the same in each run
    chosen += ["--noconftest", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:terminal"]
    chosen += [word for name in _UNUSED for word in ("-p", f"no:{name}")]
    return [*chosen, "--capture=no", "-W", "ignore", "-p", "demuxlab.grading.plugin"]


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Let pytest in the block take nothing from the environment, and read the checks' files again.

    It keeps what it imported under names such as `test_exercise`, also of another folder.
    """
    modules = set(sys.modules)
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    for name in kept:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
        os.environ.update(kept)
        for name in sys.modules.keys() - modules:
            if Path(getattr(sys.modules[name], "__file__", None) or "").name.startswith("test_"):
                del sys.modules[name]


def hidden_folder(lab: Path, hidden: Path) -> Path:
    """Return the folder of a lab's hidden checks: DIR/LAB, or else DIR.

    CallError where checks lie in the other one, or DIR holds those of other labs only.
    """
    own = hidden / lab.name
    if not own.is_dir():
        others = sorted(path.name for path in hidden.iterdir() if path.is_dir() and _LAB.fullmatch(path.name))
        if others:
            raise CallError(
                _("{folder} has no hidden checks of {lab}", folder=hidden, lab=lab.name),
                _("there are {labs}", labs=", ".join(others)),
            )
        return hidden
    for path in sorted(hidden.glob("*.py")):
        raise CallError(_("{file} would not be run", file=path), _("move it into {folder}", folder=own))
    return own


def checks(lab: Path, hidden: Path | None = None) -> Checks:
    """Return what a lab and its hidden checks are worth; CallError where one of them would not count."""
    folders = [lab]
    if hidden is not None:
        with reading(hidden, _("name another folder with --hidden")):
            folders.append(hidden_folder(lab, hidden))
        _look_at_files(folders[1])
    collector = _Collected()
    with fresh(), contextlib.redirect_stderr(io.StringIO()):
        pytest.main([*options(str(lab), str(hidden or "")), "--collect-only"], plugins=[collector])
    for where, why in collector.failures:
        raise CallError(_("{file} cannot be run ({why})", file=where, why=why), _("mend it"))
    for folder in folders:
        items = [item for item in collector.items if folder.resolve() in item.path.parents]
        if not items:
            raise CallError(_("no check is in {folder}", folder=folder), _("put them in a file test_….py"))
        for name, why in faults(items):
            raise CallError(f"{name}: {why}", _("mend it"))
    return tuple((item.name, points(item)) for item in collector.items)


def points(item: pytest.Item) -> int:
    """Return what a check is worth; ValueError where that is no whole number of 1 or more."""
    mark = item.get_closest_marker("points")
    given = mark.args if mark is not None else ()
    if mark is None or mark.kwargs or len(given) != 1 or type(given[0]) is not int or given[0] < 1:
        raise ValueError(f"points{given}" if mark is not None else "")
    return int(given[0])


def faults(items: list[pytest.Item]) -> Iterator[tuple[str, str]]:
    """Yield each check that would not count, by its file and name, and why."""
    names = {(item.path, item.name) for item in items}
    for item in items:
        where = f"{item.path}: {item.name}"
        try:
            points(item)
        except ValueError as error:
            if str(error):
                yield where, _("{points} is no whole number of 1 or more", points=error)
            else:
                yield where, _("it has no points: write @pytest.mark.points(n) above it")
        for mark in item.iter_markers():
            if mark.name in _LEFT_OUT:
                yield where, _("the mark {mark} leaves it out", mark=mark.name)
            if mark.name == "needs":
                for name in mark.args:
                    if (item.path, name) not in names:
                        yield where, _("it needs {check}, which is not in the file", check=name)
    for path in sorted({item.path for item in items}):
        yield from _shadowed(path, {item.name.partition("[")[0] for item in items if item.path == path})


def _shadowed(path: Path, known: set[str]) -> Iterator[tuple[str, str]]:
    """Yield functions with points that pytest does not see: defined twice, or not called test_…."""
    body = ast.parse(path.read_bytes()).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for name, times in Counter(node.name for node in functions).items():
        if times > 1:
            yield (
                f"{path}: {name}",
                _("{count} functions have this name, the last one alone counts", count=times),
            )
    for node in functions:
        marked = any("points" in ast.unparse(decorator) for decorator in node.decorator_list)
        if marked and node.name not in known:
            yield f"{path}: {node.name}", _("a check's name begins with test_")


def _look_at_files(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        is_code = path.suffix.lower() == ".py" and "__pycache__" not in path.parts
        if is_code and not (path.name.startswith("test_") and path.suffix == ".py"):
            raise CallError(_("{file} would not be run", file=path), _("call it test_….py"))


class _Collected:
    """A pytest plugin that keeps what is collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []
        self.failures: list[tuple[str, str]] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            message = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            lines = [line.removeprefix("E").strip() for line in message.splitlines() if line.strip()]
            self.failures.append((report.nodeid or report.fspath, lines[-1] if lines else report.outcome))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)


def protect(hidden: Path, level: str) -> None:
    """Let only their owner read the hidden checks, before any learner's code runs.

    In the sandbox they do not exist. Below it learners' code sees what others may read. CallError where it
    would run as the user that the checks belong to.
    """
    if level == sandbox.BUBBLEWRAP:
        return
    if os.name != "posix" or os.geteuid() != 0:
        problem = sandbox.why_not_bubblewrap()
        raise CallError(
            _("learners' code could read the hidden checks, for there is no sandbox here"),
            problem.cure if problem else _("grade as root"),
        )
    try:
        os.chmod(hidden, stat.S_IMODE(hidden.stat().st_mode) & 0o700)
    except OSError as error:
        raise CallError(
            _("others may read {path}, and that cannot be changed ({why})", path=hidden, why=reason(error)),
            _("copy the hidden checks to a folder of root's"),
        ) from error


def broken(item: pytest.Item, error: BaseException) -> tuple[str, str] | None:
    """Return what is wrong with a check and the cure, where an error is the check's own fault.

    A learner's answer can make a check raise TypeError or IndexError, but none of these.
    """
    if isinstance(error, AssertionError) or not isinstance(
        error, (NameError, ImportError, SyntaxError, OSError)
    ):
        return None
    traceback, line = error.__traceback__, 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(item.path):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    where: dict[str, Any] = {"file": item.path, "line": line, "error": type(error).__name__, "why": error}
    return _("{file}, line {line}: {error}: {why}", **where), _("mend the check and run it again")
