"""Instructions of BPF with labels to jump to (RFC 9669, section 4): what a rule is compiled with."""

import struct
from typing import NamedTuple

MOVE, MOVE_NUMBER, ADD_NUMBER, BIG_ENDIAN = 0xBF, 0xB7, 0x07, 0xDC
LOAD_16, LOAD_32, LOAD_64, STORE_32, STORE_64 = 0x69, 0x61, 0x79, 0x63, 0x7B
JUMP, JUMP_EQUAL, JUMP_NOT_EQUAL, CALL, EXIT = 0x05, 0x15, 0x55, 0x85, 0x95
"""With a number on the right side; 0x08 more in the operation takes a register."""
_LOAD_CONSTANT = 0x18
_MAP_DESCRIPTOR = 1


class _Instruction(NamedTuple):
    code: int
    to: int
    source: int
    offset: int
    value: int | None
    """None: the socket map's descriptor."""
    label: object


class Code:
    """A program that is being written."""

    def __init__(self) -> None:
        self._instructions: list[_Instruction] = []
        self._places: dict[object, int] = {}

    def add(self, code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> None:
        """Add an instruction: registers `to` and `source` are numbers, `value` has 32 bits."""
        self._instructions.append(_Instruction(code, to, source, offset, value, None))

    def jump(self, label: object, code: int = JUMP, to: int = 0, source: int = 0, value: int = 0) -> None:
        """Add a jump to a label that is placed later."""
        self._instructions.append(_Instruction(code, to, source, 0, value, label))

    def constant(self, to: int, value: int) -> None:
        """Set a register to 0 to 2^63 - 1; that takes two instructions."""
        self.add(_LOAD_CONSTANT, to, value=(value & 0xFFFFFFFF ^ 1 << 31) - (1 << 31))
        self.add(0, value=value >> 32)

    def socket_map(self, to: int) -> None:
        """Set a register to the socket map."""
        self._instructions.append(_Instruction(_LOAD_CONSTANT, to, _MAP_DESCRIPTOR, 0, None, None))
        self.add(0)

    def place(self, label: object) -> None:
        """Jumps to this label go to the instruction that is added next."""
        self._places[label] = len(self._instructions)

    def assemble(self, socket_map: int) -> bytes:
        """Return the instructions, eight bytes each, for a socket map's descriptor."""
        program = bytearray()
        for number, (code, to, source, offset, value, label) in enumerate(self._instructions, 1):
            distance = offset if label is None else self._places[label] - number
            last = socket_map if value is None else value
            program += struct.pack("=BBhi", code, to | source << 4, distance, last)
        return bytes(program)
