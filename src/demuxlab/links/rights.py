"""Drops root's rights, which nothing needs once the link is open."""

import ctypes
import os
import sys

from demuxlab.language import _

_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38
_FILE_CAPABILITIES = 0b11 << 1
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


def drop() -> str:
    """Drop root's rights irrevocably; return a sentence about what is left.

    Under sudo the process becomes the user that called sudo, so that its files are that user's. Root without
    sudo keeps CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, to reach its files, and no other capability.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return _("running as an ordinary user")
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if user.isdigit() and group.isdigit() and int(user):
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
        _no_new_rights()
        _leave_home_of_root(int(user))
        return _("rights dropped: now user {user}, who called sudo", user=user)
    _no_new_rights()
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    kept = _FILE_CAPABILITIES
    data = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, data):
        return _("rights could not be dropped: {why}", why=os.strerror(ctypes.get_errno()))
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


def _no_new_rights() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
