"""Fuzz target: parse a packetdrill script, which is not played. An input is the script."""

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.choices import one_line

from demuxlab.drill.parser import parse
from demuxlab.drill.script import Call, ScriptError, TCPPacket

ROOT = Path(__file__).resolve().parents[2]


def seeds() -> Iterator[bytes]:
    for path in sorted((*ROOT.glob("tests/drill/*.pkt"), *ROOT.glob("labs/*/*.pkt"))):
        yield path.read_bytes()
    yield b"0 socket(" + b"[" * 3000
    yield b"0 socket(" + b"htons(" * 500
    yield b'0 fcntl(3, F_GETFL, htons("x") | 1) = 0'
    yield b"0 fcntl(3, F_GETFL, 1 | sizeof(...)) = 0"
    yield b"9999999999999999999 close(3) = 0"
    yield b"0 > S 0:0(0) <sack 1:2 3:4 5:6 7:8 9:10>"


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    lines = text.count("\n") + 1
    script, wrong = None, None
    try:
        script = parse(text, Path("script.pkt"))
    except ScriptError as error:
        wrong = error
    if script is None:
        assert wrong is not None
        assert 1 <= wrong.line <= lines, f"line {wrong.line} of {lines}"
        one_line(wrong)
        return
    for event in script.events:
        assert 1 <= event.line <= lines
        assert event.time.start >= 0
        if isinstance(event.action, TCPPacket):
            assert 0 <= event.action.flags <= 0xFF
        elif isinstance(event.action, Call):
            assert event.action.name
