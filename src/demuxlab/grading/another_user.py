"""Starting a process as another user, from an interpreter that this user may not reach by itself.

Where root grades, a learner's file runs under a user number of its own. The interpreter may lie below a
folder that only root may enter: pyenv, uv and conda install into a home folder, whose mode is often 0700.
Then the process gets a mount namespace of its own (mount_namespaces(7)) in which an empty folder covers
the closed one and only what the process needs is bound below it, at its old path; after that it changes
user. Nothing of this is seen outside the namespace, and it ends with the process.
"""

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from demuxlab.errors import DemuxlabError
from demuxlab.language import _

NOBODY = 65534
_FIRST_UID = 1_000_000
_TOOLS = ("unshare", "mount", "setpriv")
"""Programs of util-linux that open a closed folder for one process."""


@cache
def number() -> int | None:
    """Return the user number for a learner's process where root grades, or None: limits count by user.

    None also where there is no other number than root's, as in a user namespace with one user.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return None
    wanted = _FIRST_UID + os.getpid()
    return next((uid for uid in (wanted, NOBODY) if _exists_here(uid)), None)


def start(
    command: Sequence[str], uid: int | None, needed: Sequence[Path], **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a command as the user `uid` (None: as ourselves); it can reach the folders in `needed`.

    `options` go to Popen. Raises DemuxlabError where a closed folder cannot be opened for it.
    """
    if uid is None:
        return subprocess.Popen(command, **options)
    script = _opening(uid, needed)
    if not script:
        return subprocess.Popen(command, user=uid, group=uid, extra_groups=[], **options)
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise DemuxlabError(
            _("user {uid} may not enter {folder}", uid=uid, folder=closed(needed[0], uid) or needed[0]),
            _("install util-linux, which has {tools}", tools=", ".join(missing)),
        )
    if "cwd" in options:
        script.append(f"cd {shlex.quote(str(options['cwd']))}")
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--pdeathsig=KILL", "--"]
    script.append(f'exec {shlex.join(become)} "$@"')
    namespace = ["unshare", "--mount", "--propagation", "private", "--"]
    return subprocess.Popen([*namespace, "sh", "-euc", "\n".join(script), "sh", *command], **options)


def _opening(uid: int, needed: Sequence[Path]) -> list[str]:
    """Return the lines of sh(1) that open the needed folders to a user; none where all are open.

    A shell keeps each folder by its working directory while its path is covered; mount's --no-canonicalize
    then takes "." as it is.
    """
    below: dict[Path, list[Path]] = {}
    for path in map(Path.resolve, needed):
        first = closed(path, uid)
        if first is not None:
            below.setdefault(first, []).append(path)
    lines = ["umask 022"] if below else []
    for folder, paths in below.items():
        binds = [bind for path in paths for bind in _parts(path, uid)]
        lines.append(f"cd {shlex.quote(str(folder))}")
        lines.append("mount -t tmpfs -o mode=755,size=1m tmpfs " + shlex.quote(str(folder)))
        for bind in binds:
            source, target = shlex.quote(f"./{bind.relative_to(folder)}"), shlex.quote(str(bind))
            lines.append(f"mkdir -p {target}")
            lines.append(f"mount --no-canonicalize --bind {source} {target}")
        lines.append("cd /; unset OLDPWD")
    return lines


def _parts(path: Path, uid: int) -> list[Path]:
    """Return what to bind for a folder: itself, or its folders where it is closed itself."""
    if _may_enter(path, uid):
        return [path]
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.is_symlink())


def closed(path: Path, uid: int) -> Path | None:
    """Return the first folder on the way to `path`, itself included, that a user may not enter."""
    way = [part for part in (path, *path.parents) if part.is_dir()]
    return next((folder for folder in reversed(way) if not _may_enter(folder, uid)), None)


def _may_enter(folder: Path, uid: int) -> bool:
    """Tell whether a user whose group has the same number may enter a folder (path_resolution(7))."""
    try:
        status = folder.stat()
    except OSError:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == uid else stat.S_IXOTH))


def _exists_here(uid: int) -> bool:
    """Tell whether a user number exists in this user namespace (user_namespaces(7))."""
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= uid < first + size for first, _, size in ranges)
