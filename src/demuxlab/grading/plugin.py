"""The pytest plugin: the fixture `submission`, checks with points, the story of a failure, the sum of points.

`pytest labs/04_tcp_four_tuple` grades the exercise.py there; `--submission FILE` another one.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from demuxlab.grading.submission import Submission

_POINTS = pytest.StashKey[int]()
_SCORES = pytest.StashKey[dict[str, tuple[str, int, int]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of grading."""
    group = parser.getgroup("demuxlab", "grading of demuxlab exercises")
    group.addoption(
        "--submission", metavar="FILE", help="grade FILE instead of the exercise.py beside the test"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "points(n): what a check of a lab's exercise is worth")
    config.stash[_SCORES] = {}


@pytest.fixture
def submission(request: pytest.FixtureRequest) -> Iterator["Submission"]:
    """The learner's file in a process of its own, new for each check."""
    from demuxlab.grading.submission import Submission

    given = request.config.getoption("--submission")
    path = Path(given) if given else request.path.with_name("exercise.py")
    if not path.is_file():
        pytest.fail(f"there is no file {path}: name the learner's file with --submission FILE", pytrace=False)
    asked = Submission(path.resolve())
    request.node.stash[_STORY] = asked
    yield asked
    asked.close()


_STORY = pytest.StashKey["Submission"]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Score a check, and tell a failure as a story: the steps so far, then what was expected and found."""
    report = yield
    mark = item.get_closest_marker("points")
    if mark is None:
        return report
    worth = int(mark.args[0])
    scores = item.config.stash[_SCORES]
    name = _sentence(item.name)
    if report.when == "call":
        scores[item.nodeid] = (name, worth if report.passed else 0, worth)
    elif report.failed:
        scores[item.nodeid] = (name, 0, worth)
    asked = item.stash.get(_STORY, None)
    if report.failed and asked is not None and call.excinfo is not None:
        report.longrepr = _story(asked, name, call.excinfo.value, item.path)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of points."""
    scores = config.stash[_SCORES]
    if not scores:
        return
    from tabulate import tabulate

    rows = [(name, f"{points}/{worth}") for name, points, worth in scores.values()]
    earned = sum(points for _, points, _ in scores.values())
    possible = sum(worth for _, _, worth in scores.values())
    terminalreporter.section("points")
    terminalreporter.write_line(tabulate(rows, headers=("check", "points"), tablefmt="simple"))
    terminalreporter.write_line(f"\npoints: {earned} of {possible}")


def _sentence(test_name: str) -> str:
    return test_name.removeprefix("test_").replace("_", " ")


def _story(asked: "Submission", name: str, error: BaseException, path: Path) -> str:
    said = str(error).splitlines() or [type(error).__name__]
    lines = [f"check: {name}", "steps so far:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(asked.story, 1)] or ["  none"]
    lines += ["then:", *(f"  {line}" for line in said)]
    if asked.packets:
        from demuxlab.grading.failure_capture import save

        lines.append(save(asked.packets, path.parent, name, said))
    return "\n".join(lines)
