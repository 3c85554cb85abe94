"""Random packets with unusual or invalid fields, for comparing the kernel and our stack."""

from tests.interop import craft

FLAGS = ("S", "S", "S", "SF", "F", "", "P", "SA", "A", "PA", "FA", "R", "RA", "SR")

_SOURCES = {
    4: ("10.9.0.2", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
    6: ("::1", "ff02::1"),
}
_UDP_FIELDS = (
    *({}, {}),
    *({"udp_checksum": 0}, {"udp_checksum": 0x1234}),
    *({"length": 0}, {"length": 7}, {"length": 9}, {"length": 60}),
)
_TCP_FIELDS = ({}, {}, {"tcp_checksum": 0x1234}, {"data_offset": 4}, {"data_offset": 15})
_IPV4_OPTIONS = (
    *(b"", b"", b"\x01\x01", b"\0\x99"),
    b"\x94\x04\0\0",  # router alert
    *(b"\x07\x07\x04\0\0\0\0", b"\x07\x03\x03", b"\x07\x02\0\0"),  # record route
    *(b"\x44\x04\x05\0", b"\x44\x04\x04\0"),  # timestamp
    b"\x83\x07\x04\0\0\0\0",  # loose source route
    b"\x99\x01",  # a length below 2
)
_IPV4_FIELDS = (
    *({},) * 6,
    *({"header_checksum": 0x1111}, {"ihl": 4}, {"total_length": 19}, {"total_length": 2000}),
    *({"ttl": 0}, {"fragment": 0x4000}, {"fragment": 0x8000}),
)
_PADDING = b"\x01\x04\0\0\0\0"
_EXTENSIONS = (
    *((), ()),
    *(((0, _PADDING),), ((60, _PADDING),), ((60, _PADDING), (0, _PADDING))),
    *(((60, b"\x1e\x04\0\0\0\0"),), ((60, b"\x5e\x04\0\0\0\0"),)),  # an option not known: skip, discard
    *(((60, b"\x01\x04\0\0\0\1"),), ((60, b"\x01\x0c" + bytes(12)),)),  # padding not zero, too long
    *(((43, bytes(6)),), ((43, b"\2\1\0\0\0\0"),), ((43, b"\4\0\0\0\0\0"),)),  # routing
    *(((44, b"\0\0\0\0\0\5"),), ((44, b"\0\0\0\0\0\5"),) * 2),  # atomic fragments
)
_IPV6_FIELDS = (*({},) * 6, {"payload_length": 3}, {"payload_length": 900}, {"hop_limit": 0})


def odd_packet(chance, peer, local):
    """Return a packet from `peer` to `local`, endpoints of one family."""
    family = 6 if ":" in peer[0] else 4
    source = chance.choice((peer[0],) * 8 + _SOURCES[family])
    protocol = chance.choice((craft.UDP, craft.TCP))
    if protocol == craft.UDP:
        data = craft.udp_datagram((source, peer[1]), local, b"four", **chance.choice(_UDP_FIELDS))
    else:
        fields = chance.choice(_TCP_FIELDS)
        data = craft.tcp_segment((source, peer[1]), local, chance.choice(FLAGS), seq=5000, ack=7000, **fields)
    if chance.random() < 0.2:
        data = data[: chance.randrange(len(data))]
    trailing = chance.choice((b"", b"", b"", bytes(6)))
    if family == 4:
        options, fields = chance.choice(_IPV4_OPTIONS), chance.choice(_IPV4_FIELDS)
        return craft.ipv4(source, local[0], protocol, data, options=options, **fields) + trailing
    following = protocol
    for kind, body in reversed(chance.choice(_EXTENSIONS)):
        data, following = craft.extension(following, body) + data, kind
    return craft.ipv6(source, local[0], following, data, **chance.choice(_IPV6_FIELDS)) + trailing
