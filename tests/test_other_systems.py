"""macOS and Windows, simulated: what a learner does over the memory link runs, the rest says why not."""

import json
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import other_system

Call = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[1]


pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=["darwin", "win32"])
def system(request: pytest.FixtureRequest) -> str:
    pytest.importorskip("mypy")
    return request.param


@pytest.fixture(scope="module")
def call(system: str, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """`call("demuxlab", …)` starts a command in a new course, with Python as of the other system."""
    folder = tmp_path_factory.mktemp(system)
    venv.create(folder / "venv", symlinks=True)
    [packages] = (folder / "venv").glob("lib/python*/site-packages")
    shutil.copy(ROOT / "tests" / "other_system.py", packages)
    data = json.dumps([system, other_system.lacking(system)])
    (packages / "other_system.json").write_text(data, encoding="utf-8")
    lines = (str(ROOT / "src"), sysconfig.get_path("purelib"), "import other_system")
    (packages / "other_system.pth").write_text("\n".join(lines), encoding="utf-8")

    def started(module: str, *words: object) -> "subprocess.CompletedProcess[str]":
        command = [folder / "venv" / "bin" / "python", "-P", "-m", module, *words]
        place = folder / "course" if (folder / "course").exists() else folder
        return subprocess.run([*map(str, command)], cwd=place, capture_output=True, text=True, check=False)

    assert started("demuxlab", "new", "course").returncode == 0
    return started


def test_all_labs_run_with_the_same_captures(call: Call, tmp_path: Path) -> None:
    done = call("demuxlab", "run", "all", "--captures", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name.partition("-")[0]: path.read_bytes() for path in tmp_path.iterdir()}
    labs = [path.parent.name for path in (ROOT / "labs").glob("[0-9]*/lab.py")]
    assert made == {lab: (ROOT / "captures" / f"{lab}.pcapng").read_bytes() for lab in labs}


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("labs",), "04_tcp_four_tuple"),
        (("quiz", "04", "--student", "kim"), "capture: quiz/04_tcp_four_tuple-kim.pcapng"),
        (("report", "captures/04_tcp_four_tuple.pcapng"), "report: 04_tcp_four_tuple.html"),
        (("flows", "captures/04_tcp_four_tuple.pcapng"), "10.9.0.30:5775"),
        (("doctor",), "Every lab also runs with --link memory"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_learner_calls(call: Call, words: tuple[object, ...], printed: str) -> None:
    done = call("demuxlab", *words)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--link", "tun"),
        ("serve", "http"),
        ("exec", "--", "program.py"),
        ("why", "tcp", "127.0.0.1:80"),
        ("watch",),
        ("bench",),
        ("drill", "--on", "kernel", ROOT / "tests/drill/close.pkt"),
    ],
    ids=lambda words: words[0],
)
def test_what_needs_linux_says_so_in_a_line(call: Call, words: tuple[object, ...]) -> None:
    done = call("demuxlab", *words)
    assert done.returncode in (1, 2)
    [line] = done.stderr.splitlines()
    assert line.startswith("demuxlab: ")
    assert "Linux" in line


def test_macos_plays_scripts_and_grades_and_windows_does_neither(call: Call, system: str) -> None:
    solution = ROOT / "tests/solutions/04_tcp_four_tuple/reference.py"
    for words, printed in (
        (("drill", ROOT / "tests/drill/close.pkt"), "close_half: passed"),
        (("grade", "04", solution), "25/25"),
    ):
        done = call("demuxlab", *words)
        assert done.returncode == (0 if system == "darwin" else 2)
        assert printed in done.stdout if system == "darwin" else "needs Linux" in done.stderr


def test_an_exercise_is_checked(call: Call) -> None:
    lab = "labs/04_tcp_four_tuple"
    assert "points: 0 of 25" in call("pytest", "-q", lab).stdout
    solution = ROOT / "tests/solutions/04_tcp_four_tuple/reference.py"
    assert "points: 25 of 25" in call("pytest", "-q", lab, "--submission", solution).stdout
