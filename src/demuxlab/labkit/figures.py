"""The addresses, ports and numbers of a run: those of the course, or others drawn for one learner."""

import random
import re
from ipaddress import IPv4Address

_MARK = re.compile(r"\{(\d+(?:\.\d+){3}|\d+)\}")


class Figures:
    """Replaces a lab's addresses and ports by others drawn from `seed`; without one, keeps them.

    Within a run a figure is always replaced by the same one, and no two figures by one.
    """

    def __init__(self, seed: str | None = None) -> None:
        self._draw = None if seed is None else random.Random(seed)
        self._addresses: dict[str, str] = {}
        self._ports: dict[int, int] = {}

    def address(self, text: str) -> str:
        """Return the IPv4 address that replaces this one; 127.0.0.0/8 and 0.0.0.0 are kept."""
        if self._draw is None or IPv4Address(text).is_loopback or text == "0.0.0.0":
            return text
        while text not in self._addresses:
            drawn = (
                f"10.{self._draw.randrange(256)}.{self._draw.randrange(256)}.{self._draw.randrange(1, 255)}"
            )
            if drawn not in self._addresses.values():
                self._addresses[text] = drawn
        return self._addresses[text]

    def port(self, number: int) -> int:
        """Return the port that replaces this one, 1024 to 65535."""
        if self._draw is None:
            return number
        while number not in self._ports:
            drawn = self._draw.randrange(1024, 65536)
            if drawn not in self._ports.values():
                self._ports[number] = drawn
        return self._ports[number]

    def number(self, number: int, low: int, high: int) -> int:
        """Return the number that replaces this one, `low` to `high`; each call draws another."""
        return number if self._draw is None else self._draw.randint(low, high)

    def put_in(self, text: str) -> str:
        """Return a text in which the figures in braces, "{10.9.0.10}" or "{9157}", are replaced."""

        def figure(match: re.Match[str]) -> str:
            return self.address(match[1]) if "." in match[1] else str(self.port(int(match[1])))

        return _MARK.sub(figure, text)
