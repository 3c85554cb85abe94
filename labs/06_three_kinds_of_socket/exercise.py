"""Exercise 06: keep the sockets of a process, as its operating system does. Fill in the methods of `Sockets`.

Check it with `.venv/bin/pytest labs/06_three_kinds_of_socket`. The Python standard library is all you need.
Change no name and no argument.
"""


class Sockets:
    """The TCP sockets of one process on one host: listening sockets, data sockets, client sockets.

    A socket is made of five things: descriptor, local address, local port, remote address, remote port.
    Addresses are text such as "50.50.50.50", never a wildcard; ports are 1 to 65535.

    The methods raise OSError, with any number, where it is said below. Then nothing has changed. Each method
    that takes a descriptor raises OSError if no open socket has that descriptor. All sockets have
    SO_REUSEADDR set: several may be bound to one local address and port, but only one of them may listen.
    """

    def __init__(self, address: str) -> None:
        """Begin with no socket; `address` is the host's. Write here what you want to keep."""

    def socket(self) -> int:
        """Make a socket and return its descriptor: the lowest number from 3 on that no open socket has."""
        raise NotImplementedError("socket is still to be written")

    def bind(self, descriptor: int, address: str, port: int) -> None:
        """Give a socket its local address and port.

        OSError if it has them already, or where a listening socket has this address and port.
        """
        raise NotImplementedError("bind is still to be written")

    def listen(self, descriptor: int) -> None:
        """Make a bound socket a listening socket; one that listens already stays as it is.

        OSError if it is not bound, is a data or client socket, or where another socket listens on the same
        address and port.
        """
        raise NotImplementedError("listen is still to be written")

    def connect(self, descriptor: int, address: str, port: int) -> None:
        """Make a socket a client socket, connected with the server at `address` and `port`.

        A socket without bind first gets the host's address, and the lowest port from 49152 on that no open
        socket here has as its local port. OSError if it listens or is connected already, or where an open
        socket has the same four values local address and port, remote address and port: the pair is unique.
        """
        raise NotImplementedError("connect is still to be written")

    def arrived(
        self,
        source_address: str,
        source_port: int,
        destination_address: str,
        destination_port: int,
        syn: bool,
    ) -> int | None:
        """Return the descriptor of the socket that gets a segment, or None where the host answers with RST.

        `syn` is True for a connection request. The destination of the segment is local here, its source is
        remote. The socket is, in this order:

        1. the data or client socket whose four values are all equal;
        2. the listening socket on which a connection with these four values waits for accept;
        3. where `syn` is True, the listening socket of the destination address and port. From now on a
           connection with these four values waits on it, in its accept queue. It gets a
           descriptor, as a data socket, only with accept.
        """
        raise NotImplementedError("arrived is still to be written")

    def accept(self, descriptor: int) -> int:
        """Take the connection that has waited longest on a listening socket; return its new data socket.

        The data socket has a descriptor of its own, by the rule of `socket`. Its local address and port are
        those of the listening socket. OSError if the socket does not listen, or where nothing waits.
        """
        raise NotImplementedError("accept is still to be written")

    def five(self, descriptor: int) -> tuple[int, str | None, int | None, str | None, int | None]:
        """Return descriptor, local address, local port, remote address, remote port; None where it has none.

        Example, after both clients of the lab's capture have connected, frames 1 to 6, and after two calls of
        accept: (3, "50.50.50.50", 8080, None, None) for the listening socket, and for the data sockets
        (4, "50.50.50.50", 8080, "77.77.77.77", 49999) and (5, "50.50.50.50", 8080, "88.88.88.88", 49999).
        """
        raise NotImplementedError("five is still to be written")

    def kind(self, descriptor: int) -> str | None:
        """Return "listening", "data" or "client"; None for a socket that neither listens nor is connected."""
        raise NotImplementedError("kind is still to be written")

    def close(self, descriptor: int) -> None:
        """Take the socket out, and no other. Its descriptor, and its four values, are free again.

        (A real connection keeps its four values for a while in TIME-WAIT, lab 08. Leave that out.)

        With a listening socket go the connections that wait on it, and no others. Its data sockets live on.
        """
        raise NotImplementedError("close is still to be written")
