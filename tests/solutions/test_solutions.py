"""The wrong solutions' file: what is written comes back; a change that no longer fits names what is near."""

import subprocess
import sys

import pytest
from tests import solutions

REFERENCE = '''"""A lab's exercise, solved."""

def first(n):
    if n < 0:
        return None
    return n


def second(n):
    if n < 0:
        return None
    return n + 1
'''
WRONG = REFERENCE.replace('"""A lab\'s exercise, solved."""', '# fails: test_n\n"""Forgets one."""').replace(
    "n + 1\n", "n\n"
)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A lab 04 with a reference and no wrong solution yet."""
    folder = tmp_path / "04_lab"
    folder.mkdir()
    (folder / "reference.py").write_text(REFERENCE)
    monkeypatch.setattr(solutions, "FOLDER", tmp_path)
    return folder


def test_every_wrong_solution_comes_back_from_its_whole_file():
    for solution in solutions.wrong():
        again = solutions.from_source(solution.lab, solution.name, solution.source())
        assert again.source() == solution.source()


def test_an_entry_is_the_changed_lines_and_no_more_than_says_where_they_are(lab):
    path = solutions.keep(solutions.from_source("04", "forgets", WRONG))
    assert path.read_text() == "forgets: test_n\nForgets one.\n-    return n + 1\n+    return n\n"
    once = WRONG.replace("    if n < 0:\n        return None\n", "", 1)
    solutions.keep(solutions.from_source("04", "no_check", once))
    assert path.read_text().endswith(
        "\n\nno_check: test_n\nForgets one.\n def first(n):\n-    if n < 0:\n-        return None\n@@\n"
        "-    return n + 1\n+    return n\n"
    )
    assert solutions.find("04", "no_check").source() == once


def test_a_solution_of_the_same_name_is_replaced(lab):
    for source in (WRONG, WRONG.replace("Forgets one.", "Forgets two.")):
        solutions.keep(solutions.from_source("04", "forgets", source))
    assert [solution.misunderstanding for solution in solutions.wrong("04")] == ["Forgets two."]


def test_an_edit_of_other_lines_of_the_reference_does_no_harm(lab):
    solutions.keep(solutions.from_source("04", "forgets", WRONG))
    (lab / "reference.py").write_text(REFERENCE.replace("def first", "LIMIT = 5\n\n\ndef first"))
    assert "return n + 1" not in solutions.find("04", "forgets").source()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (REFERENCE.replace("n + 1", "1 + n"), "nothing in reference.py fits this:\n-    return n + 1"),
        (REFERENCE.replace("return n\n", "return n + 1\n"), "2 places of reference.py fit this"),
    ],
)
def test_a_change_that_no_longer_fits_names_the_solution_and_the_nearest_lines(lab, reference, said):
    solutions.keep(solutions.from_source("04", "forgets", WRONG))
    (lab / "reference.py").write_text(reference)
    with pytest.raises(solutions.SolutionError) as caught:
        solutions.find("04", "forgets").source()
    assert str(caught.value).startswith(f"04_lab, forgets: {said}")
    if "nothing" in said:
        line = reference.splitlines().index("    return 1 + n") + 1
        assert str(caught.value).endswith(f"the nearest lines are\n{line}:     return 1 + n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("forgets test_n\nForgets.\n-x\n", "begins with no `name: test_…` and sentence: forgets test_n"),
        ("forgets: test_n\nForgets.\n-x\nreturn n\n", "neither a line of a change nor a heading: return n"),
        ("a: test_n\nA.\n def first(n):\n+    1\n@@\n-def first(n):\n", "two changes overlap"),
    ],
)
def test_what_cannot_be_read_is_named(lab, text, said):
    (lab / "wrong.diff").write_text(text)
    with pytest.raises(solutions.SolutionError, match=said):
        [solution.source() for solution in solutions.wrong("04")]


def test_a_file_without_its_check_is_refused(lab):
    with pytest.raises(solutions.SolutionError, match="begins with a line `# fails: test_…`"):
        solutions.from_source("04", "forgets", REFERENCE)


def test_the_command_shows_and_lists(repository):
    def run(*words):
        command = [sys.executable, "-m", "tests.solutions", *words]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    solution = solutions.find("04", "no_bounds")
    assert run("show", "04", "no_bounds").stdout == solution.source()
    assert f"04 no_bounds: {solution.check}\n   {solution.misunderstanding}\n" in run("list", "04").stdout
    unknown = run("show", "04", "nothing")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "04_tcp_four_tuple has no nothing: `python -m tests.solutions list 04` has the names\n",
    )
