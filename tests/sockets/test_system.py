"""Where the system is not Linux: the same names, and options by Linux's rules; here Linux is the judge."""

import _socket
import contextlib
import itertools
import struct

import pytest

from demuxlab.sockets import system

KINDS = [*itertools.product((_socket.AF_INET, _socket.AF_INET6), (_socket.SOCK_STREAM, _socket.SOCK_DGRAM))]
SETTABLE = {
    *(
        "SO_REUSEADDR",
        "SO_REUSEPORT",
        "SO_BROADCAST",
        "SO_KEEPALIVE",
        "SO_OOBINLINE",
        "SO_SNDBUF",
        "SO_RCVBUF",
    ),
    *("IPV6_V6ONLY", "TCP_NODELAY", "TCP_CORK", "IP_TTL", "TCP_KEEPIDLE", "TCP_KEEPCNT", "TCP_KEEPINTVL"),
}


def test_the_numbers_are_linuxs():
    linux = {name: getattr(_socket, name) for name in system._NUMBERS}
    assert linux == system._NUMBERS


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_options_have_linuxs_defaults_and_rules(family, kind):
    options = system.Options(family, kind, 0)
    with _socket_of(family, kind) as kernels:
        for (level, number), name in system._known().items():
            if level == _socket.IPPROTO_IPV6 and family == _socket.AF_INET:
                continue
            assert _outcome(options.getsockopt, level, number) == _outcome(
                kernels.getsockopt, level, number
            ), name
            for value in (1, 100, 0, 7) if name in SETTABLE else ():
                asked = level, number, value
                assert _outcome(options.setsockopt, *asked) == _outcome(kernels.setsockopt, *asked), name
                found = _outcome(kernels.getsockopt, level, number)
                assert _outcome(options.getsockopt, level, number) == found, (name, value)


def test_a_value_that_is_too_short_is_refused():
    options = system.Options(_socket.AF_INET, _socket.SOCK_STREAM, 0)
    for name, value in ((_socket.SO_REUSEADDR, b"\1"), (_socket.SO_LINGER, struct.pack("i", 1))):
        with pytest.raises(OSError, match="Invalid argument"):
            options.setsockopt(_socket.SOL_SOCKET, name, value)


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "::1", "2001:db8::1:0:0:1", "::ffff:1.2.3.4", "1.2.3", "::1%lo", ""]
)
def test_addresses_are_read_and_written_as_the_library_does(text):
    for family in (_socket.AF_INET, _socket.AF_INET6):
        packed = _outcome(_socket.inet_pton, family, text)
        assert _outcome(system._inet_pton, family, text) == packed
        if isinstance(packed, bytes):
            assert system._inet_ntop(family, packed) == _socket.inet_ntop(family, packed)


def _outcome(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return type(error), error.errno


def _socket_of(family, kind):
    return contextlib.closing(_socket.socket(family, kind))
