"""Writes files atomically."""

import os
from pathlib import Path


def write_whole(output: Path, text: str) -> None:
    """Replace a file in one step: a reader, or a full disk, never leaves half of it. Raises OSError.

    Line ends are written as they are in `text`.
    """
    if output.exists() and not output.is_file():  # /dev/stdout or a pipe; for a folder this raises
        output.write_text(text, encoding="utf-8", newline="")
        return
    half = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8", newline="")
        half.replace(output)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
