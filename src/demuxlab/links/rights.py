"""Drops root's rights, which nothing needs once the link is open."""

import ctypes
import os
import sys

from demuxlab.language import _

_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_READ_FILES = 1 << 2
"""CAP_DAC_READ_SEARCH."""
_REACH_FILES = _READ_FILES | 1 << 1
"""And CAP_DAC_OVERRIDE."""
SEE_PROCESSES = _READ_FILES | 1 << 19
"""CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: for /proc/PID/fd of other users' processes."""


def drop(keep: int = 0) -> str:
    """Drop root's rights irrevocably; return a sentence about what is left, "" for an ordinary user.

    `keep`: capabilities that this process keeps, and programs that it starts do not get.

    Under sudo the process becomes the user who called it, so that its files are that user's. Python may lie
    where that user cannot read it, in root's home for instance: modules are still imported later, so that
    the right to read files stays. Root itself without sudo has no other user to become: it keeps the right
    to reach its files, and no other.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return ""
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if user.isdigit() and group.isdigit() and int(user):
        os.setgroups([])
        os.setgid(int(group))
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.setuid(int(user))
        closed = not all(os.access(file, os.R_OK) for file in (os.__file__, __file__))
        inherited = _READ_FILES if closed else 0
        _keep(inherited | keep, inherited)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _leave_home_of_root(int(user))
        if keep:
            return _(
                "rights dropped: now user {user}, who called sudo; seeing processes stays allowed", user=user
            )
        if closed:
            return _(
                "rights dropped: now user {user}, who called sudo; reading files stays allowed",
                user=user,
            )
        return _("rights dropped: now user {user}, who called sudo", user=user)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if why := _keep(_REACH_FILES | keep, 0):
        return _("rights could not be dropped: {why}", why=why)
    if keep:
        return _("rights dropped: root now only reaches files and sees processes")
    return _("rights dropped: root now only reaches files")


def remains_root() -> bool:
    """Tell whether the process still runs as root after `drop`: root did not come by sudo."""
    root = sys.platform == "linux" and os.geteuid() == 0
    return root and os.environ.get("SUDO_UID", "0") in ("", "0")


def _leave_home_of_root(user: int) -> None:
    """Under sudo HOME is root's, which the user may not read: libraries keep their caches there."""
    import pwd

    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        os.environ.pop(variable, None)
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        os.environ["HOME"] = "/nonexistent"
    else:
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)


def _keep(capabilities: int, inherited: int) -> str:
    """Keep these capabilities and no other (capabilities(7)); return why that failed, or nothing.

    `inherited`: those of them that programs that this process starts have too.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(capabilities, capabilities, inherited, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, data):
        return os.strerror(ctypes.get_errno())
    for number in range(inherited.bit_length()):
        if inherited >> number & 1:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)
    return ""


def _prctl(option: int, *arguments: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, *arguments, *(0,) * (4 - len(arguments)))
