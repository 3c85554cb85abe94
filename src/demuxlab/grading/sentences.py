"""The sentences of a story: made in English, where checks look at them; translated where a person reads them.

A check may look for "raised OSError" in an exception's text, so every sentence is made in English. The report
translates it into the reader's language by its pattern.
"""

import re
from functools import cache

from demuxlab import language
from demuxlab.language import _, marked

MADE = marked("made {what}")
CALLED = marked("called {what} → {result}")
RAISED = marked("{what} raised {error}{line}: {message}")
IN_LINE = marked(" in line {line}")
OUT_OF_TIME = marked("the time for all checks is used up: earlier ones waited for answers that never came")
TOO_LARGE = marked("{file} has more than {size} bytes")
TOO_MUCH = marked("{what} answered with more than {size} bytes")
BAD_ANSWER = marked("{what} answered with {kind}")
NO_ANSWER = marked("{what} gave no answer within {seconds:g} seconds: a loop without end?")
PROCESSOR = marked("{what} used too much of the processor's time")
ENDED = marked("the process ended while it was asked for {what}: does the file call exit?")
CRASHED = marked("the process crashed ({signal}) while it was asked for {what}")
HUNG = marked("{what} did not come to an end{line}: a loop without end?")
FILES = marked("{what} made more than {count} files")
AT_LINE = marked("line {line}: {what}")
NO_END = marked("no end")
SILENT = marked("no answer")
IS_ABSENT = marked("not in the file")
UNWRITTEN = marked("still to be written")
OF_TYPE = marked("this is {found}")
UNLIKE = marked("{found}, expected {expected}")
WRONG = marked("a wrong answer")
ABSENT = marked("the file has no {kind} {name}: was it renamed?")
LOADING = marked("{file} cannot be loaded: {error}{line}: {message}")
LOADING_HANGS = marked("{file} cannot be loaded: it does not come to an end{line}: a loop without end?")
MISTYPED = marked("{found}, where {expected} is asked for")
RETURNED = marked("{what} returned {mistyped}")
KINDS = marked(
    {
        "tuple": "a tuple",
        "list": "a list",
        "str": "a text (str)",
        "bytes": "a bytes object",
        "int": "a number (int)",
        "float": "a number with a point (float)",
        "bool": "True or False (bool)",
        "dict": "a dictionary",
    }
)
NO_METHOD = marked("{kind} has no {method!r} here: {there}")
DEEP = marked("lists nested more than {depth} deep")
HINT = marked("hint: {hint}")
COMPARED = marked("expected {expected}, found {found}")
REFUSED = marked("expected {expected}, but {why}")
OF_WHAT = marked("{what}: expected {expected}, found {found}")
EXPECTED = marked("expected {expected}")
FOUND = marked("found {found}")
FIELDS = marked(
    (
        "bytes {place}: {hex}, from address {value}",
        "bytes {place}: {hex}, to address {value}",
        "bytes {place}: {hex}, from port {value}",
        "bytes {place}: {hex}, to port {value}",
    )
)
_PLAIN = marked(
    (
        "something that is no JSON",
        "something that is no JSON object",
        "something that was not asked for",
        "an object of an unknown kind",
        "a number that is not finite",
        "a number of more than 256 bits",
        "a call that cannot be made",
        "there is no input to read here: take input() out",
        "function",
        "method",
        "class",
    )
)
_OF_CHECKS = marked(
    (
        "packet of {1} bytes ({2}): {3}",
        "this is frame {1} of captures/{2}: {3}",
        "this is frame {1} of captures/{2}",
        "only {1} of {2} bytes came: compare the lengths before you read a field",
        "{1} as {2} in bytes {3}",
        "given {1}",
        "no error",
        "a socket",
        "a port",
        "the page",
        "the answer",
        "its addresses",
        "that it is done",
        "that serve answers and returns",
        "that {1} took it",
        "the packet unchanged",
        "OSError with error number {1}",
        "a packet of {1} bytes",
        "the state {1}",
        "{1} to be sent",
        "[Errno {1}] {2}",
        "a list of segments",
        "a deadline",
        "a deadline after {1}",
        "the deadline {1}",
        "a time or None",
        "nothing",
        "an end",
        "the end after {1} seconds",
        "it is not over after {1} seconds of virtual time",
        "at most {1} segments at once",
        "at most {1} bytes at once",
        "{1} segments were sent at once: at most {2}",
        "more than {1} segments were sent in all",
        "deadline() stays at {1} after poll({2})",
        "deadline() returns seconds, or None",
        "{1} returns a list, [] where nothing is sent",
        "{1} returns Segment objects in a list",
        "a segment",
        "{1} returns a list: [segment], not the segment alone",
        "{1} from 0 to 4294967295",
        "{1} is {2}: it cannot be less than 0",
        "{1} is {2}: it has 32 bits",
        "first different from ours in step {1}: ours sends {2}",
        "segment {1} is the first that differs from ours: {2}; here: {3}",
    )
)
"""What checks of several labs say."""
_TEMPLATES = (
    *(HINT, COMPARED, REFUSED, OF_WHAT, EXPECTED, FOUND, MADE, CALLED, TOO_LARGE, TOO_MUCH, DEEP),
    *FIELDS,
    *(NO_ANSWER, PROCESSOR, ENDED, CRASHED, HUNG, FILES, ABSENT, LOADING, LOADING_HANGS),
    *(NO_METHOD, RAISED, BAD_ANSWER, IN_LINE, RETURNED, MISTYPED, AT_LINE),
)
_PLACE = re.compile(r"\{(\w+)[^}]*\}")
_SENTENCES = ("hint", "why", "kind", "line", "expected", "found", "mistyped", "message", "what")
"""The values that are sentences themselves, of this module or of a catalog."""
_FORMS = {"error": r"[\w.]+", "line": r"(?: in line \d+)?|\d+"}
"""What some values look like, so that each pattern has one way to match."""


def _pattern(template: str) -> re.Pattern[str]:
    pieces = _PLACE.split(template)
    texts = [
        f"(?P<{piece}>{_FORMS.get(piece, '.*?')})" if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    ]
    return re.compile("".join(texts), re.DOTALL)


_PATTERNS = [(template, _pattern(template)) for template in _TEMPLATES]


def translated(line: str) -> str:
    """Return a line in the reader's language: a sentence of this module with its values, or a check's own."""
    if (translation := _(line)) != line:
        return translation
    for template, pattern in _PATTERNS:
        if match := pattern.fullmatch(line):
            return _filled(_(template), match.groupdict())
    for template, translation in language.with_values().items():
        if match := _numbered(template).fullmatch(line):
            return _PLACE.sub(lambda place: translated(match[int(place[1])]), translation)
    return line


@cache
def _numbered(template: str) -> re.Pattern[str]:
    """Return what matches a text with values {1}, {2}, in this order."""
    pieces = _PLACE.split(template)
    return re.compile("(.+?)".join(map(re.escape, pieces[::2])), re.DOTALL)


def _filled(template: str, values: dict[str, str]) -> str:
    def value(place: re.Match[str]) -> str:
        name = place[1]
        return translated(values[name]) if name in _SENTENCES else values[name]

    return _PLACE.sub(value, template)
