"""Which thread polls the link: the only thread that waits for a socket, else the runtime's own."""

import resource
import socket as kernel
import threading

import pytest

from demuxlab.host import Host
from demuxlab.runtime import Runtime
from demuxlab.transport.timers import NEVER
from demuxlab.wire import ip, packet, udp
from demuxlab.wire.address import from_text

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


class End:
    """One end of a link that is a pair of the kernel's sockets."""

    def __init__(self, descriptor):
        self.socket = descriptor
        self.socket.setblocking(False)

    def send(self, data):
        self.socket.send(data)

    def receive(self, timeout):
        assert not timeout
        try:
            return self.socket.recv(65_536)
        except BlockingIOError:
            return None

    def fileno(self):
        return self.socket.fileno()


@pytest.fixture
def running():
    """Host B's runtime, and what puts a datagram from A onto its link."""
    ours, theirs = kernel.socketpair(kernel.AF_UNIX, kernel.SOCK_DGRAM)
    with ours, theirs, Runtime(Host("B", ["10.9.0.20"]), End(ours)) as runtime:
        yield runtime, lambda port: theirs.send(datagram(port))


def datagram(port):
    return packet.build(A, B, ip.UDP, udp.build(A, B, 9157, port, b"hello"))


def bound(runtime, port):
    """Open a UDP socket; return it, its condition, and the list of the threads that notified it."""
    notified_by = []
    with runtime.lock:
        socket, changed = runtime.host.udp("10.9.0.20", port), runtime.condition()

        def tell():
            notified_by.append(threading.current_thread())
            changed.notify_all()

        socket.on_change = tell
    return socket, changed, notified_by


def test_the_only_thread_that_waits_polls_the_link(running):
    runtime, send = running
    socket, changed, notified_by = bound(runtime, 53)
    with runtime.lock:
        send(53)
        while socket.receive() is None:
            assert changed.wait(10)
    assert notified_by == [threading.current_thread()]


def test_each_of_several_waiting_threads_is_notified(running):
    runtime, send = running
    got = []

    def wait(port):
        socket, changed, _ = bound(runtime, port)
        with runtime.lock:
            ready.release()
            while socket.receive() is None:
                assert changed.wait(10)
        got.append(port)

    ready = threading.Semaphore(0)
    threads = [threading.Thread(target=wait, args=(port,)) for port in (53, 54, 55)]
    for thread in threads:
        thread.start()
        ready.acquire()
    for port in (54, 53, 55):  # the first to wait polls, and returns while others still wait
        send(port)
    for thread in threads:
        thread.join(10)
    assert sorted(got) == [53, 54, 55]


def test_packets_arrive_though_rlimit_nofile_is_below_the_number_of_descriptors(running):
    runtime, send = running
    socket, changed, _ = bound(runtime, 53)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))  # poll(2) then takes one descriptor at most
    try:
        with runtime.lock:
            send(53)
            while socket.receive() is None:
                assert changed.wait(10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_waiting_ends_with_its_time(running):
    runtime, _ = running
    _, changed, _ = bound(runtime, 53)
    with runtime.lock:
        assert not changed.wait(0.01)


def test_another_thread_can_end_the_polling_threads_wait(running):
    runtime, _ = running
    socket, changed, _ = bound(runtime, 53)

    def close():
        with runtime.lock:
            socket.close()

    closing = threading.Thread(target=close)
    with runtime.lock:
        closing.start()  # it waits for the lock, which `wait` releases
        assert changed.wait(10)
        assert socket.readable
    closing.join()


class Alarm:
    def __init__(self, deadline):
        self.deadline, self.entered, self.rang = deadline, NEVER, threading.Event()

    def tick(self, now):
        self.deadline = NEVER
        self.rang.set()


def test_a_timer_that_another_thread_sets_wakes_the_polling_thread(running):
    runtime, send = running
    _socket, changed, _ = bound(runtime, 9157)

    def wait():
        with runtime.lock:
            changed.wait()

    waiting = threading.Thread(target=wait)
    waiting.start()
    while True:
        with runtime.lock:
            if runtime._polling is changed:
                assert runtime._program_polls()  # as the runtime's own thread asks now and then
                runtime.host._services.timers.update(alarm := Alarm(runtime.now()))
                runtime.flush()
                break
    assert alarm.rang.wait(10)
    send(9157)
    waiting.join(10)


def test_packets_arrive_while_no_thread_waits(running):
    runtime, send = running
    _, _, notified_by = bound(runtime, 53)
    arrived = threading.Event()
    with runtime.lock:
        [socket] = runtime.host.demultiplexer.table
        socket.handler.on_change = arrived.set
    send(53)
    assert arrived.wait(10)
    assert not notified_by


def test_a_program_that_never_waits_receives_packets_when_it_flushes(running):
    runtime, send = running
    socket, _, notified_by = bound(runtime, 53)
    with runtime.lock:  # so that no other thread can
        send(53)
        runtime._program_received_at = 0.0
        runtime.flush()
        assert socket.receive() is not None
    assert notified_by == [threading.current_thread()]
