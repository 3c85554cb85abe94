"""Two hosts and the link between them, in virtual time: it delays, loses, repeats, reorders and corrupts."""

import heapq
import random
from dataclasses import dataclass
from itertools import count

from demuxlab.host import Host
from demuxlab.wire.address import from_text


@dataclass(frozen=True)
class Faults:
    """How often a packet is lost, repeated, held back or damaged; the delay is in seconds."""

    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    delay: float = 0.005


class Network:
    """Hosts A and B, on one link with faults. `log` holds (time, sender, packet) where it is asked for."""

    def __init__(self, faults=None, seed=1, family=4, keep_log=False, mtu=1500):
        addresses = ("10.9.0.10", "10.9.0.20") if family == 4 else ("fd09::10", "fd09::20")
        self.a, self.b = Host("A", [addresses[0]], mtu=mtu), Host("B", [addresses[1]], mtu=mtu)
        self.family = family
        self.faults = faults or Faults()
        self.now = 1000.0
        self.log = [] if keep_log else None
        self.cut = False
        self._chance = random.Random(seed)
        self._order = count()
        self._under_way = []

    def address(self, host):
        return from_text(host.address)

    def connect(self, port=80, backlog=16, tune=None):
        """Return (client endpoint on A, listener on B) after the client has begun to connect."""
        listener = self.b.tcp_endpoint(self.family)
        client = self.a.tcp_endpoint(self.family)
        for endpoint in (listener, client):
            if tune:
                tune(endpoint.settings)
        listener.bind(self.address(self.b), port)
        listener.listen(backlog)
        client.connect(self.address(self.b), port, self.now)
        return client, listener

    def establish(self, **options):
        """Return (client, server) endpoints with the handshake done."""
        client, listener = self.connect(**options)
        self.run(lambda: listener.readable and client.connected)
        return client, listener.accept()

    def run(self, until=lambda: False, limit=600.0):
        """Let virtual time pass until a condition holds, at most `limit` seconds; return whether it does."""
        end = self.now + limit
        while True:
            done = until()
            self._send()
            if done:
                return True
            at = min(
                self._under_way[0][0] if self._under_way else float("inf"), self.a.next_tick, self.b.next_tick
            )
            if at > end:
                self.now = end
                return False
            self.now = max(self.now, at)
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, host, packet = heapq.heappop(self._under_way)
                host.receive(packet, self.now)
            for host in (self.a, self.b):
                if host.next_tick <= self.now:
                    host.tick(self.now)

    def _send(self):
        for sender, receiver in ((self.a, self.b), (self.b, self.a)):
            for packet in sender.packets(self.now):
                if self.log is not None:
                    self.log.append((self.now, sender.name, packet))
                self._put(receiver, packet)

    def _put(self, receiver, packet):
        faults, chance = self.faults, self._chance.random
        if self.cut or chance() < faults.loss:
            return
        delay = faults.delay
        if chance() < faults.reorder:
            delay *= 1 + 3 * chance()
        if chance() < faults.corrupt:
            damaged = bytearray(packet)
            damaged[self._chance.randrange(len(damaged))] ^= 1 << self._chance.randrange(8)
            packet = bytes(damaged)
        for _ in range(2 if chance() < faults.repeat else 1):
            heapq.heappush(self._under_way, (self.now + delay, next(self._order), receiver, packet))


class Bottleneck(Network):
    """A link to B of `rate` bit/s, behind a queue of so many packets, with a round trip of 0.1 s.

    `burst`: so many packets in a row are lost after 5 s; `late`: so many of all are 20 ms late. `lost` counts
    what is dropped.
    """

    def __init__(self, rate, queue=1000, *, burst=0, late=0.0, seed=1):
        super().__init__(Faults(delay=0.05), seed)
        self._bytes_a_second, self._queue, self._late = rate / 8, queue, late
        self._burst, self._burst_at, self._free_at = burst, self.now + 5, self.now
        self.lost = 0

    def _put(self, receiver, packet):
        at = self.now
        if receiver is self.b:
            unlucky = self._burst > 0 and at > self._burst_at
            if unlucky or (self._free_at - at) * self._bytes_a_second > 1500 * self._queue:
                self._burst -= unlucky
                self.lost += 1
                return
            at = self._free_at = max(self._free_at, at) + len(packet) / self._bytes_a_second
            at += 0.02 * (self._chance.random() < self._late)
        heapq.heappush(self._under_way, (at + self.faults.delay, next(self._order), receiver, packet))

    def stream(self, pairs, seconds):
        """Let each (client, server) of `pairs` send all that it can; return the bytes each got through."""
        got, data = [0] * len(pairs), bytes(1 << 16)

        def pump():
            for number, (client, server) in enumerate(pairs):
                while client.write(data, self.now):
                    pass
                while received := server.read(1 << 20, self.now):
                    got[number] += len(received)

        self.run(pump, seconds)
        return got


def transfer(network, sender, receiver, data, limit=3600.0):
    """Send data one way through the sockets' bounded buffers; return what arrived."""
    state = {"sent": 0}
    arrived = bytearray()

    def pump():
        while state["sent"] < len(data):
            taken = sender.write(data[state["sent"] : state["sent"] + 65536], network.now)
            if not taken:
                break
            state["sent"] += taken
        while received := receiver.read(1 << 20, network.now):
            arrived.extend(received)
        return len(arrived) >= len(data)

    network.run(pump, limit)
    return bytes(arrived)
