from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.labs.handout import Handout
from tests.labs.runs import LABS, run


@pytest.fixture(scope="session")
def memory_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """Run a lab over memory, once a session."""
    kept: dict[Path, Any] = {}

    def get(lab: Path) -> Any:
        if lab not in kept:
            folder = tmp_path_factory.mktemp(lab.name)
            kept[lab] = run(folder, "-m", "demuxlab", "run", lab.name[:2], "--link", "memory")
        return kept[lab]

    return get


@pytest.fixture
def decisions(request: pytest.FixtureRequest, memory_run) -> list[dict[str, Any]]:
    """The decisions of the lab that test_picture_NN.py is about."""
    return memory_run(_lab(request))[0]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[str]:
    """The pictures in the two handouts of that lab."""
    lab = _lab(request)
    return [Handout.read(lab / name).figure for name in ("README.md", "README.ko.md")]


def _lab(request: pytest.FixtureRequest) -> Path:
    number = request.path.stem.removeprefix("test_picture_")
    [lab] = [lab for lab in LABS if lab.name.startswith(number)]
    return lab
