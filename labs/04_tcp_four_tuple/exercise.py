"""Exercise 04: write the demultiplexer of TCP. Fill in the five methods; change no name and no argument.

Check it with `.venv/bin/pytest labs/04_tcp_four_tuple`. The Python standard library is all you need.
"""


class TCPDemultiplexer:
    """Finds the socket that owns a segment: a data socket by four values, or else a listening socket."""

    def __init__(self) -> None:
        """Begin with no socket. Write here what you want to keep."""

    def listen(self, name: str, address: str, port: int) -> None:
        """Enter a listening socket. It gets what arrives for `address` and `port` and no connection owns.

        `address` is text such as "10.9.0.20". "0.0.0.0", the wildcard, stands for every address of the host.
        A specific address and the wildcard may have the same port. No two open listening sockets share both
        values. `port` is 1 to 65535.
        `name` is the socket's own: no two open sockets share one.
        """
        raise NotImplementedError("listen is still to be written")

    def connect(
        self,
        name: str,
        source_address: str,
        source_port: int,
        destination_address: str,
        destination_port: int,
    ) -> None:
        """Enter the data socket of an established connection.

        The four values are those of the segments that arrive: the source is the client, the destination is
        this host. They are never the wildcard, and no two open connections share all four.
        """
        raise NotImplementedError("connect is still to be written")

    def close(self, name: str) -> None:
        """Take the socket `name` out, and no other. `name` is always an open one.

        A listening socket can close while its connections live, and a connection while its listener lives.
        """
        raise NotImplementedError("close is still to be written")

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket that gets this IPv4 packet, or None where it is dropped.

        First the connection whose four values are all equal; else the listening socket of the destination
        address and port; else the listening socket of the wildcard and the port. The flags (SYN, ACK, ...)
        do not matter here.

        The packet, byte by byte:
            byte 0       the version (4) in the high four bits; in the low four the length of the IP header,
                         in words of 4 bytes: 5 or more. Options make it longer than 20 bytes.
            bytes 2-3    the length of the whole packet. What follows it is padding: ignore it.
            bytes 6-7    three flags, then 13 bits of fragment offset. Where the offset is not 0 this is a
                         later fragment, and there are no ports in it: drop it.
            byte 9       the protocol: 6 is TCP, 17 is UDP
            bytes 12-15  the source address, bytes 16-19 the destination address
        Behind the IP header, and as long as byte 0 said, the TCP header of 20 bytes or more:
            bytes 0-1    source port
            bytes 2-3    destination port
            byte 12      in the high four bits the data offset: the length of the TCP header in words of
                         4 bytes, 5 or more, and no more than the IP packet holds
        Numbers are big-endian: the high byte comes first.

        Drop what no socket owns, what is not TCP, and what is cut short or has a wrong length. Never raise
        because of what is in a packet. Checksums need no look.

        Example, frame 1 of the lab's capture. When it came there was only `listen("web", "0.0.0.0", 80)`, so
        it went to "web". After `connect("P4", "10.9.0.10", 9157, "10.9.0.20", 80)` the same goes to "P4":

            45 00 00 28 00 01 00 00 40 06 66 a0 0a 09 00 0a 0a 09 00 14   IP: 10.9.0.10 to 10.9.0.20
            23 c5 00 50 00 00 03 e8 00 00 00 00 50 02 20 00 53 b6 00 00   TCP: 0x23c5 = 9157 to 0x0050 = 80
        """
        raise NotImplementedError("deliver is still to be written")
