"""Giving up rights: once the link is open, nothing needs them any more."""

import ctypes
import os
import sys

from demuxlab.language import _

_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_NO_NEW_PRIVS = 38
_FILE_CAPABILITIES = 0b11 << 1
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


def drop() -> str:
    """Give up root's rights for good; return a sentence about what is left, "" for an ordinary user.

    Under sudo the process becomes the user who called it, so that its files are that user's. Root itself
    has nobody to become: it keeps the right to reach its files, and no other.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return ""
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


def stay_root_s() -> bool:
    """Tell whether `drop` leaves the process to root, who has nobody to become."""
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
