"""Exercise 09: whose number is it? Fill in one function and three classes; change no name and no argument.

Check it with `.venv/bin/pytest labs/09_port_numbers`. The Python standard library is all you need.
"""


def kind(port: int) -> str:
    """Return what kind of number a port is, 0 to 65535, by the ranges of RFC 6335, section 6.

    "well-known"  0 to 1023: fixed by the kind of application, as web and mail
    "registered"  1024 to 49151: entered in the list for an application, as 8080
    "dynamic"     49152 to 65535: free for the protocol stack to pick

    Example: kind(25) is "well-known", and of the lab's capture kind(51073) is "dynamic".
    """
    raise NotImplementedError("kind is still to be written")


class Services:
    """The list of well-known ports, read from the text of a file such as /etc/services."""

    def __init__(self, text: str) -> None:
        """Begin with the whole text of the file.

        A line is an entry: a name, a port and a protocol joined by "/", then any number of aliases, that is
        of further names. Spaces and tabs stand between them, any number of them, and may stand before the
        name and at the end. "#" begins a comment, which goes to the end of the line. Lines without an entry,
        empty or of another form, are skipped. The port is a decimal number, the protocol "tcp" or "udp".

            http     80/tcp     www     # the web
            smtp     25/tcp     mail
            syslog  514/udp
            shell   514/tcp     cmd

        Here "http" and "www" are two names of port 80 of TCP. Port 514 is another service in each protocol.
        """

    def port(self, name: str, protocol: str) -> int | None:
        """Return the port of a service by its name or one of its aliases, None where no entry has it.

        The first entry that fits counts. Example: with the lines above port("www", "tcp") is 80, and
        port("www", "udp") is None.
        """
        raise NotImplementedError("port is still to be written")

    def name(self, port: int, protocol: str) -> str | None:
        """Return the name of the service on a port, None where no entry has it.

        It is the entry's name, no alias. The first entry that fits counts. Example: with the lines above
        name(514, "udp") is "syslog" and name(514, "tcp") is "shell".
        """
        raise NotImplementedError("name is still to be written")


class EphemeralPorts:
    """Picks the local port of each connection that a program of this host opens."""

    def __init__(self, low: int, high: int) -> None:
        """Begin with no port in use. The ports to pick from are `low` to `high`, both of them included."""

    def choose(self, remote_address: str, remote_port: int) -> int:
        """Return a free port for a connection to this remote address and port. It is in use from now on.

        The host has one address, so three values name a connection of its own: local port, remote address
        and remote port. A port is free for a remote address and port if it is not in use for the same
        two. So one port may well be in use twice at one time, for two remote addresses or two remote ports.
        Which of the free ports it is does not matter. Raise OSError if none is free. With thousands of ports
        in use it must still be quick: look a port up, do not search through all that are in use.

        Example: with EphemeralPorts(50000, 50001) choose("10.9.0.20", 80) may return 50000. The next one
        for the same server is 50001, and a third raises OSError. choose("10.9.0.20", 25) still works.
        """
        raise NotImplementedError("choose is still to be written")

    def release(self, port: int, remote_address: str, remote_port: int) -> None:
        """End the use of a port by the connection to this remote address and port, and by no other.

        It is always one that `choose` has returned for the same remote address and port.
        """
        raise NotImplementedError("release is still to be written")


class Users:
    """A server process on one port of TCP: whose segment is it? Many users may have one address."""

    def __init__(self, port: int) -> None:
        """Begin with no user. `port` is the server's own, 8080 in the lab."""

    def connect(self, name: str, packet: bytes) -> None:
        """Enter a user: `packet` is the connection request (SYN) that came from there.

        The server was told nothing before: address and port of the user are in the packet. `name` is the
        user's own, and no two users have the same address and port. The packet is for the server's port.
        """
        raise NotImplementedError("connect is still to be written")

    def user(self, packet: bytes) -> str | None:
        """Return the name of the user that a packet came from, None where it is not from one of them.

        A packet for another port than the server's is from none of them. Packets are whole IPv4 packets
        that carry TCP. As in lab 04, the low four bits of byte 0 are the length of the IP header in words of
        4 bytes, and bytes 12-15 are the source address. The TCP header behind it has the source port in bytes
        0-1 and the destination port in bytes 2-3. The high byte comes first.

        Example, frame 16 of the lab's capture. It is from user "U3", who connected in frame 13:

            45 00 00 3b 00 07 40 00 40 06 f4 91 cb 00 71 07 0a 09 00 14   IP: from cb 00 71 07 = 203.0.113.7
            c7 83 1f 90 …                                                 TCP: 0xc783 = 51075 to 0x1f90 = 8080
        """
        raise NotImplementedError("user is still to be written")
