"""The wheel: package, labs and reference captures, found by a rule and not by a list; and that it works."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import demuxlab
from demuxlab.course.starters import starter


def names(root: Path) -> set[str]:
    """Return the names of the files that a wheel built in this folder has, its metadata apart."""
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(root))
    with builder.config.set_build_data({"artifacts": [], "force_include": {}, "build_hooks": ()}):
        return {file.distribution_path for file in builder.recurse_included_files()}


def test_the_wheel_holds_every_lab_whole(repository: Path) -> None:
    held = names(repository)
    assert {"demuxlab/__init__.py", "demuxlab/py.typed", "demuxlab/wireshark/demuxlab.lua"} <= held
    for lab in sorted(path.parent for path in (repository / "labs").glob("[0-9][0-9]_*/lab.py")):
        files = ("README.md", "README.ko.md", "lab.py", "test_exercise.py", "questions.toml")
        assert {f"demuxlab/course/labs/{lab.name}/{name}" for name in files} <= held
        assert f"demuxlab/course/captures/{lab.name}.pcapng" in held


def test_another_lab_needs_no_entry_and_a_learner_s_files_stay_out(repository: Path, tmp_path: Path) -> None:
    for name in ("pyproject.toml", ".gitignore"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    theirs = (
        *("captures/99_new-memory-20260101-120000.pcapng", "captures/99_new-tun-20260101-120000.pcap"),
        *("captures/failures/test_one.pcapng", "labs/.progress.json", "labs/99_new/__pycache__/lab.pyc"),
    )
    theirs = (*theirs, "labs/99_new/exercise.py")  # it may be solved: the hook puts the starters in
    ours = ("captures/99_new.pcapng", "labs/99_new/lab.py", "labs/GRADING.md")
    for name in (*theirs, *ours, "src/demuxlab/__init__.py", "tests/test_x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert names(tmp_path) == {f"demuxlab/course/{name}" for name in ours} | {"demuxlab/__init__.py"}


def test_the_wheel_has_the_starters_even_where_an_exercise_is_solved(repository: Path) -> None:
    hook = pytest.importorskip("demuxlab.course.wheel").Starters(str(repository), {}, None, None, "", "wheel")
    data: dict[str, dict[str, str]] = {"force_include": {}}
    hook.initialize("standard", data)
    included = {
        place: Path(file).read_text("utf-8")
        for file, place in data["force_include"].items()
        if place.startswith("demuxlab/course/")
    }
    hook.finalize("standard", data, "")
    labs = sorted(path.parent.name for path in (repository / "labs").glob("[0-9][0-9]_*/lab.py"))
    assert included == {f"demuxlab/course/labs/{lab}/exercise.py": starter(lab) for lab in labs}


def test_the_starters_are_the_exercises_of_a_clean_checkout(repository: Path) -> None:
    for path in (repository / "labs").glob("[0-9][0-9]_*/exercise.py"):
        again = "python -m demuxlab.course.starters takes the edited exercises over"
        assert path.read_text("utf-8") == starter(path.parent.name), again


@pytest.fixture(scope="module")
def built(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    SdistBuilder = pytest.importorskip("hatchling.builders.sdist").SdistBuilder
    WheelBuilder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder
    folder = tmp_path_factory.mktemp("dist")
    [sdist] = SdistBuilder(str(repository)).build(directory=str(folder), versions=["standard"])
    with tarfile.open(sdist) as archive:
        # Python 3.11.2 knows no filters, 3.12 warns where there is none.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    sources = folder / f"demuxlab-{demuxlab.__version__}"
    [wheel] = WheelBuilder(str(sources)).build(directory=str(folder), versions=["standard"])
    return Path(sdist), Path(wheel)


def test_sdist_and_wheel_have_both_licences_and_the_version(built: tuple[Path, Path]) -> None:
    sdist, wheel = built
    version = demuxlab.__version__
    with tarfile.open(sdist) as archive:
        inside = set(archive.getnames())
    top = f"demuxlab-{version}"
    files = ("LICENSE", "docs/LICENSE", "CHANGELOG.md", "CITATION.cff", "PKG-INFO", "tests/test_wheel.py")
    assert {f"{top}/{name}" for name in files} <= inside
    assert not [name for name in inside if "node_modules" in name or ".venv" in name]
    with zipfile.ZipFile(wheel) as archive:
        held, information = set(archive.namelist()), f"demuxlab-{version}.dist-info"
        metadata = archive.read(f"{information}/METADATA").decode()
    assert {f"{information}/licenses/{name}" for name in ("LICENSE", "docs/LICENSE")} <= held
    assert "\nLicense-Expression: MIT AND CC-BY-4.0\n" in metadata
    assert f"\nVersion: {version}\n" in metadata


@pytest.mark.long  # it installs what demuxlab needs
@pytest.mark.timeout(600)
def test_the_wheel_works_in_a_clean_environment(
    built: tuple[Path, Path], repository: Path, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*words: object, status: int = 0) -> str:
        done = subprocess.run(
            [*map(str, words)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    call(sys.executable, "-m", "venv", "clean")
    programs = tmp_path / "clean" / "bin"
    call(programs / "pip", "install", "--quiet", built[1])
    assert call(programs / "demuxlab", "--version").split()[-1] == demuxlab.__version__
    call(programs / "demuxlab", "new", "course")
    here = ["env", "--chdir", "course", programs / "demuxlab"]
    assert "capture: captures/04_tcp_four_tuple-memory-" in call(*here, "run", "04", "--link", "memory")
    assert "Next is lab 01" in call(*here, "labs")
    lab = Path("course") / "labs" / "04_tcp_four_tuple"
    assert "points: 0 of 25" in call(programs / "pytest", lab, status=1)
    solution = repository / "tests/solutions/04_tcp_four_tuple/reference.py"
    assert "points: 25 of 25" in call(programs / "pytest", lab, "--submission", solution)
    if shutil.which("npm") is None:
        pytest.skip("all but the site, which needs npm")
    [web] = (tmp_path / "clean").rglob("demuxlab/site/web")
    call("npm", "ci", "--silent", "--prefix", web)
    call(programs / "demuxlab", "site", "public")
    assert (tmp_path / "public" / "ko" / "docs" / "commands.html").is_file()
