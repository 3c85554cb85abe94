"""Reads a packet script: packetdrill's language, as far as the README of the drills lists it.

A script is option lines, then events: a time and a system call, a packet, shell commands or assertions.
"""

from pathlib import Path
from types import EllipsisType
from typing import NoReturn

from demuxlab.drill import assertions, constants, header, lexer
from demuxlab.drill.calls import CALLS
from demuxlab.drill.lexer import CODE, END, MARK, NAME, NUMBER, OPTION, SHELL, TEXT, Word
from demuxlab.drill.script import (
    ABSOLUTE,
    ANY,
    MICROSECONDS,
    RELATIVE,
    Action,
    Call,
    Code,
    Event,
    ICMPPacket,
    Option,
    Script,
    ScriptError,
    Shell,
    TCPPacket,
    Time,
    Value,
)
from demuxlab.language import _
from demuxlab.wire.segment import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG

_FLAGS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "W": CWR}
_IMMEDIATELY = Time(RELATIVE)
_NUMBERED_OPTIONS = {"mss": 0xFFFF, "wscale": 255}
_BARE_OPTIONS = ("nop", "eol", "sackOK")
_MAX_NUMBER = 0xFFFFFFFF
_MAX_SIZE = 65_000
_MAX_SECONDS = 1_000_000
_MAX_DEPTH = 16


def parse(text: str, path: Path) -> Script:
    """Read a script; ScriptError says which line is wrong, and what was expected there."""
    return _Parser(text, path).script()


class _Parser:
    def __init__(self, text: str, path: Path) -> None:
        self._text = text
        self._path = path
        self._words = lexer.words(text)
        self._at = 0

    # Words

    @property
    def _word(self) -> Word:
        return self._words[self._at]

    def _next(self) -> Word:
        word = self._word
        self._at += word.kind != END
        return word

    def _is(self, *marks: str) -> bool:
        return self._word.kind in (MARK, NAME) and self._word.text in marks

    def _takes(self, *marks: str) -> bool:
        if self._is(*marks):
            self._next()
            return True
        return False

    def _mark(self, mark: str) -> None:
        if not self._takes(mark):
            self._expected(f'"{mark}"')

    def _expected(self, what: str) -> NoReturn:
        word = self._word
        found = _("the end of the file") if word.kind == END else f'"{word.text.splitlines()[0]}"'
        raise ScriptError(word.line, _("expected {what}, found {found}", what=what, found=found))

    def _number(self, most: int = _MAX_NUMBER) -> int:
        word = self._word
        if word.kind != NUMBER or "." in word.text:
            self._expected(_("a whole number"))
        number = int(word.text, 0 if word.text[:2] in ("0x", "0X") else 10)
        if number > most:
            self._expected(_("a number of at most {most}", most=most))
        self._next()
        return number

    # Lines

    def script(self) -> Script:
        options = []
        while self._word.kind == OPTION:
            word = self._next()
            options.append((word.line, word.text))
        read, notes = header.read(options)
        events = []
        while self._word.kind != END:
            events.append(self._event())
        told = tuple(f"{self._path}:{line}: {note}" for line, note in notes)
        return Script(self._path, read, tuple(events), told)

    def _event(self) -> Event:
        line = self._word.line
        if self._word.kind in (SHELL, CODE):
            return Event(line, _IMMEDIATELY, self._action())
        time = self._time()
        line = self._word.line
        action = self._action()
        if time.returns is not None and not isinstance(action, Call):
            raise ScriptError(line, _("expected {what}, found a packet", what=_("a call that blocks")))
        return Event(line, time, action)

    def _time(self) -> Time:
        if self._takes("*"):
            return Time(ANY)
        kind = RELATIVE if self._takes("+") else ABSOLUTE
        start = self._seconds()
        if self._takes("~"):
            self._takes("+")
            return Time(kind, start, latest=self._not_before(start))
        if self._takes("..."):
            self._takes("+")
            return Time(kind, start, returns=self._not_before(start))
        return Time(kind, start)

    def _seconds(self) -> int:
        word = self._word
        if word.kind != NUMBER or word.text[:2] in ("0x", "0X") or len(word.text) > 20:
            self._expected(_("a time in seconds"))
        seconds = float(word.text)
        if seconds > _MAX_SECONDS:
            self._expected(_("a time in seconds"))
        self._next()
        return round(seconds * MICROSECONDS)

    def _not_before(self, start: int) -> int:
        line = self._word.line
        end = self._seconds()
        if end < start:
            raise ScriptError(line, _("expected a time that is not before the first"))
        return end

    def _action(self) -> Action:
        word = self._word
        if word.kind == SHELL:
            return Shell(self._next().text[1:-1])
        if word.kind == CODE:
            self._next()
            assertions.check(word.text[2:-2], word.line)
            return Code(word.text[2:-2])
        if self._is("<", ">"):
            return self._packet(inbound=self._next().text == "<")
        if word.kind == NAME:
            return self._call()
        return self._expected(_("a call, a packet, `commands` or assertions"))

    # Calls

    def _call(self) -> Call:
        word = self._next()
        if word.text not in CALLS:
            known = ", ".join(CALLS)
            raise ScriptError(
                word.line,
                _("expected a call known here ({known}), found {found}", known=known, found=word.text),
            )
        self._mark("(")
        arguments = self._values(")")
        least, most = CALLS[word.text]
        if not least <= len(arguments) <= most:
            raise ScriptError(
                word.line,
                _("expected {least} to {most} arguments of {call}", least=least, most=most, call=word.text),
            )
        self._mark("=")
        if self._takes("..."):
            return Call(word.text, arguments, ...)
        negative = self._takes("-")
        result = -self._number() if negative else self._number()
        error = ""
        # What stands on the next line is no errno but an event that lacks its time.
        if self._word.kind == NAME and self._word.line == self._words[self._at - 1].line:
            if not constants.is_errno(self._word.text):
                self._expected(_("the name of an errno"))
            error = self._next().text
        if self._is("("):
            self._skip_note()
        return Call(word.text, arguments, result, error)

    def _skip_note(self) -> None:
        """Pass over the errno's words in brackets."""
        self._mark("(")
        while not self._takes(")"):
            if self._word.kind in (END, OPTION, SHELL, CODE):
                self._expected('")"')
            self._next()

    def _values(self, closing: str, depth: int = 0) -> tuple[Value, ...]:
        values: list[Value] = []
        if self._takes(closing):
            return ()
        values.append(self._value(depth))
        while self._takes(","):
            values.append(self._value(depth))
        self._mark(closing)
        return tuple(values)

    def _value(self, depth: int) -> Value:
        if depth > _MAX_DEPTH:
            self._expected(_("fewer brackets"))
        if self._takes("..."):
            return ...
        if self._takes("["):
            return list(self._values("]", depth + 1))
        if self._takes("{"):
            return self._fields(depth + 1)
        if self._word.kind == TEXT:
            return self._next().text[1:-1].encode().decode("unicode_escape", "replace")
        number = self._term(depth)
        while self._takes("|"):
            if not isinstance(number, int) or not isinstance(other := self._term(depth), int):
                self._expected(_("a whole number"))
            number |= other
        return number

    def _term(self, depth: int) -> Value:
        if self._takes("-"):
            return -self._number()
        word = self._word
        if word.kind == NUMBER:
            return self._number()
        if word.kind != NAME:
            self._expected(_("a value"))
        self._next()
        if word.text in ("htons", "htonl", "inet_addr", "inet_pton", "sizeof") and self._takes("("):
            # Numbers and addresses are kept as the script writes them: who uses them knows their form.
            arguments = self._values(")", depth + 1)
            return arguments[-1] if arguments else ...
        number = constants.value(word.text)
        if number is None:
            raise ScriptError(word.line, _("expected a constant known here, found {found}", found=word.text))
        return number

    def _fields(self, depth: int) -> dict[str, Value]:
        fields: dict[str, Value] = {}
        while not self._takes("}"):
            if self._takes("..."):
                fields["..."] = ...
            else:
                if self._word.kind != NAME:
                    self._expected(_("the name of a field"))
                name = self._next().text
                self._mark("=")
                fields[name] = self._value(depth)
            if not self._is("}"):
                self._mark(",")
        return fields

    # Packets

    def _packet(self, *, inbound: bool) -> TCPPacket | ICMPPacket:
        if self._is("[", "icmp"):
            if not inbound:
                self._expected(_("a TCP packet: ICMP packets are sent only to the system under test"))
            return self._icmp()
        ports = None
        if self._word.kind == NUMBER:
            source = self._number(0xFFFF)
            self._mark(">")
            ports = source, self._number(0xFFFF)
            self._takes(":")
        flags = self._flags()
        sequence, size = self._range()
        acknowledgment = self._number() if self._takes("ack") else None
        if acknowledgment is not None and not flags & ACK:
            self._expected(_("no ack without the flag ."))
        window = self._number(0xFFFF) if self._takes("win") else None
        urgent = self._number(0xFFFF) if self._takes("urg") else None
        options = self._options() if self._takes("<") else ()
        return TCPPacket(inbound, flags, sequence, size, acknowledgment, window, urgent, options, ports)

    def _flags(self) -> int:
        letters = ""
        if self._takes("-"):
            return 0
        if self._word.kind == NAME:
            letters = self._word.text
        if letters and set(letters) - set(_FLAGS):
            self._expected(_("flags out of {letters}", letters="FSRPUEW."))
        if letters:
            self._next()
        if self._takes("."):
            letters += "."
            if self._word.kind == NAME and not set(self._word.text) - set(_FLAGS):
                letters += self._next().text
        if not letters:
            self._expected(_("flags out of {letters}", letters="FSRPUEW."))
        return sum(_FLAGS[letter] for letter in set(letters))

    def _range(self) -> tuple[int, int]:
        """Read a sequence number, the one after the data, and the data's size: 1:1001(1000)."""
        line = self._word.line
        start = self._number()
        self._mark(":")
        end = self._number()
        self._mark("(")
        size = self._number(_MAX_SIZE)
        self._mark(")")
        if (end - start) % (_MAX_NUMBER + 1) != size:
            raise ScriptError(
                line, _("expected {start}:{end} to span {size} bytes", start=start, end=end, size=size)
            )
        return start, size

    def _options(self) -> tuple[Option, ...] | EllipsisType:
        if self._takes("..."):
            self._mark(">")
            return ...
        options = []
        while not self._takes(">"):
            options.append(self._option())
            if not self._is(">"):
                self._mark(",")
        return tuple(options)

    def _option(self) -> Option:
        for name in _BARE_OPTIONS:
            if self._takes(name):
                return Option(name)
        for name, most in _NUMBERED_OPTIONS.items():
            if self._takes(name):
                return Option(name, (self._number(most),))
        if self._takes("TS"):
            if not self._takes("val"):
                self._expected('"val"')
            stamp = self._number()
            if not self._takes("ecr"):
                self._expected('"ecr"')
            return Option("TS", (stamp, self._number()))
        if self._takes("sack"):
            edges: list[int] = []
            while self._word.kind == NUMBER:
                edges.append(self._number())
                self._mark(":")
                edges.append(self._number())
            if not 2 <= len(edges) <= 8:
                self._expected(_("one to four blocks such as 1:1001"))
            return Option("sack", tuple(edges))
        return self._expected(_("one of the options mss, nop, eol, wscale, sackOK, TS val, sack, or ..."))

    def _icmp(self) -> ICMPPacket:
        quoted = self._quoted()
        if not self._takes("icmp"):
            self._expected('"icmp"')
        kind = self._next().text
        code = self._next().text if self._word.kind == NAME and not self._is("mtu") else ""
        mtu = self._number() if self._takes("mtu") else 0
        quoted = quoted or self._quoted()
        if not header.is_icmp(kind, code):
            self._expected(_("an ICMP error such as unreachable port_unreachable"))
        return ICMPPacket(kind, code, mtu, *(quoted or (1, 0)))

    def _quoted(self) -> tuple[int, int] | None:
        if not self._takes("["):
            return None
        quoted = self._range()
        self._mark("]")
        return quoted
