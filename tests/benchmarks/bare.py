"""A pytest plugin that runs a learner's file in the checker's own process, as simple autograders do.

Only the benchmark uses it: without a sandbox the file can change the checker.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demuxlab.grading.submission import SubmissionError


class InProcess:
    """Answers as `Submission` does, without a process, a sandbox or JSON."""

    def __init__(self, path: Path) -> None:
        spec = importlib.util.spec_from_file_location("bare_submission", path)
        assert spec is not None
        assert spec.loader is not None
        self._module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self._module)
        self._thing: Any = None
        self.story: list[str] = []
        self.packets: list[Any] = []
        self.printed = ""
        self.shift = 0
        self.returned_tuple = False

    def new(self, name: str, *arguments: Any) -> None:
        self._thing = self._called(getattr(self._module, name), *arguments)

    def call(self, name: str, *arguments: Any) -> Any:
        return self._called(getattr(self._thing, name), *arguments)

    def function(self, name: str, *arguments: Any) -> Any:
        return self._called(getattr(self._module, name), *arguments)

    def ahead(self, calls: Any) -> None:
        pass

    @contextmanager
    def summed_up(self, words: str) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass

    def _called(self, function: Any, *arguments: Any) -> Any:
        try:
            value = function(*arguments)
        except Exception as error:
            raise SubmissionError(f"raised {type(error).__name__}: {error}") from error
        self.returned_tuple = isinstance(value, tuple)
        return _listed(value)


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, list | tuple) else value


@pytest.fixture
def submission(request: pytest.FixtureRequest) -> InProcess:
    return InProcess(Path(request.config.getoption("--submission")))
