# fails: test_a_short_word_does_not_wait_for_a_large_file
"""Has one queue for all: first come, first served, and who has much starves the others."""

from collections import deque


class Multiplexer:
    """Gathers what processes send, and gives it to the one link in fair turns."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._waiting: dict[str, deque[bytes]] = {}
        self._line: deque[str] = deque()

    def open(self, process: str, source_port: int) -> None:
        """Let a process send."""
        if source_port in self._ports.values():
            raise OSError(f"port {source_port} is taken")
        self._ports[process] = source_port

    def send(self, process: str, destination_port: int, data: bytes) -> None:
        """Take data of a process."""
        if process not in self._ports:
            raise OSError(f"{process} is not open")
        fields = (self._ports[process], destination_port, 8 + len(data), 0)
        header = b"".join(field.to_bytes(2, "big") for field in fields)
        self._line.append(process)
        self._waiting.setdefault(process, deque()).append(header + data)

    def close(self, process: str) -> None:
        """Let a process send no more."""
        del self._ports[process]

    def next(self) -> bytes | None:
        """Return the next datagram, or None."""
        if not self._line:
            return None
        return self._waiting[self._line.popleft()].popleft()


def split(datagrams: list[bytes]) -> list[tuple[int, list[bytes]]]:
    """Return the data by destination port."""
    arrived: dict[int, list[bytes]] = {}
    for datagram in datagrams:
        length = int.from_bytes(datagram[4:6], "big")
        if 8 <= length <= len(datagram):
            port = int.from_bytes(datagram[2:4], "big")
            arrived.setdefault(port, []).append(datagram[8:length])
    return list(arrived.items())
