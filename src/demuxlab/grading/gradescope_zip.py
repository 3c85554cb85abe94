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
# Images of Ubuntu 22.04 have Python 3.10. Another one goes where every user may enter, as submissions must.
if python3 -c 'import sys; sys.exit(sys.version_info < {oldest})'; then
    python3 -m venv /autograder/venv
else
    python3 -m pip install uv
    UV_PYTHON_INSTALL_DIR=/opt/python python3 -m uv venv --seed --python 3.12 /autograder/venv
fi
/autograder/venv/bin/python -m pip install {requirements}
"""
_RUN = """#!/usr/bin/env bash
# Without results.json a learner is shown a failed autograder: whatever happens, there is one.
cd /autograder
export PYTHONPATH=/autograder/source
echo '{{"score": 0, "output": "{failed}"}}' > results/results.json
/autograder/venv/bin/python -P -m demuxlab grade {lab} {hidden} --course source/demuxlab/course/labs \\
    --gradescope results/results.json submission
exit 0
"""
_FAILED = "not graded, which is not your fault: tell your instructor"
_OLDEST = (3, 11)


def build(archive: Path, lab: Path, hidden: Path | None) -> None:
    """Write the archive; the same content gives the same bytes."""
    needed = " ".join(f"'{name}'" for name in _requirements())
    scripts = {
        "setup.sh": _SETUP.format(requirements=needed, oldest=_OLDEST),
        "run_autograder": _RUN.format(
            lab=lab.name, hidden="--hidden source/hidden" if hidden else "", failed=_FAILED
        ),
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
