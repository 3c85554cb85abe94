"""Exercise 11: keep a server's descriptors. Fill in the methods and the function; change no name.

Check it with `.venv/bin/pytest labs/11_how_many_clients`. The Python standard library is all you need.
"""


class Server:
    """One server process with one listening socket on one port: its descriptors and its connections.

    All its connections have the same local address and port. So two values tell them apart here: the source
    address and the source port.
    """

    def __init__(self, limit: int) -> None:
        """Begin with no connection. The process may have `limit` descriptors: the numbers 0 to limit - 1.

        `limit` is 4 or more. Four numbers are taken and stay taken: 0, 1 and 2 (standard input, output and
        error) and 3 (the listening socket).
        """

    def connected(self, source_address: str, source_port: int) -> None:
        """A client has completed its handshake: its connection waits until `accept` takes it.

        The address is text such as "10.9.0.10", the port 1 to 65535. No two connections that wait or are open
        share both. The queue has room for all.
        """
        raise NotImplementedError("connected is still to be written")

    def accept(self) -> int:
        """Take the connection that has waited longest, and return its descriptor: the lowest free number.

        Raise OSError with the error number EMFILE (24) where no number is free: OSError(errno.EMFILE, "...").
        Then the connection still waits. Raise BlockingIOError where a number is free and nobody waits. Where
        neither is there it is EMFILE: the kernel looks for a number first.

        It must be quick with 65,600 connections too: do not try all numbers from 0 on each time. heapq keeps
        the numbers that were given back, lowest first; behind them comes the lowest number never used.
        """
        raise NotImplementedError("accept is still to be written")

    def close(self, descriptor: int) -> None:
        """Close a connection: its number is free again, and its source may connect anew.

        Raise OSError with the error number EBADF (9) where `descriptor` is no open connection's. Nobody
        closes 0, 1, 2 and 3 here.
        """
        raise NotImplementedError("close is still to be written")

    def owner(self, source_address: str, source_port: int) -> int | None:
        """Return the descriptor of the open connection that a segment from there belongs to.

        None where there is no such connection, and while it waits: it has no descriptor yet.

        Example, the lab's server with a limit of 8. After `connected` for the ports 51525 to 51529 of
        10.9.0.10, in order, five times `accept` give 4, 5, 6, 7 and EMFILE. Frame 16 comes from port 51529:
        `owner("10.9.0.10", 51529)` is None. After `close(5)`, `accept` gives 5, and the owner is 5.
        """
        raise NotImplementedError("owner is still to be written")

    def serve(self, clients: list[tuple[str, int]]) -> list[int]:
        """Let these clients connect and be accepted, one after the other. Nothing is to be written here."""
        descriptors = []
        for source_address, source_port in clients:
            self.connected(source_address, source_port)
            descriptors.append(self.accept())
        return descriptors


def most_connections(clients: int, ports_each: int, limit: int) -> int:
    """Return how many connections one such server can have open at once, at most.

    `clients` addresses connect to its one port, each from `ports_each` different ports (at most 65,535). The
    process may have `limit` descriptors, 4 or more; four of them are not for connections.

    Example: 5 clients with 1 port each, and a limit of 8: 4 connections.
    """
    raise NotImplementedError("most_connections is still to be written")
