"""The pytest plugin: the fixture `submission`, checks with points, the story of a failure, the sum of points.

`pytest labs/04_tcp_four_tuple` grades the exercise.py there; `--submission FILE` another one. Markers of a
check: `points(n)`; `needs("test_…")`, the checks without which it makes no sense.
"""

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demuxlab import language, layout
from demuxlab.errors import DemuxlabError
from demuxlab.language import _

if TYPE_CHECKING:
    from demuxlab.grading.patience import Budget
    from demuxlab.grading.per_check import Sandboxes
    from demuxlab.grading.submission import Submission

PROPERTY = "demuxlab"
"""Under this name a report carries what its check has earned, also from one process to another."""
STORY = "demuxlab story"
"""Under this name it carries what the failure is about, and why in a few words."""
KERNEL = "demuxlab kernel"
"""Under this name a report of a check with the mark `kernel` carries why it was not run; "" where it was."""
_RESULTS = pytest.StashKey[dict[str, dict[str, Any]]]()
_ALL = pytest.StashKey[list[tuple[str, int]]]()
"""The names of all checks and what they are worth, those too that are not run."""
_IS_SHUFFLED = pytest.StashKey[bool]()
_STORIES_TO_WRITE = pytest.StashKey[list[tuple[int, Callable[[], None]]]]()
"""What writes the stories of checks that ran in another order than that of their file, by their places."""
_PLACES = pytest.StashKey[dict[str, int]]()
"""The place of each check in its file; with a seed they run in another order (`_shuffle`)."""
_BUDGETS = pytest.StashKey[dict[Path, "Budget"]]()
_SANDBOXES = pytest.StashKey[dict[Path, "Sandboxes"]]()
_STORIES = pytest.StashKey[Any]()
_ASKED = pytest.StashKey["Submission"]()
_HIDDEN = pytest.StashKey[dict[Path, Path]]()
"""The lab that each hidden folder of checks belongs to."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of grading."""
    group = parser.getgroup("demuxlab", "grading of demuxlab exercises")
    group.addoption(
        "--submission", metavar="FILE", help="grade FILE instead of the exercise.py beside the test"
    )
    group.addoption("--hidden", metavar="DIR", help="add the checks of DIR/LAB, or of DIR, to those of a lab")
    group.addoption("--seed", default="", help="draw other values; a failure names the seed that repeats it")
    group.addoption(
        "--patience",
        type=float,
        default=10.0,
        help="seconds that one call may take; six times so much for all",
    )
    group.addoption("--packets", metavar="DIR", help="keep captures of visible failures in DIR")
    group.addoption("--no-packets", action="store_true", help="keep no capture of a failure's packets")
    group.addoption(
        "--isolation",
        choices=("best", "required"),
        default="best",
        help="required: refuse to grade where there is no sandbox",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and take hidden checks in."""
    config.addinivalue_line("markers", "points(n): what a check of a lab's exercise is worth")
    config.addinivalue_line("markers", "needs(*names): checks without which this one is skipped")
    config.addinivalue_line("markers", "kernel: a check without points, which needs this machine's kernel")
    config.addinivalue_line("markers", "facts(*rows): the rows of the course's facts that a check is about")
    config.stash[_RESULTS], config.stash[_BUDGETS], config.stash[_HIDDEN] = {}, {}, {}
    config.stash[_SANDBOXES], config.stash[_STORIES_TO_WRITE] = {}, []
    # A worker of pytest-xdist sends each report away as soon as its check is over.
    config.stash[_IS_SHUFFLED] = bool(config.getoption("--seed")) and not hasattr(config, "workerinput")
    if all((Path(word.partition("::")[0]) / "lab.py").is_file() for word in config.args):
        config.option.no_header = True  # the versions of pytest and its plugins say nothing to a learner
        if hypothesis := config.pluginmanager.get_plugin("hypothesispytest"):
            config.pluginmanager.unregister(hypothesis)  # its summary takes longer than some checks
    if seed := config.getoption("--seed"):
        from demuxlab.grading import checks

        checks.use_seed(seed)
    if hidden := config.getoption("--hidden"):
        _add_hidden(config, Path(hidden))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the sandboxes."""
    for kept in config.stash.get(_SANDBOXES, {}).values():
        kept.close()


@pytest.hookimpl(tryfirst=True)  # before checks are deselected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note what can be earned; refuse to run where a hidden check would not count."""
    from demuxlab.grading import inventory

    scored = [item for item in items if item.get_closest_marker("points") is not None]
    config.stash[_ALL] = [(item.name, inventory.points(item)) for item in scored]
    config.stash[_PLACES] = {item.nodeid: place for place, item in enumerate(items)}
    if config.stash[_IS_SHUFFLED]:
        _shuffle(items, config.getoption("--seed"))
    if not config.stash[_HIDDEN] or config.getoption("collectonly"):
        return
    hidden = [item for item in items if item.path.parent in config.stash[_HIDDEN]]
    for name, why in inventory.faults(hidden):
        raise pytest.UsageError(f"{name}: {why}")


def _shuffle(items: list[pytest.Item], seed: str) -> None:
    """Draw the order of the checks: by the age of its sandbox a file could know which one runs."""
    waiting, placed = {item.nodeid: item for item in items}, list[pytest.Item]()

    def place(item: pytest.Item) -> None:
        for mark in item.iter_markers("needs"):
            for name in mark.args:
                if (ground := waiting.pop(item.nodeid.replace(item.name, name), None)) is not None:
                    place(ground)
        placed.append(item)

    for drawn in random.Random(f"{seed}/order").sample(items, len(items)):
        if (item := waiting.pop(drawn.nodeid, None)) is not None:
            place(item)
    items[:] = placed


def _add_hidden(config: pytest.Config, folder: Path) -> None:
    from demuxlab.errors import CallError
    from demuxlab.grading import inventory

    if not folder.is_dir():
        raise pytest.UsageError(_("there is no folder {folder} of hidden checks", folder=folder))
    for argument in list(config.args):
        lab = Path(argument.partition("::")[0]).resolve()
        lab = lab if lab.is_dir() else lab.parent
        try:
            checks = inventory.hidden_folder(lab, folder)
        except CallError as error:
            raise pytest.UsageError(str(error)) from None
        config.stash[_HIDDEN][checks.resolve()] = lab
        config.args.append(str(checks))


@pytest.fixture
def submission(request: pytest.FixtureRequest) -> Iterator["Submission"]:
    """The learner's file in a process of its own, new for each check."""
    from demuxlab.grading import sandbox
    from demuxlab.grading.patience import Budget
    from demuxlab.grading.per_check import Sandboxes
    from demuxlab.grading.submission import Submission

    config = request.config
    if config.getoption("--isolation") == "required" and (problem := sandbox.why_not_bubblewrap()):
        pytest.exit(_("no sandbox, and --isolation required: {problem}", problem=problem), returncode=2)
    given = config.getoption("--submission")
    language.add(request.path.parent, "checks")
    lab = config.stash[_HIDDEN].get(request.path.parent, request.path.parent)
    path = (Path(given) if given else lab / "exercise.py").resolve()
    if not path.is_file():
        pytest.fail(
            _("there is no file {file}: name the learner's file with --submission FILE", file=path),
            pytrace=False,
        )
    patience = config.getoption("--patience")
    budget = config.stash[_BUDGETS].setdefault(path, Budget(6 * patience))
    kind: type[Submission] = Submission
    try:
        level = sandbox.best()
    except DemuxlabError as error:
        pytest.exit(str(error), returncode=2)
    if level == sandbox.PRACTICE:
        from demuxlab.grading.practice import Practice

        kind = Practice
    kept = config.stash[_SANDBOXES].setdefault(path, Sandboxes())
    asked = kind(path, patience, budget=budget, sandboxes=kept)
    request.node.stash[_ASKED] = asked
    yield asked
    asked.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a check if one that it `needs` has failed, and name that one; the kernel's wait for all others."""
    results = item.config.stash[_RESULTS]
    if item.get_closest_marker("kernel") and not all(row["passed"] for row in results.values()):
        pytest.skip(_("the checks with points come first"))
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            ground = results.get(item.nodeid.replace(item.name, name))
            if ground is not None and not ground["passed"]:
                pytest.skip(_("it needs `{check}` to pass first", check=_(_sentence(name))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Score a check; a failure becomes a story: the steps so far, then what was expected and found."""
    mark, kernel = item.get_closest_marker("points"), item.get_closest_marker("kernel")
    if (mark or kernel) and _ASKED in item.stash:
        # The traceback of a check is never shown: making it takes longer than most checks.
        vars(item)["repr_failure"] = lambda excinfo: str(excinfo.value)
    report = yield
    if kernel is not None and (report.when == "call" or not report.passed):
        _without_points(item, report, call)
    if mark is None or (report.when != "call" and report.passed):
        return report
    from demuxlab.grading import inventory, stories
    from demuxlab.grading.submission import LoadError

    name, error = _sentence(item.name), call.excinfo.value if call.excinfo is not None else None
    asked = item.stash.get(_ASKED, None)
    if report.failed and asked is not None and error is not None:
        asked.close()
        report.user_properties.append((STORY, stories.summary(asked, name, error)))
    elif report.passed:
        _forget_packets(item, name)
    worth = inventory.points(item)
    result = {
        "name": item.name,
        "passed": report.passed,
        "points": worth if report.passed else 0,
        "max_points": worth,
        "message": "" if report.passed else _message(report),
        "loads": not isinstance(error, LoadError),
        "hidden": item.path.parent in item.config.stash[_HIDDEN],
        "infrastructure": _ours(item, error),
        "place": item.config.stash[_PLACES].get(item.nodeid, 0),
    }
    if report.failed and asked is not None and error is not None:
        _tell(item, report, result, lambda: _story(asked, name, error, item.config, item.path.parent))
    report.user_properties.append((PROPERTY, result))
    item.config.stash[_RESULTS].setdefault(item.nodeid, result)
    return report


def _without_points(item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Note what became of a check against the kernel; a failure becomes a story."""
    asked, error = item.stash.get(_ASKED, None), call.excinfo.value if call.excinfo is not None else None
    if report.failed and asked is not None and error is not None:
        asked.close()
        report.longrepr = _story(asked, _sentence(item.name), error, item.config, item.path.parent)
    report.user_properties.append((KERNEL, _message(report) if report.skipped else ""))


def _tell(
    item: pytest.Item, report: pytest.TestReport, result: dict[str, Any], story: Callable[[], str]
) -> None:
    """Write a story, now or when all checks are over: a later check of the file may refer to it."""

    def write() -> None:
        report.longrepr = result["message"] = story()

    if item.config.stash[_IS_SHUFFLED]:
        item.config.stash[_STORIES_TO_WRITE].append((result["place"], write))
    else:
        write()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the stories that wait, in the order of the file."""
    waiting = session.config.stash[_STORIES_TO_WRITE]
    for _place, write in sorted(waiting, key=lambda each: each[0]):
        write()


def _ours(item: pytest.Item, error: BaseException | None) -> tuple[str, str] | None:
    """Return what is wrong and its cure, where a failure is not the submission's."""
    from demuxlab.grading import inventory
    from demuxlab.grading.submission import InfrastructureError

    if isinstance(error, InfrastructureError):
        return error.wrong, error.cure
    return None if error is None else inventory.broken(item, error)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Generator[None, None, None]:
    """Print the stories in place of pytest's own lists; at the end the points, and what to do first."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    scored = {report.nodeid: row for report in reports if (row := _property(report, PROPERTY))}
    kernel = {one.nodeid: one for one in reports if _property(one, KERNEL) is not None}
    if not scored and not kernel:
        yield
        return
    whole = {outcome: list(terminalreporter.stats.get(outcome, ())) for outcome in ("failed", "skipped")}
    for outcome, those in whole.items():
        terminalreporter.stats[outcome] = [one for one in those if one.nodeid not in scored | kernel]
    failed, skipped = (
        sorted((each for each in those if each.nodeid in scored), key=lambda one: scored[one.nodeid]["place"])
        for those in whole.values()
    )
    failed += [report for report in kernel.values() if report.failed]
    for nodeid in scored | kernel:
        language.add((config.rootpath / nodeid.partition("::")[0]).parent, "checks")
    shown = len(failed)
    if (failed or skipped) and config.option.tbstyle != "no":
        terminalreporter.write_line(layout.heading(_("what failed")))
        shown = _print_stories(terminalreporter, failed, skipped, in_full=config.option.verbose > 0)
    yield
    terminalreporter.stats.update({outcome: those for outcome, those in whole.items() if those})
    order = [nodeid for nodeid in config.stash[_RESULTS] if nodeid in scored] or sorted(scored)
    order.sort(key=lambda nodeid: scored[nodeid]["place"])
    reasons = {report.nodeid: (_property(report, STORY) or ("", ""))[1] for report in failed}
    reasons |= {report.nodeid: _("not asked yet") for report in skipped}
    rows, why = [scored[each] for each in order], [reasons.get(each, "") for each in order]
    if scored:
        _print_points(terminalreporter, rows, why, shown, config)
    for report in kernel.values():
        _print_without_points(terminalreporter, report)
    if len(rows) == len(config.stash.get(_ALL, rows)) and not config.getoption("--submission"):
        _note_progress(config.rootpath, scored)


def _print_without_points(terminalreporter: Any, report: Any) -> None:
    from demuxlab.grading.stories import on_screen

    said = _("passed") if report.passed else _("failed, see above")
    if report.skipped:
        said = _("not run ({why})", why=_property(report, KERNEL))
    check = _(_sentence(report.nodeid.rpartition("::")[2]))
    line = _("without points, {check}: {outcome}", check=check, outcome=said)
    terminalreporter.write_line(on_screen([line]))


def _property(report: Any, name: str) -> Any:
    return next((value for key, value in getattr(report, "user_properties", ()) if key == name), None)


def _print_stories(terminalreporter: Any, failed: list[Any], skipped: list[Any], *, in_full: bool) -> int:
    """Print the first story of each function, or all; a file that cannot be loaded is reported once.

    Return how many of those that failed have been shown.
    """
    from demuxlab.grading.stories import on_screen

    shown = set()
    for report in failed:
        about = (_property(report, STORY) or (report.nodeid,))[0]
        if about not in shown or (in_full and about != "loading"):
            terminalreporter.write_line(on_screen([*str(report.longrepr).splitlines(), ""]))
        shown.add(about)
    for why, count in Counter(map(_message, skipped)).items() if "loading" not in shown else ():
        line = _("not asked yet: {count} more ({why})", count=count, why=why)
        terminalreporter.write_line(on_screen([line, ""]))
    return len(failed) if in_full else len(shown)


def _print_points(
    terminalreporter: Any, rows: list[dict[str, Any]], reasons: list[str], shown: int, config: pytest.Config
) -> None:
    from demuxlab.grading import sandbox, stories

    earned, possible = (sum(int(row[key]) for row in rows) for key in ("points", "max_points"))
    names = [_sentence(row["name"]) for row in rows]
    failed = [row for row in rows if not row["passed"]]
    every = config.stash.get(_ALL, [("", row["max_points"]) for row in rows])
    terminalreporter.write_line(layout.heading(_("points")))
    if all(row["loads"] for row in rows):
        terminalreporter.write_line(stories.table_of_points(rows, names, reasons) + "\n")
    points = _("points: {points} of {most}", points=earned, most=possible)
    if missing := len(every) - len(rows):
        most = sum(worth for _name, worth in every)
        points += _(" so far; checks not run: {count}; all are worth {most}", count=missing, most=most)
    terminalreporter.write_line(points)
    if (level := sandbox.best()) != sandbox.BUBBLEWRAP:
        terminalreporter.write_line(_("isolation: {level}", level=level))
    labs = list(dict.fromkeys(Path(word.partition("::")[0]).resolve() for word in config.args))
    one = labs[0] if len(labs) == 1 else None
    lines = stories.what_next(failed, one, [name for name, _worth in every], shown=shown, left=missing)
    terminalreporter.write_line(stories.on_screen(lines, stories.COMMAND))


def _note_progress(root: Path, scored: dict[str, dict[str, Any]]) -> None:
    from demuxlab.course.progress import Progress
    from demuxlab.labkit.folder import LabFolder

    for folder in dict.fromkeys((root / nodeid.partition("::")[0]).parent for nodeid in scored):
        own = {n: row for n, row in scored.items() if (root / n.partition("::")[0]).parent == folder}
        if (folder / "lab.py").is_file():
            Progress(LabFolder(folder)).note_exercise(_sum(own, "points"), _sum(own, "max_points"))


def _sum(scored: dict[str, dict[str, Any]], key: str) -> int:
    return sum(int(row[key]) for row in scored.values())


def _sentence(test_name: str) -> str:
    return test_name.removeprefix("test_").replace("_", " ")


def _message(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):  # a skip: file, line and reason
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


def _story(asked: "Submission", name: str, error: BaseException, config: pytest.Config, folder: Path) -> str:
    from demuxlab.grading.stories import Stories

    stories = config.stash.setdefault(_STORIES, Stories())
    lines = stories.of(asked, name, error)
    if (seed := config.getoption("--seed")) and len(lines) > 2:
        lines.append(_("again: add --seed {seed}", seed=seed))
    unwritten = asked.brief.endswith("NotImplementedError")
    if not unwritten and len(lines) > 2 and (path := _capture(config, folder, name)):
        from demuxlab.grading.failure_capture import save, save_picture

        if asked.packets:
            lines.append(save(asked.packets, path, f"{folder.name}: {name}", str(error).splitlines()))
        if asked.picture:
            lines.append(save_picture(asked.picture, path))
    return "\n".join(lines)


def _capture(config: pytest.Config, folder: Path, name: str) -> Path | None:
    """Return where the packets of a check that fails are kept; None where they are not."""
    from demuxlab.grading.failure_capture import path_of

    if chosen := config.getoption("--packets"):
        return None if folder in config.stash[_HIDDEN] else Path(chosen, f"{name.replace(' ', '_')}.pcapng")
    kept = (folder / "lab.py").is_file() and not config.getoption("--no-packets")
    return path_of(folder, name) if kept else None


def _forget_packets(item: pytest.Item, name: str) -> None:
    """Remove the capture and the picture of an earlier failure of a check that now passes."""
    if not item.config.getoption("--packets") and (path := _capture(item.config, item.path.parent, name)):
        for kept in (path, path.with_suffix(".svg")):
            with suppress(OSError):
                kept.unlink()
