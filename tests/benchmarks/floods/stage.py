"""The scenario of every flood: B under attack and the real client A, in virtual time; and its measures."""

import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.floods.forge import FLOODED, SERVED, WEB, A, B

from demuxlab.host import Host
from demuxlab.wire import ip, packet

QUESTION = bytes(range(250)) * 8
GAP = 0.00001
"""Seconds of virtual time between two forged packets: 100,000 a second."""


@dataclass
class Result:
    """One flood; memory in bytes, `slowdown` the ratio to the same work in the same run without the flood."""

    name: str
    packets: int
    before: int
    after: int
    asked: int = 0
    answered: int = 0
    slowdown: float | None = None
    each: float | None = None
    """Bytes of memory for each connection kept."""
    counters: dict[str, int] = field(default_factory=dict)
    bound: str = ""
    link: str = "memory"


def resident():
    """This process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def serve(host, now):
    """B's programs: WEB and SERVED echo; the queue of FLOODED is never read."""
    listener = host.listen(WEB, name="web")
    served = host.udp("10.9.0.20", SERVED, name="served")
    host.udp("10.9.0.20", FLOODED, name="flooded")

    def accept():
        while (endpoint := listener.accept()) is not None:
            endpoint.on_change = lambda endpoint=endpoint: echo(endpoint)
            echo(endpoint)

    def echo(endpoint):
        try:
            while data := endpoint.read(65536, now()):
                endpoint.write(data, now())
            if data == b"":
                endpoint.close(now())
        except OSError:
            endpoint.close(now())

    def answer():
        while (got := served.receive()) is not None:
            served.send_to(got.payload, got.address, got.port)

    listener.on_change, served.on_change = accept, answer
    return listener


class Stage:
    """B, A, and a connection that is established between them from the start."""

    def __init__(self):
        self.now = 1000.0
        self.b, self.a = Host("B", ["10.9.0.20"]), Host("A", ["10.9.0.1"])
        self.listener = serve(self.b, lambda: self.now)
        self.asking = self.a.udp()
        self.spent = 0.0
        self.disturb = lambda: None
        self.standing = self.connect()
        self.until(lambda: self.standing.connected)

    @property
    def port(self):
        """A's port of the standing connection."""
        return self.standing.socket.local_port

    @property
    def block(self):
        """B's side of the standing connection."""
        key = A + B + self.port.to_bytes(2, "big") + WEB.to_bytes(2, "big")
        return self.b.demultiplexer.table.connection(ip.TCP, key).handler

    def connect(self):
        client = self.a.tcp_endpoint()
        client.connect(B, WEB, self.now)
        return client

    def inject(self, forged):
        """B takes a forged packet; what it answers to strangers is lost, what it answers to A arrives."""
        self.now += GAP
        self.b.receive(forged, self.now)
        self._to_a()

    def _to_a(self):
        for answer in self.b.packets(self.now):
            if packet.destination(answer) == A:
                self.a.receive(answer, self.now)

    def until(self, done, seconds=30.0):
        """Carry the client's packets, forged ones between them, until `done`; count the time of its own."""
        end = self.now + seconds
        while not done():
            begin = time.perf_counter()
            sent = list(self.a.packets(self.now))
            for data in sent:
                self.b.receive(data, self.now)
            self._to_a()
            self.spent += time.perf_counter() - begin
            self.disturb()
            if not sent:
                self.now = max(self.now, min(self.a.next_tick, self.b.next_tick, self.now + 0.01))
                self.a.tick(self.now)
                self.b.tick(self.now)
            if self.now > end:
                return False
        return True

    def work(self):
        """The client asks on its standing connection, on a new one and by UDP; say whether all is right."""
        fresh = self.connect()
        good = self.until(lambda: fresh.connected)
        self.asking.send_to(QUESTION[:500], B, SERVED)
        for endpoint in (self.standing, fresh):
            heard = bytearray()
            try:
                endpoint.write(QUESTION, self.now)
                good &= self.until(lambda e=endpoint, h=heard: self._read(e, h))
            except OSError:
                good = False
            good &= bytes(heard) == QUESTION
        good &= self.until(lambda: self.asking.readable) and self.asking.receive().payload == QUESTION[:500]
        fresh.close(self.now)
        return good & self.until(lambda: fresh.closed)

    def _read(self, endpoint, heard):
        while data := endpoint.read(65536, self.now):
            heard += data
        return len(heard) >= len(QUESTION)

    def timed_work(self):
        self.spent = 0.0
        good = self.work()
        return good, self.spent

    def noted(self):
        """Return all counters of B but zeros."""
        counters = self.b.demultiplexer.counters
        assert counters.balance(self.b.demultiplexer.reassembler.held), "a packet is not accounted for"
        all_of_them = {"delivered": counters.delivered, **counters.dropped, **self.b.counters}
        return {name: number for name, number in all_of_them.items() if number}


def flood(name, source, packets, bound, works=100, between=4):
    """Inject forged packets while the client works; `source(stage)` yields them.

    A few of them come between any two steps of the client's work, the rest between its works.
    """
    stage = Stage()
    for _ in range(3):
        stage.timed_work()
    quiet = [stage.timed_work()[1] for _ in range(works)]
    forged, injected = source(stage), 0
    counted = stage.noted()
    before = most = resident()

    def some(number):
        nonlocal injected
        for _ in range(number):
            stage.inject(next(forged))
        injected += number

    stage.disturb = lambda: some(between)
    answered, disturbed = 0, []
    for number in range(works):
        while injected < packets * (number + 1) / works - 50:
            some(50)
        good, spent = stage.timed_work()
        answered += good
        disturbed.append(spent)
        most = max(most, resident())
    counters = {key: value - counted.get(key, 0) for key, value in stage.noted().items()}
    return Result(
        name,
        injected,
        before,
        most,
        works,
        answered,
        statistics.median(disturbed) / statistics.median(quiet),
        counters={key: value for key, value in counters.items() if value},
        bound=bound,
    )
