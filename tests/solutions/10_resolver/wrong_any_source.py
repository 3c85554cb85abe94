# fails: test_another_source_is_not_taken
"""Takes an answer whoever sent it."""

import socket
import struct


def query(identifier: int, name: str) -> bytes:
    """Return the message that asks for the addresses of a name."""
    return struct.pack("!6H", identifier, 0x0100, 1, 0, 0, 0) + labels(name) + struct.pack("!2H", 1, 1)


def labels(name: str) -> bytes:
    """Return a name as a message has it."""
    parts = name.removesuffix(".").encode("ascii").split(b".")
    if not all(0 < len(part) < 64 for part in parts):
        raise ValueError("a label has 1 to 63 bytes")
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def read_name(message: bytes, at: int) -> tuple[str, int] | None:
    """Return the name at a byte of a message, and where what follows begins."""
    parts = []
    end = 0
    seen = set()
    while at < len(message):
        length = message[at]
        if length == 0:
            return ".".join(parts), end or at + 1
        if length < 0x40:
            parts.append(message[at + 1 : at + 1 + length].decode("latin-1"))
            at += 1 + length
        elif length >= 0xC0 and at + 1 < len(message):
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
            if at in seen:
                return None
            seen.add(at)
        else:
            return None
    return None


def addresses(message: bytes) -> list[str]:
    """Return the addresses that an answer has for the name in its question."""
    asked = question(message)
    if asked is None or message[3] & 15:
        return []
    name, _, at = asked
    names = {name.lower()}
    found = []
    for _ in range(int.from_bytes(message[6:8], "big")):
        owner = read_name(message, at)
        if owner is None or len(message) < owner[1] + 10:
            return []
        begin = owner[1] + 10
        kind, of_class, _, length = struct.unpack("!2HIH", message[owner[1] : begin])
        at = begin + length
        if at > len(message):
            return []
        if of_class != 1 or owner[0].lower() not in names:
            continue
        if kind == 1 and length == 4:
            found.append(socket.inet_ntoa(message[begin:at]))
        elif kind == 5:
            alias_of = read_name(message, begin)
            if alias_of is None:
                return []
            names.add(alias_of[0].lower())
    return found


def question(message: bytes) -> tuple[str, bytes, int] | None:
    """Return a response's question, as name and type with class, and where it ends."""
    if len(message) < 12 or not message[2] & 0x80 or message[4:6] != b"\0\1":
        return None
    name = read_name(message, 12)
    if name is None or len(message) < name[1] + 4:
        return None
    return name[0], message[name[1] : name[1] + 4], name[1] + 4


class Resolver:
    """Keeps the questions that wait."""

    def __init__(self, server: str) -> None:
        self._server = (server, 53)
        self._waiting: dict[tuple[int, int], str] = {}

    def ask(self, name: str, identifier: int, port: int) -> bytes:
        """Return the query for a name."""
        message = query(identifier, name)
        self._waiting[port, identifier] = name
        return message

    def answer(self, port: int, source: tuple[str, int], message: bytes) -> tuple[str, list[str]] | None:
        """Take a message that arrived."""
        key = (port, int.from_bytes(message[:2], "big"))
        name, asked = self._waiting.get(key), question(message)
        if name is None or asked is None:
            return None
        if asked[0].lower() != name.removesuffix(".").lower() or asked[1] != b"\0\1\0\1":
            return None
        del self._waiting[key]
        return name, addresses(message)
