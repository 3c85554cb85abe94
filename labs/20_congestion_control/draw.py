"""Draws the windows of two flows at one bottleneck over a minute: that of a controller in a file, and ours.

    python labs/20_congestion_control/draw.py [FILE.py] [PICTURE.svg]

Without a file both are ours: the picture of the handout. A dot is a segment that found the queue full.
"""

import importlib.util
import sys
import traceback
from pathlib import Path
from typing import Any

from demuxlab.parts.bottleneck import Bottleneck, Flow
from demuxlab.parts.controller import Controller
from demuxlab.report.windows import Curve, picture

MSS, END = 100, 60


def draw(first: Any) -> str:
    """Return the picture of a flow whose controller is `first(mss)`; ours joins it after 8 seconds."""
    flows = [Flow("A", first(MSS)), Flow("C", Controller(MSS), starts=8.0)]
    Bottleneck(50, 0.1, 10, MSS).run(flows, END)
    carried = [flow.carried(20, END) for flow in flows]
    curves = [
        Curve(
            f"{flow.name}: {100 * own / sum(carried):.0f} % from 20 seconds on, losses: {len(flow.losses)}",
            [(moment, window / MSS) for moment, window in flow.windows],
            flow.losses,
        )
        for flow, own in zip(flows, carried, strict=True)
    ]
    return picture("Two flows at a bottleneck", curves, END, "seconds", "window in segments") + "\n"


def load(path: Path) -> Any:
    """Return the class Controller of a file."""
    spec = importlib.util.spec_from_file_location("controller", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"{path} is no Python file: name the one that has your class Controller")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "Controller"):
        sys.exit(f"{path} has no class Controller")
    return module.Controller


def place(error: BaseException, file: Path) -> str:
    """Return the line of the file in which an error was raised, if there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
    line = getattr(error, "lineno", None) or next(reversed(lines), None)
    return f"line {line} of {file}" if line else f"the calls of {file} (window() returns bytes, an int)"


def main(words: list[str]) -> None:
    files = [Path(word) for word in words if not word.endswith(".svg")]
    target = Path(next((word for word in words if word.endswith(".svg")), "window.svg"))
    try:
        drawn = draw(load(files[0]) if files else Controller)
    except KeyboardInterrupt as error:
        sys.exit("interrupted" + (f" in {place(error, files[0])}" if files else ""))
    except Exception as error:
        sys.exit(f"nothing is drawn: {type(error).__name__} in {place(error, files[0])}: {error}")
    target.write_text(drawn, encoding="utf-8")
    print(f"picture: {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
