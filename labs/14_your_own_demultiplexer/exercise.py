"""Exercise 14: the whole demultiplexer of a host. Fill in the seven methods; change no name and no argument.

`bind` is lab 03's, `listen` and `connect` are lab 04's, `close` and `deliver` are those of both: begin by
copying in what you wrote there. New are: two protocols in one object, UDP sockets that have a peer, OSError
in `listen` and `connect`, and the methods `reply` and `sockets`.

Check it with `.venv/bin/pytest labs/14_your_own_demultiplexer`. The Python standard library is all you need.
"""


class Demultiplexer:
    """Finds the socket that owns a packet, and says what is answered where there is none."""

    def __init__(self) -> None:
        """Begin with no socket. Write here what you want to keep."""

    def bind(self, address: str, port: int, name: str) -> None:
        """Enter a UDP socket that has no peer: it gets what arrives for `address` and `port`.

        `address` is text such as "111.0.0.2". "0.0.0.0", the wildcard, stands for every address of the host.
        `port` is 1 to 65535. `name` is the socket's own: no two open sockets share one.
        A specific address and the wildcard may have the same port. Where a UDP socket without a peer has
        these two values already, raise OSError and leave it as it is. TCP is no matter here.
        """
        raise NotImplementedError("bind is still to be written")

    def listen(self, name: str, address: str, port: int) -> None:
        """Enter a listening TCP socket, by the same rules. Other listening sockets alone are in its way."""
        raise NotImplementedError("listen is still to be written")

    def connect(
        self,
        name: str,
        source_address: str,
        source_port: int,
        destination_address: str,
        destination_port: int,
        protocol: str = "tcp",
    ) -> None:
        """Enter a socket that has a peer: TCP's data socket, or with `protocol` "udp" a connected UDP socket.

        The four values are those of the packets that arrive: the source is the peer, the destination is this
        host. They are never the wildcard. Where an open socket of this protocol has the same four already,
        raise OSError and leave that one as it is.
        """
        raise NotImplementedError("connect is still to be written")

    def close(self, name: str) -> None:
        """Take the socket `name` out, and no other. What it had is free again. `name` is always open."""
        raise NotImplementedError("close is still to be written")

    def deliver(self, packet: bytes) -> str | None:
        """Return the name of the socket that gets this IPv4 packet, or None where no socket does.

        Three questions, the same for TCP and for UDP, each among the sockets of the packet's own protocol:
        first the socket with a peer, whose four values are all equal; else the socket without a peer of the
        destination address and port; else that of the wildcard and the port.

        The packet is read as in labs 03 and 04:
            byte 0       the version (4), and the length of the IP header in words of 4 bytes: 5 or more
            bytes 2-3    the length of the whole packet. What follows it is padding: ignore it.
            bytes 6-7    three flags, then 13 bits of fragment offset: where it is not 0, return None
            byte 9       the protocol: 6 is TCP, 17 is UDP
            bytes 12-15  the source address, bytes 16-19 the destination address
        Behind the IP header the source port and the destination port, two bytes each, and then
            in TCP       byte 12, high four bits: the header's length in words of 4 bytes. It is 5 or more,
                         and no more than the IP packet holds.
            in UDP       bytes 4-5: the length of header and data. It is 8 or more, and no more than the IP
                         packet holds.
        What is cut short, has a wrong length or is neither TCP nor UDP gives None. Never raise because of
        what is in a packet. Checksums need no look.

        Example, frame 23 of the lab's capture. After `bind("0.0.0.0", 8080, "P7")` and
        `bind("111.0.0.2", 8080, "P8")` it goes to "P8":

            45 00 00 21 00 06 40 00 40 11 c1 b1 0a 09 00 0a 6f 00 00 02   IP: 10.9.0.10 to 111.0.0.2, UDP
            23 c5 1f 90 00 0d ff 97 68 65 6c 6c 6f                        9157 to 8080, 13 bytes; "hello"
        """
        raise NotImplementedError("deliver is still to be written")

    def reply(self, packet: bytes) -> str | None:
        """Return what this host answers to a packet that no socket gets: "rst", "port-unreachable" or None.

        "rst" to a TCP segment, unless its own RST flag is set (byte 13 of the TCP header, the bit 0x04).
        "port-unreachable", the ICMP message, to a UDP datagram.
        None where a socket gets the packet, and where `deliver` could not read it as TCP or UDP. None also
        where it does not come from one host or does not go to one: source or destination is 224.0.0.0 or
        above (multicast and broadcast), or the source is 0.0.0.0. Changes nothing.

        Example, frame 25 of the lab's capture, a datagram to port 8090, where no socket is:
        "port-unreachable".
        """
        raise NotImplementedError("reply is still to be written")

    def sockets(self) -> list[tuple[str, str, str, int, str | None, int | None]]:
        """Return the open sockets in the order in which they were entered.

        Each is (name, protocol, local address, local port, remote address, remote port); protocol is "tcp"
        or "udp". A socket without a peer has None and None at the end. Local is this host's side: of a
        packet that arrives, the destination.

        Example, after `listen("web", "0.0.0.0", 80)` and `connect("P4", "10.9.0.10", 9157, "10.9.0.20", 80)`:

            [("web", "tcp", "0.0.0.0", 80, None, None), ("P4", "tcp", "10.9.0.20", 80, "10.9.0.10", 9157)]
        """
        raise NotImplementedError("sockets is still to be written")
