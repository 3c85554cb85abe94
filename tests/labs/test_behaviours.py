"""The table of behaviours of labs 15 to 21: each has its check, most a script; BEHAVIOURS.md shows it."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from demuxlab.drill import drill

LABS = Path(__file__).resolve().parents[2] / "labs"
PAGE = LABS / "BEHAVIOURS.md"
GROUPS = ("opening", "binding", "handshake", "closing", "transfer", "congestion", "beyond")
TABLE: dict[str, list[list[str]]] = tomllib.loads((LABS / "behaviours.toml").read_text(encoding="utf-8"))


def page() -> str:
    """Return BEHAVIOURS.md."""
    counts = Counter(row[0] for rows in TABLE.values() for row in rows)
    shown = sum(len(row) > 4 for rows in TABLE.values() for row in rows)
    said = ", ".join(f"{group} {counts[group]}" for group in GROUPS if counts[group])
    lines = [
        "# What a transport layer must do",
        "",
        f"Each of these {counts.total()} behaviours is a check of a lab:",
        f"{said}.",
        f"{shown} of them are shown by a packet script as well, in a lab's `scripts.pkt`:",
        "`demuxlab drill --transport FILE.py labs/*/scripts.pkt` plays these on your TCP,",
        "without `--transport` on ours, and with `--on kernel` on Linux.",
        "The groups are those of KAIST's KENS; `beyond` is what it does not ask for.",
        "Its source: [behaviours.toml](behaviours.toml).",
    ]
    for lab, rows in TABLE.items():
        if rows:
            head = [
                "",
                f"## [{lab}]({lab}/README.md)",
                "",
                "| | group | behaviour | source | check | script |",
                "|-|-|-|-|-|-|",
            ]
            lines += head + [
                f"| {lab[:2]}.{number} | {group} | {sentence} | {source} | `{check}` | {_named(scripts)} |"
                for number, (group, sentence, source, check, *scripts) in enumerate(rows, 1)
            ]
    return "\n".join(lines) + "\n"


def _named(scripts: list[str]) -> str:
    return " ".join(f"`{name}`" for names in scripts for name in names.split())


def test_the_page_is_what_the_table_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.labs.test_behaviours"


@pytest.mark.parametrize("lab", [lab for lab, rows in TABLE.items() if rows])
def test_each_behaviour_has_its_check(lab: str):
    checks = set(
        re.findall(r"^def (test_\w+)", (LABS / lab / "test_exercise.py").read_text(encoding="utf-8"), re.M)
    )
    rows = TABLE[lab]
    assert {row[0] for row in rows} <= set(GROUPS)
    named = {row[3] for row in rows}
    assert named <= checks, "each behaviour has a check"
    assert named == checks or lab < "17", "and in the labs of the learner's TCP each check a behaviour"
    assert len({row[1] for row in rows}) == len(rows)


def test_each_script_that_the_table_names_exists():
    files = [*LABS.glob("*/scripts.pkt"), *(LABS.parent / "tests" / "drill").glob("*.pkt")]
    names = {script.name or path.stem for path in files for script in drill.load_all(path)}
    named = {name for rows in TABLE.values() for row in rows for name in " ".join(row[4:]).split()}
    assert len(named) > 60
    assert named <= names


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
