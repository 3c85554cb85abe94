"""Exercise 03: write the demultiplexer of UDP. Fill in the four methods; change no name and no argument.

Check it with `.venv/bin/pytest labs/03_udp_two_tuple`. The Python standard library is all you need.
"""


class UDPDemultiplexer:
    """Finds the socket that owns a datagram, by two values: destination address and destination port."""

    def __init__(self) -> None:
        """Begin with no socket. Write here what you want to keep."""

    def bind(self, address: str, port: int, name: str) -> None:
        """Enter a socket: what arrives for `address` and `port` is its own from now on.

        `address` is text such as "111.0.0.2". "0.0.0.0", the wildcard, stands for every address of the host.
        `port` is 1 to 65535. `name` is the socket's own: no two open sockets share one.
        A specific address and the wildcard may have the same port. The same two values twice may not be:
        then raise OSError and leave the first socket as it is.
        """
        raise NotImplementedError("bind is still to be written")

    def close(self, name: str) -> None:
        """Take the socket `name` out. Its address and port are free again. `name` is always an open one."""
        raise NotImplementedError("close is still to be written")

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket whose queue gets this IPv4 packet, or None where it is dropped.

        Of two sockets that fit, the one with the specific address wins over the wildcard.

        The packet, byte by byte:
            byte 0       the version (4) in the high four bits; in the low four the length of the IP header,
                         in words of 4 bytes: 5 or more. Options make it longer than 20 bytes.
            bytes 2-3    the length of the whole packet. What follows it is padding: ignore it.
            bytes 6-7    three flags, then 13 bits of fragment offset. Where the offset is not 0 this is a
                         later fragment, and there are no ports in it: drop it.
            byte 9       the protocol: 17 is UDP, 6 is TCP
            bytes 12-15  the source address, bytes 16-19 the destination address
        Behind the IP header, and as long as byte 0 said, the UDP header of 8 bytes:
            bytes 0-1    source port
            bytes 2-3    destination port
            bytes 4-5    the length of UDP header and data: 8 or more, and no more than the IP packet holds
        Numbers are big-endian: the high byte comes first.

        Drop what no socket is bound for, what is not UDP, and what is cut short or has a wrong length. Never
        raise because of what is in a packet. Checksums need no look.

        Example, frame 1 of the lab's capture. After `bind("111.0.0.2", 8080, "P1")` it goes to "P1":

            45 00 00 22 00 01 00 00 40 11 01 b6 0a 09 00 0a 6f 00 00 02   IP: to 6f 00 00 02 = 111.0.0.2
            23 c5 1f 90 00 0e 4d 47                                       UDP: 0x23c5 = 9157 to 0x1f90 = 8080
            66 72 6f 6d 20 41                                             the data: "from A"
        """
        raise NotImplementedError("deliver is still to be written")
