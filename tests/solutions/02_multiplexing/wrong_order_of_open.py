# fails: test_who_waits_first_goes_first
"""Goes around in the order of open, whoever waited first."""

from collections import deque


class Multiplexer:
    """Gathers what processes send, and gives it to the one link in fair turns."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._waiting: dict[str, deque[bytes]] = {}
        self._line: deque[str] = deque()
        self._turn = 0
        self._order: list[str] = []

    def open(self, process: str, source_port: int) -> None:
        """Let a process send."""
        if source_port in self._ports.values():
            raise OSError(f"port {source_port} is taken")
        self._ports[process] = source_port
        self._order.append(process)

    def send(self, process: str, destination_port: int, data: bytes) -> None:
        """Take data of a process."""
        if process not in self._ports:
            raise OSError(f"{process} is not open")
        fields = (self._ports[process], destination_port, 8 + len(data), 0)
        header = b"".join(field.to_bytes(2, "big") for field in fields)
        self._waiting.setdefault(process, deque()).append(header + data)

    def close(self, process: str) -> None:
        """Let a process send no more."""
        del self._ports[process]

    def next(self) -> bytes | None:
        """Return the next datagram, or None."""
        for _ in self._order:
            process = self._order[self._turn % len(self._order)]
            self._turn += 1
            if self._waiting.get(process):
                return self._waiting[process].popleft()
        return None


def split(datagrams: list[bytes]) -> list[tuple[int, list[bytes]]]:
    """Return the data by destination port."""
    arrived: dict[int, list[bytes]] = {}
    for datagram in datagrams:
        length = int.from_bytes(datagram[4:6], "big")
        if 8 <= length <= len(datagram):
            port = int.from_bytes(datagram[2:4], "big")
            arrived.setdefault(port, []).append(datagram[8:length])
    return list(arrived.items())
