"""A BPF sk_lookup program, assembled here: connections to one port go to a listening socket on another."""

import ctypes
import os
import socket
import struct

_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _LINK_CREATE = 0, 2, 5, 28
_SOCKMAP, _PROG_TYPE, _ATTACH = 15, 30, 36
_LOCAL_PORT = 60
"""Offset in struct bpf_sk_lookup."""
_LOOKUP_ELEMENT, _RELEASE, _ASSIGN = 1, 86, 124


def attach(port: int, listener: socket.socket) -> list[int]:
    """Attach it to this network namespace; return the descriptors that keep it there."""
    sockmap = _bpf(_MAP_CREATE, struct.pack("<IIIII", _SOCKMAP, 4, 8, 1, 0))
    key = ctypes.create_string_buffer(struct.pack("<I", 0))
    value = ctypes.create_string_buffer(struct.pack("<Q", listener.fileno()))
    ends = ctypes.addressof(key), ctypes.addressof(value)
    _bpf(_MAP_UPDATE, struct.pack("<IIQQQ", sockmap, 0, *ends, 0))
    code = b"".join(
        [
            _instruction(0xBF, 6, 1),  # r6 = the context
            _instruction(0x61, 2, 6, _LOCAL_PORT),
            _instruction(0x55, 2, offset=14, value=port),  # another port: pass
            _instruction(0x62, 10, offset=-4),
            _instruction(0xBF, 2, 10),
            _instruction(0x07, 2, value=-4),
            _instruction(0x18, 1, 1, value=sockmap) + _instruction(0),
            _instruction(0x85, value=_LOOKUP_ELEMENT),
            _instruction(0x15, 0, offset=7),  # no socket: pass
            _instruction(0xBF, 7),
            _instruction(0xBF, 1, 6),
            _instruction(0xBF, 2, 7),
            _instruction(0xB7, 3),
            _instruction(0x85, value=_ASSIGN),
            _instruction(0xBF, 1, 7),
            _instruction(0x85, value=_RELEASE),
            _instruction(0xB7, 0, value=1),  # SK_PASS
            _instruction(0x95),
        ]
    )
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL\0")
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    head = struct.pack("<IIQQIIQII", _PROG_TYPE, len(code) // 8, *places, 0, 0, 0, 0, 0)
    program = _bpf(_PROG_LOAD, head + struct.pack("<16sII", b"to_one", 0, _ATTACH))
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    link = _bpf(_LINK_CREATE, struct.pack("<IIII", program, namespace, _ATTACH, 0))
    os.close(namespace)
    return [sockmap, program, link]


def _instruction(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, to | source << 4, offset, value)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 128)
    got = ctypes.CDLL(None, use_errno=True).syscall(321, command, buffer, len(buffer))
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(got)
