"""What proc(5) says of a process; empty or 0 where the process has ended, or the system has no proc(5)."""

from pathlib import Path


def children(process: int) -> list[int]:
    """Return the processes that its main thread has started, the latest last."""
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def state(process: int | None) -> str:
    """Return R where it runs, or would if it had a processor, S where it sleeps, T where it is stopped."""
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def scheduled(process: int | str | None) -> tuple[float, float]:
    """Return the seconds that it has computed, and has waited for a processor (schedstat)."""
    try:
        computed, waited = Path(f"/proc/{process}/schedstat").read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        return 0.0, 0.0
    return int(computed) / 1e9, int(waited) / 1e9
