"""The course: its labs found by number or name, questions and quizzes on a capture, a learner's progress.

Takes the folder of labs and a learner's ID; gives `LabFolder`s, answer sheets and marks.
"""

from demuxlab.course.finding import (
    NoSuchLab,
    course_folder,
    find,
    installed_folder,
    labs,
    newest_capture,
    references,
)
from demuxlab.labkit.folder import SCRIPT, LabFolder

__all__ = [
    "SCRIPT",
    "LabFolder",
    "NoSuchLab",
    "course_folder",
    "find",
    "installed_folder",
    "labs",
    "newest_capture",
    "references",
]
