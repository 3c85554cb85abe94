"""The exercises as a learner gets them: kept apart from labs/, whose exercise.py somebody may have solved.

`starters.json` has the text of each lab's exercise.py under the lab's name. A test holds that they are equal
in a clean checkout; `python -m demuxlab.course.starters` takes the edited files of labs/ over.
"""

import json
from importlib.resources import files
from pathlib import Path

NAME = "exercise.py"


def starter(lab: str) -> str | None:
    """Return the exercise of a lab by the lab's folder name; None for a lab that is not the course's."""
    text: str | None = json.loads(files(__package__).joinpath("starters.json").read_text("utf-8")).get(lab)
    return text


def main() -> None:
    """Take the exercises of labs/ over as the starters."""
    labs = Path(__file__).parents[3] / "labs"
    texts = {path.parent.name: path.read_text("utf-8") for path in sorted(labs.glob(f"[0-9][0-9]_*/{NAME}"))}
    kept = json.dumps(texts, indent=0, ensure_ascii=False) + "\n"
    Path(__file__).with_suffix(".json").write_text(kept, "utf-8")


if __name__ == "__main__":
    main()
