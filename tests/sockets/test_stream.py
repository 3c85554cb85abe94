"""Blocking, buffers, options that do something."""

import socket
import struct
import sys
import threading
import time

import pytest

from demuxlab import sockets


def fill(own):
    """Send until nothing more is taken; return how much was."""
    own.setblocking(False)
    sent = 0
    try:
        while True:
            sent += own.send(bytes(1 << 16))
    except BlockingIOError:
        return sent


def test_the_host_without_link_is_made_when_it_is_needed(runtime):
    sockets.use(None)
    with sockets.create_server(("::1", 0), family=sockets.AF_INET6) as listener:
        with sockets.create_connection(listener.getsockname()[:2]) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
        with sockets.socket() as own, pytest.raises(OSError, match="Network is unreachable"):
            own.connect(("10.9.0.20", 80))


def test_dual_stack_shows_mapped_addresses():
    with sockets.create_server(("", 0), family=sockets.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with sockets.create_connection(("10.9.0.20", port)) as client:
            server, address = listener.accept()
            with server:
                assert address == ("::ffff:10.9.0.20", client.getsockname()[1], 0, 0)
                assert server.getsockname() == ("::ffff:10.9.0.20", port, 0, 0)


def test_a_send_blocks_until_the_peer_reads_and_memory_stays_bounded(pair):
    client, server = pair
    taken = fill(client)
    assert taken < 64 << 20
    client.settimeout(0.001)
    with pytest.raises(TimeoutError, match="timed out"):
        client.sendall(bytes(1 << 20))
    client.settimeout(None)
    rest = bytes(1 << 20)
    sender = threading.Thread(target=lambda: (client.sendall(rest), client.shutdown(sockets.SHUT_WR)))
    sender.start()
    received = 0
    while data := server.recv(1 << 20):
        received += len(data)
    sender.join()
    assert received >= taken + len(rest)


def test_waitall(pair):
    client, server = pair
    client.send(b"one ")
    sender = threading.Thread(target=client.sendall, args=(b"two three",))
    sender.start()
    assert server.recv(7, sockets.MSG_WAITALL) == b"one two"
    client.shutdown(sockets.SHUT_WR)
    sender.join()
    assert server.recv(100, sockets.MSG_WAITALL) == b" three"


def test_receive_timeout_of_the_kernel_kind(pair):
    client, _server = pair
    client.setsockopt(sockets.SOL_SOCKET, 20, struct.pack("ll", 0, 1000))  # SO_RCVTIMEO
    with pytest.raises(BlockingIOError):
        client.recv(1)


def test_the_default_timeout_governs():
    sockets.setdefaulttimeout(0.001)
    try:
        with sockets.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TimeoutError):
            listener.accept()
    finally:
        sockets.setdefaulttimeout(None)


def test_close_waits_for_unsent_data_as_long_as_so_linger_says(pair):
    client, server = pair
    fill(client)
    client.setblocking(True)
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 60))

    def read():
        while server.recv(1 << 16):
            pass

    reader = threading.Thread(target=read)
    reader.start()
    opened = sockets.descriptors.find(client.fileno()).opened
    client.close()
    assert opened.endpoint.unsent == 0
    reader.join()


def test_options_reach_the_endpoint(pair):
    client, _server = pair
    settings = sockets.descriptors.find(client.fileno()).opened.endpoint.settings
    for level, name, value, field, expected in (
        (sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1, "nodelay", True),
        (sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1, "keepalive", True),
        (sockets.IPPROTO_TCP, sockets.TCP_KEEPIDLE, 60, "keepalive_idle", 60.0),
        (sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, 1500, "user_timeout", 1.5),
        (sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 9), "linger", 9),
        (sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 0, 9), "linger", None),
        (sockets.SOL_SOCKET, sockets.SO_RCVBUF, 50_000, "receive_buffer", 50_000),
        (sockets.SOL_SOCKET, sockets.SO_SNDBUF, 50_000, "send_buffer", 100_000),
    ):
        client.setsockopt(level, name, value)
        assert getattr(settings, field) == expected


def test_tcp_info(pair):
    client, server = pair
    client.sendall(b"x" * 1000)
    server.recv(2000)
    info = client.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_INFO, 104)
    assert info[0] == 1  # established
    maximum_segment = struct.unpack_from("=I", info, 16)[0]
    assert maximum_segment == client.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_MAXSEG)


def test_an_error_says_what_the_endpoint_knows(pair):
    with sockets.socket() as own, pytest.raises(OSError, match="Cannot assign requested address") as caught:
        own.bind(("192.0.2.77", 80))
    assert any("not an address of this host" in note for note in caught.value.__notes__)


def test_a_deadline_is_for_the_whole_call(pair):
    client, _server = pair
    client.settimeout(0.02)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert 0.02 <= time.monotonic() - started < 5


def test_room_that_sending_itself_makes_is_not_missed(pair):
    """Inside one host the acknowledgments arrive while the sender still sends: no later event wakes it."""
    client, server = pair
    server.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 20)
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 1 << 14)
    client.settimeout(5)
    client.sendall(bytes(200_000))
    assert len(server.recv(200_000, sockets.MSG_WAITALL)) == 200_000


def test_tcp_inq_tells_with_each_message_how_much_is_left(pair):
    client, server = pair
    server.setsockopt(socket.IPPROTO_TCP, 36, 1)
    client.sendall(bytes(1000))
    data, control, _, _ = server.recvmsg(400, 64)
    assert len(data) == 400
    assert control == [(socket.IPPROTO_TCP, 36, (600).to_bytes(4, sys.byteorder))]
    assert server.recvmsg(600, 0)[1] == [], "without room there is no control message"


def test_more_data_is_announced_by_a_flag(pair):
    client, server = pair
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.send(b"a", socket.MSG_MORE)
    client.send(b"b")
    assert server.recv(2) == b"ab"


def test_a_buffer_whose_reader_gives_up_gets_no_more(pair):
    client, server = pair
    buffer = bytearray(100)
    server.settimeout(0.001)
    with pytest.raises(TimeoutError):
        server.recv_into(buffer)
    client.send(b"late")
    assert bytes(buffer) == bytes(100)
    buffer += b"."  # no view of it is left
    assert server.recv(9) == b"late"
