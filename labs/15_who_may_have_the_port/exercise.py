"""Exercise 15: who may have the port, and who gets the packet? Fill in the two functions.

Check it with `.venv/bin/pytest labs/15_who_may_have_the_port`. The Python standard library is all you need.
The checks ask what a Linux kernel was asked, and compare with what it did.
"""

from typing import NamedTuple


class Socket(NamedTuple):
    """A row of a host's socket table. The functions get rows as lists: `Socket(*row)` makes one of these."""

    name: str
    """Its own: no two rows share one."""
    protocol: str
    """"tcp" or "udp"."""
    address: str
    """Local: "10.9.0.20", "::1", or a wildcard. "0.0.0.0" stands for every IPv4 address of the host, "::" for
    every IPv6 address and, unless the socket has IPV6_V6ONLY, for every IPv4 address too."""
    port: int
    """Local: 1 to 65535."""
    peer: str
    """The remote address, always IPv4; "" for a socket without a peer."""
    peer_port: int
    """The remote port; 0 for a socket without a peer."""
    state: str
    """Of TCP "listening", "connected" or "time-wait", of UDP "bound", with a peer or without. "closed" for a
    socket that is not in the table yet."""
    options: list[str]
    """Those that are set: "SO_REUSEADDR", "SO_REUSEPORT", "IPV6_V6ONLY"."""
    user: int
    """Whose process has it: 0 is root."""


def may_bind(table: list[list], new: list) -> tuple[str | None, list[str]]:
    """Return what bind says for the socket `new`: an error or None, and the names of those in the way.

    `table` has the host's sockets, in the order in which they were bound. `new` is a row like theirs, with
    the address and port that it asks for.

        ("EACCES", [])          the port is below 1024, and `user` is not root. Nothing else counts then.
        ("EADDRINUSE", [...])   sockets are in the way: all of their names, in the order of the table
        (None, [])              it may have the port

    A socket of the table is in the way if it has the same protocol and port, if the two have an address in
    common, and if they do not share. An address stands for itself, a wildcard for what is said above. So ::
    has addresses in common with 0.0.0.0, unless it has IPV6_V6ONLY, and with another :: always. Two sockets
    share

        in TCP    if both have SO_REUSEADDR, and the one in the table is not listening
        in UDP    if both have SO_REUSEADDR
        in both   if both have SO_REUSEPORT and are of one user. Whose a TIME-WAIT was does not count.

    Nothing else counts: a peer, for example, or which of them is root's.

    Example, of the lab's first step: "web" of root is listening on 0.0.0.0:80 with SO_REUSEADDR. For "web 2"
    with the same values the answer is ("EADDRINUSE", ["web"]). If "web 2" were UDP's, it would be (None, []).
    """
    raise NotImplementedError("may_bind is still to be written")


def owner(table: list[list], packet: bytes) -> list[str]:
    """Return the name of the socket that gets this packet, in a list; [] where no socket does.

    Only members of a SO_REUSEPORT group are several: the kernel picks one by a hash of the packet's four
    values, with a secret. So all members are returned, in the order of the table.

    The packet is whole and correct, IPv4 without options, TCP or UDP, to one of the host's addresses:

        byte 9       the protocol: 6 is TCP, 17 is UDP
        bytes 12-15  the source address, bytes 16-19 the destination address
        bytes 20-21  the source port, bytes 22-23 the destination port, the high byte first

    The questions, in this order, each among the sockets of the packet's protocol and destination port:

        1. Which one has a peer, and all four values equal? (No packet is for a "time-wait".)
        2. Which ones without a peer have exactly the destination address?
        3. Which ones without a peer have "0.0.0.0"?
        4. Which ones without a peer have "::", and not IPV6_V6ONLY?

    Of TCP only a "listening" socket counts in the questions 2 to 4. If there are several answers to one
    question, they all have SO_REUSEPORT and are a group, or none of them has it. Then it is UDP, and the one
    that was bound last gets the packet.

    Example, frame 38 of the lab's capture: UDP from 10.9.0.10:9157 to 10.9.0.20:8080. "P7" and "P8" have
    0.0.0.0:8080 with SO_REUSEADDR, in this order: the answer is ["P8"].
    """
    raise NotImplementedError("owner is still to be written")
