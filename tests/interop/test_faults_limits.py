"""Descriptors and memory run out, clocks jump: the host goes on, and failures are counted and reported."""

import ast
import errno
import os
import resource
import socket as kernel_socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.interop.faults import Machine, error_line, frames

import demuxlab
from demuxlab import sockets
from demuxlab.demux.queue import HandlerQueue
from demuxlab.host import Host
from demuxlab.links.hub import Hub
from demuxlab.runtime import Runtime
from demuxlab.wire import ip, tcp, udp
from demuxlab.wire import packet as wire_packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import ACK, PSH, SYN, TCPSegment

A, B = from_text("10.9.0.10"), from_text("10.9.0.20")


@pytest.fixture
def machine(need_root, need_tool, tmp_path):
    need_tool("unshare", "nsenter", "ip", "mount", "prlimit")
    with Machine(tmp_path) as made:
        yield made


# Descriptors


@pytest.mark.parametrize(
    "arguments", [("run", "04", "--link", "tun", "--captures", "c"), ("serve", "echo"), ("grade",)]
)
def test_running_out_of_descriptors_is_reported_at_any_point(machine, arguments, repository, tmp_path):
    if arguments == ("grade",):
        arguments = ("grade", "04", repository / "tests/solutions/04_tcp_four_tuple/reference.py")
    before, ends = machine.left(), set()
    for limit in (5, 7, 8, 9):
        done = machine.run(
            *("prlimit", f"--nofile={limit}", "timeout", "--preserve-status", "--signal=INT", "4"),
            *(sys.executable, "-m", "demuxlab", *arguments),
            check=False,
        )
        ends.add(done.returncode)
        assert done.returncode in (0, 1, 2, 130), done.stderr  # what works is interrupted in the end
        if done.returncode in (1, 2):
            assert "oo many" in error_line(done), done.stderr
        assert machine.left() == before
    assert ends & {1, 2}


@contextmanager
def no_descriptors():
    """Let the kernel give the process no more descriptors in the block."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(2)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def host():
    with Runtime(Host("B", ["10.9.0.20"])) as runtime:
        yield sockets.use(runtime)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_accept_without_descriptors_is_refused_as_in_the_kernel_and_works_again(host):
    """A server that polls: a connection that cannot be accepted now stays queued."""
    kernels = [_accept_without_descriptors(kernel_socket)]
    assert [_accept_without_descriptors(sockets)] == kernels == [(errno.EMFILE, b"hello")]


def _accept_without_descriptors(module):
    with module.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        with module.create_connection(listener.getsockname()) as client:
            client.sendall(b"hello")
            _until_readable(listener)
            with no_descriptors(), pytest.raises(OSError) as refused:
                listener.accept()
            with listener.accept()[0] as accepted:
                assert accepted.fileno() < 1 << 20, "one that the kernel can poll"
                accepted.settimeout(10)
                return refused.value.errno, accepted.recv(100)


def _until_readable(listener):
    import select

    assert select.select([listener], [], [], 10)[0]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_connection_that_gets_no_descriptor_in_the_end_is_closed(host, monkeypatch):
    """Another thread takes the last descriptor between poll and accept: the client gets a RST."""
    from demuxlab.sockets.descriptors import descriptors

    def refuse(*_arguments):
        raise OSError(errno.EMFILE, "Too many open files")

    with (
        sockets.create_server(("127.0.0.1", 0)) as listener,
        sockets.create_connection(listener.getsockname()) as client,
    ):
        monkeypatch.setattr(descriptors, "open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            listener.accept()
        monkeypatch.undo()
        client.settimeout(10)
        assert client.recv(1) == b""


# Memory


def packet_for(port, payload=b"hello"):
    return wire_packet.build(A, B, ip.UDP, udp.build(A, B, 5775, port, payload))


def segment(flags, sequence, acknowledgment=0, payload=b""):
    numbers = {"sequence": sequence, "acknowledgment": acknowledgment, "flags": flags, "window": 65535}
    return wire_packet.build(A, B, ip.TCP, tcp.build(A, B, 9157, 80, payload, **numbers))


HELLO, WORLD = b"hello" * 100, b"world" * 100
"""So long that their sizes are numbers that Python has to make."""
NOT_SEEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""Memory may fail in a generator that is thrown away: Python says so."""


def without_memory(work, allocation):
    """Call `work` while its allocation with this number fails; return whether one failed."""
    capi = pytest.importorskip("_testcapi", reason="no _testcapi in this Python")
    capi.set_nomemory(allocation, allocation + 1)
    try:
        work()
    except MemoryError:
        return True
    finally:
        capi.remove_mem_hooks()
    return False


@NOT_SEEN
def test_a_datagram_for_which_there_is_no_memory_is_lost_and_nothing_else():
    """Each allocation on its way to the queue fails once."""
    noticed = 0
    for allocation in range(1, 120):
        host = Host("B", ["10.9.0.20"])
        bound = host.udp("10.9.0.20", 53)
        first, second = packet_for(53, b"first"), packet_for(53, b"second")
        noticed += without_memory(lambda host=host, first=first: host.receive(first, 1.0), allocation)
        host.receive(second, 2.0)
        got = []
        while (datagram := bound.receive()) is not None:
            got.append(datagram.payload)
        assert got[-1] == b"second"
        assert got[:-1] in ([], [b"first"])
        assert bound.size == 0
    assert noticed > 10


@NOT_SEEN
def test_a_stream_stays_whole_though_memory_fails_at_any_allocation():
    """Data that was not accepted was not acknowledged: the peer retransmits it."""
    noticed = 0
    for allocation in range(1, 400):
        host = Host("B", ["10.9.0.20"])
        web = host.listen(80)
        host.receive(segment(SYN, 1000), 1.0)
        [answer] = host.packets(1.0)
        theirs = wire_packet.read(answer)
        assert isinstance(theirs, TCPSegment)
        host.receive(segment(ACK, 1001, theirs.sequence + 1), 1.1)
        connection = web.accept()
        data = segment(ACK | PSH, 1001, theirs.sequence + 1, HELLO)
        late = segment(ACK | PSH, 1001 + len(HELLO), theirs.sequence + 1, WORLD)

        def receive(host=host, packets=(late, data)):
            for packet in packets:
                host.receive(packet, 1.2)

        noticed += without_memory(receive, allocation)
        receive()
        list(host.packets(1.3))
        assert connection.read(10_000, 1.4) == HELLO + WORLD, allocation
    assert noticed > 100


class Greedy(HandlerQueue):
    """A queue for whose first segment there is no memory."""

    def handle_segment(self, segment, now=0.0):
        if segment.payload == b"too much":
            raise MemoryError
        return super().handle_segment(segment, now)


def test_a_running_host_counts_the_packet_and_goes_on():
    hub = Hub()
    near, far = hub.plug(["10.9.0.20"]), hub.plug(["10.9.0.10"])
    host = Host("B", ["10.9.0.20"])
    bound = host.udp("10.9.0.20", 53)
    queue = Greedy()
    bound.socket.handler = queue
    with Runtime(host, near) as runtime:
        for payload in (b"too much", b"little"):
            far.send(packet_for(53, payload))
        deadline = time.monotonic() + 20
        while not queue.waiting and time.monotonic() < deadline:
            time.sleep(0.001)
    assert queue.get().payload == b"little"
    assert (runtime.lost, runtime.problem) == (1, None)
    near.close()
    far.close()


def test_a_full_receive_buffer_drops_and_counts():
    host = Host("B", ["10.9.0.20"])
    bound = host.udp("10.9.0.20", 53)
    for number in range(1000):
        host.receive(packet_for(53, b"%d" % number), 1.0)
    assert (bound.taken, bound.dropped) == (bound.waiting, 1000 - bound.waiting)
    assert host.demultiplexer.counters.dropped["UdpRcvbufErrors"] == bound.dropped > 0


@pytest.mark.parametrize("where", ["raise MemoryError", "def run(lab):\n    raise MemoryError"])
def test_lack_of_memory_is_reported_in_one_line_and_not_as_a_fault_of_the_lab(tmp_path, where):
    lab = tmp_path / "labs" / "01_large"
    lab.mkdir(parents=True)
    (lab / "lab.py").write_text(f"{where}\n")
    command = [sys.executable, "-m", "demuxlab", "run", "01", "--link", "memory", "--captures", "c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert error_line(done).startswith("memory is short")


# Clocks


def test_no_timer_runs_by_the_time_of_day():
    """The time of day is read only to be shown; everything else uses the monotonic clock."""
    root = Path(demuxlab.__file__).parent
    asked = {
        (str(path.relative_to(root)), node.attr)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("time", "time"), ("time", "time_ns"), ("datetime", "now")}
    }
    assert asked == {
        ("serving/tun_host.py", "time"),
        ("links/kernel.py", "time"),
        ("drill/on_kernel.py", "time_ns"),  # the kernel's own time stamps are of the time of day
        ("sockets/ancillary.py", "time_ns"),  # so are SO_TIMESTAMP's (socket(7))
        ("cli/watch.py", "time"),  # and those of packets (packet(7)), with which these are compared
        ("kernel/following.py", "time"),
    }


SET_CLOCK = """
import socket, sys, time
from pathlib import Path
from demuxlab.serving.tun_host import tun_host

real, jump = time.time, [0.0]
time.time = lambda: real() + jump[0]
with tun_host(["10.9.0.2"], sys.exit, Path("s.pcapng")) as runtime:
    bound = runtime.host.udp("10.9.0.2", 53)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number, jump[0] in enumerate((0.0, -86_400.0, 86_400.0 * 365, -3600.0)):
        before = runtime.now()
        client.sendto(b"x", ("10.9.0.2", 53))
        while bound.taken <= number:
            time.sleep(0.001)
        assert 0.0 <= runtime.now() - before < 30.0
    client.close()
"""


def test_a_clock_that_is_set_moves_neither_timers_nor_time_stamps(machine, tmp_path):
    began = time.time()
    done = machine.run(sys.executable, "-c", SET_CLOCK, check=False)
    assert done.returncode == 0, done.stderr
    stamps = [frame.time for frame in frames(tmp_path / "s.pcapng")]
    assert len(stamps) == 4
    assert stamps == sorted(stamps)
    assert began - 1.0 <= stamps[0] <= stamps[-1] <= time.time() + 1.0


def test_a_lock_that_an_interrupt_left_held_does_not_keep_a_host_from_its_end():
    """Ctrl-C between the taking of the lock and the block that gives it back: found by kill_anytime."""
    runtime = Runtime(Host("B", ["10.9.0.20"]))
    runtime.start()
    runtime.lock.acquire()
    runtime.lock.acquire()
    runtime.stop()
    assert not runtime._thread.is_alive()
