"""fork(2): the child's sockets go on, through the parent; nothing hangs, nothing stays behind."""

import errno
import fcntl
import gc
import os
import select
import struct
import termios
import threading
import traceback
import warnings

import pytest

from demuxlab import sockets
from demuxlab.host import Host
from demuxlab.runtime import Runtime
from demuxlab.sockets import current, forking
from demuxlab.sockets import system_calls as calls
from demuxlab.sockets.descriptors import descriptors


def fork(program, *arguments):
    """Run a function in a child; return its process number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: this process has threads
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        program(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def in_child(program, *arguments):
    """Run a function in a child, and wait until it has succeeded."""
    assert os.waitpid(fork(program, *arguments), 0)[1] == 0


@pytest.fixture(params=[False, True], ids=["polled", "not polled"])
def listener(request):
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        if request.param:
            listener.fileno()
        yield listener


def test_a_fork_closes_nothing_that_a_stopped_host_had():
    running = Runtime(Host("B", ["10.9.0.20"]))
    running.start()
    running.stop()
    taken = [number for _ in range(8) for number in os.pipe()]  # its numbers are among them
    child = fork(lambda: [os.fstat(number) for number in taken])
    for number in taken:
        os.close(number)
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_serves_what_its_parent_listens_for(listener):
    def serve():
        for _ in range(2):
            own, peer = listener.accept()
            assert own.getpeername() == peer
            with own, own.makefile("rwb") as file:
                file.write(file.readline().upper())

    child = fork(serve)
    for _ in range(2):
        with sockets.create_connection(listener.getsockname()) as client:
            client.sendall(b"hello\n")
            assert client.recv(99) == b"HELLO\n"
            assert client.recv(99) == b""
    assert os.waitpid(child, 0)[1] == 0


def test_a_connection_is_open_until_parent_and_child_have_closed_it(pair):
    client, server = pair
    reader, writer = os.pipe()

    def answer():
        os.read(reader, 1)
        server.sendall(b"from the child")

    child = fork(answer)
    server.close()  # as ForkingMixIn does
    client.settimeout(10)
    os.write(writer, b"x")
    assert client.recv(99) == b"from the child"
    assert client.recv(99) == b""  # the child has ended
    os.waitpid(child, 0)
    for number in reader, writer:
        os.close(number)


def test_a_connection_in_the_middle_of_accept_is_its_threads_alone(listener):
    with sockets.create_connection(listener.getsockname()) as client:
        number, _ = listener._accept()  # from here on a thread knows the number, and makes an object for it
        child = fork(threading.Event().wait)
        try:
            with sockets.socket(fileno=number) as server:
                server.sendall(b"hello")
                assert client.recv(5) == b"hello"
            client.settimeout(10)
            assert client.recv(5) == b""  # although the child lives
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


def test_a_fork_without_our_sockets_releases_no_lock_of_an_earlier_fork(listener, monkeypatch):
    in_child(lambda: None)
    listener.close()
    monkeypatch.setattr(current, "in_use", lambda: None)
    monkeypatch.setattr(forking, "descriptors", [])
    in_child(lambda: None)  # the hook's error would be an unraisable exception, which fails a test here
    gc.collect()


def test_a_child_that_is_killed_closes_its_sockets(pair):
    client, server = pair
    child = fork(threading.Event().wait)
    server.close()
    os.kill(child, 9)
    os.waitpid(child, 0)
    client.settimeout(10)
    assert client.recv(1) == b""


def test_every_call(listener):
    def program():
        with sockets.socket() as own:
            own.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
            assert own.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE) == 1
            own.bind(("127.0.0.1", 0))
            own.connect(listener.getsockname())
            assert own.getpeername() == listener.getsockname()
            server, peer = listener.accept()
            assert peer == own.getsockname()
            with server:
                _every_transfer(own, server)
        with sockets.socket() as own, pytest.raises(ConnectionRefusedError):
            own.connect(("127.0.0.1", 1))
        with sockets.socket() as own, pytest.raises(OSError, match="Address already in use"):
            own.bind(listener.getsockname())

    in_child(program)


def _every_transfer(own, server):
    assert own.send(b"123456") == 6
    count = bytearray(4)
    calls.ioctl(server, termios.FIONREAD, count)
    assert struct.unpack("i", count) == (6,)
    assert server.recv(2, sockets.MSG_PEEK) == b"12"
    assert server.recv(6, sockets.MSG_WAITALL) == b"123456"
    assert calls.write(own.fileno(), b"file") == 4
    buffer = bytearray(9)
    assert server.recv_into(buffer) == 4
    assert buffer[:4] == b"file"
    assert select.select([server], [own], [], 0) == ([], [own], [])
    server.settimeout(0.001)
    with pytest.raises(TimeoutError):
        server.recv(1)
    server.setblocking(False)
    assert calls.control(server, fcntl.F_GETFL) & os.O_NONBLOCK
    with pytest.raises(BlockingIOError):
        server.recv(1)
    server.setblocking(True)
    data = os.urandom(300_000)
    sender = threading.Thread(target=own.sendall, args=(data,))
    sender.start()
    assert server.recv(300_000, sockets.MSG_WAITALL) == data
    sender.join()
    copy = own.dup()
    own.shutdown(sockets.SHUT_WR)
    assert server.recv(1) == b""
    copy.close()
    assert server.sendmsg([b"a", b"b"]) == 2
    assert own.recvmsg(9)[0] == b"ab"


def test_datagrams():
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))

        def program():
            with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as other:
                other.sendto(b"question", own.getsockname())
                data, sender = own.recvfrom(99)
                own.sendto(data[::-1], sender)
                assert other.recvmsg(4)[:3] == (b"noit", [], sockets.MSG_TRUNC)
                with pytest.raises(OSError, match="Message too long"):
                    other.sendto(bytes(70_000), own.getsockname())
                assert other.sendto(bytes(65_507), own.getsockname()) == 65_507
                assert len(own.recv(70_000)) == 65_507

        in_child(program)


def test_a_grandchild_has_them_too(listener):
    def serve():
        own, _ = listener.accept()

        def answer():
            own.sendall(b"from the grandchild")

        with own:
            in_child(answer)

    child = fork(serve)
    with sockets.create_connection(listener.getsockname()) as client:
        assert client.recv(99) == b"from the grandchild"
        assert client.recv(99) == b""
    assert os.waitpid(child, 0)[1] == 0


def test_a_child_may_fork_while_its_threads_open_sockets():
    def program():
        host = current.in_use()
        ask = host.call

        def call(*request, passed=()):
            answer = ask(*request, passed=passed)
            if request[0] == "fork":
                late.append(sockets.socket())
            return answer

        late, host.call = [], call

        def use():
            assert current.in_use() is not host  # but with a channel of its own
            sockets.socket().bind(("127.0.0.1", 0))

        in_child(use)
        late[0].bind(("127.0.0.1", 0))

    with sockets.socket():
        in_child(program)


def test_a_child_may_have_a_host_of_its_own():
    def program():
        with Runtime(Host("C", ["10.9.0.30"])) as runtime, sockets.on(runtime):
            with sockets.create_server(("10.9.0.30", 80)) as listener:
                client = sockets.create_connection(("10.9.0.30", 80))
                client.close()
                listener.accept()[0].close()
            in_child(descriptors.close_all)

    in_child(program)


def test_a_child_that_outlives_its_parent_gets_an_error_that_says_so(listener):
    reader, writer = os.pipe()
    errors, told = os.pipe()

    def outlive():
        os.close(writer)
        os.read(reader, 1)  # until the parent has ended
        try:
            listener.accept()
        except OSError as error:
            os.write(told, f"{error.errno} {error}".encode())

    def parent():
        # A first process of its own, whose end is the end of its host.
        with Runtime(Host("C", ["10.9.0.30"])) as runtime:
            sockets.use(runtime)
            nonlocal listener
            listener = sockets.create_server(("10.9.0.30", 80))
            fork(outlive)

    in_child(parent)
    os.close(writer)
    os.close(told)
    with os.fdopen(errors) as file:
        text = file.read()
    os.close(reader)
    assert text.startswith(str(errno.ENETDOWN))
    assert "has ended" in text


def test_forks_while_threads_serve_hang_nothing_and_leave_nothing_behind(pair):
    client, server = pair
    stop = threading.Event()

    def send():
        while not stop.is_set():
            client.sendall(bytes(5000))

    def receive():
        while server.recv(65_536):
            pass

    def use():
        with sockets.socket() as own:
            own.bind(("127.0.0.1", 0))
        assert client.getpeername() == server.getsockname()

    threads = [threading.Thread(target=target) for target in (send, receive)]
    for thread in threads:
        thread.start()
    in_child(use)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        in_child(use)
    stop.set()
    threads[0].join()
    client.shutdown(sockets.SHUT_WR)
    threads[1].join()
    in_child(use)
    assert len(os.listdir("/proc/self/fd")) <= before + 2  # of the last ones' channels, until they are read
