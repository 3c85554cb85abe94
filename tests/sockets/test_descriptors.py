"""The table of descriptors and its limit (S10, S14)."""

import errno
import resource
import warnings

import pytest

from demuxlab import sockets
from demuxlab.sockets.descriptors import descriptors


@pytest.fixture
def limit():
    """Sets the limit to so many more than are open."""

    def more(count):
        descriptors.limit = len(descriptors) + count

    yield more
    descriptors.limit = None


def test_every_connection_takes_a_descriptor(limit):
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        limit(3)
        one, two = (sockets.create_connection(listener.getsockname()) for _ in range(2))
        first, _ = listener.accept()
        with pytest.raises(OSError, match="Too many open files") as caught:
            listener.accept()
        assert caught.value.errno == errno.EMFILE
        with pytest.raises(OSError, match="Too many open files"):
            sockets.socket()
        first.close()
        second, _ = listener.accept()  # it had waited
        assert second.getpeername() == two.getsockname()
        for own in (one, two, second):
            own.close()


def test_the_process_limit_counts_where_none_is_set():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(descriptors), hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            sockets.socket()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_closing_gives_the_descriptor_back():
    before = len(descriptors)
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        client = sockets.create_connection(listener.getsockname())
        server, _ = listener.accept()
        assert len(descriptors) == before + 3
        copy = client.dup()
        assert len(descriptors) == before + 4
        for own in (client, server, copy):
            own.close()
    assert len(descriptors) == before


def test_a_forgotten_socket_is_closed_with_a_warning(pair):
    before = len(descriptors)
    forgotten = [sockets.socket()]
    shown = repr(forgotten[0])
    with pytest.warns(ResourceWarning) as caught:
        forgotten.clear()
    assert shown in str(caught[0].message)
    assert len(descriptors) == before


def test_a_socket_forgotten_while_the_host_is_busy_is_closed_later():
    forgotten = [sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM)]
    opened = descriptors.find(forgotten[0].fileno()).opened
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with opened.runtime.lock:
            forgotten.clear()  # as the garbage collector may, in the middle of what the host does
            assert opened.users == 1
            while opened.users:
                assert opened.changed.wait(30)


def test_other_families_are_the_kernels():
    one, two = sockets.socketpair()
    with one, two:
        one.sendall(b"by the kernel")
        assert two.recv(99) == b"by the kernel"
        assert descriptors.find(one.fileno()) is None
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as own:
        assert own.getsockname() == ""
