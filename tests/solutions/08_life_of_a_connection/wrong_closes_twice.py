# fails: test_a_call_that_is_not_allowed_raises
"""Lets a connection be closed as often as one likes."""

ACKNOWLEDGED = {
    "SYN-RECEIVED": "ESTABLISHED",
    "FIN-WAIT-1": "FIN-WAIT-2",
    "CLOSING": "TIME-WAIT",
    "LAST-ACK": "CLOSED",
}
PEER_CLOSED = {
    "ESTABLISHED": "CLOSE-WAIT",
    "FIN-WAIT-1": "CLOSING",
    "FIN-WAIT-2": "TIME-WAIT",
}
CLOSE = {
    "LISTEN": ("CLOSED", ""),
    "SYN-SENT": ("CLOSED", ""),
    "SYN-RECEIVED": ("FIN-WAIT-1", "FA"),
    "ESTABLISHED": ("FIN-WAIT-1", "FA"),
    "CLOSE-WAIT": ("LAST-ACK", "FA"),
}


class Connection:
    """One end of a TCP connection."""

    def __init__(self) -> None:
        self._state = "CLOSED"
        self._listens = False

    def call(self, name: str) -> str:
        """Do what the application calls; return the segment sent."""
        if name == "close" and self._state in CLOSE:
            self._state, sent = CLOSE[self._state]
            return sent
        if name == "close":
            return ""
        if self._state != "CLOSED":
            raise OSError(f"{name} in {self._state}")
        self._listens = name == "listen"
        self._state = "LISTEN" if self._listens else "SYN-SENT"
        return "" if self._listens else "S"

    def segment(self, flags: str) -> str:
        """Take a segment of the peer; return the segment that answers it."""
        if "R" in flags:
            listens = self._state == "LISTEN" or (self._state == "SYN-RECEIVED" and self._listens)
            self._state = "LISTEN" if listens else "CLOSED"
            return ""
        if self._state == "CLOSED":
            return "R"
        if self._state in ("LISTEN", "SYN-SENT"):
            return self._begin(flags)
        if "S" in flags:
            if self._state != "SYN-RECEIVED":
                return "A"
            if flags == "S":
                return "SA"
        if "A" in flags:
            self._state = ACKNOWLEDGED.get(self._state, self._state)
        if "F" in flags:
            self._state = PEER_CLOSED.get(self._state, self._state)
            return "A"
        return ""

    def _begin(self, flags: str) -> str:
        if flags == "S":
            self._state = "SYN-RECEIVED"
            return "SA"
        if self._state == "LISTEN":
            return "R" if "A" in flags else ""
        if flags == "SA":
            self._state = "ESTABLISHED"
            return "A"
        return ""

    def timeout(self) -> str:
        """Let the time of TIME-WAIT pass."""
        if self._state == "TIME-WAIT":
            self._state = "CLOSED"
        return ""

    def state(self) -> str:
        """Return the name of the state."""
        return self._state
