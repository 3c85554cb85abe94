"""A build hook of hatchling: the wheel gets the exercises as a learner gets them, never a solved one.

And the documents that lie outside docs/: `demuxlab site` makes pages of them.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_DOCUMENTS = (
    *("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md"),
    "tests/drill/README.md",
)


class Starters(BuildHookInterface):  # type: ignore[type-arg,misc,unused-ignore]
    """Puts `starters.json` in the place of each labs/NN_name/exercise.py, which pyproject.toml leaves out."""

    _folder: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the exercises to a temporary folder and include them from there."""
        if version == "editable":  # it uses the checkout's own labs/
            return
        self._folder = Path(tempfile.mkdtemp())
        starters = Path(self.root) / "src/demuxlab/course/starters.json"
        for lab, text in json.loads(starters.read_text("utf-8")).items():
            file = self._folder / f"{lab}.py"
            file.write_text(text, "utf-8")
            build_data["force_include"][str(file)] = f"demuxlab/course/labs/{lab}/exercise.py"
        for name in _DOCUMENTS:
            build_data["force_include"][str(Path(self.root) / name)] = f"demuxlab/site/documents/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder)
