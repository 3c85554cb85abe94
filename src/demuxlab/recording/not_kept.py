"""The line about packets that a recorder could not write."""

from pathlib import Path

from demuxlab.capture.whole_blocks import WholeBlocks
from demuxlab.language import _


def not_kept(path: Path, writer: WholeBlocks, lost: int) -> str:
    """Return the line that packets, or the whole file, were lost, and why; empty where nothing was."""
    if not lost:
        gone = _("{path} is not there any more: it was moved or deleted during the run", path=path)
        return "" if path.exists() else gone
    return _(
        "{count} packets are not in {path}: {why}: make room and run again",
        count=lost,
        path=path,
        why=(writer.error.strerror if writer.error else None) or _("the write failed"),
    )
