"""The bpf(2) system call, and a socket lookup program attached to this thread's network namespace."""

import ctypes
import os
import platform
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _LINK_CREATE = 0, 2, 5, 28
_SOCKMAP, _PROG_TYPE_SK_LOOKUP = 15, 30
ATTACH_SK_LOOKUP = 36
_LOG_SIZE = 1 << 16


class Rejected(OSError):
    """The verifier does not accept the program; the text is the end of what it wrote."""


def command(number: int, attributes: bytes) -> int:
    """Call bpf(2) with attributes that the kernel only reads; return its result. Raises OSError."""
    return call(number, ctypes.create_string_buffer(attributes, 128))


def call(number: int, buffer: "ctypes.Array[ctypes.c_char]") -> int:
    """Call bpf(2) with attributes that the kernel may write to; return its result. Raises OSError."""
    system_call = _NUMBERS.get(platform.machine())
    if system_call is None:
        raise OSError(f"bpf(2) has no number here for {platform.machine()}")
    library = ctypes.CDLL(None, use_errno=True)
    result = int(library.syscall(system_call, number, buffer, len(buffer)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def socket_map(sockets: Sequence[socket.socket]) -> int:
    """Return the descriptor of a BPF_MAP_TYPE_SOCKMAP: key 0 is the first socket, and so on."""
    made = command(_MAP_CREATE, struct.pack("=IIIII", _SOCKMAP, 4, 8, max(1, len(sockets)), 0))
    for index, one in enumerate(sockets):
        key = ctypes.create_string_buffer(struct.pack("=I", index))
        value = ctypes.create_string_buffer(struct.pack("=Q", one.fileno()))
        ends = ctypes.addressof(key), ctypes.addressof(value)
        command(_MAP_UPDATE, struct.pack("=I4xQQQ", made, *ends, 0))
    return made


@contextmanager
def attached(code: bytes, name: str) -> Iterator[None]:
    """Load a BPF_PROG_TYPE_SK_LOOKUP program, and have the namespace run it until the block ends.

    `code` is the instructions, eight bytes each. Raises Rejected, or another OSError, EPERM without root.
    """
    with ExitStack() as descriptors:
        program = _load(code, name)
        descriptors.callback(os.close, program)
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        descriptors.callback(os.close, namespace)
        link = command(_LINK_CREATE, struct.pack("=IIII", program, namespace, ATTACH_SK_LOOKUP, 0))
        descriptors.callback(os.close, link)
        yield


def _load(code: bytes, name: str) -> int:
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_SIZE)
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags
    head = (_PROG_TYPE_SK_LOOKUP, len(code) // 8, *places, 1, _LOG_SIZE, ctypes.addressof(log), 0, 0)
    rest = struct.pack("=16sII", name.encode()[:15], 0, ATTACH_SK_LOOKUP)
    try:
        return command(_PROG_LOAD, struct.pack("=IIQQIIQII", *head) + rest)
    except OSError as error:
        if written := log.value.decode(errors="replace").strip():
            raise Rejected(error.errno, written[-500:]) from error
        raise
