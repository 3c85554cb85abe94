"""select, poll and epoll on our descriptors: level and edge."""

import errno
import fcntl
import os
import select
import selectors
import signal
import struct

import pytest

from demuxlab import sockets
from demuxlab.sockets import pollable

IN, OUT, ET = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET


def ready(*watched):
    """Return (readable, writable) of each, as select and poll find it; the two must agree."""
    by_select = select.select(watched, watched, [], 0)
    poll = select.poll()
    for own in watched:
        poll.register(own, IN | OUT)
    polled = dict(poll.poll(0))
    result = []
    for own in watched:
        found = own in by_select[0], own in by_select[1]
        events = polled.get(own.fileno(), 0)
        assert found == (bool(events & IN), bool(events & OUT))
        result.append(found)
    return result[0] if len(result) == 1 else result


def fill(own):
    """Send until nothing more is taken; return how much was."""
    own.setblocking(False)
    sent = 0
    try:
        while True:
            sent += own.send(bytes(65536))
    except BlockingIOError:
        return sent


def drain(own, size):
    while size:
        size -= len(own.recv(min(size, 1 << 16)))


def test_data_makes_readable_and_reading_ends_it(pair):
    client, server = pair
    assert ready(client, server) == [(False, True), (False, True)]
    client.send(b"ab")
    assert ready(server) == (True, True)
    server.recv(1)
    assert ready(server) == (True, True)
    server.recv(1)
    assert ready(server) == (False, True)


def test_the_end_and_a_reset_make_readable(pair):
    client, server = pair
    assert not ready(client)[0]
    server.shutdown(sockets.SHUT_WR)
    assert ready(client) == (True, True)
    client.recv(1)
    assert ready(client) == (True, True)
    server.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    assert ready(client) == (True, True)


def test_a_full_send_buffer_is_not_writable_until_the_peer_reads(pair):
    client, server = pair
    assert ready(client) == (False, True)
    sent = fill(client)
    assert ready(client) == (False, False)
    drain(server, sent)
    assert ready(client) == (False, True)


def urgent(own):
    """Tell whether select, poll and epoll announce urgent data; the three must agree."""
    poll = select.poll()
    poll.register(own, select.POLLPRI)
    with select.epoll() as epoll:
        epoll.register(own, select.EPOLLPRI)
        found = {bool(select.select([], [], [own], 0)[2]), bool(poll.poll(0)), bool(epoll.poll(0))}
    assert len(found) == 1
    return found.pop()


def test_urgent_data_is_announced_until_it_is_read(pair):
    client, server = pair
    assert not urgent(server)
    client.send(b"abc", sockets.MSG_OOB)
    assert (urgent(server), server.recv(1)) == (True, b"a")
    assert (server.recv(1, sockets.MSG_OOB), urgent(server)) == (b"c", False)
    assert (ready(server), server.recv(9), ready(server)) == ((True, True), b"b", (False, True))
    client.send(b"de", sockets.MSG_OOB)
    client.send(b"f")
    assert (urgent(server), server.recv(9), urgent(server)) == (True, b"d", True)
    client.send(b"g")
    assert (server.recv(9), urgent(server), ready(server)) == (b"fg", False, (False, True))


def test_urgent_data_in_the_stream_is_announced_until_it_is_read(pair):
    client, server = pair
    server.setsockopt(sockets.SOL_SOCKET, sockets.SO_OOBINLINE, 1)
    client.send(b"ab", sockets.MSG_OOB)
    client.shutdown(sockets.SHUT_WR)
    assert (urgent(server), server.recv(9), urgent(server)) == (True, b"a", True)
    assert (server.recv(9), urgent(server), ready(server)) == (b"b", False, (True, True))


def test_an_urgent_byte_alone_is_announced_once_to_those_who_read_the_stream(pair):
    client, server = pair
    server.setblocking(False)
    client.send(b"a", sockets.MSG_OOB)
    assert (urgent(server), ready(server)) == (True, (True, True))
    with pytest.raises(BlockingIOError):
        server.recv(9)
    assert (urgent(server), ready(server)) == (False, (False, True))
    assert server.recv(9, sockets.MSG_OOB) == b"a"
    client.send(b"b", sockets.MSG_OOB)
    assert (urgent(server), server.recv(9, sockets.MSG_OOB), urgent(server)) == (True, b"b", False)


@pytest.mark.parametrize("blocking", [True, False])
def test_an_urgent_byte_sends_sigurg_to_the_owner_and_blocks_no_reader(pair, blocking):
    client, server = pair
    server.setblocking(blocking)
    fcntl.fcntl(server.fileno(), fcntl.F_SETOWN, os.getpid())
    caught = []
    before = signal.signal(
        signal.SIGURG, lambda _number, _frame: caught.append(server.recv(1, sockets.MSG_OOB))
    )
    try:
        for byte in (b"a", b"b"):
            client.send(byte, sockets.MSG_OOB)
            assert ready(server) == (False, True)
    finally:
        signal.signal(signal.SIGURG, before)
    assert caught == [b"a", b"b"]


def test_a_listener_is_readable_while_connections_wait():
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        assert ready(listener) == (False, False)
        with sockets.create_connection(listener.getsockname()):
            assert ready(listener) == (True, False)
            listener.accept()[0].close()
            assert ready(listener) == (False, False)


@pytest.mark.parametrize("there_is_a_server", [True, False])
def test_connecting_becomes_writable_when_it_ends(there_is_a_server):
    with sockets.create_server(("127.0.0.1", 0)) as listener, sockets.socket() as own:
        if not there_is_a_server:
            listener.close()
        address = ("127.0.0.1", 1) if not there_is_a_server else listener.getsockname()
        own.setblocking(False)
        assert own.connect_ex(address) == errno.EINPROGRESS
        assert ready(own) == (not there_is_a_server, True)
        expected = 0 if there_is_a_server else errno.ECONNREFUSED
        assert own.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR) == expected


@pytest.mark.parametrize("name", ["recv", "recvfrom", "recvmsg"])
def test_datagrams(name):
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        assert ready(own) == (False, True)
        own.sendto(b"", own.getsockname())
        assert ready(own) == (True, True)
        number = own.fileno()
        getattr(own, name)(1)
        assert select.select([number], [number], [], 0) == ([], [number], [])


def test_edges(pair):
    client, server = pair
    with select.epoll() as epoll:
        epoll.register(server, IN | OUT | ET)
        assert epoll.poll(0) == [(server.fileno(), OUT)]
        assert epoll.poll(0) == []
        client.send(b"one")
        assert epoll.poll(0) == [(server.fileno(), IN | OUT)]
        assert epoll.poll(0) == []
        client.send(b"two")  # more, while the first lies unread
        assert epoll.poll(0) == [(server.fileno(), IN | OUT)]
        assert epoll.poll(0) == []
        assert server.recv(100) == b"onetwo"
        assert epoll.poll(0) == []
        client.send(b"three")
        assert epoll.poll(0) == [(server.fileno(), IN | OUT)]


def test_edge_of_writing(pair):
    client, server = pair
    with select.epoll() as epoll:
        epoll.register(client, OUT | ET)
        assert epoll.poll(0) == [(client.fileno(), OUT)]
        sent = fill(client)
        assert epoll.poll(0) == []
        drain(server, sent)
        assert epoll.poll(0) == [(client.fileno(), OUT)]
        assert epoll.poll(0) == []


def test_exclusive_registrations_of_one_listener():
    exclusive = IN | select.EPOLLEXCLUSIVE
    with sockets.create_server(("127.0.0.1", 0)) as listener, select.epoll() as one, select.epoll() as two:
        for epoll in one, two:
            epoll.register(listener, exclusive)
            with pytest.raises(OSError, match=f"Errno {errno.EINVAL}"):
                epoll.modify(listener, exclusive)  # epoll_ctl(2): only EPOLL_CTL_ADD knows it
            assert epoll.poll(0) == []
        with sockets.create_connection(listener.getsockname()):
            # The connection would wake one of two threads; each that asks anew is answered.
            for epoll in one, two:
                assert epoll.poll(0) == [(listener.fileno(), IN)]
            listener.accept()[0].close()
            for epoll in one, two:
                assert epoll.poll(0) == []


def test_closing_leaves_the_epoll_by_itself(pair):
    client, server = pair
    with select.epoll() as epoll:
        number = server.fileno()
        epoll.register(number, IN)
        client.send(b"x")
        assert epoll.poll(0) == [(number, IN)]
        server.close()
        assert epoll.poll(0) == []
        with pytest.raises(OSError, match=f"Errno {errno.EBADF}"):
            epoll.unregister(number)
        with pytest.raises(OSError, match=f"Errno {errno.EBADF}"):
            os.fstat(number)


def test_selectors(pair):
    client, server = pair
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ, "data")
        assert selector.select(0) == []
        client.send(b"x")
        assert [(key.data, events) for key, events in selector.select(0)] == [("data", selectors.EVENT_READ)]
        selector.unregister(server)


def test_a_duplicate_is_polled_too(pair):
    client, server = pair
    first = server.fileno()
    with server.dup() as copy:
        assert copy.fileno() != first
        server.close()
        client.send(b"x")
        assert ready(copy) == (True, True)
        copy.recv(1)
        assert ready(copy) == (False, True)


def test_a_thread_in_poll_is_woken_by_another_thread(pair):
    import threading

    client, server = pair
    poll = select.poll()
    poll.register(server, IN)
    sender = threading.Thread(target=client.send, args=(b"x",))
    sender.start()
    assert poll.poll(10_000) == [(server.fileno(), IN)]
    sender.join()


def test_sendfile_sends_through_our_transport(pair, tmp_path):
    client, server = pair
    (tmp_path / "page").write_bytes(b"the page")
    with (tmp_path / "page").open("rb") as file:
        assert client.sendfile(file) == 8
    assert server.recv(100) == b"the page"


def test_a_number_closed_with_os_close_is_forgotten(pair):
    client, server = pair
    number = server.detach()
    os.close(number)
    with pytest.raises(OSError, match=f"Errno {errno.EBADF}"):
        sockets.socket(fileno=number)
    client.settimeout(5)
    assert client.recv(1) == b""  # and so its socket was closed


def test_a_connect_after_a_refused_one_keeps_its_registration():
    """asyncio registers a socket once, and connects again before it hears that the first was given up."""
    with sockets.socket() as listener, sockets.socket() as own, select.epoll() as epoll:
        listener.bind(("127.0.0.1", 0))
        own.setblocking(False)
        assert own.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        epoll.register(own, OUT)
        assert epoll.poll(0)[0][1] & select.EPOLLERR
        listener.listen()
        assert own.connect_ex(listener.getsockname()) == errno.ECONNREFUSED
        assert own.connect_ex(listener.getsockname()) == errno.EINPROGRESS
        assert epoll.poll(1) == [(own.fileno(), OUT)]
        epoll.unregister(own)


def test_what_a_library_in_c_writes_is_reported(pair, capfd, monkeypatch):
    client, _server = pair
    monkeypatch.setattr(pollable, "_reported", [])
    os.write(client.fileno(), b"by write(2)")
    client.close()
    assert "what it wrote is lost" in capfd.readouterr().err
