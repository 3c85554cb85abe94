"""What a learner can do next, as commands that can be typed, or copied, as they stand."""

import os
import shutil
import sys
from pathlib import Path

from demuxlab.labkit.folder import SCRIPT


def typed(command: str, program: str = "demuxlab") -> str:
    """Return a command of a program that lies beside this Python, as it is typed in the current folder."""
    path = Path(sys.executable).parent / program
    found = shutil.which(program)
    if not path.exists() or (found and os.path.samefile(found, path)):
        return f"{program} {command}"
    return f"{shown(path)} {command}"


def shown(path: Path) -> Path:
    """Return a path as it is written in the current folder: relative where it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def following(lab: Path) -> str:
    """Return the number of the lab after the one in this folder; "" where there is none."""
    number = lab.name[:2]
    wanted = f"{int(number) + 1:02}" if number.isdecimal() else ""
    return wanted if wanted and any(lab.parent.glob(f"{wanted}_*/{SCRIPT}")) else ""
