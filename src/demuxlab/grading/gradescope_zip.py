"""The archive that puts a lab on Gradescope: our package, the lab, and the two scripts that it calls.

Gradescope runs setup.sh once, when it builds the image, and run_autograder for each submission.
"""

import zipfile
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_COURSE = (("course", "labs"), ("course", "captures"))
_TIME = (2020, 1, 1, 0, 0, 0)
_SETUP = """#!/usr/bin/env bash
set -e
apt-get update
apt-get install -y --no-install-recommends python3 python3-pip python3-venv bubblewrap
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install {requirements}
"""
_RUN = """#!/usr/bin/env bash
cd /autograder
export PYTHONPATH=/autograder/source
exec /autograder/venv/bin/python -m demuxlab grade {lab} {hidden} \\
    --gradescope results/results.json submission
"""


def build(archive: Path, lab: Path, hidden: Path | None) -> None:
    """Write the archive; the same content gives the same bytes."""
    needed = " ".join(f"'{name}'" for name in _requirements())
    scripts = {
        "setup.sh": _SETUP.format(requirements=needed),
        "run_autograder": _RUN.format(lab=lab.name, hidden="--hidden source/hidden" if hidden else ""),
    }
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in scripts.items():
            _add(file, name, text.encode(), 0o755)
        for name, path in sorted(_files(lab, hidden)):
            _add(file, name, path.read_bytes(), 0o644)


def _requirements() -> list[str]:
    declared = requires("demuxlab") or []
    return [line.split(";")[0].strip() for line in declared if "extra ==" not in line]


def _files(lab: Path, hidden: Path | None) -> Iterator[tuple[str, Path]]:
    capture = lab.parents[1] / "captures" / f"{lab.name}.pcapng"
    if capture.is_file():
        yield f"demuxlab/course/captures/{capture.name}", capture
    roots = [(_PACKAGE, "demuxlab"), (lab, f"demuxlab/course/labs/{lab.name}")]
    roots += [(hidden, "hidden")] if hidden else []
    for root, name in roots:
        for path in root.rglob("*"):
            inside = path.relative_to(root)
            # An installed package holds every lab; the archive takes the one that it is for.
            elsewhere = root == _PACKAGE and inside.parts[:2] in _COURSE
            if path.is_file() and "__pycache__" not in inside.parts and not elsewhere:
                yield f"{name}/{inside.as_posix()}", path


def _add(file: zipfile.ZipFile, name: str, data: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name, _TIME)
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    file.writestr(entry, data)
