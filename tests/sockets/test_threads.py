"""Several threads, and signals."""

import errno
import signal
import threading

import pytest

from demuxlab import sockets


def in_thread(call, *arguments):
    """Call in another thread; return a function that waits for the outcome."""
    outcome = []

    def run():
        try:
            outcome.append(call(*arguments))
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join(30)
        assert not thread.is_alive()
        return outcome[0]

    return wait


@pytest.mark.parametrize("kind", [sockets.SOCK_STREAM, sockets.SOCK_DGRAM])
def test_closing_wakes_the_receiver(kind, pair):
    own = pair[0] if kind == sockets.SOCK_STREAM else sockets.socket(sockets.AF_INET, kind)
    outcome = in_thread(own.recv, 1)
    own.close()
    assert outcome().errno == errno.EBADF


def test_closing_wakes_accept():
    listener = sockets.create_server(("127.0.0.1", 0))
    outcome = in_thread(listener.accept)
    listener.close()
    assert outcome().errno == errno.EBADF


def test_closing_one_of_two_descriptors_wakes_its_user_only(pair):
    client, server = pair
    copy = server.dup()
    by_server, by_copy = in_thread(server.recv, 1), in_thread(copy.recv, 1)
    server.close()
    assert by_server().errno == errno.EBADF
    client.send(b"x")
    assert by_copy() == b"x"
    copy.close()


def test_shutting_down_wakes_accept():
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        outcome = in_thread(listener.accept)
        listener.shutdown(sockets.SHUT_RD)
        assert outcome().errno == errno.EINVAL


def test_one_thread_sends_while_another_receives_on_one_socket(pair):
    client, server = pair
    data = bytes(range(256)) * 20_000

    def echo():
        while piece := server.recv(1 << 16):
            server.sendall(piece)
        server.shutdown(sockets.SHUT_WR)

    def send():
        client.sendall(data)
        client.shutdown(sockets.SHUT_WR)

    waits = in_thread(echo), in_thread(send)
    received = bytearray()
    while piece := client.recv(1 << 16):
        received += piece
    assert received == data
    assert [wait() for wait in waits] == [None, None]


def test_a_packet_wakes_only_threads_that_wait_for_its_socket(pair):
    client, server = pair
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        opened = sockets.descriptors.find(other.fileno()).opened
        before = opened.changes
        client.send(b"x")
        assert server.recv(1) == b"x"
        assert opened.changes == before


def test_an_interrupt_gets_through(pair):
    main = threading.main_thread().ident
    interrupt = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT))

    def wait():
        interrupt.start()
        pair[0].recv(1)

    with pytest.raises(KeyboardInterrupt):
        wait()
    interrupt.join()
    pair[1].send(b"still usable")
    assert pair[0].recv(100) == b"still usable"


def test_a_signal_without_exception_does_not_end_the_wait(pair):
    handled = []
    before = signal.signal(signal.SIGUSR1, lambda *_: (handled.append(1), pair[1].send(b"from the handler")))
    try:
        threading.Thread(
            target=signal.pthread_kill, args=(threading.main_thread().ident, signal.SIGUSR1)
        ).start()
        assert pair[0].recv(100) == b"from the handler"
        assert handled == [1]
    finally:
        signal.signal(signal.SIGUSR1, before)
