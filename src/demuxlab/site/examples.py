"""The examples of the calculator: the figures of the course, and what people ask about sockets and ports.

A socket is (name, protocol, local address, port, remote address, port, option), the last three left out
where there are none; a packet is (protocol, source, port, destination, port, flags). Then come the sockets
that may get it: several of a group, of which a secret hash picks one; none where it is refused; `None` where
the last socket cannot be bound.
"""

from typing import Any

from demuxlab.language import _, marked

_A, _B, _C, _OTHER = "10.9.0.10", "10.9.0.20", "10.9.0.30", "111.0.0.2"
_ANY, _ANY6, _ADDRESS, _PORT = "0.0.0.0", "::", "reuse_address", "reuse_port"
_WEB = (
    ("web", "tcp", _ANY, 80),
    ("P4", "tcp", _B, 80, _A, 9157),
    ("P5", "tcp", _B, 80, _C, 9157),
    ("P6", "tcp", _B, 8089, _C, 5775),
)
_PROXY = (
    ("web", "tcp", _ANY, 8080),
    ("first user", "tcp", _B, 8080, _A, 9157),
    ("second user", "tcp", _B, 8080, _A, 9158),
)
_GROUP = tuple((f"worker {number}", "tcp", _ANY, 80, "", "", _PORT) for number in (1, 2, 3))
_SERVER = (("listening", "tcp", _ANY, 8080), ("data", "tcp", "50.50.50.50", 8080, "77.77.77.77", 49999))

GROUPS = marked(
    {
        "figures": "The figures of the course",
        "port": "Who has the port?",
        "address": "On which address?",
        "udp": "UDP",
        "changes": "The 4-tuple changes",
    }
)
_TITLES = marked(
    {
        "web": "Two clients, one web server",
        "other": "The same port of another client",
        "new": "A new client of a server with connections",
        "users": "Several users behind one address",
        "kinds": "Three kinds of socket: at the server",
        "client": "Three kinds of socket: at the client",
        "datagrams": "UDP: any sender",
        "same": "The same numbers in TCP and UDP",
        "twice": "A second server on port 80: why not?",
        "apart": "Two servers on port 80 of two addresses",
        "group": "Several workers: SO_REUSEPORT",
        "forked": "Several workers: one listening socket",
        "restart": "A server starts again beside old connections: SO_REUSEADDR",
        "client_port": "One client port, two servers",
        "refused": "No socket on the port",
        "scapy": "A SYN-ACK for scapy: why does my kernel send an RST?",
        "wildcard": "Wildcard or specific address",
        "local": "A server on 127.0.0.1, asked from another computer",
        "local6": "A server on ::1, and a client that says 127.0.0.1",
        "dual": "A listener on [::]:80 and a client with IPv4",
        "v6only": "The same with IPV6_V6ONLY",
        "udp": "Connected or not",
        "udp_twice": "Two sockets on one port: SO_REUSEADDR",
        "udp_group": "Two sockets on one port: SO_REUSEPORT",
        "udp_wildcard": "Wildcard or specific address",
        "udp_refused": "No socket on the port",
        "multicast": "Two sockets on one port, and a multicast",
        "moved": "TCP: the connection does not follow",
        "quic": "QUIC: a datagram from the new address",
    }
)
_EXAMPLES: dict[str, dict[str, tuple[tuple[Any, ...], tuple[Any, ...], tuple[str, ...] | None]]] = {
    "figures": {
        "web": (_WEB, ("tcp", _C, 9157, _B, 80, "ACK"), ("P5",)),
        "other": (_WEB, ("tcp", _A, 9157, _B, 80, "ACK"), ("P4",)),
        "new": (_WEB, ("tcp", _A, 9158, _B, 80), ("web",)),
        "users": (_PROXY, ("tcp", _A, 9158, _B, 8080, "ACK"), ("second user",)),
        "kinds": (_SERVER, ("tcp", "77.77.77.77", 49999, "50.50.50.50", 8080, "ACK"), ("data",)),
        "client": (
            (("client", "tcp", "77.77.77.77", 49999, "50.50.50.50", 8080),),
            ("tcp", "50.50.50.50", 8080, "77.77.77.77", 49999, "ACK"),
            ("client",),
        ),
        "datagrams": ((("P6", "udp", _OTHER, 8080),), ("udp", _C, 5775, _OTHER, 8080), ("P6",)),
        "same": (
            (("P6 of TCP", "tcp", _ANY, 8089), ("P6 of UDP", "udp", _B, 8089)),
            ("udp", _C, 5775, _B, 8089),
            ("P6 of UDP",),
        ),
    },
    "port": {
        "twice": ((("first", "tcp", _ANY, 80), ("second", "tcp", _B, 80)), ("tcp", _A, 9157, _B, 80), None),
        "apart": (
            (("first", "tcp", _B, 80), ("second", "tcp", _OTHER, 80)),
            ("tcp", _A, 9157, _OTHER, 80),
            ("second",),
        ),
        "group": (_GROUP, ("tcp", _A, 9157, _B, 80), ("worker 1", "worker 2", "worker 3")),
        "forked": ((("all workers", "tcp", _ANY, 8090),), ("tcp", _A, 9157, _B, 8090), ("all workers",)),
        "restart": (
            (("new", "tcp", _ANY, 80, "", "", _ADDRESS), ("old", "tcp", _B, 80, _A, 9157)),
            ("tcp", _A, 9158, _B, 80),
            ("new",),
        ),
        "client_port": (
            (("to B", "tcp", _A, 9157, _B, 80), ("to C", "tcp", _A, 9157, _C, 80)),
            ("tcp", _C, 80, _A, 9157, "ACK"),
            ("to C",),
        ),
        "refused": (_WEB, ("tcp", _A, 9157, _B, 81), ()),
        "scapy": ((("ssh", "tcp", _ANY, 22),), ("tcp", _B, 80, _A, 9157, "SYN,ACK"), ()),
    },
    "address": {
        "wildcard": (
            (("any", "tcp", _ANY, 80, "", "", _PORT), ("one", "tcp", _B, 80, "", "", _PORT)),
            ("tcp", _A, 9157, _B, 80),
            ("one",),
        ),
        "local": ((("admin", "tcp", "127.0.0.1", 8089),), ("tcp", _A, 9157, _B, 8089), ()),
        "local6": ((("admin", "tcp", "::1", 8089),), ("tcp", "127.0.0.1", 9157, "127.0.0.1", 8089), ()),
        "dual": ((("both", "tcp", _ANY6, 80),), ("tcp", _A, 9157, _B, 80), ("both",)),
        "v6only": ((("IPv6", "tcp", _ANY6, 80, "", "", "v6only"),), ("tcp", _A, 9157, _B, 80), ()),
    },
    "udp": {
        "udp": (
            (
                ("any", "udp", _ANY, 5353, "", "", _ADDRESS),
                ("peer", "udp", _B, 5353, _A, 5353, _ADDRESS),
            ),
            ("udp", _A, 5353, _B, 5353),
            ("peer",),
        ),
        "udp_twice": (
            tuple((name, "udp", _B, 5000, "", "", _ADDRESS) for name in ("first", "second")),
            ("udp", _A, 9157, _B, 5000),
            ("second",),
        ),
        "udp_group": (
            tuple((name, "udp", _B, 5000, "", "", _PORT) for name in ("first", "second")),
            ("udp", _A, 9157, _B, 5000),
            ("first", "second"),
        ),
        "udp_wildcard": (
            (("any", "udp", _ANY, 53, "", "", _ADDRESS), ("one", "udp", _B, 53, "", "", _ADDRESS)),
            ("udp", _A, 9157, _B, 53),
            ("one",),
        ),
        "udp_refused": ((("P6", "udp", _B, 8089),), ("udp", _C, 5775, _B, 8090), ()),
        "multicast": (
            tuple((name, "udp", _ANY, 5353, "", "", _ADDRESS) for name in ("first", "second")),
            ("udp", _A, 5353, "224.0.0.251", 5353),
            ("first", "second"),
        ),
    },
    "changes": {
        "moved": (_WEB[1:], ("tcp", "10.9.0.99", 9157, _B, 80, "ACK"), ()),
        "quic": ((("quic", "udp", _ANY, 443),), ("udp", "10.9.0.99", 9157, _B, 443), ("quic",)),
    },
}
_OF_A_SOCKET = ("name", "protocol", "address", "port", "remote", "remote_port", "option")
_OF_A_PACKET = ("protocol", "source", "source_port", "destination", "destination_port", "flags")


def examples() -> list[dict[str, Any]]:
    """Return the examples in the language in use: group, title, sockets, packet and possible answers."""
    return [
        {
            "group": _(GROUPS[group]),
            "name": name,
            "title": _(_TITLES[name]),
            "sockets": [
                dict(zip(_OF_A_SOCKET, (*socket, "", "", "")[:7], strict=True)) for socket in sockets
            ],
            "packet": dict(zip(_OF_A_PACKET, (*packet, "SYN")[:6], strict=True)),
            "answers": answers,
        }
        for group, named in _EXAMPLES.items()
        for name, (sockets, packet, answers) in named.items()
    ]
