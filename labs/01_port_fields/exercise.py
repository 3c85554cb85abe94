"""Exercise 01: read and write the port fields. Fill in the four functions; change no name and no argument.

Check it with `.venv/bin/pytest labs/01_port_fields`. The Python standard library is all you need.

A port is a number of 16 bits, 0 to 65535, in two bytes. It is big-endian: the high byte comes first. The
bytes 23 c5 are 0x23 * 256 + 0xc5 = 9157. The two ports are the first four bytes of a TCP header and of a
UDP header alike:

    bytes 0-1    source port
    bytes 2-3    destination port
"""


def ports(header: bytes) -> tuple[int, int]:
    """Return the source port and the destination port of a TCP or UDP header.

    `header` has 4 bytes or more; what stands behind the ports does not matter.

    Example, the UDP header of frame 1 of the lab's capture: 23 c5 00 50 00 0d 83 bd gives (9157, 80).
    """
    raise NotImplementedError("ports is still to be written")


def ports_in_packet(packet: bytes) -> tuple[int, int] | None:
    """Return the source port and the destination port of an IPv4 packet, or None where it has none.

    The packet, byte by byte:
        byte 0       the version (4) in the high four bits; in the low four the length of the IP header,
                     in words of 4 bytes: 5 or more. Options make it longer than 20 bytes.
        bytes 2-3    the length of the whole packet. What follows it is padding: ignore it.
        bytes 6-7    three flags, then 13 bits of fragment offset. Where the offset is not 0 this is a
                     later fragment: data stands where the ports would.
        byte 9       the protocol: 6 is TCP, 17 is UDP. Others have no ports; 1 is ICMP.
    Behind the IP header, and as long as byte 0 said, stands the header of TCP or UDP.

    The answer is None where the version is not 4, where byte 0 tells fewer than 5 words, for a later
    fragment, for other protocols, and where the packet ends before the four bytes of the ports: because
    fewer bytes came, or because bytes 2-3 say so. A packet that is cut short behind its ports still has
    them. Never raise because of what is in a packet. Checksums need no look.

    Example, frame 1 of the lab's capture, gives (9157, 80):

        45 00 00 21 00 01 00 00 40 11 66 9c 0a 09 00 0a 0a 09 00 14   IP: 5 words, 33 bytes, 0x11 = 17: UDP
        23 c5 00 50 00 0d 83 bd                                       UDP: 0x23c5 = 9157 to 0x0050 = 80
        68 65 6c 6c 6f                                                the data: "hello"
    """
    raise NotImplementedError("ports_in_packet is still to be written")


def udp_datagram(source_port: int, destination_port: int, data: bytes) -> bytes:
    """Return a UDP datagram: a header of 8 bytes, then the data.

    The header:
        bytes 0-1    source port
        bytes 2-3    destination port
        bytes 4-5    the length of header and data together
        bytes 6-7    the checksum: 0, which says that none was made
    All four are big-endian. `data` may be empty; it has at most 65,527 bytes, so that the length fits.
    Raise ValueError where a port is not 0 to 65535.

    Example: udp_datagram(9157, 80, b"hello") gives 23 c5 00 50 00 0d 00 00 68 65 6c 6c 6f.
    """
    raise NotImplementedError("udp_datagram is still to be written")


def answer(datagram: bytes, data: bytes) -> bytes:
    """Return the UDP datagram that answers another one: it goes back to where that came from.

    `datagram` is a whole UDP datagram, with its header. The answer carries `data`, and its header is made as
    `udp_datagram` makes it.

    Example: frame 1 of the lab's capture came from 9157 to 80, so its answer goes from 80 to 9157. The
    answer b"HELLO" to it begins with 00 50 23 c5.
    """
    raise NotImplementedError("answer is still to be written")
