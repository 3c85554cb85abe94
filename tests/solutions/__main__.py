"""The wrong solutions of the labs' exercises.

python -m tests.solutions list [LAB]            their names, checks and misunderstandings
python -m tests.solutions show LAB NAME         one as a whole file
python -m tests.solutions write LAB NAME FILE   take a whole file, new or edited, as that one
"""

import argparse
import sys
from pathlib import Path

from tests import solutions


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.solutions", description="The wrong solutions of the labs' exercises."
    )
    commands = parser.add_subparsers(required=True)
    lists = commands.add_parser("list", help="their names, checks and misunderstandings")
    lists.add_argument("lab", nargs="?", default="", help="by its number, such as 04; without it: all")
    lists.set_defaults(run=_list)
    shows = commands.add_parser("show", help="one as a whole file")
    writes = commands.add_parser("write", help="take a whole file, new or edited, as that one")
    for command, run in ((shows, _show), (writes, _write)):
        command.add_argument("lab", help="by its number, such as 04")
        command.add_argument("name", help="such as no_bounds")
        command.set_defaults(run=run)
    writes.add_argument("file", type=Path)
    asked = parser.parse_args()
    try:
        asked.run(asked)
    except (OSError, solutions.SolutionError) as error:
        sys.exit(str(error))


def _list(asked: argparse.Namespace) -> None:
    for solution in solutions.wrong(asked.lab):
        print(f"{solution.lab[:2]} {solution.name}: {solution.check}\n   {solution.misunderstanding}")


def _show(asked: argparse.Namespace) -> None:
    sys.stdout.write(solutions.find(asked.lab, asked.name).source())


def _write(asked: argparse.Namespace) -> None:
    source = asked.file.read_text(encoding="utf-8")
    print(solutions.keep(solutions.from_source(asked.lab, asked.name, source)))


if __name__ == "__main__":
    main()
