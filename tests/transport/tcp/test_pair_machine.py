"""Two ends of TCP over a wire in whose hands every packet is, against a model of two byte streams.

The wire loses, repeats and reorders whatever it likes while the users write, read, shut down and close. What
one side reads is always the beginning of what the other wrote; in the end the wire is kind, and unless
somebody closed with data unread or waited too long, all of it has arrived.
"""

import errno

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from demuxlab.host import Host
from demuxlab.transport.tcp.states import State
from demuxlab.transport.timers import NEVER
from demuxlab.wire.address import from_text

ADDRESSES = {"A": "10.9.0.10", "B": "10.9.0.20"}
OTHER = {"A": "B", "B": "A"}
PATIENCE = 20.0
"""Seconds after which a handshake that the wire has spoilt may have been given up."""
sides = st.sampled_from("AB")


class Stream:
    """One direction: what was written, what was read of it, and how it ends."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.read = bytearray()
        self.shut = False
        self.ended = False


class PairMachine(RuleBasedStateMachine):
    @initialize(
        receive=st.sampled_from((262_144, 4096, 700)),
        send=st.sampled_from((262_144, 3000)),
        options=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
        established=st.sampled_from((True, True, True, False)),
    )
    def begins(self, receive, send, options, established):
        self.hosts = {name: Host(name, [address], mtu=700) for name, address in ADDRESSES.items()}
        self.now = self.start = 1000.0
        self.wire: list[tuple[str, bytes]] = []
        self.streams = {"A": Stream(), "B": Stream()}  # by sender
        self.ends: dict[str, object] = {"A": None, "B": None}
        self.closed: set[str] = set()
        self.broken = False
        self.listener = self.hosts["B"].tcp_endpoint()
        client = self.ends["A"] = self.hosts["A"].tcp_endpoint()
        for endpoint in (self.listener, client):
            knobs = endpoint.settings
            knobs.receive_buffer, knobs.send_buffer = receive, send
            knobs.sack, knobs.timestamps, knobs.window_scale, knobs.nodelay = options
        self.listener.bind(from_text(ADDRESSES["B"]), 80)
        self.listener.listen(1)
        client.connect(from_text(ADDRESSES["B"]), 80, self.now)
        self.gather()
        for _ in range(4 if established else 0):
            self.delivers_all()

    # What the wire does

    def gather(self):
        for name, host in self.hosts.items():
            self.wire += [(OTHER[name], packet) for packet in host.packets(self.now)]

    @rule(at=st.integers(0, 7), times=st.sampled_from((1, 1, 1, 2)))
    def delivers(self, at, times):
        """One of the packets arrives, the oldest or one that overtakes it, perhaps twice."""
        if self.wire:
            name, packet = self.wire.pop(at % len(self.wire))
            for _ in range(times):
                self.hosts[name].receive(packet, self.now)
            self.accepts()
            self.gather()

    @rule(every=st.sampled_from((1, -1, -1, 2)))
    def delivers_many(self, every):
        """All of them arrive, in order or backwards; or every second one, and the others are lost."""
        self.wire = self.wire[::every]
        self.delivers_all()

    @rule()
    def delivers_all(self):
        waiting, self.wire = self.wire, []
        for name, packet in waiting:
            self.hosts[name].receive(packet, self.now)
        self.accepts()
        self.gather()

    @precondition(lambda self: self.wire)
    @rule(at=st.integers(0, 7))
    def loses(self, at):
        self.wire.pop(at % len(self.wire))

    @rule(seconds=st.sampled_from((0.01, 0.05, 0.3, 1.5)))
    def time_passes(self, seconds):
        self.pass_time(seconds)

    def pass_time(self, seconds):
        end = self.now + seconds
        while (at := min(host.next_tick for host in self.hosts.values())) <= end:
            self.now = max(self.now, at)
            for host in self.hosts.values():
                host.tick(self.now)
            self.gather()
        self.now = end

    # What the users do

    def accepts(self):
        if self.ends["B"] is None:
            self.ends["B"] = self.listener.accept()

    @rule(name=sides, size=st.sampled_from((1, 300, 660, 2000, 2000, 9000)))
    def writes(self, name, size):
        stream = self.streams[name]
        if self.ends[name] is not None and name not in self.closed and not stream.shut:
            at = len(stream.written)
            data = bytes((at + place) * 7 % 251 for place in range(size))
            try:
                taken = self.ends[name].write(data, self.now)
            except OSError as error:
                self.fails(error)
                return
            stream.written += data[:taken]
            self.gather()

    @rule(name=sides, size=st.sampled_from((1, 500, 100_000, 100_000)))
    def reads(self, name, size):
        self.take(name, size)
        self.gather()

    def take(self, name, size):
        """Read; return how much there was."""
        stream = self.streams[OTHER[name]]
        if self.ends[name] is None or name in self.closed:
            return 0
        try:
            data = self.ends[name].read(size, self.now)
        except OSError as error:
            self.fails(error)
            return 0
        if data == b"" and not self.broken:
            assert stream.shut, "the stream ended, and nobody ended it"
            assert stream.read == stream.written, "the stream ended too early"
            stream.ended = True
        assert not (data and stream.ended), "data after the end"
        stream.read += data or b""
        assert stream.written.startswith(stream.read), "not what was written"
        return len(data or b"")

    def fails(self, error):
        """An error has a reason: somebody closed with data unread or to come, or the wire was too bad."""
        late = self.now - self.start > PATIENCE
        assert self.closed or late, f"{error} without a reason"
        assert error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.ECONNREFUSED)
        self.broken = True

    @rule(name=sides)
    def shuts_down(self, name):
        end = self.ends[name]
        if end is not None and end.connected and not self.streams[name].shut:
            try:
                end.shutdown_write(self.now)
            except OSError as error:
                self.fails(error)
                return
            self.streams[name].shut = True
            self.gather()

    @rule(name=sides, sure=st.integers(0, 3))
    def closes(self, name, sure):
        """Closing is seldom, so that there is something to close."""
        if self.ends[name] is not None and name not in self.closed and sure == 0:
            self.ends[name].close(self.now)
            self.closed.add(name)
            self.streams[name].shut = True
            self.gather()

    # What must hold

    @invariant()
    def nothing_comes_from_nowhere(self):
        for name in "AB":
            end = self.ends[name]
            if end is not None and end._connection is not None:
                sender = end._connection.sender
                assert sender.unacked <= sender.next
                if end.state in (State.FIN_WAIT_2, State.TIME_WAIT):
                    assert sender.buffer.fin is not None
                    assert sender.unacked > sender.buffer.fin, "the peer has not seen our FIN"
                assert end.unsent <= end.settings.send_buffer

    def teardown(self):
        if not hasattr(self, "hosts"):
            return
        for _ in range(400):
            self.delivers_all()
            moved = sum(self.take(name, 1 << 20) for name in "AB")
            self.gather()
            if not self.wire and not moved:
                due = min(host.next_tick for host in self.hosts.values())
                if self.quiet() or due == NEVER:
                    break
                self.pass_time(max(0.0, due - self.now))
        self.check_arrival()
        self.check_departure()

    def quiet(self):
        """Tell whether the handshake is done and neither end waits to send anything, or for an ACK."""
        ends = [end for end in self.ends.values() if end is not None]
        done = len(ends) == 2 or ends[0].state is State.CLOSED
        senders = [end._connection.sender for end in ends if end.state is not State.CLOSED]
        return done and all(
            not sender.in_flight and not sender.buffer.unsent(sender.next) for sender in senders
        )

    def check_arrival(self):
        if self.closed or self.broken or self.now - self.start > 120:
            return
        assert self.ends["B"] is not None, "never accepted"
        for name, stream in self.streams.items():
            assert stream.read == stream.written, f"{name} wrote what never arrived"
            self.take(OTHER[name], 1)
            assert stream.ended == stream.shut

    def check_departure(self):
        """When both have closed, nothing stays: neither a socket nor a timer."""
        self.accepts()
        for name in "AB":
            if self.ends[name] is not None:
                self.ends[name].close(self.now)
        self.listener.close(self.now)
        self.gather()
        end = self.now + 4000
        while self.wire or min(host.next_tick for host in self.hosts.values()) < self.now + 1000:
            self.delivers_all()
            self.pass_time(20.0)
            assert self.now < end, "timers without an end"
        assert [list(host.demultiplexer.table) for host in self.hosts.values()] == [[], []]


TestPair = PairMachine.TestCase
TestPair.settings = settings(max_examples=300, stateful_step_count=30)
