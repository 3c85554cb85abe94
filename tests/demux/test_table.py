"""bind, listen, connect and close: what is allowed, and the errno of what is not."""

import errno

import pytest

from demuxlab.demux.slot import in_one_group
from demuxlab.demux.socket import BOUND, CLOSED, ESTABLISHED, LISTEN, Socket
from demuxlab.demux.table import SocketTable
from demuxlab.wire import ip
from demuxlab.wire.address import ANY_IPV4, ANY_IPV6, from_text, mapped

B, OTHER, PEER = from_text("10.9.0.20"), from_text("10.9.0.21"), from_text("10.9.0.10")
B6, PEER6 = from_text("fd09::20"), from_text("fd09::10")


@pytest.fixture
def table():
    return SocketTable([B, OTHER, B6])


def tcp(**options):
    return Socket(ip.TCP, **options)


def udp(**options):
    return Socket(ip.UDP, **options)


def refused(code, call, *arguments):
    with pytest.raises(OSError) as error:
        call(*arguments)
    assert error.value.errno == code, errno.errorcode[error.value.errno]
    return True


def test_bind_gives_address_port_and_a_queue_number(table):
    first, second = udp(name="P1"), udp(name="P2")
    table.bind(first, B, 53)
    table.bind(second, B, 54)
    assert (first.local_address, first.local_port, first.state) == (B, 53, BOUND)
    assert (first.number, second.number) == (1, 2)
    assert list(table) == [first, second]
    assert len(table) == 2


def test_a_socket_is_bound_once(table):
    socket = udp()
    table.bind(socket, B, 53)
    assert refused(errno.EINVAL, table.bind, socket, B, 54)


def test_only_the_host_s_own_addresses_can_be_bound(table):
    assert refused(errno.EADDRNOTAVAIL, table.bind, udp(), PEER, 53)
    table.bind(udp(), from_text("224.0.0.1"), 53)


def test_families_do_not_mix(table):
    assert refused(errno.EAFNOSUPPORT, table.bind, udp(), B6, 53)
    assert refused(errno.EAFNOSUPPORT, table.bind, udp(family=6), B, 53)
    assert refused(errno.EINVAL, table.bind, udp(family=6, v6only=True), mapped(B), 53)


FOUR, DUAL, V6ONLY = {}, {"family": 6}, {"family": 6, "v6only": True}


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ((FOUR, B), (FOUR, B), True),
        ((FOUR, B), (FOUR, OTHER), False),
        ((FOUR, B), (FOUR, ANY_IPV4), True),
        ((FOUR, ANY_IPV4), (FOUR, B), True),
        ((FOUR, ANY_IPV4), (FOUR, ANY_IPV4), True),
        ((FOUR, ANY_IPV4), (DUAL, ANY_IPV6), True),
        ((DUAL, ANY_IPV6), (FOUR, B), True),
        ((V6ONLY, ANY_IPV6), (FOUR, ANY_IPV4), False),
        ((V6ONLY, ANY_IPV6), (DUAL, ANY_IPV6), True),
        ((DUAL, mapped(B)), (FOUR, B), True),
        ((DUAL, mapped(B)), (V6ONLY, ANY_IPV6), False),
        ((DUAL, B6), (FOUR, ANY_IPV4), False),
        ((DUAL, B6), (DUAL, ANY_IPV6), True),
    ],
)
def test_overlapping_addresses_conflict(table, first, second, conflict):
    table.bind(udp(**first[0]), first[1], 53)
    if conflict:
        assert refused(errno.EADDRINUSE, table.bind, udp(**second[0]), second[1], 53)
    else:
        table.bind(udp(**second[0]), second[1], 53)
    table.bind(udp(**second[0]), second[1], 54)
    table.bind(tcp(**second[0]), second[1], 53)


@pytest.mark.parametrize("make", [tcp, udp])
@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ({}, {"reuse_address": True}, False),
        ({"reuse_address": True}, {}, False),
        ({"reuse_address": True}, {"reuse_address": True}, True),
        ({"reuse_port": True}, {"reuse_address": True}, False),
        ({"reuse_port": True}, {"reuse_port": True}, True),
        ({"reuse_address": True, "reuse_port": True}, {"reuse_port": True}, True),
    ],
)
def test_an_overlap_is_allowed_where_both_agree(table, make, first, second, allowed):
    table.bind(make(**first), B, 53)
    if allowed:
        table.bind(make(**second), ANY_IPV4, 53)
    else:
        assert refused(errno.EADDRINUSE, table.bind, make(**second), ANY_IPV4, 53)


def test_the_mapped_wildcard_takes_ipv4_alone(table):
    """::ffff:0.0.0.0 is 0.0.0.0 of an IPv6 socket, and in no SO_REUSEPORT group with ::."""
    every, only4 = (udp(family=6, reuse_port=True) for _ in range(2))
    table.bind(every, ANY_IPV6, 53)
    table.bind(only4, mapped(ANY_IPV4), 53)
    assert (only4.wildcards, every.wildcards) == ((ANY_IPV4,), (ANY_IPV6, ANY_IPV4))
    assert not in_one_group(every, only4)
    table.bind(udp(family=6, v6only=True), ANY_IPV6, 54)
    table.bind(udp(family=6), mapped(ANY_IPV4), 54)
    assert refused(errno.EADDRINUSE, table.bind, udp(), ANY_IPV4, 54)


def test_devices_keep_sockets_apart(table):
    table.bind(udp(device="a"), B, 53)
    table.bind(udp(device="b"), B, 53)
    assert refused(errno.EADDRINUSE, table.bind, udp(), B, 53)
    assert refused(errno.EADDRINUSE, table.bind, udp(device="a"), B, 53)


def test_a_listening_socket_does_not_share_by_reuse_address(table):
    first, second, third = (tcp(reuse_address=True) for _ in range(3))
    table.bind(first, B, 80)
    table.bind(second, B, 80)
    table.listen(first)
    assert refused(errno.EADDRINUSE, table.listen, second)
    assert second.state == BOUND
    assert refused(errno.EADDRINUSE, table.bind, third, ANY_IPV4, 80)
    table.close(first)
    table.listen(second)
    assert second.state == LISTEN


def test_two_listeners_share_by_reuse_port(table):
    for address in (B, ANY_IPV4, B):
        socket = tcp(reuse_port=True)
        table.bind(socket, address, 80)
        table.listen(socket)
    assert len(table) == 3


def test_who_may_listen(table):
    assert refused(errno.EOPNOTSUPP, table.listen, udp())
    assert refused(errno.EINVAL, table.listen, tcp())
    connected = tcp()
    table.bind(connected, B, 5000)
    table.connect(connected, B, PEER, 80)
    assert refused(errno.EINVAL, table.listen, connected)


def test_connect_fixes_the_local_address(table):
    socket = udp()
    table.bind(socket, ANY_IPV4, 5000)
    table.connect(socket, B, PEER, 53)
    assert (socket.local_address, socket.remote_address, socket.state) == (B, PEER, ESTABLISHED)
    table.bind(udp(), OTHER, 5000)


def test_who_may_connect(table):
    assert refused(errno.EINVAL, table.connect, tcp(), B, PEER, 80)
    socket, twin = tcp(reuse_address=True), tcp(reuse_address=True)
    table.bind(socket, B, 5000)
    table.bind(twin, B, 5000)
    table.connect(socket, B, PEER, 80)
    assert refused(errno.EISCONN, table.connect, socket, B, PEER, 81)
    assert refused(errno.EADDRNOTAVAIL, table.connect, twin, B, PEER, 80)
    assert refused(errno.EAFNOSUPPORT, table.connect, twin, B, PEER6, 80)


def test_data_sockets_keep_the_port_after_their_listener_is_gone(table):
    listener, child = tcp(), tcp()
    table.bind(listener, ANY_IPV4, 80)
    table.listen(listener)
    table.establish(child, (B, 80), (PEER, 9157))
    table.close(listener)
    assert refused(errno.EADDRINUSE, table.bind, tcp(), B, 80)
    assert refused(errno.EADDRNOTAVAIL, table.establish, tcp(), (B, 80), (PEER, 9157))
    table.close(child)
    table.bind(tcp(), B, 80)


def test_everything_closed_leaves_nothing(table):
    sockets = [udp(reuse_port=True) for _ in range(3)] + [udp(family=6, reuse_port=True)]
    for socket in sockets[:3]:
        table.bind(socket, ANY_IPV4, 53)
    table.bind(sockets[3], ANY_IPV6, 53)
    table.connect(sockets[1], B, PEER, 99)
    listener, child = tcp(), tcp()
    table.bind(listener, B, 53)
    table.listen(listener)
    table.establish(child, (B, 53), (PEER, 1))
    for socket in [*sockets, listener, child, child]:
        table.close(socket)
        assert socket.state == CLOSED
    assert len(table) == 0
    leftovers = [table._slots[ip.TCP], table._slots[ip.UDP], table._connections, table._connected]
    assert leftovers == [{}, {}, {}, {}]
    assert table._in_use._counts == {}
