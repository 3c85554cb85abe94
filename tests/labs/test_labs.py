"""Each lab as a learner meets it: it runs, its capture and handouts agree, its exercise is graded fairly."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import starmap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests import solutions
from tests.labs import facts, pictures
from tests.labs.handout import Handout
from tests.labs.runs import LABS, ROOT, quick_labs, run
from tests.labs.tshark import Filter, claims_hold
from tests.solutions import Wrong

from demuxlab.capture.reader import Capture
from demuxlab.course.questions import Question
from demuxlab.course.questions import load as load_questions
from demuxlab.grading.submission import Submission
from demuxlab.labkit.figures import Figures
from demuxlab.labkit.folder import LabFolder

WRONG = solutions.wrong()

every_lab = pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)


def reference(lab: Path) -> Path:
    return ROOT / "captures" / f"{lab.name}.pcapng"


def handouts(lab: Path) -> tuple[Handout, Handout]:
    return Handout.read(lab / "README.md"), Handout.read(lab / "README.ko.md")


def questions(lab: Path) -> list[Question]:
    return load_questions(LabFolder(lab), Figures())


# The run


@every_lab
def test_the_reference_capture_is_made_again_byte_for_byte(lab: Path, memory_run) -> None:
    _, made = memory_run(lab)
    again = f".venv/bin/demuxlab run {lab.name[:2]} --link memory --captures /tmp/new"
    assert made == reference(lab).read_bytes(), f"if the change is wanted: {again}, and copy what it saved"


@quick_labs
def test_a_lab_runs_by_itself_from_another_folder(lab: Path, tmp_path: Path, memory_run) -> None:
    assert run(tmp_path, str(lab / "lab.py"), "--link", "memory") == memory_run(lab)


@pytest.mark.long  # of one lab tests/interop/test_run_captures.py holds it each time
@every_lab
@pytest.mark.parametrize("link", ["loopback", "tun"])
def test_every_link_gives_the_same_frames_and_decisions(
    lab: Path, link: str, tmp_path: Path, memory_run, need_root
) -> None:
    decisions, _ = run(tmp_path, "-m", "demuxlab", "run", lab.name, "--link", link)
    assert decisions == memory_run(lab)[0]


@every_lab
def test_a_lab_is_short_enough_to_read(lab: Path) -> None:
    assert 40 <= len((lab / "lab.py").read_text(encoding="utf-8").splitlines()) <= 120


# The handouts


@every_lab
def test_filters_frames_and_answers_hold_in_the_reference_capture(lab: Path, need_tool) -> None:
    need_tool("tshark")
    english, korean = handouts(lab)
    assert english.filters == korean.filters
    assert len(english.filters) >= 5
    claims_hold(reference(lab), starmap(Filter, english.filters.items()), questions(lab))


@every_lab
def test_frames_named_in_the_handouts_are_in_the_reference_capture(lab: Path) -> None:
    with Capture(reference(lab)) as capture:
        numbers = {frame.number for frame in capture}
    for handout in handouts(lab):
        assert handout.frames
        assert all(set(frames) <= numbers for frames in handout.frames)


@every_lab
def test_the_decisions_in_the_handouts_are_those_of_the_run(lab: Path, memory_run) -> None:
    decisions, _ = memory_run(lab)
    rows = [
        (row["frame"], *(f"{address}:{port}" for address, port in (row["source"], row["destination"])),
         row["socket"] or "–", row["rule"] or "–")
        for row in decisions
        if row["protocol"]
    ]  # fmt: skip
    for handout in handouts(lab):
        assert len(handout.decisions) >= min(len(rows), 5), handout.path
        assert set(handout.decisions) <= set(rows), handout.path
        assert handout.decisions == sorted(handout.decisions), handout.path


@every_lab
def test_both_handouts_say_the_same(lab: Path) -> None:
    english, korean = handouts(lab)
    assert english.text.startswith(f"# {lab.name[:2]} ")
    assert korean.text.startswith(f"# {lab.name[:2]} ")
    assert len(english.text.splitlines()[0]) <= 60
    assert english.headings == korean.headings
    assert english.commands == korean.commands
    assert english.frames == korean.frames
    assert english.code == korean.code
    assert english.figure == korean.figure


@every_lab
def test_commands_and_links_of_the_handouts_lead_somewhere(lab: Path) -> None:
    for handout in handouts(lab):
        assert f".venv/bin/demuxlab run {lab.name[:2]}" in handout.commands
        assert f"sudo .venv/bin/demuxlab run {lab.name[:2]}" in handout.commands
        assert f"sudo .venv/bin/python labs/{lab.name}/lab.py" in handout.commands
        assert f".venv/bin/pytest labs/{lab.name}" in handout.commands
        for link in handout.links:
            assert (handout.path.parent / link).exists(), link
        for named in re.findall(r"(?:labs|captures)/[\w./]+\.\w+", handout.text):
            assert (ROOT / named).exists(), named


@every_lab
def test_the_pictures_of_the_handouts_are_small_and_of_the_reference_capture(lab: Path) -> None:
    again = f"python -m tests.labs.pictures {lab.name[:2]} makes them again"
    for name in pictures.NAMES:
        assert pictures.signed(lab / name) == pictures.digest(reference(lab)), again
        assert (lab / name).stat().st_size <= pictures.MOST_BYTES
        for handout in handouts(lab):
            [shown] = re.findall(rf"^!\[([^]]+)\]\({name}\)$", handout.text, re.MULTILINE)
            assert re.search(rf"(?:frame|프레임) {pictures.FRAMES[lab.name[:2]]}(?!\d)", shown)


@every_lab
def test_the_handouts_use_the_tools(lab: Path) -> None:
    sheet = f"quiz/{lab.name}-NAME.txt"
    for handout in handouts(lab):
        for command in (f"report captures/{lab.name}.pcapng", f"quiz {lab.name[:2]} --check {sheet}", "labs"):
            assert f".venv/bin/demuxlab {command}" in handout.commands
        assert {"--step", "--watch", f".venv/bin/demuxlab open captures/{lab.name}.pcapng"} <= handout.code


@every_lab
def test_the_handouts_ask_the_questions_in_order(lab: Path) -> None:
    asked = questions(lab)
    assert 6 <= len(asked) <= 10
    for handout, language in zip(handouts(lab), ("en", "ko"), strict=True):
        expected = []
        for number, question in enumerate(asked, 1):
            choices = ", ".join(f"`{choice}`" for choice in question.choices)
            expected.append(f"{number}. {question.text[language]}" + (f" ({choices})" if choices else ""))
        section = handout.sections[7]
        assert re.findall(r"^\d+\. .*$", section, re.MULTILINE) == expected


@every_lab
def test_the_handouts_name_the_checks_and_points(lab: Path) -> None:
    worth = [points(check) for check in checks(lab).values()]
    english, korean = handouts(lab)
    assert f"{len(worth)} checks and {sum(worth)} points" in english.text
    assert f"검사는 {len(worth)}개, 점수는 모두 {sum(worth)}점" in korean.text


def test_both_syllabuses_name_every_lab_with_its_facts_hours_and_what_comes_before() -> None:
    row = r"^\| \[(\d\d_\w+)\]\(\1/README{}.md\) \| .*? \| (.+?) \| ([\d.]+) \| (.*) \|$"
    texts = {code: (ROOT / "labs" / f"README{code}.md").read_text(encoding="utf-8") for code in ("", ".ko")}
    english, korean = (re.findall(row.format(code), text, re.MULTILINE) for code, text in texts.items())
    assert [name for name, *_ in english] == [lab.name for lab in LABS]
    for lab, (_name, named, *_rest) in zip(LABS, english, strict=True):
        assert set(facts.of_handout(lab)) == set(named.split(", "))
    assert [(name, named.replace("전체", "all"), *rest) for name, named, *rest in korean] == english
    hours = sum(float(hours) for _name, _facts, hours, _after in english)
    assert f"take {hours:.0f}" in texts[""]
    assert f"{hours:.0f}시간" in texts[".ko"]


def test_every_fact_is_shown_and_graded() -> None:
    text = (ROOT / "labs" / "README.md").read_text(encoding="utf-8")
    again = "python -m tests.labs.facts prints the table"
    assert f"facts` -->\n{facts.table()}<!-- end -->" in text, again
    for row in facts.table().splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4, row
        assert all(cells), row


# The exercise


def checks(lab: Path) -> dict[str, Callable[[Submission], None]]:
    """Return the checks of a lab's exercise by name."""
    module = _module(lab)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


def _module(lab: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"checks_of_{lab.name}", lab / "test_exercise.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def points(check: Any) -> int:
    [mark] = [mark for mark in check.pytestmark if mark.name == "points"]
    return mark.args[0]


def failure(check: Callable[[Submission], None], solution: Path) -> str | None:
    """Return what a check says about a solution, None where it passes."""
    submission = Submission(solution)
    try:
        check(submission)
    except AssertionError as error:
        return str(error)
    finally:
        submission.close()
    return None


def graded(lab: Path, *arguments: str) -> str:
    """Grade as a learner does, but not against the kernel, in real time; return what pytest prints."""
    command = [sys.executable, "-m", "pytest", f"labs/{lab.name}", "-p", "no:cacheprovider", *arguments]
    command.append("--ignore-glob=*test_kernel.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert not re.search(r"^E  |\d errors?\b", done.stdout, re.MULTILINE)
    return done.stdout


@quick_labs
def test_the_starter_scores_nothing_and_says_why(lab: Path) -> None:
    output = graded(lab)
    worth = [points(check) for check in checks(lab).values()]
    assert f"points: 0 of {sum(worth)}" in output
    counted = re.search(r"=+ (\d+) failed(?:, (\d+) skipped)? in", output)
    assert counted is not None
    assert sum(int(count or 0) for count in counted.groups()) == len(worth)
    assert "NotImplementedError" in output
    assert output.count("still to be written") >= 2


@every_lab
def test_the_reference_solution_scores_everything(lab: Path) -> None:
    output = graded(lab, "--submission", str(solutions.folder(lab.name) / "reference.py"))
    worth = [points(check) for check in checks(lab).values()]
    assert f"points: {sum(worth)} of {sum(worth)}" in output
    assert f"{len(worth)} passed" in output


@pytest.mark.long
@every_lab
def test_methods_that_do_nothing_score_nothing(lab: Path, tmp_path: Path) -> None:
    starter = (lab / "exercise.py").read_text(encoding="utf-8")
    empty = tmp_path / "empty.py"
    empty.write_text(re.sub(r"raise NotImplementedError\(.*\)", "return None", starter), encoding="utf-8")
    passed = [name for name, check in checks(lab).items() if failure(check, empty) is None]
    assert passed == []


@every_lab
def test_solutions_have_the_signatures_of_the_exercise(lab: Path) -> None:
    def signatures(source: str) -> list[str]:
        return re.findall(r"^class .*:|^(?:    )?def [a-z]\w*\([^)]*\) -> .*:", source, re.MULTILINE)

    right = {path.name: path.read_text("utf-8") for path in solutions.folder(lab.name).glob("*.py")}
    wrong = {solution.name: solution.source() for solution in solutions.wrong(lab.name)}
    assert len(wrong) >= 5
    wanted = signatures((lab / "exercise.py").read_text("utf-8"))
    assert wanted
    for name, source in {**right, **wrong}.items():
        assert [line for line in signatures(source) if line in wanted] == wanted, name


@pytest.mark.long
@pytest.mark.parametrize("solution", WRONG, ids=lambda solution: f"{solution.lab[:2]}-{solution.name}")
def test_a_wrong_solution_fails_the_check_that_is_about_it(solution: Wrong, tmp_path: Path) -> None:
    check = checks(ROOT / "labs" / solution.lab)[solution.check]
    said = failure(check, solution.save(tmp_path))
    assert said is not None
    assert "expected" in said
    assert "hint: " in said or "expected OSError" in said


def test_every_check_has_points_and_a_misunderstanding_that_it_is_about() -> None:
    for lab in LABS:
        named = {solution.check for solution in solutions.wrong(lab.name)}
        about = [name for name in checks(lab) if name in named]
        assert len(about) >= 10
        assert all(1 <= points(check) <= 9 for check in checks(lab).values())


MAIN_MISUNDERSTANDINGS = {
    "01": ("exchanged",),
    "02": ("one_queue", "one_header_for_all"),
    "03": ("four_tuple",),
    "04": ("no_source_address", "two_tuple"),
    "05": ("reads_the_listening_socket",),
    "06": ("accept_returns_the_listening_socket",),
    "07": ("messages",),
    "08": ("fin_ends_all", "no_close_wait"),
    "09": ("client_has_the_server_s_port",),
    "10": ("any_id", "any_port", "alias_is_an_address"),
    "11": ("sixteen_bits", "port_numbers_bound"),
    "12": ("no_way_back", "rules_reversed"),
    "13": ("any_reset_is_believed",),
    "14": ("no_source_address",),
    "15": ("reuse_address_shares_all",),
    "16": ("four_tuple",),
    "17": ("numbers_count_segments",),
    "18": ("acks_the_segment",),
    "19": ("by_flags", "no_number_for_syn_and_fin"),
    "20": ("loss_changes_nothing",),
    "21": ("machine_is_not_told",),
}
"""By lab: the wrong solutions that have not understood what the lab is about."""


@pytest.mark.long
@every_lab
def test_the_misunderstanding_that_a_lab_is_about_costs_at_least_half(lab: Path, tmp_path: Path) -> None:
    for name in MAIN_MISUNDERSTANDINGS[lab.name[:2]]:
        solution = solutions.find(lab.name, name).save(tmp_path)
        failed: set[str] = set()
        lost, whole = 0, sum(map(points, checks(lab).values()))
        for check_name, check in checks(lab).items():
            if 2 * lost < whole and (needs(check) & failed or failure(check, solution) is not None):
                failed.add(check_name)
                lost += points(check)
        assert 2 * lost >= whole, name


def needs(check: Any) -> set[str]:
    """Return the names of the checks without which a check is not asked."""
    return {name for mark in check.pytestmark if mark.name == "needs" for name in mark.args}


def test_a_failure_tells_its_story(tmp_path: Path) -> None:
    [lab] = [lab for lab in LABS if lab.name.startswith("04")]
    wrong = solutions.find("04", "no_source_address").save(tmp_path)
    output = graded(lab, "--submission", str(wrong), "-k", "two_clients")
    [story] = re.findall(r"^check: (.*?)^=", output, re.MULTILINE | re.DOTALL)
    assert story.splitlines()[0] == "one source port on two clients is two connections"
    assert "  1. made TCPDemultiplexer()" in story
    assert "expected 'P4', found 'P5'" in story
    assert "hint: only the source address differs" in story


def test_grading_needs_nothing_but_the_package_s_own_dependencies(repository):
    """A learner installs no test extra: pytest's settings must not ask for its plugins."""
    settings = tomllib.loads((repository / "pyproject.toml").read_text())
    ini = settings["tool"]["pytest"]["ini_options"]
    assert set(ini) == {"testpaths", "addopts", "filterwarnings", "pythonpath", "markers"}
