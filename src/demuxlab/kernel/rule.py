"""Compiles a listener rule, a small Python function, to the instructions of a BPF sk_lookup program.

The rule gets the four values of a connection request and returns the name of the listening socket that it is
for, or None to leave the choice to Linux:

    def listener(source_address, source_port, destination_address, destination_port):
        if destination_address == "10.9.0.20" and destination_port in range(7000, 8000):
            return "web"
        return None

It may use what a program without loops and calls can say: `if`, `elif`, `else`, `and`, `or`, `not`, the
comparisons, `in` a range or a tuple, variables, and of arithmetic `+ * // % & | ^ << >>`, whose results never
leave 63 bits. Ports are numbers; addresses are IPv4 in text, and are compared for equality only.

What the kernel hands over is struct bpf_sk_lookup (linux/bpf.h). The instruction set is that of RFC 9669.
"""

import ast
import inspect
import ipaddress
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from demuxlab.errors import CallError
from demuxlab.kernel import assembler
from demuxlab.kernel.assembler import Code
from demuxlab.language import _, marked

PARAMETERS = ("source_address", "source_port", "destination_address", "destination_port")
Rule = Callable[[str, int, str, int], str | None]

_AF_INET, _TCP, _SK_PASS = 2, 6, 1
_FAMILY, _PROTOCOL, _REMOTE_ADDRESS, _REMOTE_PORT, _LOCAL_ADDRESS, _LOCAL_PORT = 8, 12, 16, 36, 40, 60
"""Offsets in struct bpf_sk_lookup: remote is the packet's source, local its destination."""
_MAP_LOOKUP, _SK_RELEASE, _SK_ASSIGN = 1, 86, 124
"""The helper functions, by number (bpf-helpers(7))."""
_R0, _R1, _R2, _R3, _CONTEXT, _SOCKET, _STACK = 0, 1, 2, 3, 6, 7, 10
_ADDRESS_KIND, _NUMBER_KIND = "address", "number"
_SLOTS = 512 // 8
"""A program's stack has 512 bytes."""

_ARITHMETIC = {
    ast.Add: 0x0F,
    ast.Mult: 0x2F,
    ast.FloorDiv: 0x3F,
    ast.BitOr: 0x4F,
    ast.BitAnd: 0x5F,
    ast.LShift: 0x6F,
    ast.RShift: 0x7F,
    ast.Mod: 0x9F,
    ast.BitXor: 0xAF,
}
"""The instruction r0 = r0 OPERATION r1, in 64 bits."""
_COMPARISONS = {
    ast.Eq: 0x1D,
    ast.Gt: 0x2D,
    ast.GtE: 0x3D,
    ast.NotEq: 0x5D,
    ast.Lt: 0xAD,
    ast.LtE: 0xBD,
}
"""The instruction: jump if r0 COMPARISON r1, without sign."""

_NOT_IN_A_RULE = marked("a rule becomes a program without loops and calls: this cannot be part of it")
_NOT_A_NUMBER = marked("an address is not calculated with, nor ordered: compare it by ==, != or in")
_NOT_COMPARABLE = marked("an address is compared with a port here")
_MAYBE_UNSET = marked("this variable may have no value here")
_TOO_LARGE = marked("this number can leave 63 bits")
_NO_CONSTANT = marked("the right side must be a constant above 0 here, and below 63 to shift by")
_NO_NAME = marked("a rule returns the name of a socket in quotes, or None")


class Compiled(NamedTuple):
    """A rule's program."""

    names: tuple[str, ...]
    """The listening sockets that the rule can return: the key of a name in the socket map is its index."""
    assemble: Callable[[int], bytes]
    """Gives the instructions, eight bytes each, for the descriptor of the socket map."""


class RuleError(CallError):
    """The rule has something that cannot be compiled; the text names the line."""


class _Value(NamedTuple):
    """What is known of an expression."""

    kind: str
    most: int
    """It is 0 to this, so that arithmetic without sign is Python's."""
    fixed: bool = False
    """A constant: it is `most`."""


def compile_rule(rule: Rule) -> Compiled:
    """Compile a function. Raises RuleError, with the line that cannot be compiled."""
    lines, first = inspect.getsourcelines(rule)
    [function] = ast.parse(textwrap.dedent("".join(lines))).body
    if not isinstance(function, ast.FunctionDef) or [a.arg for a in function.args.args] != [*PARAMETERS]:
        raise RuleError(
            _("the rule is not a function of {names}", names=", ".join(PARAMETERS)), _("begin it with def")
        )
    file = Path(inspect.getsourcefile(rule) or "").name
    return _Compiler(rule.__globals__, file, first).compiled(function)


class _Compiler:
    """One rule on its way; r0 has the value of the expression that was just compiled."""

    def __init__(self, names: dict[str, object], file: str, first: int) -> None:
        self._globals, self._file, self._first = names, file, first
        self._code = Code()
        self._slots: dict[str | int, int] = {}
        """Of each variable by its name, of intermediate values by their depth."""
        self._depth = 0
        self._names: list[str] = []

    def compiled(self, function: ast.FunctionDef) -> Compiled:
        code = self._code
        code.add(assembler.MOVE, _CONTEXT, _R1)
        for offset, wanted in ((_FAMILY, _AF_INET), (_PROTOCOL, _TCP)):
            code.add(assembler.LOAD_32, _R0, _CONTEXT, offset)
            code.jump("pass", assembler.JUMP_NOT_EQUAL, _R0, value=wanted)
        known = {}
        for name, offset in zip(
            PARAMETERS, (_REMOTE_ADDRESS, _REMOTE_PORT, _LOCAL_ADDRESS, _LOCAL_PORT), strict=True
        ):
            is_address = name.endswith("address")
            code.add(
                assembler.LOAD_16 if offset == _REMOTE_PORT else assembler.LOAD_32, _R0, _CONTEXT, offset
            )
            if offset != _LOCAL_PORT:  # it alone is in the machine's byte order
                code.add(assembler.BIG_ENDIAN, _R0, value=32 if is_address else 16)
            self._store(name, function)
            known[name] = _Value(_ADDRESS_KIND, 2**32 - 1) if is_address else _Value(_NUMBER_KIND, 65535)
        if self._block(function.body, known) is not None:
            code.jump("pass")
        if self._names:
            self._choose(function)
        code.place("pass")
        code.add(assembler.MOVE_NUMBER, _R0, value=_SK_PASS)
        code.add(assembler.EXIT)
        return Compiled(tuple(self._names), code.assemble)

    def _choose(self, at: ast.AST) -> None:
        """Assign the socket whose key is in r0. The helpers may change r0 to r5."""
        code = self._code
        code.place("choose")
        slot = self._slot(0, at)
        code.add(assembler.STORE_32, _STACK, _R0, slot)
        code.add(assembler.MOVE, _R2, _STACK)
        code.add(assembler.ADD_NUMBER, _R2, value=slot)
        code.socket_map(_R1)
        code.add(assembler.CALL, value=_MAP_LOOKUP)
        code.jump("pass", assembler.JUMP_EQUAL, _R0)
        code.add(assembler.MOVE, _SOCKET, _R0)
        code.add(assembler.MOVE, _R1, _CONTEXT)
        code.add(assembler.MOVE, _R2, _SOCKET)
        code.add(assembler.MOVE_NUMBER, _R3)
        code.add(assembler.CALL, value=_SK_ASSIGN)
        code.add(assembler.MOVE, _R1, _SOCKET)
        code.add(assembler.CALL, value=_SK_RELEASE)

    # Statements. Each returns the variables known after it, or None where the program has ended.

    def _block(self, statements: Sequence[ast.stmt], known: dict[str, _Value]) -> dict[str, _Value] | None:
        after: dict[str, _Value] | None = dict(known)
        for statement in statements:
            if after is None:
                return None  # unreachable, which the verifier does not accept
            after = self._statement(statement, after)
        return after

    def _statement(self, statement: ast.stmt, known: dict[str, _Value]) -> dict[str, _Value] | None:
        match statement:
            case ast.Return(value):
                self._return(value, known)
                return None
            case ast.If(test, body, other):
                return self._if(test, body, other, known)
            case ast.Assign([ast.Name(name)], value):
                found = self._value(value, known)
                self._store(name, statement)
                return known | {name: found._replace(fixed=False)}
            case ast.Pass() | ast.Expr(ast.Constant(str())):
                return known
        raise self._error(statement, _NOT_IN_A_RULE)

    def _if(
        self, test: ast.expr, body: list[ast.stmt], other: list[ast.stmt], known: dict[str, _Value]
    ) -> dict[str, _Value] | None:
        yes, no, end = object(), object(), object()
        self._condition(test, known, yes, no)
        self._code.place(yes)
        first = self._block(body, known)
        if first is not None:
            self._code.jump(end)
        self._code.place(no)
        second = self._block(other, known)
        self._code.place(end)
        if first is None or second is None:
            return second if first is None else first
        both = {}
        for name in first.keys() & second.keys():
            if first[name].kind == second[name].kind:
                both[name] = max(first[name], second[name])._replace(fixed=False)
        return both

    def _return(self, value: ast.expr | None, known: dict[str, _Value]) -> None:
        match value:
            case None | ast.Constant(None):
                self._code.jump("pass")
            case ast.Constant(str(name)):
                if name not in self._names:
                    self._names.append(name)
                self._code.add(assembler.MOVE_NUMBER, _R0, value=self._names.index(name))
                self._code.jump("choose")
            case ast.IfExp(test, body, other):
                yes, no = object(), object()
                self._condition(test, known, yes, no)
                for label, result in ((yes, body), (no, other)):
                    self._code.place(label)
                    self._return(result, known)
            case _:
                raise self._error(value, _NO_NAME)

    # Conditions: they end with a jump to one of two labels.

    def _condition(self, test: ast.expr, known: dict[str, _Value], yes: object, no: object) -> None:
        match test:
            case ast.BoolOp(both_or_one, values):
                for value in values[:-1]:
                    go_on = object()
                    if isinstance(both_or_one, ast.And):
                        self._condition(value, known, go_on, no)
                    else:
                        self._condition(value, known, yes, go_on)
                    self._code.place(go_on)
                self._condition(values[-1], known, yes, no)
            case ast.UnaryOp(ast.Not(), operand):
                self._condition(operand, known, no, yes)
            case ast.Compare(left, operators, right):
                for operator, one in zip(operators, right, strict=True):
                    go_on = object()
                    self._comparison(left, operator, one, known, go_on, no)
                    self._code.place(go_on)
                    left = one
                self._code.jump(yes)
            case _:
                self._number(test, known)
                self._code.jump(no, assembler.JUMP_EQUAL, _R0)
                self._code.jump(yes)

    def _comparison(
        self,
        left: ast.expr,
        operator: ast.cmpop,
        right: ast.expr,
        known: dict[str, _Value],
        yes: object,
        no: object,
    ) -> None:
        if isinstance(operator, ast.NotIn):
            yes, no = no, yes
        if isinstance(operator, ast.In | ast.NotIn):
            self._condition(self._membership(left, right), known, yes, no)
            return
        code = _COMPARISONS.get(type(operator))
        if code is None:
            raise self._error(right, _NOT_IN_A_RULE)
        first, second = self._both(left, right, known)
        if first.kind != second.kind:
            raise self._error(right, _NOT_COMPARABLE)
        if first.kind == _ADDRESS_KIND and not isinstance(operator, ast.Eq | ast.NotEq):
            raise self._error(right, _NOT_A_NUMBER)
        self._code.jump(yes, code, _R0, _R1)
        self._code.jump(no)

    def _membership(self, left: ast.expr, right: ast.expr) -> ast.expr:
        """Return `left in right` as comparisons."""
        found = right
        if isinstance(right, ast.Name) and isinstance(
            self._globals.get(right.id), range | tuple | list | set
        ):
            found = ast.parse(repr(self._globals[right.id]), mode="eval").body
        match found:
            case ast.Call(ast.Name("range"), [end], []):
                tests: list[tuple[ast.cmpop, ast.expr]] = [(ast.Lt(), end)]
            case ast.Call(ast.Name("range"), [start, end], []):
                tests = [(ast.GtE(), start), (ast.Lt(), end)]
            case ast.Tuple(members) | ast.List(members) | ast.Set(members) if members:
                equal: list[ast.expr] = [ast.Compare(left, [ast.Eq()], [one]) for one in members]
                return ast.copy_location(ast.BoolOp(ast.Or(), equal), right)
            case _:
                raise self._error(right, _NOT_IN_A_RULE)
        compared: list[ast.expr] = [ast.Compare(left, [operator], [one]) for operator, one in tests]
        return ast.copy_location(ast.BoolOp(ast.And(), compared), right)

    # Values: they end in r0.

    def _both(self, left: ast.expr, right: ast.expr, known: dict[str, _Value]) -> tuple[_Value, _Value]:
        """Compile two expressions: r0 is the left one, r1 the right one."""
        first = self._value(left, known)
        self._depth += 1
        self._store(self._depth, left)
        second = self._value(right, known)
        self._code.add(assembler.MOVE, _R1, _R0)
        self._code.add(assembler.LOAD_64, _R0, _STACK, self._slots[self._depth])
        self._depth -= 1
        return first, second

    def _number(self, expression: ast.expr, known: dict[str, _Value]) -> _Value:
        found = self._value(expression, known)
        if found.kind == _ADDRESS_KIND:
            raise self._error(expression, _NOT_A_NUMBER)
        return found

    def _value(self, expression: ast.expr, known: dict[str, _Value]) -> _Value:
        match expression:
            case ast.Name(name) if name in known:
                self._code.add(assembler.LOAD_64, _R0, _STACK, self._slots[name])
                return known[name]
            case ast.Name(name) if name in self._slots:
                raise self._error(expression, _MAYBE_UNSET)
            case ast.Name(name) if isinstance(self._globals.get(name), int | str):
                return self._constant(self._globals[name], expression)
            case ast.Constant(value):
                return self._constant(value, expression)
            case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
                return self._arithmetic(left, operator, right, known)
        raise self._error(expression, _NOT_IN_A_RULE)

    def _constant(self, value: object, at: ast.expr) -> _Value:
        if isinstance(value, int) and 0 <= value < 2**63:
            self._code.constant(_R0, value)
            return _Value(_NUMBER_KIND, int(value), fixed=True)
        try:
            address = int(ipaddress.IPv4Address(value if isinstance(value, str) else ""))
        except ValueError:
            raise self._error(at, _NOT_IN_A_RULE) from None
        self._code.constant(_R0, address)
        return _Value(_ADDRESS_KIND, address, fixed=True)

    def _arithmetic(
        self, left: ast.expr, operator: ast.operator, right: ast.expr, known: dict[str, _Value]
    ) -> _Value:
        first, second = self._both(left, right, known)
        if _ADDRESS_KIND in (first.kind, second.kind):
            raise self._error(left, _NOT_A_NUMBER)
        fixed = second.fixed and second.most > 0
        match operator:
            case ast.Add():
                most = first.most + second.most
            case ast.Mult():
                most = first.most * second.most
            case ast.BitAnd():
                most = min(first.most, second.most)
            case ast.BitOr() | ast.BitXor():
                most = (1 << max(first.most, second.most).bit_length()) - 1
            case ast.FloorDiv() if fixed:
                most = first.most // second.most
            case ast.Mod() if fixed:
                most = second.most - 1
            case ast.LShift() if fixed and second.most < 63:
                most = first.most << second.most
            case ast.RShift() if fixed and second.most < 63:
                most = first.most >> second.most
            case _:
                raise self._error(right, _NO_CONSTANT)
        if most >= 2**63:
            raise self._error(left, _TOO_LARGE)
        self._code.add(_ARITHMETIC[type(operator)], _R0, _R1)
        return _Value(_NUMBER_KIND, most)

    def _slot(self, key: str | int, at: ast.AST) -> int:
        """Return the place of a variable or an intermediate value, below the end of the stack."""
        if key not in self._slots and len(self._slots) == _SLOTS:
            raise self._error(at, marked("the rule is too long: a program's stack has 512 bytes"))
        return self._slots.setdefault(key, -8 * (len(self._slots) + 1))

    def _store(self, key: str | int, at: ast.AST) -> None:
        self._code.add(assembler.STORE_64, _STACK, _R0, self._slot(key, at))

    def _error(self, at: ast.AST, wrong: str) -> RuleError:
        line = self._first + getattr(at, "lineno", 1) - 1
        code = ast.unparse(at).splitlines()[0][:40]
        place = _("{file}, line {number}, {code!r}", file=self._file, number=line, code=code)
        return RuleError(
            f"{place}: {_(wrong)}", _("the first lines of the lab's rule.py list what it may use")
        )
