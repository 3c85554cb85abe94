"""Values on their way to a learner's process and back: JSON of one meaning, and the checker's own objects."""

from typing import Any, ClassVar, NamedTuple

from demuxlab.grading import sentences
from demuxlab.grading.answers import neutral
from demuxlab.language import english
from demuxlab.parts.segment import Segment

_AS_THEY_ARE = frozenset((str, int, type(None)))


class RemoteObject:
    """An object of the checker that a learner's file uses through a `child.Proxy`, such as a socket.

    Subclasses list in `METHODS` the methods that may be called; their OSErrors are raised in the learner's
    code. `CONSTANTS` are plain attributes.
    """

    METHODS: ClassVar[frozenset[str]] = frozenset()
    CONSTANTS: ClassVar[dict[str, Any]] = {}


class Made(NamedTuple):
    """An argument that is made there, of a class of the learner's file: `Made("Window", (1000,))`."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.arguments))})"


class Values:
    """Encodes arguments, decodes answers, and calls the objects that were sent."""

    def __init__(self) -> None:
        self._objects: dict[str, RemoteObject] = {}

    def call(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Call the method that the learner's code asks for; return the answer to it."""
        target, method = self._objects.get(str(asked["ask"])), asked["method"]
        if target is None or method not in target.METHODS:
            kind = "nothing" if target is None else type(target).__name__.lower()
            there = _methods_of(target)
            return {"wrong": english(sentences.NO_METHOD, kind=kind, method=method, there=there)}
        arguments = [self.decode(part) for part in asked["arguments"]]
        keywords = {name: self.decode(part) for name, part in asked["keywords"]}
        try:
            value = getattr(target, method)(*arguments, **keywords)
        except OSError as error:
            return {"number": error.errno or 0, "message": error.strerror or str(error)}
        except (TypeError, ValueError) as error:
            return {"wrong": f"{method}: {error}"}
        return {"value": self.encode(value)}

    def encode(self, value: Any) -> Any:
        """Return what JSON can carry: bytes as {"bytes": "hex"}, a tuple, an object and `Made` alike."""
        if type(value) in _AS_THEY_ARE:
            return value
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if isinstance(value, RemoteObject):
            name = str(id(value))
            self._objects[name] = value
            return {"object": name, "constants": value.CONSTANTS}
        if isinstance(value, Segment):
            value = Made("Segment", tuple(value))
        if isinstance(value, Made):
            return {"made": value.name, "with": [self.encode(part) for part in value.arguments]}
        if isinstance(value, tuple):
            return {"tuple": [self.encode(part) for part in value]}
        return [self.encode(part) for part in value] if isinstance(value, list) else value

    def decode(self, value: Any) -> Any:
        """Return the value of an answer, tuples as lists; what no JSON can carry as its type's name."""
        if isinstance(value, list):
            return [self.decode(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "tuple" in value:
            return [self.decode(part) for part in value["tuple"]]
        if "bytes" in value:
            try:
                return bytes.fromhex(value["bytes"])
            except ValueError:
                return "<something else>"
        kind = neutral(value.get("type", "something else"))[:100]
        return self._objects.get(value.get("object", ""), f"<{kind}>")


def _methods_of(target: RemoteObject | None) -> str:
    if target is None:
        return "use what you were given"
    return f"there are {', '.join(sorted(target.METHODS))}"
