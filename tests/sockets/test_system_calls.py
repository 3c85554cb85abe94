"""read(2), write(2), sendfile(2), dup(2), fcntl(2), … on our descriptors, as `demuxlab exec` has them."""

import array
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest

from demuxlab import sockets
from demuxlab.sockets import system_calls as calls
from demuxlab.sockets.descriptors import descriptors

RESET = struct.pack("ii", 1, 0)


class Interrupted(Exception):
    pass


def interrupt(*_):
    raise Interrupted


SENDING = ("send", "sendall", "sendmsg", "sendto")
RECEIVING = ("recv_into", "recvfrom_into", "recvmsg_into")


@pytest.mark.parametrize("end", ["reset", "EAGAIN", "interrupted"])
@pytest.mark.parametrize("name", SENDING + RECEIVING)
def test_a_call_that_fails_leaves_the_buffer_to_its_owner(pair, name, end):
    """The exception's frames kept a view of the buffer, so that it could not be resized (BufferError)."""
    client, server = pair
    if end == "reset":
        client.sendall(b"data that is never read")
        server.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, RESET)
        server.close()
    _fails_and_leaves(client, name, end)


@pytest.mark.parametrize("end", ["EAGAIN", "interrupted"])
@pytest.mark.parametrize("name", RECEIVING)
def test_so_does_one_of_datagrams(name, end):
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        _fails_and_leaves(own, name, end)


def _fails_and_leaves(own, name, end):
    buffer = bytearray(400_000)
    given = [buffer] if "msg" in name else buffer
    more = (("127.0.0.1", 9),) if name == "sendto" else ()
    if end == "EAGAIN":
        own.setblocking(False)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        if end == "interrupted":
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        for _ in range(99):
            getattr(own, name)(given, *more)
    except (OSError, Interrupted):
        buffer.clear()
    else:
        raise AssertionError("the call did not fail")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_reading_and_writing(pair):
    client, server = (own.fileno() for own in pair)
    assert calls.write(client, b"one two") == 7
    assert calls.read(server, 3) == b"one"
    buffers = [bytearray(2), bytearray(9)]
    assert calls.readv(server, buffers) == 4
    assert bytes(buffers[0] + buffers[1][:2]) == b" two"
    assert calls.writev(client, [b"a", b"bc"]) == 3
    assert calls.read(server, 99) == b"abc"
    pair[0].close()
    assert calls.read(server, 99) == b""


def test_vectors_may_be_empty_and_not_too_long(pair):
    client, server = pair
    server.setblocking(False)
    assert calls.readv(server.fileno(), []) == calls.readv(server.fileno(), [bytearray(0)]) == 0
    for call in calls.readv, calls.writev:
        with pytest.raises(OSError, match="Invalid argument"):
            call(client.fileno(), [bytearray(1)] * 1025)
    for call in client.sendmsg, server.recvmsg_into:
        with pytest.raises(OSError, match="Message too long"):
            call([bytearray(1)] * 1025)
    assert client.sendmsg([b"x"] * 1024) == 1024


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_splice_copies_between_a_pipe_and_a_socket(pair, pipe):
    (client, server), (reader, writer) = pair, pipe
    client.sendall(b"from the socket")
    assert calls.splice(server.fileno(), writer, 4) == 4
    assert calls.splice(server.fileno(), writer, 99) == 11
    assert calls.splice(reader, server.fileno(), 99) == 15
    assert client.recv(99) == b"from the socket"
    for source, target, more, code in (
        (server.fileno(), client.fileno(), (), errno.EINVAL),
        (server.fileno(), writer, (0,), errno.ESPIPE),
    ):
        with pytest.raises(OSError, match=os.strerror(code)):
            calls.splice(source, target, 9, *more)
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        calls.splice(server.fileno(), writer, 9)
    server.shutdown(sockets.SHUT_WR)
    os.write(writer, b"stays")
    with pytest.raises(BrokenPipeError):
        calls.splice(reader, server.fileno(), 99)
    assert os.read(reader, 99) == b"stays"


def test_splice_waits_for_room_before_it_takes_from_the_pipe(pair, pipe):
    (client, _), (reader, writer) = pair, pipe
    client.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            client.send(bytes(65_536))
    os.write(writer, b"stays")
    with pytest.raises(BlockingIOError):
        calls.splice(reader, client.fileno(), 99)
    assert os.read(reader, 99) == b"stays"


def test_sendfile_takes_files_alone(pair, pipe):
    client, server = pair
    for source in server.fileno(), pipe[0]:
        for offset, code in (None, errno.EINVAL), (0, errno.ESPIPE):
            with pytest.raises(OSError, match=os.strerror(code)):
                calls.sendfile(client.fileno(), source, offset, 9)


@pytest.mark.parametrize("first", ["original", "copy"])
def test_every_descriptor_of_a_socket_is_closed(pair, first):
    client, server = pair
    server.fileno()
    before = len(os.listdir("/proc/self/fd"))
    copy = calls.dup(client.fileno())
    if first == "original":
        client.close()
    calls.close(copy)
    client.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert server.recv(1) == b""


def test_after_dup2_a_socket_object_is_what_its_number_is():
    (one, far_one), (two, far_two) = connected(), connected()
    with one, far_one, two, far_two:
        spare = calls.dup(one.fileno())
        assert calls.dup2(two.fileno(), one.fileno()) == one.fileno()
        two.close()
        one.sendall(b"to the other")
        assert far_two.recv(99) == b"to the other"
        calls.write(spare, b"still")  # a duplicate is still of the first
        assert far_one.recv(99) == b"still"
        far_one.sendall(b"back")
        assert select.select([spare, one], [], [], 5)[0] == [spare]
        assert calls.read(spare, 99) == b"back"
        calls.close(spare)
        assert far_one.recv(1) == b""
        one.close()
        assert far_two.recv(1) == b""


def connected():
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        return sockets.create_connection(listener.getsockname()), listener.accept()[0]


def test_what_is_not_ours_is_the_kernels(tmp_path):
    reader, writer = os.pipe()
    assert calls.write(writer, b"pipe") == 4
    assert calls.read(reader, 9) == b"pipe"
    copy = calls.dup(reader)
    for number in reader, writer, copy:
        calls.close(number)
    with pytest.raises(OSError, match="Bad file descriptor"):
        calls.read(reader, 1)
    (tmp_path / "file").write_text("text")
    with calls.open(tmp_path / "file", encoding="ascii") as file:
        assert file.read() == "text"


@pytest.mark.parametrize("offset", [0, 5, None])
def test_sendfile(pair, tmp_path, offset):
    client, server = pair
    data = os.urandom(70_000)
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        assert calls.sendfile(client.fileno(), file.fileno(), offset, 60_000) == 60_000
        start = offset or 0
        assert server.recv(60_000, sockets.MSG_WAITALL) == data[start : start + 60_000]
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == (60_000 if offset is None else 0)
        assert calls.sendfile(client.fileno(), file.fileno(), 70_000, 10) == 0


def test_sendfile_to_a_full_or_reset_socket(pair, tmp_path):
    client, server = pair
    (tmp_path / "file").write_bytes(bytes(3_000_000))
    client.setblocking(False)
    with (tmp_path / "file").open("rb") as file:
        assert 0 < calls.sendfile(client.fileno(), file.fileno(), 0, 3_000_000) < 3_000_000
        with pytest.raises(BlockingIOError):
            calls.sendfile(client.fileno(), file.fileno(), 0, 10)
        server.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, RESET)
        server.close()
        with pytest.raises(ConnectionResetError):
            calls.sendfile(client.fileno(), file.fileno(), 0, 10)


def test_o_nonblock_is_a_flag_of_the_socket_and_decides_for_all_its_descriptors(pair):
    client, server = pair
    copy = calls.dup(server.fileno())
    fcntl_ = calls.control
    fcntl_(server, fcntl.F_SETFL, fcntl_(server, fcntl.F_GETFL) | os.O_NONBLOCK)
    for attempt in (
        lambda: server.recv(1),
        lambda: server.recv_into(bytearray(1)),
        lambda: calls.read(copy, 1),
    ):
        with pytest.raises(BlockingIOError):
            attempt()
    calls.set_blocking(copy, True)
    client.send(b"x")
    assert server.recv(1) == b"x"
    calls.ioctl(copy, 0x5421, struct.pack("i", 1))
    with pytest.raises(BlockingIOError):
        server.recv(1)
    server.settimeout(0.001)  # a timeout of Python's own waits, as it does on the kernel's sockets
    with pytest.raises(TimeoutError):
        server.recv(1)
    calls.close(copy)


def test_bytes_that_wait(pair):
    client, server = pair
    client.send(b"12345")
    count = array.array("i", [0])
    assert calls.ioctl(server, termios.FIONREAD, count) == 0
    assert count[0] == 5
    assert calls.ioctl(server.fileno(), termios.FIONREAD, bytes(4)) == struct.pack("i", 5)
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        assert calls.ioctl(own, termios.FIONREAD, bytes(4)) == bytes(4)
        own.sendto(b"123", own.getsockname())
        own.sendto(b"45", own.getsockname())
        assert calls.ioctl(own, termios.FIONREAD, bytes(4)) == struct.pack("i", 3)


def test_duplicates_keep_the_connection_until_the_last_is_closed(pair):
    client, server = pair
    client.settimeout(5)
    spare = os.open(os.devnull, os.O_RDONLY)
    copies = [
        calls.dup(server.fileno()),
        calls.control(server.fileno(), fcntl.F_DUPFD_CLOEXEC, 100),
        calls.dup2(server.fileno(), spare),
    ]
    assert copies[1] >= 100
    assert copies[2] == spare
    assert not os.get_inheritable(copies[0])
    server.close()
    for number in copies:
        assert calls.write(number, b"x") == 1
        assert client.recv(9) == b"x"
        calls.close(number)
    assert client.recv(9) == b""


def test_dup2_and_closerange_close_ours(pair):
    client, server = pair
    client.settimeout(5)
    reader, writer = os.pipe()
    number = server.fileno()
    assert calls.dup2(reader, number) == number
    assert client.recv(1) == b""
    os.write(writer, b"x")
    assert calls.read(number, 1) == b"x"
    for each in reader, writer, number:
        os.close(each)
    server.detach()
    own = sockets.socket()
    number = own.fileno()
    calls.closerange(number, number + 1)
    assert descriptors.find(number) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        own.getsockname()
    own.detach()


def test_a_file_of_a_descriptor(pair):
    client, server = pair
    number = server.detach()
    with calls.fdopen(number, "rb") as file:
        client.sendall(b"line\nrest")
        assert file.readline() == b"line\n"
    assert descriptors.find(number) is None


def test_a_file_that_does_not_own_its_descriptor(pair):
    client, server = pair
    with calls.open(client.fileno(), "w", closefd=False, encoding="ascii") as file:
        file.write("text")
    assert server.recv(9) == b"text"
    client.sendall(b"more")
    assert server.recv(9) == b"more"


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_socket_is_not_given_to_another_program(pair, monkeypatch, stream):
    """What inetd(8) does: the program would read and write the descriptor, which carries no data."""
    monkeypatch.setattr(subprocess, "_fork_exec", calls.fork_exec)
    monkeypatch.setattr(os, "posix_spawn", calls.posix_spawn)
    with pytest.raises(OSError, match="no other program can use") as caught:
        subprocess.Popen([sys.executable, "-c", ""], **{stream: pair[0]})
    assert caught.value.errno == errno.EOPNOTSUPP
