"""The arguments of a script's calls as Python and the kernel take them: numbers, addresses, structures."""

import struct
from collections.abc import Sequence
from typing import Any

from demuxlab.drill.script import Value

_LINGER = ("onoff", "l_onoff"), ("linger", "l_linger")
_TIME = ("tv_sec",), ("tv_usec",)
_INT = 4
# struct sock_extended_err (linux/errqueue.h); its pad byte is not read.
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_EXTENDED_FIELDS = ("ee_errno", "ee_origin", "ee_type", "ee_code", "ee_info", "ee_data")
_SECOND = 1_000_000_000


class WrongResult(Exception):
    """A call did not return what the script expects; the message says what it returned."""


def integer(value: Value) -> int:
    """Return a number, also from "[1]"; "..." is 0."""
    if value is ... or value is None:
        return 0
    if isinstance(value, list) and value:
        return integer(value[0])
    if not isinstance(value, int):
        raise WrongResult(f"Expected a number for an argument, not {value!r}")
    return value


def text(value: Value) -> str:
    """Return text."""
    if not isinstance(value, str):
        raise WrongResult(f"Expected text for an argument, not {value!r}")
    return value


def check_output(what: str, expected: Value, found: Value) -> None:
    """Raise WrongResult where an output argument is not what the script expects; "..." is anything."""
    if isinstance(expected, list):
        expected = expected[0] if expected else ...
    if expected is not ... and found != expected:
        raise WrongResult(f"Expected value {expected!r} of the {what} but got {found!r}")


def option_value(value: Value, size: Value) -> int | bytes:
    """Return the value of setsockopt; `size` is its length in bytes, as the script gives it."""
    length = integer(size)
    if isinstance(value, str):
        data = value.encode("latin-1", "replace")
        return data[:length] if length else data
    if isinstance(value, dict):
        return _structure(value)
    numbers = value if isinstance(value, list) else [value]
    if len(numbers) == 1 and length in (0, _INT) and -(1 << 31) <= integer(value) < 1 << 31:
        return integer(value)
    one = length if len(numbers) == 1 and length else _INT
    mask = (1 << 8 * one) - 1
    return b"".join((integer(number) & mask).to_bytes(one, "little") for number in numbers)


def _structure(value: dict[str, Value]) -> bytes:
    """Return a struct timeval or a struct linger."""
    names, form = (_TIME, "ll") if "tv_sec" in value else (_LINGER, "ii")
    return struct.pack(form, *(next((integer(value[n]) for n in each if n in value), 0) for each in names))


def option_found(raw: bytes, expected: Value) -> Any:
    """Return what getsockopt gave in the form of the value that the script expects."""
    if isinstance(expected, str):
        return raw.rstrip(b"\0").decode("latin-1")
    if isinstance(expected, dict) and len(raw) == 2 * _INT:
        found = struct.unpack("ii", raw)
        return dict(zip(expected, found, strict=False))
    return int.from_bytes(raw, "little", signed=True)


def control_data(value: Value) -> bytes:
    """Return the data of a control message: a number is an int."""
    return integer(value).to_bytes(_INT, "little", signed=True)


def check_control(
    expected: Value, found: Sequence[tuple[int, int, bytes]], began: int, tolerance: int
) -> None:
    """Compare control messages with those of the script.

    `began` is when the script began (nanoseconds of the real-time clock), from which it counts timestamps;
    `tolerance` in microseconds.
    """
    wanted = expected if isinstance(expected, list) else []
    if len(wanted) != len(found):
        raise WrongResult(f"Expected {len(wanted)} control messages but got {len(found)}: {list(found)}")
    for message, (level, kind, data) in zip(wanted, found, strict=True):
        check_output("cmsg_level", message.get("cmsg_level", ...), level)
        check_output("cmsg_type", message.get("cmsg_type", ...), kind)
        content = message.get("cmsg_data", ...)
        if isinstance(content, dict) and "scm_sec" in content:
            _check_timestamp(content, data, began, tolerance)
        elif isinstance(content, dict):
            actual = dict(zip(_EXTENDED_FIELDS, _EXTENDED_ERROR.unpack_from(data), strict=True))
            for name in content:
                check_output(name, content[name], actual.get(name, 0))
        else:
            check_output("cmsg_data", content, int.from_bytes(data[:_INT], "little", signed=True))


def _check_timestamp(content: dict[str, Value], data: bytes, began: int, tolerance: int) -> None:
    """Compare the software timestamp, the first of a struct scm_timestamping."""
    seconds, nanoseconds = struct.unpack_from("qq", data)
    wanted = integer(content["scm_sec"]) * _SECOND + integer(content.get("scm_nsec", 0))
    actual = seconds * _SECOND + nanoseconds - began
    if abs(actual - wanted) > tolerance * 1000:
        raise WrongResult(f"Expected timestamp {wanted} ns after the start but got {actual} ns")
