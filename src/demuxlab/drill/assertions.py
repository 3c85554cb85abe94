"""Assertions on TCP_INFO between %{ and }%: written in Python, but never executed as Python.

They are parsed and evaluated here: assert statements with field names, a few constants, numbers, comparisons
and arithmetic. Everything else is refused, as a script may come from anywhere.
"""

import ast
import operator
import textwrap
from collections.abc import Mapping
from typing import Any

from demuxlab.drill.constants import TCP_INFO_NAMES
from demuxlab.drill.script import ScriptError
from demuxlab.language import _
from demuxlab.sockets import tcp_info

_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
_BINARY: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_UNARY: dict[type[ast.unaryop], Any] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_MAX_CHARACTERS, _MAX_NODES = 10_000, 300


class AssertionFailed(Exception):
    """An assertion failed; the message quotes it with the values of its fields."""


def check(text: str, line: int) -> None:
    """Raise ScriptError where the text has anything but assertions on known fields."""
    for statement in _statements(text, line):
        for node in (statement.test, statement.msg):
            if node is not None:
                _check(node, line)


def run(text: str, info: Mapping[str, int]) -> None:
    """Evaluate assertions on the fields of TCP_INFO; raise AssertionFailed at the first that fails."""
    for statement in _statements(text, 0):
        try:
            holds = _value(statement.test, info)
        except (ArithmeticError, TypeError) as error:
            raise AssertionFailed(f"{ast.unparse(statement.test)}: {error}") from error
        if not holds:
            names = sorted({node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)})
            values = ", ".join(f"{name} = {info[name]}" for name in names if name in info)
            raise AssertionFailed(f"{ast.unparse(statement.test)}: {values}")


def _statements(text: str, line: int) -> list[ast.Assert]:
    if len(text) > _MAX_CHARACTERS:
        raise ScriptError(line, _("expected shorter assertions"))
    try:
        body = ast.parse(textwrap.dedent(text).strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ScriptError(line, _("expected {what}, found {found}", what="assert …", found=error)) from error
    if not all(isinstance(statement, ast.Assert) for statement in body):
        raise ScriptError(line, _("expected nothing but assert statements on fields of TCP_INFO"))
    return [statement for statement in body if isinstance(statement, ast.Assert)]


def _check(node: ast.expr, line: int) -> None:
    parts = list(ast.walk(node))
    if len(parts) > _MAX_NODES:
        raise ScriptError(line, _("expected shorter assertions"))
    for part in parts:
        if isinstance(part, ast.Name):
            if part.id not in tcp_info.NAMES and part.id not in TCP_INFO_NAMES:
                raise ScriptError(line, _("expected a field of TCP_INFO, found {found}", found=part.id))
        elif isinstance(part, ast.Constant):
            if not isinstance(part.value, int | float | str):
                raise ScriptError(line, _("expected nothing but assert statements on fields of TCP_INFO"))
        elif isinstance(part, ast.BinOp):
            if type(part.op) not in _BINARY:
                raise ScriptError(line, _("expected nothing but assert statements on fields of TCP_INFO"))
        elif not isinstance(part, _ALLOWED):
            raise ScriptError(line, _("expected nothing but assert statements on fields of TCP_INFO"))


_ALLOWED = (
    *(ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Tuple, ast.List),
    *(ast.boolop, ast.cmpop, ast.unaryop, ast.operator, ast.Load),
)


def _value(node: ast.expr, info: Mapping[str, int]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        if node.id in TCP_INFO_NAMES:
            return TCP_INFO_NAMES[node.id]
        if node.id not in info:
            raise AssertionFailed(f"{node.id} is not reported by the system under test")
        return info[node.id]
    if isinstance(node, ast.Tuple | ast.List):
        return [_value(element, info) for element in node.elts]
    if isinstance(node, ast.BoolOp):
        combine = all if isinstance(node.op, ast.And) else any
        return combine(_value(value, info) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, info))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, info), _value(node.right, info)
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            # A text times a number could fill the memory.
            raise TypeError("only numbers can be added or multiplied")
        return _BINARY[type(node.op)](left, right)
    assert isinstance(node, ast.Compare), "check() refuses every other node"
    left = _value(node.left, info)
    for sign, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, info)
        if not _COMPARE[type(sign)](left, right):
            return False
        left = right
    return True
