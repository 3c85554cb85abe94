"""Short programs that use sockets well and badly: run on the kernel's sockets and on ours, they must agree.

Each takes the `socket` module and yields what it sees. What raises is noted as the exception's type, errno
and text, by `outcome`.
"""

import errno
import itertools
import random
import select
from collections.abc import Callable, Iterator
from typing import Any

from_any = "127.0.0.1", 0
Steps = Iterator[Any]


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a call returns, or the type and errno of what it raises; objects become their type."""
    try:
        value = call(*arguments)
    except Exception as error:
        number = getattr(error, "errno", None)
        return type(error).__name__, errno.errorcode.get(number, number), str(error)
    return value if isinstance(value, int | float | bytes | str | list | type(None)) else type(value).__name__


def _pair(socket: Any, family: int = 2) -> tuple[Any, Any, Any]:
    listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
    client = socket.create_connection(listener.getsockname()[:2])
    server, _ = listener.accept()
    return listener, client, server


def _closed_port(socket: Any) -> tuple[str, int]:
    with socket.create_server(from_any) as listener:
        return listener.getsockname()


def connect_twice(socket: Any) -> Steps:
    listener, client, server = _pair(socket)
    with listener, client, server:
        yield outcome(client.connect, listener.getsockname())
        yield client.connect_ex(listener.getsockname())
        yield outcome(listener.connect, listener.getsockname())


def closed_socket(socket: Any) -> Steps:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        own = socket.socket(socket.AF_INET, kind)
        own.close()
        own.close()
        yield own.fileno()
        for name, *arguments in (
            ("send", b"x"), ("recv", 1), ("recvfrom", 1), ("sendto", b"x", ("127.0.0.1", 9)), ("listen",),
            ("bind", from_any), ("connect", ("127.0.0.1", 9)), ("connect_ex", ("127.0.0.1", 9)), ("accept",),
            ("getsockname",), ("getpeername",), ("getsockopt", 1, 2), ("setsockopt", 1, 2, 1),
            ("shutdown", 2), ("settimeout", 1), ("setblocking", True), ("gettimeout",), ("detach",),
            ("sendall", b"x"), ("recv", 0), ("recv_into", bytearray(4)), ("sendmsg", [b"x"]), ("recvmsg", 1),
        ):  # fmt: skip
            yield name, outcome(getattr(own, name), *arguments)


def connect_to_many(socket: Any) -> Steps:
    """A connection has two ends; a datagram for all needs the socket's leave (ip(7))."""
    groups = ("224.0.0.1", 9), ("255.255.255.255", 9)
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        for where in groups[kind == socket.SOCK_DGRAM :]:
            with socket.socket(socket.AF_INET, kind) as own:
                yield outcome(own.connect, where)
                yield own.connect_ex(where)


def bind_misuse(socket: Any) -> Steps:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        with socket.socket(socket.AF_INET, kind) as own, socket.socket(socket.AF_INET, kind) as other:
            yield own.getsockname()
            own.bind(from_any)
            yield own.getsockname()[0], own.getsockname()[1] > 0
            yield outcome(own.bind, from_any)
            yield outcome(own.bind, own.getsockname())
            yield outcome(other.bind, own.getsockname())
            yield outcome(other.bind, ("192.0.2.77", 0))
            yield outcome(other.bind, ("127.0.0.1", 65536))
            yield outcome(other.bind, ("127.0.0.1", -1))
            yield outcome(other.bind, ("127.0.0.1", 1 << 70))
            yield outcome(other.bind, ("127.0.0.1", "80"))
            yield outcome(other.bind, ("127.0.0.1", 80.0))
            yield outcome(other.bind, ("127.0.0.1",))
            yield outcome(other.bind, ("127.0.0.1", 1, 2))
            yield outcome(other.bind, "127.0.0.1")
            yield outcome(other.bind, ["127.0.0.1", 1])
            yield outcome(other.bind, (1, 1))
            yield outcome(other.bind, ("a\0b", 1))
            yield outcome(other.bind, ("no-such-host.invalid", 1))[0]
            yield outcome(other.bind, None)
            yield outcome(other.bind)[0]
            yield outcome(other.bind, (b"127.0.0.1", 0))


def bind_ipv6(socket: Any) -> Steps:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as own:
        yield own.getsockname()
        yield outcome(own.bind, ("::1",))
        yield outcome(own.bind, ("::1", 0, 0, 0, 0))
        yield outcome(own.bind, ("::1", 65536))
        yield outcome(own.bind, ("::1", 0, 1 << 20))
        yield outcome(own.bind, ("::1", 0, -1))[0]
        yield outcome(own.bind, ("::1", "x"))
        yield outcome(own.bind, "::1")
        yield outcome(own.bind, ("2001:db8::77", 0))
        yield outcome(own.bind, ("<broadcast>", 0))
        yield outcome(own.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        yield outcome(own.bind, ("::ffff:127.0.0.1", 0))
        yield outcome(own.bind, ("::1", 0, 7, 0))
        yield own.getsockname()[0], own.getsockname()[2:]
        yield outcome(own.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def listen_misuse(socket: Any) -> Steps:
    with socket.socket() as own:
        yield outcome(own.accept)
        yield outcome(own.listen, -1)
        yield own.getsockname()[1] > 0
        yield outcome(own.listen, 5)
        yield outcome(own.listen, "x")
        yield outcome(own.listen, 1 << 40)
        yield outcome(own.recv, 1)
        yield outcome(own.send, b"x")
        yield outcome(own.getpeername)
        own.settimeout(0)
        yield outcome(own.accept)
        own.settimeout(0.001)
        yield outcome(own.accept)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        yield outcome(own.listen)
        yield outcome(own.accept)
    listener, client, server = _pair(socket)
    with listener, client, server:
        yield outcome(client.listen)
        yield outcome(client.accept)


def listener_shut_down(socket: Any) -> Steps:
    with socket.create_server(from_any) as own:
        own.settimeout(5)
        yield outcome(own.shutdown, socket.SHUT_RD)
        yield outcome(own.accept)


def in_use(socket: Any) -> Steps:
    with socket.socket() as first, socket.socket() as second:
        first.bind(from_any)
        first.listen()
        yield outcome(second.bind, first.getsockname())
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield outcome(second.bind, first.getsockname())
        yield outcome(second.connect, first.getsockname())
        yield second.getsockname() != first.getsockname()


def refused(socket: Any) -> Steps:
    address = _closed_port(socket)
    with socket.socket() as own:
        yield outcome(own.connect, address)
        yield own.connect_ex(address)
        yield outcome(own.getpeername)
        yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        yield outcome(own.send, b"x")
        yield outcome(own.recv, 1)
    with socket.create_server(from_any) as listener, socket.socket() as own:
        yield own.connect_ex(address)
        yield outcome(own.connect, listener.getsockname())  # a second try on the same socket
        yield own.getpeername() == listener.getsockname()
    with socket.socket() as own:
        yield outcome(own.connect, ("127.0.0.1", 0))
        yield outcome(own.connect, ("127.0.0.1", 65536))
        yield outcome(own.connect_ex, ("127.0.0.1", 65536))
        yield outcome(own.connect, ("127.0.0.1", "http"))
        yield outcome(own.connect_ex, ("no-such-host.invalid", 1))[0]


def never_connected(socket: Any) -> Steps:
    with socket.socket() as own:
        yield outcome(own.send, b"x")
        yield outcome(own.sendall, b"x")
        yield outcome(own.sendto, b"x", ("127.0.0.1", 9))
        yield outcome(own.recv, 1)
        yield outcome(own.recv, 0)
        yield outcome(own.getpeername)
        for how in 0, 1, 2, 3, -1:
            yield outcome(own.shutdown, how)
        yield outcome(own.shutdown, "x")


def not_blocking(socket: Any) -> Steps:
    with socket.create_server(from_any) as listener, socket.socket() as own:
        own.setblocking(False)
        yield own.gettimeout(), own.getblocking(), own.timeout
        yield outcome(own.connect, listener.getsockname())
        select.select([], [own], [], 5)
        yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        yield outcome(own.connect, listener.getsockname())
        yield outcome(own.connect, listener.getsockname())
        server, _ = listener.accept()
        with server:
            yield outcome(own.recv, 10)
            yield outcome(own.recv_into, bytearray(3))
            yield outcome(server.recv, 10, socket.MSG_DONTWAIT)
            server.sendall(b"hello")
            select.select([own], [], [], 5)
            yield own.recv(2, socket.MSG_PEEK), own.recv(3, socket.MSG_PEEK), own.recv(10)
    with socket.socket() as own:
        own.setblocking(False)
        yield own.connect_ex(_closed_port(socket))
        select.select([], [own], [], 5)
        yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def timeouts(socket: Any) -> Steps:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        with socket.socket(socket.AF_INET, kind) as own:
            for value in 1, 0, 0.5, None, -1, float("nan"), "x", True, 1e30:
                yield str(value), outcome(own.settimeout, value), own.gettimeout()
            own.setblocking(7)
            yield own.gettimeout()
    listener, client, server = _pair(socket)
    with listener, client, server:
        client.settimeout(0.001)
        yield outcome(client.recv, 1)
        yield outcome(client.recv, 1, socket.MSG_PEEK)
        yield outcome(client.recv_into, bytearray(1))
        client.settimeout(0)
        yield outcome(client.recv, 1)
        yield outcome(client.accept)


def shut_down(socket: Any) -> Steps:
    listener, client, server = _pair(socket)
    with listener, client, server:
        yield outcome(client.shutdown, socket.SHUT_WR)
        yield outcome(client.send, b"x")
        yield outcome(client.sendall, b"")
        yield server.recv(10), server.recv(10)
        yield server.send(b"still")
        yield client.recv(10)
        yield outcome(client.shutdown, socket.SHUT_WR)
        yield outcome(server.shutdown, socket.SHUT_RDWR)
        yield client.recv(10)
        yield outcome(server.send, b"x")
        yield server.recv(1)
    listener, client, server = _pair(socket)
    with listener, client, server:
        yield outcome(client.shutdown, socket.SHUT_RD)
        yield client.recv(10)
        yield client.send(b"x"), server.recv(1)
        yield outcome(client.shutdown, 5)


def peer_gone(socket: Any) -> Steps:
    listener, client, server = _pair(socket)
    with listener, client:
        client.sendall(b"unread")
        server.recv(1, socket.MSG_PEEK)
        server.close()  # with data unread: a reset
        yield outcome(client.recv, 10)
        yield client.recv(10)
        yield outcome(client.send, b"x")
        yield outcome(client.getpeername)
    listener, client, server = _pair(socket)
    with listener, client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        yield outcome(client.recv, 10)
    listener, client, server = _pair(socket)
    with listener, client:
        server.close()
        yield client.recv(10), client.recv(10)


def stream_data(socket: Any) -> Steps:
    for family in socket.AF_INET, socket.AF_INET6:
        listener, client, server = _pair(socket, family)
        with listener, client, server:
            yield client.getpeername() == server.getsockname(), server.getpeername() == client.getsockname()
            yield len(client.getsockname()), client.family, client.type, client.proto
            yield client.send(b"one two three"), server.recv(3), server.recvfrom(1)[1]
            yield server.recvmsg(4), server.recv_into(memoryview(bytearray(10)), 2)
            yield server.recv(100, socket.MSG_PEEK), server.recv(100)
            yield (
                client.sendmsg([b"a", bytearray(b"b"), memoryview(b"c")]),
                server.recv(3, socket.MSG_WAITALL),
            )
            yield (
                client.sendto(b"ignored address", ("127.0.0.1" if family == 2 else "::1", 9)),
                server.recv(99),
            )
            yield client.sendall(b""), client.send(b"")
            for name, *arguments in (
                ("send", "text"), ("send", 5), ("sendall", None), ("recv", -1), ("recv", "x"),
                ("recv_into", b"constant"), ("recv_into", bytearray(3), -1), ("recv_into", bytearray(3), 4),
                ("recvfrom", -1), ("recvfrom_into", bytearray(3), 4), ("recvfrom_into", bytearray(3), -1),
                ("recvmsg", -1), ("recvmsg", 1, -1), ("sendto", b"x"), ("sendto", b"x", 0, ("a", 1), 1),
                ("sendto", b"x", "flags", ("127.0.0.1", 1)), ("sendto", "x", ("127.0.0.1", 1)),
            ):  # fmt: skip
                yield name, outcome(getattr(client, name), *arguments)
            with client.makefile("rw", encoding="utf-8") as text:
                text.write("line\nrest")
                text.flush()
            yield server.makefile("rb").readline()


def datagrams(socket: Any) -> Steps:
    for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with (
            socket.socket(family, socket.SOCK_DGRAM) as one,
            socket.socket(family, socket.SOCK_DGRAM) as two,
        ):
            yield outcome(one.getpeername)
            one.bind((host, 0))
            yield outcome(one.send, b"x")
            where = one.getsockname()
            yield two.sendto(b"first", where[:2]), two.sendto(b"", where), two.sendto(b"x" * 3000, where)
            yield one.recvfrom(3, socket.MSG_PEEK)[0], one.recvfrom(3)[0]
            yield one.recvfrom(100)[0], one.recvmsg(10)[:3]
            yield outcome(one.recv, 1, socket.MSG_DONTWAIT)
            yield outcome(two.sendto, bytes(70000), where)
            two.connect(where)
            yield two.getpeername() == where, two.send(b"connected"), one.recv(20)
            yield two.sendall(b"all"), one.recv_into(bytearray(2), 0, socket.MSG_TRUNC)
            one.sendto(b"back", two.getsockname())
            yield two.recv(10)
            yield outcome(two.shutdown, socket.SHUT_WR), outcome(two.send, b"x")
            yield outcome(two.shutdown, socket.SHUT_RD), outcome(two.recv, 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.connect(("127.0.0.1", _closed_udp_port(socket)))
        yield own.send(b"x")
        select.select([own], [], [], 5)
        yield outcome(own.recv, 1)
        yield outcome(own.sendto, b"x", ("255.255.255.255", 9))


def _closed_udp_port(socket: Any) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(from_any)
        return own.getsockname()[1]


_OPTIONS = """
SOL_SOCKET: SO_TYPE SO_DOMAIN SO_PROTOCOL SO_ERROR SO_ACCEPTCONN SO_REUSEADDR SO_REUSEPORT SO_KEEPALIVE
    SO_BROADCAST SO_OOBINLINE SO_PRIORITY SO_LINGER
IPPROTO_TCP: TCP_NODELAY TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_USER_TIMEOUT TCP_MAXSEG TCP_QUICKACK
    TCP_DEFER_ACCEPT
IPPROTO_IP: IP_TOS IP_TTL
IPPROTO_IPV6: IPV6_V6ONLY
"""


def _option_names() -> Iterator[tuple[str, str]]:
    level = ""
    for word in _OPTIONS.split():
        if word.endswith(":"):
            level = word[:-1]
        else:
            yield level, word


def options(socket: Any) -> Steps:
    tcp = [(getattr(socket, level), name) for level, name in _option_names()]
    for family in socket.AF_INET, socket.AF_INET6:
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            for level, name in tcp:
                with socket.socket(family, kind) as own:
                    option = getattr(socket, name)
                    if (level, family) == (socket.IPPROTO_IPV6, socket.AF_INET):
                        continue
                    yield name, outcome(own.getsockopt, level, option)
                    yield outcome(own.getsockopt, level, option, 64)
                    if level != socket.IPPROTO_IP:  # those Linux cuts to a byte
                        yield outcome(own.getsockopt, level, option, 2)
                    for value in (1, 0, 7, 500, -1, b"\1\0\0\0", b"\1\0\0\0\5\0\0\0", b"", "x"):
                        yield value, outcome(own.setsockopt, level, option, value)
                        yield outcome(own.getsockopt, level, option)
            with socket.socket(family, kind) as own:
                for name in ("SO_RCVBUF", "SO_SNDBUF"):
                    for value in (0, 1, 5000, 100_000, 1 << 30):
                        own.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
                        yield name, value, own.getsockopt(socket.SOL_SOCKET, getattr(socket, name))
                yield outcome(own.getsockopt, socket.SOL_SOCKET, 9999)
                yield outcome(own.setsockopt, socket.SOL_SOCKET, 9999, 1)
                yield outcome(own.getsockopt, 9999, 1)[:1]
                yield outcome(own.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE, -1)
                yield outcome(own.getsockopt, socket.SOL_SOCKET, socket.SO_TYPE, 1025)
                yield outcome(own.setsockopt, socket.SOL_SOCKET)[0]
    listener, client, server = _pair(socket)
    with listener, client, server:
        yield listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        yield client.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        yield client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO)  # the state, and three bytes of 0
        yield listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        yield len(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        yield client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        yield outcome(client.setsockopt, socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"nonesuch")


def descriptors(socket: Any) -> Steps:
    listener, client, server = _pair(socket)
    with listener, server:
        copy = client.dup()
        client.close()
        yield copy.send(b"by the copy"), server.recv(99), copy.family, copy.type
        third = socket.socket(fileno=copy.detach())
        yield copy.fileno(), third.send(b"by its number"), server.recv(99)
        fourth = socket.fromfd(third.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        third.close()
        yield fourth.send(b"again"), server.recv(99)
        fourth.close()
        yield server.recv(1)
    yield outcome(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 0, -1)
    yield outcome(socket.socket, socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP)
    yield outcome(socket.socket, socket.AF_INET, 77)
    yield outcome(socket.socket, 1234)
    one, two = socket.socketpair()
    with one, two:
        yield one.family, one.send(b"kernel's"), two.recv(99)


def _states(socket: Any, family: int, kind: int) -> Iterator[tuple[str, Callable[[], list[Any]]]]:
    """Yield each state of a socket, and what brings one there: the socket first, then its peers."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"

    def unbound() -> list[Any]:
        return [socket.socket(family, kind)]

    def bound() -> list[Any]:
        own = socket.socket(family, kind)
        own.bind((host, 0))
        return [own]

    def closed() -> list[Any]:
        own = socket.socket(family, kind)
        own.close()
        return [own]

    def listening() -> list[Any]:
        [own] = bound()
        own.listen()
        return [own]

    def connected() -> list[Any]:
        if kind == socket.SOCK_DGRAM:
            own, [peer] = socket.socket(family, kind), bound()
            own.connect(peer.getsockname())
            return [own, peer]
        listener, client, server = _pair(socket, family)
        return [client, server, listener]

    def shut(how: int) -> Callable[[], list[Any]]:
        def make() -> list[Any]:
            sockets = connected()
            sockets[0].shutdown(how)
            return sockets

        return make

    def ended() -> list[Any]:
        client, server, listener = connected()
        server.close()
        select.select([client], [], [], 5)
        return [client, listener]

    yield from (("unbound", unbound), ("bound", bound), ("closed", closed), ("connected", connected))
    yield from ((f"shut {how}", shut(how)) for how in (0, 1, 2))
    if kind == socket.SOCK_STREAM:
        yield from (("listening", listening), ("ended", ended))


def _calls(socket: Any, host: str) -> Iterator[tuple[Any, ...]]:
    """Yield calls of every method: as it should be, and with a wrong argument of each kind."""
    yield from (
        (name,) for name in ("accept", "getsockname", "getpeername", "fileno", "gettimeout", "getblocking")
    )
    yield "bind", (host, 0)
    for name in ("bind", "connect", "connect_ex"):  # but for port 0, which ours does not connect to
        for address in ((host, -1), (host, 65536), (host, "1"), (host,), host, None, 7, (7, 7), ()):
            yield name, address
        yield (name,)
    for value in (0, 5, -1, "x", None, 1.5, 1 << 40):
        yield "listen", value
        yield "shutdown", value
    for name in ("recv", "recvfrom", "recvmsg"):
        yield from ((name, size) for size in (0, 1, -1, "x", None, 1.5))
        yield from ((name, 1, *more) for more in ((socket.MSG_PEEK,), ("x",), (None,)) if name != "recvmsg")
        yield (name,)
    for name in ("recv_into", "recvfrom_into"):
        yield from ((name, buffer) for buffer in (bytearray(2), b"fixed", "text", None, bytearray(0)))
        yield from ((name, bytearray(2), size) for size in (0, 1, 3, -1, "x"))
    yield from (("recvmsg_into", buffers) for buffers in ([bytearray(2)], [b"fixed"], 5, []))
    for name in ("send", "sendall"):
        yield from ((name, data) for data in (b"", b"x", bytearray(b"x"), "text", None, 5))
        yield from ((name, b"x", flags) for flags in (socket.MSG_DONTWAIT, "x", None))
        yield (name,)
    for address in ((host, -1), (host, 65536), (host, "1"), (host,), host, None, (7, 7)):
        yield "sendto", b"x", address
    yield from (("sendto", "text", (host, 9)), ("sendto", b"x", 0, 0, 0), ("sendto", b"x"), ("sendto",))
    yield from (("sendmsg", buffers) for buffers in ([], [b"x"], [b"x", b"y"], ["text"], 5, b"x"))
    yield "sendmsg", [b"x"], [(1, 2)]
    sol = socket.SOL_SOCKET
    for value in (1, 0, -1, b"", b"\1\0\0\0", "x", None, 1.5):
        yield "setsockopt", sol, socket.SO_KEEPALIVE, value
    yield from (("setsockopt", sol), ("setsockopt", sol, 9999, 1), ("setsockopt", "x", 1, 1))
    for size in (0, 1, 4, -1, 2000, "x"):
        yield "getsockopt", sol, socket.SO_KEEPALIVE, size
    yield from (("getsockopt", sol), ("getsockopt", sol, 9999), ("getsockopt", sol, socket.SO_ERROR))
    yield from ((name, value) for name in ("settimeout", "setblocking") for value in (0, 1, -1, "x", None))


def every_call_in_every_state(socket: Any) -> Steps:
    for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
            for state, make in _states(socket, family, kind):
                for name, *arguments in _calls(socket, host):
                    sockets = make()
                    own = sockets[0]
                    if own.fileno() != -1:
                        own.setblocking(False)
                    seen = outcome(getattr(own, name), *arguments)
                    if name in ("fileno", "getsockname", "getpeername", "bind"):
                        seen = seen if isinstance(seen, tuple) and isinstance(seen[0], str) else type(seen)
                    if (
                        seen
                        and isinstance(seen, tuple)
                        and seen[0] in ("TypeError", "OverflowError", "ValueError")
                    ):
                        seen = seen[0]  # the words are Python's, about calls of C or of Python
                    yield family, kind, state, name, arguments, seen
                    for one in sockets:
                        one.close()


def dual_stack(socket: Any) -> Steps:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        for only in 0, 1:
            with socket.socket(socket.AF_INET6, kind) as both, socket.socket(socket.AF_INET, kind) as four:
                both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                with socket.socket(socket.AF_INET, kind) as free:  # with :: alone, IPv4's may be in use
                    free.bind(("0.0.0.0", 0))
                    port = free.getsockname()[1]
                both.bind(("::", port))
                yield outcome(four.bind, ("127.0.0.1", port))
                if kind == socket.SOCK_STREAM:
                    both.listen()
                with socket.socket(socket.AF_INET, kind) as client:
                    yield outcome(client.connect, ("127.0.0.1", port))
                    if kind == socket.SOCK_DGRAM and not only:
                        yield client.send(b"four"), both.recvfrom(9)[1][0]
                    elif not only:
                        peer, address = both.accept()
                        yield address[0], peer.getsockname()[0], peer.family
                        peer.close()
                for address in "::ffff:127.0.0.1", "::1":
                    with socket.socket(socket.AF_INET6, kind) as client:
                        yield outcome(client.connect, (address, port))


def multicast(socket: Any) -> Steps:
    group, other = socket.inet_aton("239.1.2.3"), socket.inet_aton("127.0.0.1")
    name, drop = socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP
    for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
        with socket.socket(socket.AF_INET, kind) as own:
            yield outcome(own.setsockopt, socket.IPPROTO_IP, name, group + other)
            yield outcome(own.setsockopt, socket.IPPROTO_IP, name, group + other)
            yield outcome(own.setsockopt, socket.IPPROTO_IP, name, group)
            yield outcome(own.setsockopt, socket.IPPROTO_IP, name, other + other)
            yield outcome(own.setsockopt, socket.IPPROTO_IP, name, group + socket.inet_aton("192.0.2.77"))
            yield outcome(own.setsockopt, socket.IPPROTO_IP, drop, group + other)
            yield outcome(own.setsockopt, socket.IPPROTO_IP, drop, group + other)
            for value in (0, 1):
                yield outcome(own.setsockopt, socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, value)
                yield outcome(own.getsockopt, socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)


def poll_states(socket: Any) -> Steps:
    asked = select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLRDHUP

    def events(*sockets: Any) -> list[int]:
        poll = select.poll()
        for own in sockets:
            poll.register(own, asked)
        found = dict(poll.poll(0))
        epoll = select.epoll()
        for own in sockets:
            epoll.register(own, asked)
        assert dict(epoll.poll(0)) == found
        epoll.close()
        return [found.get(own.fileno(), 0) for own in sockets]

    with socket.socket() as own:
        yield events(own)
        own.bind(from_any)
        yield events(own)
        own.listen()
        yield events(own)
        own.shutdown(socket.SHUT_RD)
        yield events(own)
        own.listen()
        yield events(own)
    write, read, both = socket.SHUT_WR, socket.SHUT_RD, socket.SHUT_RDWR
    ends_of = ["client", write], ["client", read], ["client", both], ["client", write, "server", write]
    for ends in (list(zip(each[::2], each[1::2], strict=True)) for each in ends_of):
        listener, client, server = _pair(socket)
        with listener, client, server:
            yield events(client, server)
            server.send(b"x")
            client.recv(1, socket.MSG_PEEK)
            for which, how in ends:
                {"client": client, "server": server}[which].shutdown(how)
            _settled(socket, client, server)
            yield events(client, server)
            yield client.recv(9), events(client, server)
    listener, client, server = _pair(socket)
    with listener, client:
        server.close()
        client.recv(1)
        yield events(client)
        client.send(b"x")  # answered by RST
        _settled(socket, client)
        select.select([], [], [client], 0.02)
        yield events(client), outcome(client.send, b"x"), events(client)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        yield events(own)
        own.connect(("127.0.0.1", 9))
        for how in socket.SHUT_RD, socket.SHUT_WR:
            own.shutdown(how)
            yield events(own), select.select([own], [own], [], 0) == ([own], [own], [])


def _settled(socket: Any, *ends: Any) -> None:
    """Let what was sent arrive: at once on our host, in a moment in the kernel."""
    select.select([], [], ends, 0 if socket.__name__ == "demuxlab.sockets" else 0.02)


def low_water(socket: Any) -> Steps:
    listener, client, server = _pair(socket)
    with listener, client, server:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4)
        yield client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        server.send(b"abc")
        _settled(socket, client)
        yield select.select([client], [], [], 0)[0] == []
        yield outcome(client.recv, 9, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        client.settimeout(0.01)
        yield outcome(client.recv, 9)
        server.send(b"d")
        _settled(socket, client)
        yield select.select([client], [], [], 0)[0] == [client], client.recv(9)
        server.send(b"e")
        server.shutdown(socket.SHUT_WR)
        client.settimeout(None)
        yield client.recv(9), client.recv(9)


def message_flags(socket: Any) -> Steps:
    listener, client, server = _pair(socket)
    with listener, client, server:
        server.send(b"abcdef")
        both = socket.MSG_PEEK | socket.MSG_WAITALL
        yield client.recv(6, both), client.recv_into(bytearray(6), 6, both), client.recvmsg(6, 0, both)[0]
        server.shutdown(socket.SHUT_WR)
        yield client.recv(9, both), client.recv(9, socket.MSG_WAITALL)
        yield outcome(client.recvmsg, 9, 99, socket.MSG_ERRQUEUE)
    truncate = socket.MSG_TRUNC
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(from_any)
        for receive in (
            lambda: len(own.recv(3, truncate)), lambda: len(own.recvfrom(3, truncate)[0]),
            lambda: own.recv_into(bytearray(3), 3, truncate),
            lambda: own.recvfrom_into(bytearray(3), 3, truncate)[0],
            lambda: own.recvmsg(3, 0, truncate)[:3],
            lambda: own.recvmsg_into([bytearray(3)], 0, truncate)[:3],
        ):  # fmt: skip
            own.sendto(b"12345", own.getsockname())
            yield receive()
        own.connect(own.getsockname())
        yield own.send(b"one ", socket.MSG_MORE), own.send(b"two ", socket.MSG_MORE), own.send(b"three")
        yield own.recv(99)
        yield outcome(own.recvmsg, 9, 99, socket.MSG_ERRQUEUE)
        for item in (0, 99, b"1234"), (0, 2, b"\5\0\0\0"), (socket.SOL_SOCKET, 77, b"1"):
            if item[0] == 0:
                yield outcome(own.sendmsg, [b"x"], [item])


def addresses_of_datagrams(socket: Any) -> Steps:
    for host in "255.255.255.255", "127.255.255.255":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, socket.socket() as stream:
            if host != "255.255.255.255":  # for it a route is needed, which a machine may lack
                yield outcome(own.sendto, b"x", (host, 9)), outcome(own.connect, (host, 9))
                yield outcome(stream.connect, (host, 9))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four:
        four.bind(from_any)
        port = four.getsockname()[1]
        mapped = "::ffff:127.0.0.1", port
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own:
            yield outcome(own.connect, mapped), outcome(own.sendto, b"x", ("::1", port))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own:
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            yield outcome(own.sendto, b"x", mapped), outcome(own.connect, mapped)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own:
            own.bind(("::ffff:127.0.0.1", 0))
            yield outcome(own.sendto, b"x", ("::1", port)), outcome(own.connect, ("::1", port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            yield outcome(own.connect, four.getsockname()), outcome(own.connect, ("127.0.0.1", 0))


_LEVELS = {"SO": "SOL_SOCKET", "IP": "IPPROTO_IP", "IPV6": "IPPROTO_IPV6", "TCP": "IPPROTO_TCP"}
_UNNAMED = {
    # SO_DEBUG, SO_DONTROUTE, SO_RCVLOWAT, SO_TIMESTAMP, SO_TIMESTAMPNS, SO_BUSY_POLL
    "SOL_SOCKET": (1, 5, 18, 29, 35, 46),
    # IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_FREEBIND, IP_RECVORIGDSTADDR,
    # IP_BIND_ADDRESS_NO_PORT
    "IPPROTO_IP": (8, 10, 11, 12, 13, 15, 20, 24),
    # IPV6_MTU_DISCOVER, IPV6_RECVERR
    "IPPROTO_IPV6": (23, 25),
}
"""Options that not every Python names."""
_OTHERWISE = {
    *("SO_RCVBUF", "SO_SNDBUF"),  # the defaults; `options` sets them
    *("TCP_CONGESTION", "TCP_INFO", "TCP_CC_INFO"),  # the machine's, and the length of its kernel
    "TCP_TIMESTAMP",  # a clock, which Pythons from 3.12 on name
    *("IPV6_DSTOPTS", "IPV6_HOPOPTS", "IPV6_RTHDRDSTOPTS"),  # docs/not-supported.md
}
REFUSED = {
    *("TCP_REPAIR", "TCP_SAVE_SYN", "TCP_THIN_DUPACK", "TCP_THIN_LINEAR_TIMEOUTS", "TCP_TX_DELAY"),
    *("TCP_FASTOPEN_CONNECT", "TCP_FASTOPEN_KEY", "TCP_FASTOPEN_NO_COOKIE"),
}
"""Options that fail with ENOPROTOOPT, by the names that newer Pythons have for them."""


def named_options(socket: Any) -> dict[tuple[str, int], str]:
    """Return the options that this Python's `socket` names, and `_UNNAMED`: their names by level, number."""
    found = {
        (_LEVELS[name.partition("_")[0]], int(getattr(socket, name))): name
        for name in dir(socket)
        if name.partition("_")[0] in _LEVELS and isinstance(getattr(socket, name), int)
    }
    unnamed = {(level, number): "" for level, numbers in _UNNAMED.items() for number in numbers}
    return unnamed | found


def every_option(socket: Any) -> Steps:
    values = (1, 0, 5, -1, b"\1\0\0\0", b"\1", b"", bytes(8), b"\1\0\0\0\2\0\0\0", bytes(20))
    for (level_name, number), name in named_options(socket).items():
        level = getattr(socket, level_name)
        for family, host in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
            for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                for bound in (False, True):
                    with socket.socket(family, kind) as own:
                        if bound:
                            own.bind((host, 0))
                        if name in _OTHERWISE | REFUSED:
                            continue
                        sizes = [outcome(own.getsockopt, level, number, size) for size in (4, 1024)]
                        yield name, number, kind, family, outcome(own.getsockopt, level, number), sizes
                        for value in values:
                            yield value, outcome(own.setsockopt, level, number, value)
                            yield outcome(own.getsockopt, level, number)
                        yield outcome(own.setsockopt, level, number, None, 0)


def options_after_bind(socket: Any) -> Steps:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        for option in socket.SO_REUSEADDR, socket.SO_REUSEPORT:
            with socket.socket(socket.AF_INET, kind) as first, socket.socket(socket.AF_INET, kind) as second:
                first.bind(from_any)
                second.setsockopt(socket.SOL_SOCKET, option, 1)
                yield outcome(second.bind, first.getsockname())
                first.setsockopt(socket.SOL_SOCKET, option, 1)
                yield outcome(second.bind, first.getsockname())
                if kind == socket.SOCK_STREAM:
                    yield outcome(first.listen), outcome(second.listen)
        with socket.socket(socket.AF_INET, kind) as own:
            for name in socket.IP_TTL, socket.IP_TOS:
                own.bind(from_any) if name == socket.IP_TTL else None
                yield outcome(own.setsockopt, socket.IPPROTO_IP, name, 8), own.getsockopt(0, name)


def more_options(socket: Any) -> Steps:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        interface = socket.IPPROTO_IP, socket.IP_MULTICAST_IF
        for value in socket.inet_aton("127.0.0.1"), socket.inet_aton("192.0.2.77"), b"xy", bytes(8):
            yield outcome(own.setsockopt, *interface, value), outcome(own.getsockopt, *interface, 4)
    with socket.socket() as own:
        yield outcome(own.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, None, 0)
        rate = socket.SOL_SOCKET, 47  # SO_MAX_PACING_RATE
        for value in 1_000_000, -1, b"\1\0\0\0", b"\1":
            sizes = [outcome(own.getsockopt, *rate, size) for size in (4, 8)]
            yield outcome(own.setsockopt, *rate, value), outcome(own.getsockopt, *rate), sizes


def _datagram_pair(socket: Any, family: int) -> tuple[Any, Any]:
    receiver, sender = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
    for own in receiver, sender:
        own.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        own.settimeout(5)
    return receiver, sender


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


def control_received(socket: Any) -> Steps:
    """IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVOPTS, IP_RETOPTS; IPV6_RECVPKTINFO, ...; SO_TIMESTAMP."""
    for family, level, names in (
        (socket.AF_INET, 0, (8, 12, 13, 6, 7)), (socket.AF_INET6, 41, (49, 51, 66)),
    ):  # fmt: skip
        receiver, sender = _datagram_pair(socket, family)
        with receiver, sender:
            address = receiver.getsockname()
            if level == 0:
                sender.setsockopt(level, socket.IP_TTL, 7)
                sender.setsockopt(level, socket.IP_TOS, 0x28)
            for name in names:
                receiver.setsockopt(level, name, 1)
                sender.sendto(b"hello", address)
                yield name, receiver.recvmsg(9, 200)[:3]
            for room in (0, 8, 16, 20, 24, 28, 40, 50, 60, 100):
                sender.sendto(b"hello", address)
                yield room, receiver.recvmsg(3, room)[:3]
            sender.sendto(b"hello", address)
            yield receiver.recvmsg_into([bytearray(3)], 200)[1:3], receiver.getsockopt(level, names[0])
            for name in names:
                receiver.setsockopt(level, name, 0)
            for name in (29, 35):
                receiver.setsockopt(socket.SOL_SOCKET, name, 1)
                sender.sendto(b"hello", address)
                [item] = receiver.recvmsg(9, 200)[1]
                yield item[:2], len(item[2]), [receiver.getsockopt(1, each) for each in (29, 35)]
    receiver, sender = socket.socket(socket.AF_INET6, 2), socket.socket(socket.AF_INET, 2)
    with receiver, sender:  # IPv4 datagrams for a socket of both families
        receiver.bind(("::", 0))
        for level, name in (41, 49), (41, 51), (41, 66), (0, 8), (0, 12), (0, 13):
            receiver.setsockopt(level, name, 1)
            sender.sendto(b"hello", ("127.0.0.1", receiver.getsockname()[1]))
            yield name, receiver.recvmsg(9, 200)[:3]


def control_sent(socket: Any) -> Steps:
    own, other = socket.inet_aton("127.0.0.1"), socket.inet_aton("192.0.2.99")
    own6, other6 = (socket.inet_pton(socket.AF_INET6, text) for text in ("::1", "2001:db8::2"))
    items = [(0, 2, _number(value)) for value in (9, 0, 256)] + [(0, 1, _number(0x28)), (0, 1, b"(")]
    items += [(0, 8, _number(0) + address + bytes(4)) for address in (own, other)]
    items += [(0, 8, b"123"), (0, 2, b"9"), (0, 99, b"1234"), (41, 52, bytes(4)), (6, 1, b"")]
    items += [(1, name, b"1234") for name in (1, 2, 29, 77)]
    items6 = [(41, 52, _number(value)) for value in (9, -1, 256)] + [
        (41, 67, _number(0x28)),
        (41, 62, _number(1)),
    ]
    items6 += [(41, 50, address + bytes(4)) for address in (own6, other6)]
    items6 += [(41, 50, b"1"), (41, 52, b"1"), (41, 99, b"1"), (0, 2, _number(9)), (1, 77, b"")]
    for family, level, names, sent in (
        (socket.AF_INET, 0, (12, 13), items), (socket.AF_INET6, 41, (51, 66), items6),
    ):  # fmt: skip
        receiver, sender = _datagram_pair(socket, family)
        with receiver, sender:
            for name in names:
                receiver.setsockopt(level, name, 1)
            for item in sent:
                done = outcome(sender.sendmsg, [b"x"], [item], 0, receiver.getsockname())
                yield item, done, receiver.recvmsg(9, 200)[1:3] if done == 1 else None
            sender.connect(receiver.getsockname())
            yield sender.sendmsg([b"x"], sent[:1]), receiver.recvmsg(9, 200)[1]
    listener, client, server = _pair(socket)
    with listener, client, server:
        for item in items + items6:
            yield item, outcome(client.sendmsg, [b"x"], [item])


def queued_errors(socket: Any) -> Steps:
    """IP_RECVERR and MSG_ERRQUEUE: errors of datagrams to a closed port, and what poll says of them."""

    def events(own: Any) -> list[int]:
        poll, epoll = select.poll(), select.epoll()
        asked = select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLRDHUP
        poll.register(own, asked)
        epoll.register(own, asked)
        found = [[event for _, event in each.poll(0)] for each in (poll, epoll)]
        epoll.close()
        return found

    closed = _closed_port(socket)
    for family, level, option, where in (
        (socket.AF_INET, 0, 11, closed), (socket.AF_INET6, 41, 25, ("::1", closed[1])),
    ):  # fmt: skip
        for connected in False, True:
            for reports in False, True:
                with socket.socket(family, socket.SOCK_DGRAM) as own:
                    own.setblocking(False)
                    own.setsockopt(level, option, reports)
                    if connected:
                        own.connect(where)

                    def send(data: bytes, own: Any = own, where: Any = where) -> Any:
                        sent = outcome(own.sendto, data, where)
                        _settled(socket)
                        return sent

                    def error(own: Any = own) -> Any:
                        try:
                            data, control, flags, sender = own.recvmsg(2, 200, socket.MSG_ERRQUEUE)
                        except OSError as problem:
                            return problem.errno
                        return data, control, flags, sender[1] == closed[1]

                    yield send(b"lost"), events(own), error(), events(own), error()
                    yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), events(own)
                    yield send(b"lost"), outcome(own.recv, 9), events(own), error(), events(own)
                    yield send(b"1"), send(b"2"), send(b"3"), error(), error(), error(), events(own)
                    yield send(b"4"), own.setsockopt(level, option, 0), error(), events(own)
                    yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), events(own)


def epoll_of_errors(socket: Any) -> Steps:
    """Edge-triggered, an error is told once, and again when another one comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, select.epoll() as epoll:
        own.connect(_closed_port(socket))
        epoll.register(own, select.EPOLLIN | select.EPOLLET)
        for _ in range(2):
            own.send(b"x")
            _settled(socket)
            yield [event for _, event in epoll.poll(0)], epoll.poll(0)
            yield own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), epoll.poll(0)


def _events(*sockets: Any) -> list[int]:
    """Return what poll says of sockets, which epoll and select must say too; -1 for a closed one."""
    poll, epoll = select.poll(), select.epoll()
    watched = [own for own in sockets if own.fileno() != -1]
    for own in watched:
        for each in poll, epoll:
            each.register(own, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    found = dict(poll.poll(0))
    assert dict(epoll.poll(0)) == found
    epoll.close()
    for ready, bits in zip(
        select.select(watched, watched, [], 0),
        (select.POLLIN | select.POLLHUP | select.POLLERR, select.POLLOUT | select.POLLERR),
        strict=False,
    ):
        assert [bool(found.get(own.fileno(), 0) & bits) for own in watched] == [
            own in ready for own in watched
        ]
    return [-1 if own.fileno() == -1 else found.get(own.fileno(), 0) for own in sockets]


_STEPS = ("send", "recv", "shut 0", "shut 1", "shut 2", "close", "reset", "error", "fill", "read all")


def _step(socket: Any, own: Any, step: str) -> Any:
    """Do a step of a program with a socket that never blocks."""
    if step == "fill":
        while own.fileno() != -1 and isinstance(outcome(own.send, bytes(1 << 20)), int):
            pass
    elif step == "read all":
        while outcome(own.recv, 1 << 20) not in (b"",) and not isinstance(outcome(own.recv, 1 << 20), tuple):
            pass
    elif step == "reset":
        outcome(own.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7))
        own.close()
    elif step == "error":
        return outcome(own.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR)
    elif step.startswith("shut"):
        return outcome(own.shutdown, int(step[-1]))
    else:
        return outcome(getattr(own, step), *({"send": [b"x"], "recv": [1]}.get(step, [])))
    return None


def poll_every_state(socket: Any) -> Steps:
    """After each of many steps of both ends of a connection, poll, epoll and select are asked for all."""
    steps = [f"{end} {step}" for end in "01" for step in _STEPS]
    few = [step for step in steps if "fill" not in step]  # how much fits is the kernel's own matter
    random.seed(16)
    runs = [*itertools.product(steps, steps), *(random.choices(few, k=6) for _ in range(300))]
    for run in runs:
        listener, *ends = _pair(socket)
        for own in ends:
            own.setblocking(False)
        for step in run:
            done = _step(socket, ends[int(step[0])], step[2:])
            yield run, step, done, _events(listener, *ends)
        for own in (listener, *ends):
            own.close()


def poll_every_datagram_state(socket: Any) -> Steps:
    closed = _closed_port(socket)
    random.seed(17)
    steps = ("connect open", "connect closed", "send", "recv", "shut 0", "shut 1", "shut 2", "error", "data")
    for run in [*itertools.product(steps, repeat=3), *(random.choices(steps, k=8) for _ in range(200))]:
        own, other = _datagram_pair(socket, socket.AF_INET)
        with own, other:
            own.setblocking(False)
            for step in run:
                if step == "data":
                    other.sendto(b"x", own.getsockname())
                    done = None
                elif step.startswith("connect"):
                    done = own.connect(other.getsockname() if step.endswith("open") else closed)
                else:
                    done = _step(socket, own, step)
                yield run, step, done, _events(own)


SCRIPTS = [
    control_received, control_sent, epoll_of_errors, every_option, options_after_bind, queued_errors,
    poll_every_state, poll_every_datagram_state,
    addresses_of_datagrams, low_water, message_flags, more_options, poll_states,
    bind_ipv6, bind_misuse, closed_socket, connect_twice, datagrams, descriptors, dual_stack,
    every_call_in_every_state, in_use, listen_misuse, listener_shut_down, multicast, never_connected,
    not_blocking, options, peer_gone, refused, shut_down, stream_data, timeouts,
]  # fmt: skip
