"""Listener rules at random: the Python function and the compiled program in Linux name the same socket.

    unshare --net python -m tests.kernel.rules RULES SEED

Needs root. Linux is asked by a test run of the attached program, 40 connection requests for each rule.
"""

import importlib.util
import os
import random
import socket
import struct
import sys
import tempfile
from pathlib import Path

from demuxlab.kernel import bpf, programs
from demuxlab.kernel.decision import Question
from demuxlab.kernel.rule import PARAMETERS, RuleError, compile_rule

ADDRESSES = ("10.9.0.10", "10.9.0.20", "10.9.0.30", "111.0.0.2", "255.255.255.255", "0.0.0.1")
PORTS = (1, 80, 255, 256, 5775, 7000, 7999, 9157, 65535)
NAMES = ("web", "P4", "P5")
HEAD = f"WORKERS = 3\nBLOCKED = (7000, 80)\ndef rule({', '.join(PARAMETERS)}):\n"
_SO_COOKIE = 57


def to_one(source_address, source_port, destination_address, destination_port):
    """The rule of a single port."""
    return "web" if destination_port == 7000 else None


class Author:
    """Writes one rule."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.variables = ["source_port", "destination_port"]

    def block(self, depth: int, indent: str) -> str:
        """Write statements; what is assigned in a branch is used in it alone."""
        before = len(self.variables)
        lines = "".join(self.statement(depth, indent) for _ in range(self.draw.randint(1, 3)))
        del self.variables[before:]
        return lines

    def statement(self, depth: int, indent: str) -> str:
        kind = self.draw.choice(("if", "if", "else", "assign", "return") if depth else ("assign", "return"))
        if kind == "assign":
            line = f"{indent}v{len(self.variables)} = {self.number(2)}\n"
            self.variables.append(f"v{len(self.variables)}")
            return line
        if kind == "return":
            return f"{indent}return {self.result()}\n"
        lines = f"{indent}if {self.test(2)}:\n{self.block(depth - 1, indent + '    ')}"
        if kind == "else":
            lines += f"{indent}else:\n{self.block(depth - 1, indent + '    ')}"
        return lines

    def result(self) -> str:
        name = self.draw.choice((*map(repr, NAMES), "None"))
        return name if self.draw.random() < 0.7 else f"{name} if {self.test(1)} else {self.result()}"

    def test(self, depth: int) -> str:
        pick = self.draw.choice
        if depth and self.draw.random() < 0.4:
            joint = pick(("and", "or"))
            return pick(("({} {} {})", "not ({} {} {})")).format(
                self.test(depth - 1), joint, self.test(depth - 1)
            )
        end = pick(("source_address", "destination_address"))
        return pick(
            (
                f"{self.number(1)} {pick(('==', '!=', '<', '<=', '>', '>='))} {self.number(1)}",
                f"{self.number(0)} <= {self.number(1)} < {self.number(0)}",
                f"{self.number(1)} {pick(('in', 'not in'))} range({pick(PORTS)}, {pick(PORTS)})",
                f"{self.number(1)} in {pick(('BLOCKED', '(80, 9157)', '{255, 256}'))}",
                f"{end} {pick(('==', '!='))} {pick(ADDRESSES)!r}",
                f"{end} in {self.draw.sample(ADDRESSES, 2)!r}",
                self.number(1),
            )
        )

    def number(self, depth: int) -> str:
        pick = self.draw.choice
        if not depth or self.draw.random() < 0.3:
            return pick((*self.variables, str(pick(PORTS)), "WORKERS", str(2**31), "0"))
        left = self.number(depth - 1)
        return pick(
            (
                f"({left} {pick('+&|^')} {self.number(depth - 1)})",
                f"({left} * {pick((1, 2, 65535))})",
                f"({left} {pick(('%', '//'))} {pick(('WORKERS', '2', '256'))})",
                f"({left} {pick(('<<', '>>'))} {pick((1, 7, 16))})",
            )
        )


def differences(count: int, seed: int) -> list[str]:
    """Return the rules about which Linux and Python disagree, each with the request."""
    found = []
    servers = {name: socket.create_server(("127.0.0.1", 8001 + at)) for at, name in enumerate(NAMES)}
    cookies = {
        struct.unpack("=Q", one.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))[0]: name
        for name, one in servers.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            draw = random.Random(f"{seed} {number}")
            text = HEAD + Author(draw).block(3, "    ")
            file = Path(folder, f"rule{number}.py")
            file.write_text(text, encoding="utf-8")
            specification = importlib.util.spec_from_file_location(file.stem, file)
            module = importlib.util.module_from_spec(specification)
            specification.loader.exec_module(module)
            try:
                compiled = compile_rule(module.rule)
            except RuleError as error:
                if "63 bits" in str(error):
                    continue
                raise
            sockets = bpf.socket_map([servers[name] for name in compiled.names])
            with bpf.attached(compiled.assemble(sockets), "rule"):
                os.close(sockets)
                for _ in range(40):
                    asked = (
                        draw.choice(ADDRESSES),
                        draw.choice(PORTS),
                        draw.choice(ADDRESSES),
                        draw.choice(PORTS),
                    )
                    question = Question(
                        socket.IPPROTO_TCP,
                        socket.inet_aton(asked[2]),
                        asked[3],
                        socket.inet_aton(asked[0]),
                        asked[1],
                    )
                    [program] = programs.sk_lookup(question)
                    if cookies.get(program.cookie) != module.rule(*asked):
                        found.append(f"{text}{asked}: Linux {cookies.get(program.cookie)}")
    return found


if __name__ == "__main__":
    wrong = differences(int(sys.argv[1]), int(sys.argv[2]))
    print("\n".join(wrong[:5]))
    print(f"{len(wrong)} differences in {sys.argv[1]} rules")
    sys.exit(bool(wrong))
