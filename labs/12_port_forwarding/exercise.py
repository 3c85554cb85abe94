"""Exercise 12: write a port forwarder. Fill in the two methods; change no name and no argument.

Check it with `.venv/bin/pytest labs/12_port_forwarding`. The Python standard library is all you need.
"""


class Forwarder:
    """Hands on what arrives for one address and port to another, and translates the replies back.

    It stands where host and link meet, and sees every packet whole. It changes the destination of what comes
    in and the source of what goes out: address, port and the checksums over them. All else stays as it is,
    the time to live too: the part of the host that routes takes care of it.
    """

    def __init__(self, rules: list[tuple[str, int, str, int]]) -> None:
        """Begin with these rules and without a flow.

        A rule is (address, port, to_address, to_port): ("192.168.0.1", 80, "192.168.0.1", 8080) hands on
        what arrives for 192.168.0.1:80 to 192.168.0.1:8080. It holds for TCP and for UDP. Addresses are text,
        ports 1 to 65535. No two rules have the same address and port, but two may lead to the same place.
        """

    def inbound(self, packet: bytes) -> bytes:
        """Return an IPv4 packet that arrived, translated where a rule has its destination address and port.

        Its destination becomes the rule's target. The source stays. A packet is translated once, also where
        another rule is about that target. The first packet of a client begins its flow, whatever its flags
        are. Remember the flow, also after FIN and RST, so that its replies are known: protocol, client
        (address and port), the place that was asked and the place that it became.

        The packet, byte by byte:
            byte 0       the version (4) in the high four bits; in the low four the length of the IP header,
                         in words of 4 bytes: 5 or more. Options make it longer than 20 bytes.
            bytes 2-3    the length of the whole packet. What follows it is padding: it stays, and counts
                         for nothing.
            bytes 6-7    three flags, then 13 bits of fragment offset. A fragment has an offset that is not 0,
                         or the flag MF (0x2000). It stays as it is: only a whole packet can be translated.
            byte 9       the protocol: 6 is TCP, 17 is UDP
            bytes 10-11  the checksum of the IP header, options included
            bytes 12-15  the source address, bytes 16-19 the destination address
        Behind the IP header, and as long as byte 0 said, the header of TCP (20 bytes at least) or UDP (8):
            bytes 0-1    source port
            bytes 2-3    destination port
            bytes 6-7    UDP: the checksum. Zero means that the sender computed none: it stays zero. One that
                         is computed as zero is written as 0xffff.
            bytes 16-17  TCP: the checksum
        Numbers are big-endian: the high byte comes first.

        A checksum: set its field to zero, add up all 16-bit words (an odd last byte is the high byte of a
        word whose low byte is zero), add what is above 16 bits to the low 16 bits until nothing is above,
        and invert all 16 bits. TCP's and UDP's go over their header and data, and over a pseudo-header:
        source address, destination address, a zero byte, the protocol, and two bytes with the length of
        header and data. The checksums of what arrives are right.

        Return unchanged what no rule is about, what is neither TCP nor UDP, fragments, and what is cut short
        or has a wrong length. Never raise because of what is in a packet.

        Example, frame 1 of the lab's capture, and what becomes of it by the rule above:

            45 00 00 28 00 01 00 00 40 06 b0 13 0a 09 00 0a c0 a8 00 01   IP: 10.9.0.10 to 192.168.0.1
            23 c5 00 50 00 00 03 e8 00 00 00 00 50 02 20 00 9d 29 00 00   TCP: 0x23c5 = 9157 to 0x0050 = 80

            45 00 00 28 00 01 00 00 40 06 b0 13 0a 09 00 0a c0 a8 00 01   the same: no address is another one
            23 c5 1f 90 00 00 03 e8 00 00 00 00 50 02 20 00 7d e9 00 00   to 0x1f90 = 8080, checksum 0x7de9
        """
        raise NotImplementedError("inbound is still to be written")

    def outbound(self, packet: bytes) -> bytes:
        """Return an IPv4 packet that goes out to a client, translated back where it is a reply of a flow.

        It is one if its protocol is the flow's, its destination is the flow's client, and its source is the
        place that the flow's packets became. Its source becomes the place that the client asked; the
        checksums follow. All else comes back unchanged, as with `inbound`.

        No client uses one port for two connections to the same server at once, be it by two rules or by a
        rule and directly. So a reply belongs to one flow at most.
        """
        raise NotImplementedError("outbound is still to be written")
