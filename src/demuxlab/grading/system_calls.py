"""The system calls that a learner's file may not make, as a seccomp(2) filter built by libseccomp.

What is refused in the whole sandbox: memory that no limit counts (System V, POSIX and anonymous files,
extended attributes, large pipes, sockets but for a socketpair(2), descriptors under way in a message), what
all processes share a supply of (AIO contexts, inotify watches), the kernel's key rings and random numbers,
and what changes, traces or measures the system. What is refused to the process of a check besides: more
processes (threads stay allowed, so that the limit of memory holds for all there is), and to change how
others run.
"""

import ctypes
import ctypes.util
import errno
import os
import tempfile
from functools import cache
from typing import Any

from demuxlab.errors import DemuxlabError
from demuxlab.language import _

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NOT_EQUAL, _GREATER, _MASKED_EQUAL = 1, 6, 7
"""Comparisons of seccomp_rule_add(3)."""
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1
_F_SETPIPE_SZ = 1031

_REFUSED = (
    *("keyctl", "add_key", "request_key"),
    *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"),
    *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "memfd_create", "memfd_secret"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise"),
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen"),
    *("fsmount", "fspick", "mount_setattr", "name_to_handle_at", "open_by_handle_at", "fanotify_init"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon"),
    *("swapoff", "acct", "quotactl", "syslog", "iopl", "ioperm", "settimeofday", "clock_settime"),
    *("adjtimex", "sethostname", "setdomainname", "lookup_dcookie", "uselib", "vhangup", "personality"),
    *("sendmsg", "sendmmsg", "io_setup", "io_submit", "inotify_init", "inotify_init1", "modify_ldt"),
    *("mbind", "set_mempolicy", "move_pages", "migrate_pages", "setxattr", "lsetxattr", "fsetxattr"),
    *(
        "landlock_create_ruleset",
        "landlock_add_rule",
        "landlock_restrict_self",
        "setxattrat",
        "open_tree_attr",
    ),
)
_OF_OTHERS = ("fork", "vfork", "setpriority", "ioprio_set", "pidfd_open", "pidfd_send_signal")
_OF_PROCESSES = (
    *("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"),
    "setpgid",
)
"""Calls that name a process first; 0 is the one that calls."""
_NEW = {"setxattrat": 463, "open_tree_attr": 467}
"""The numbers of calls that a library may not know yet; since 2019 they are the same on all architectures."""
_ABSENT = ("clone3", "getrandom")
"""As if the kernel were older. The C library falls back to clone(2), whose flags a filter can read; Python to
/dev/urandom, which is the same in each run."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@cache
def of_the_sandbox() -> bytes:
    """Return the filter of all processes as the kernel takes it; DemuxlabError without libseccomp."""
    rules = _Rules()
    for call in _REFUSED:
        rules.refuse(call, errno.EPERM)
    for call in _ABSENT:
        rules.refuse(call, errno.ENOSYS)
    rules.refuse("fcntl", errno.EPERM, (1, _MASKED_EQUAL, 0xFFFFFFFF, _F_SETPIPE_SZ))
    # Connections that a listening socket has not accepted hold memory, and no limit counts them.
    rules.refuse("socket", errno.EAFNOSUPPORT)
    rules.refuse("socketpair", errno.EAFNOSUPPORT, (0, _GREATER, _AF_UNIX, 0))
    return rules.exported()


@cache
def of_a_check() -> bytes:
    """Return the filter of a forked process, beyond that: it starts no process and changes no other."""
    rules = _Rules()
    for call in _OF_OTHERS:
        rules.refuse(call, errno.EPERM)
    for call in _OF_PROCESSES:
        rules.refuse(call, errno.EPERM, (0, _NOT_EQUAL, 0, 0))
    rules.refuse("clone", errno.EPERM, (0, _MASKED_EQUAL, _CLONE_THREAD, 0))
    return rules.exported()


@cache
def _library() -> Any:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        raise DemuxlabError(
            _("libseccomp is not installed"),
            _("install it: {command}", command="sudo apt install libseccomp2"),
        )
    library = ctypes.CDLL(name)
    library.seccomp_init.restype = ctypes.c_void_p
    return library


class _Rules:
    """A filter that is being built."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = ctypes.c_void_p(self._library.seccomp_init(_ALLOW))

    def refuse(self, call: str, error: int, comparison: tuple[int, int, int, int] | None = None) -> None:
        """Let a system call fail with an error; with a comparison, where an argument, by number, fits."""
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        number = _NEW.get(call, number) if number < 0 else number
        if number < 0:
            return  # this architecture, or this version of the library, has none of that name
        compared = (_Comparison * 1)(_Comparison(*comparison)) if comparison else None
        status = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(_ERRNO | error), number, 1 if comparison else 0, compared
        )
        if status:
            raise OSError(-status, f"libseccomp refuses the rule for {call}")

    def exported(self) -> bytes:
        """Return the finished filter."""
        with tempfile.TemporaryFile() as file:
            status = self._library.seccomp_export_bpf(self._context, file.fileno())
            if status:
                raise OSError(-status, os.strerror(-status))
            self._library.seccomp_release(self._context)
            file.seek(0)
            return file.read()
