"""Assertions on TCP_INFO between %{ and }%: written in Python, but never executed as Python.

They are parsed and evaluated here: assert statements with a message, assignments that later code of the
script reads, conditions, a few functions, numbers, text and arithmetic on the fields of TCP_INFO. Everything
else is refused, as a script may come from anywhere.
"""

import ast
import operator
import re
import textwrap
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
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
    ast.Is: operator.eq,
    ast.IsNot: operator.ne,
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
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_UNARY: dict[type[ast.unaryop], Any] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        "abs": abs,
        "min": min,
        "max": max,
        "int": int,
        "float": float,
        "round": round,
        "str": str,
        "len": len,
    },
    **{"print": lambda *_values: None, "hex": hex, "bool": bool},
}
_WIDTH = re.compile(r"%[^a-zA-Z%]*[\d*]")
_MAX_CHARACTERS, _MAX_NODES, _MAX_SHIFT = 10_000, 300, 64


class AssertionFailed(Exception):
    """An assertion failed; the message quotes it with the values of its fields."""


def check(text: str, line: int, variables: Set[str] = frozenset()) -> set[str]:
    """Raise ScriptError where the text has anything but assertions on known fields and `variables`.

    Returns the variables that the text assigns.
    """
    assigned: set[str] = set()
    for statement in _statements(text, line):
        _check(statement, line, assigned | variables)
        stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
        assigned |= {node.id for node in stored if isinstance(node.ctx, ast.Store)}
    return assigned


def run(text: str, info: Mapping[str, int]) -> None:
    """Evaluate assertions by themselves: see `Assertions.run`."""
    Assertions().run(text, info)


class Assertions:
    """The code of one script, whose variables stay from one piece to the next."""

    def __init__(self) -> None:
        self._variables: dict[str, Any] = {}

    def run(self, text: str, info: Mapping[str, int]) -> None:
        """Evaluate assertions on the fields of TCP_INFO; raise AssertionFailed at the first that fails."""
        for statement in _statements(text, 0):
            try:
                self._do(statement, info)
            except (ArithmeticError, TypeError, ValueError) as error:
                raise AssertionFailed(f"{ast.unparse(statement)}: {error}") from error

    def _do(self, statement: ast.stmt, info: Mapping[str, int]) -> None:
        if isinstance(statement, ast.Assert):
            self._assert(statement, info)
        elif isinstance(statement, ast.Assign):
            value = self._value(statement.value, info)
            self._variables.update(
                (target.id, value) for target in statement.targets if isinstance(target, ast.Name)
            )
        elif isinstance(statement, ast.Expr):
            self._value(statement.value, info)
        elif isinstance(statement, ast.If):
            for each in statement.body if self._value(statement.test, info) else statement.orelse:
                self._do(each, info)

    def _assert(self, statement: ast.Assert, info: Mapping[str, int]) -> None:
        if self._value(statement.test, info):
            return
        names = sorted({node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)})
        known = {**info, **self._variables}
        values = ", ".join(f"{name} = {known[name]}" for name in names if name in known)
        message = f": {self._message(statement.msg, info)}" if statement.msg is not None else ""
        raise AssertionFailed(f"{ast.unparse(statement.test)}: {values}{message}")

    def _message(self, node: ast.expr, info: Mapping[str, int]) -> str:
        """Return a message; one that cannot be evaluated here as it is written."""
        if all(_is_allowed(part, _functions(node)) for part in ast.walk(node)):
            with suppress(ArithmeticError, TypeError, ValueError, AssertionFailed):
                return str(self._value(node, info))
        return ast.unparse(node)

    def _value(self, node: ast.expr, info: Mapping[str, int]) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._named(node.id, info)
        if isinstance(node, ast.Tuple | ast.List):
            return tuple(self._value(element, info) for element in node.elts)
        if isinstance(node, ast.BoolOp):
            combine = all if isinstance(node.op, ast.And) else any
            return combine(self._value(value, info) for value in node.values)
        if isinstance(node, ast.UnaryOp):
            return _UNARY[type(node.op)](self._value(node.operand, info))
        if isinstance(node, ast.BinOp):
            return _calculated(node.op, self._value(node.left, info), self._value(node.right, info))
        if isinstance(node, ast.IfExp):
            return self._value(node.body if self._value(node.test, info) else node.orelse, info)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name), "check() refuses every other call"
            return _FUNCTIONS[node.func.id](*(self._value(each, info) for each in node.args))
        assert isinstance(node, ast.Compare), "check() refuses every other node"
        left = self._value(node.left, info)
        for sign, part in zip(node.ops, node.comparators, strict=True):
            right = self._value(part, info)
            if not _COMPARE[type(sign)](left, right):
                return False
            left = right
        return True

    def _named(self, name: str, info: Mapping[str, int]) -> Any:
        if name in self._variables:
            return self._variables[name]
        if name in TCP_INFO_NAMES:
            return TCP_INFO_NAMES[name]
        if name not in info:
            raise AssertionFailed(f"{name} is not reported by the system under test")
        return info[name]


def _calculated(sign: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(sign, ast.Mod) and isinstance(left, str):
        # A width of a billion would fill the memory.
        if _WIDTH.search(left):
            raise TypeError("a format has no width here")
        return left % right
    if isinstance(sign, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return left + right
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        # A text times a number could fill the memory.
        raise TypeError("only numbers can be added or multiplied")
    if isinstance(sign, ast.LShift | ast.RShift) and not 0 <= right <= _MAX_SHIFT:
        raise TypeError("only numbers up to 64 can be shifts")
    return _BINARY[type(sign)](left, right)


def _statements(text: str, line: int) -> list[ast.stmt]:
    if len(text) > _MAX_CHARACTERS:
        raise ScriptError(line, _("expected shorter assertions"))
    try:
        body = ast.parse(textwrap.dedent(text).strip().rstrip(";\\ \t\n")).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ScriptError(line, _("expected {what}, found {found}", what="assert …", found=error)) from error
    return body


_ALLOWED = (
    *(ast.Assert, ast.Assign, ast.Expr, ast.If, ast.Pass, ast.Store, ast.Load, ast.IfExp),
    *(ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Tuple, ast.List),
    *(ast.boolop, ast.cmpop, ast.unaryop, ast.operator),
)


def _check(statement: ast.stmt, line: int, variables: Set[str]) -> None:
    if len(list(ast.walk(statement))) > _MAX_NODES:
        raise ScriptError(line, _("expected shorter assertions"))
    # The message is not checked: what cannot be evaluated in it is shown as it is written.
    asserted = statement.test if isinstance(statement, ast.Assert) else statement
    parts, functions = list(ast.walk(asserted)), _functions(asserted)
    for part in parts:
        if not _is_allowed(part, functions):
            raise ScriptError(line, _("expected nothing but assert statements on fields of TCP_INFO"))
        if isinstance(part, ast.Name) and not _is_known(part, variables):
            raise ScriptError(line, _("expected a field of TCP_INFO, found {found}", found=part.id))


def _functions(node: ast.AST) -> set[ast.Name]:
    """Return the names that are called."""
    calls = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
    return {function for function in calls if isinstance(function, ast.Name)}


def _is_known(part: ast.Name, variables: Set[str]) -> bool:
    if isinstance(part.ctx, ast.Store):
        return not part.id.startswith("tcpi_") and part.id not in TCP_INFO_NAMES
    return any(part.id in names for names in (tcp_info.NAMES, TCP_INFO_NAMES, _FUNCTIONS, variables))


def _is_allowed(part: ast.AST, functions: set[ast.Name]) -> bool:
    if isinstance(part, ast.Name):
        return part not in functions or part.id in _FUNCTIONS
    if isinstance(part, ast.Call):
        return part.func in functions and not part.keywords
    if isinstance(part, ast.Constant):
        return isinstance(part.value, int | float | str | None)
    if isinstance(part, ast.BinOp):
        return type(part.op) in _BINARY
    return isinstance(part, _ALLOWED)
