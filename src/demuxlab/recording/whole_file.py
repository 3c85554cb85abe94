"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_whole(output: Path, text: str) -> None:
    """Write a file in one step, so that neither a reader nor a full disk sees half of it; OSError.

    Its lines end as they do in the text.
    """
    if output.exists() and not output.is_file():  # /dev/stdout, a pipe; a folder is told by the error
        output.write_text(text, encoding="utf-8", newline="")
        return
    half = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        half.write_text(text, encoding="utf-8", newline="")
        half.replace(output)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
