"""Lab 16's exercise: demultiplex by connection ID, as a QUIC server and a load balancer do.

`datagram` is the payload of a UDP datagram; where it has several QUIC packets, only the first is looked at.
Two bits of its first byte matter most: 0x80 is 1 in a long header, 0 in a short one; 0x40 is 1 in version 1.

    long header    first byte · version (4 bytes) · length of the destination ID (1) · destination ID
                   · length of the source ID (1) · source ID · …
    short header   first byte · destination ID · …

Bits 0x30 of a long header's first byte are the type in version 1: 0x00 Initial, 0x10 0-RTT, 0x20 Handshake,
0x30 Retry. A sender is a text, "10.9.0.10:9157". Source: RFC 9000, sections 5.1, 5.2, 10.3, 14.1 and 17.
Take what helpers you like.
"""


def destination_id(datagram: bytes, own_length: int) -> bytes | None:
    """Return the destination connection ID of a datagram that came to a server.

    A long header says how long the ID is, in every version. A short header does not: the server has issued
    the ID and knows that its own have `own_length` bytes (1 to 20). None if the datagram ends before the ID
    does, and if a long header of version 1 has an ID of more than 20 bytes.

    In frame 8 of the reference capture it is c0ffee00c0ffee00; in frame 10, with an `own_length` of 8,
    00a1a1a1a1a1a1a1.
    """
    raise NotImplementedError("destination_id is still to be written")


def balance(datagram: bytes, sender: str, own_length: int, servers: int) -> int | None:
    """Return which server a load balancer sends this datagram to: 0, 1, … `servers` - 1.

    Every server issues IDs whose first byte, modulo `servers`, is its number. An ID that a client has chosen
    is treated in the same way, so that all packets that carry it reach one server. The balancer looks at no
    packet's type and no datagram's size. None if there is no ID, or one of no bytes.
    """
    raise NotImplementedError("balance is still to be written")


class Server:
    """A QUIC server of version 1: which connection does a datagram belong to?

    Connections are called "C1", "C2", … in the order in which they were opened; no name is used twice.
    """

    def __init__(self, own_length: int) -> None:
        """`own_length` is the number of bytes of the connection IDs that this server issues."""
        raise NotImplementedError("Server is still to be written")

    def deliver(self, datagram: bytes, sender: str) -> str | None:
        """Return the name of the datagram's connection; or what the server answers; None: it drops it.

        The first of these rules that applies decides:

        1. a long header of version 0: None. Of another version than 1: "version negotiation" if the datagram
           has 1,200 bytes or more, otherwise None.
        2. bit 0x40 is 0, or there is no destination ID: None
        3. the ID belongs to a connection: its name, wherever the datagram comes from
        4. an Initial packet in a datagram of 1,200 bytes or more, whose ID (the client has chosen it) has 8
           bytes or more, opens a connection, to which the ID belongs: its name
        5. a short header in a datagram of more than 21 bytes: "stateless reset". (A reset has 21 bytes or
           more and is shorter than what it answers, or two servers could send each other resets endlessly.)
        6. anything else: None
        """
        raise NotImplementedError("deliver is still to be written")

    def issue(self, connection: str, connection_id: bytes) -> bool:
        """The server issues a further ID for a connection; the others still belong to it, too.

        It does so in its first answer, and later in NEW_CONNECTION_ID frames. False, and nothing changes, if
        the connection is not open, the ID has not `own_length` bytes, or it already belongs to a connection.
        """
        raise NotImplementedError("issue is still to be written")

    def retire(self, connection: str, connection_id: bytes) -> None:
        """The client retires one of its connection's IDs (RETIRE_CONNECTION_ID): it no longer belongs to any.

        Nothing happens if the ID belongs to another connection, or to none.
        """
        raise NotImplementedError("retire is still to be written")

    def close(self, connection: str) -> None:
        """A connection ends: its IDs no longer belong to any connection."""
        raise NotImplementedError("close is still to be written")

    def peer(self, connection: str) -> str | None:
        """Return where the server sends a connection's packets: to the sender of its last datagram.

        None if the connection is not open. (A real server first asks whether the client is there, with
        PATH_CHALLENGE: section 9.3.)
        """
        raise NotImplementedError("peer is still to be written")
