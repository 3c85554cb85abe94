"""BPF programs that choose a socket in the lookup's place: sk_lookup, attached to the network namespace.

The kernel runs such a program after the connections and before the listening sockets. It can be asked: a test
run (BPF_PROG_TEST_RUN) gets the packet's addresses and returns the cookie of the socket that it chose.
"""

import ctypes
import os
import socket
import struct
from typing import NamedTuple

from demuxlab.kernel import bpf
from demuxlab.kernel.decision import Question

_PROG_TEST_RUN, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 10, 13, 15, 16
_MOST = 64
_NAME = slice(64, 80)
"""Where struct bpf_prog_info has the program's name."""
_context = struct.Struct("=QII4s16s2sH4s16sII4x")
"""struct bpf_sk_lookup: cookie, family, protocol, the remote end, the local end, the ingress device."""
_SK_PASS = 1


class Program(NamedTuple):
    """A program, and what it does with the packet that was asked about."""

    name: str
    drops: bool
    cookie: int
    """Of the socket that it chose; 0: it leaves the choice to the kernel."""


def sk_lookup(question: Question) -> list[Program] | None:
    """Return the namespace's sk_lookup programs in order; None where the user may not ask."""
    try:
        identifiers = _attached()
    except OSError:
        return None
    programs = []
    for identifier in identifiers:
        try:
            descriptor = bpf.command(_PROG_GET_FD_BY_ID, struct.pack("=I", identifier))
        except OSError:
            continue  # it has been detached meanwhile
        try:
            programs.append(_run(descriptor, question))
        finally:
            os.close(descriptor)
    return programs


def _attached() -> list[int]:
    identifiers = (ctypes.c_uint32 * _MOST)()
    with open("/proc/thread-self/ns/net", "rb") as namespace:
        attributes = bytearray(
            struct.pack(
                "=IIIIQII",
                namespace.fileno(),
                bpf.ATTACH_SK_LOOKUP,
                0,
                0,
                ctypes.addressof(identifiers),
                _MOST,
                0,
            )
        )
        buffer = (ctypes.c_char * 64).from_buffer(attributes.ljust(64, b"\0"))
        bpf.call(_PROG_QUERY, buffer)
    (count,) = struct.unpack_from("=I", bytes(buffer), 24)
    return list(identifiers[:count])


def _run(descriptor: int, question: Question) -> Program:
    info = ctypes.create_string_buffer(256)
    bpf.command(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", descriptor, len(info), ctypes.addressof(info)))
    name = info.raw[_NAME].rstrip(b"\0").decode(errors="replace")
    context = ctypes.create_string_buffer(_pack(question), _context.size)
    result = ctypes.create_string_buffer(_context.size)
    # prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration, ctx_size_in,
    # ctx_size_out, ctx_in, ctx_out, flags, cpu, batch_size
    ends = ctypes.addressof(context), ctypes.addressof(result)
    attributes = struct.pack(
        "=IIIIQQIIIIQQIII", descriptor, 0, 0, 0, 0, 0, 1, 0, _context.size, _context.size, *ends, 0, 0, 0
    )
    buffer = ctypes.create_string_buffer(attributes, 128)
    bpf.call(_PROG_TEST_RUN, buffer)
    (verdict,) = struct.unpack_from("=I", buffer.raw, 4)
    (cookie,) = struct.unpack_from("=Q", result.raw)
    return Program(name, verdict != _SK_PASS, cookie)


def _pack(question: Question) -> bytes:
    v4 = len(question.destination) == 4
    remote, local = question.source or bytes(len(question.destination)), question.destination
    return _context.pack(
        0,
        socket.AF_INET if v4 else socket.AF_INET6,
        question.protocol,
        remote if v4 else bytes(4),
        bytes(16) if v4 else remote,
        question.source_port.to_bytes(2, "big"),
        0,
        local if v4 else bytes(4),
        bytes(16) if v4 else local,
        question.port,
        0,
    )
