"""The fast path of one host: what the runtime calls for packets off a link, in place of `Host.receive`."""

from demuxlab.fast import datagrams, plain, writing
from demuxlab.fast.datagrams import Datagrams
from demuxlab.fast.demultiplexer import FastDemultiplexer, Receive
from demuxlab.fast.plain import IPV4, KEY
from demuxlab.fast.prediction import Prediction
from demuxlab.host import Host
from demuxlab.transport.tcp.connection import TCPConnection
from demuxlab.transport.udp import FULL, UDPEndpoint
from demuxlab.wire import ip, offload


class FastPath:
    """Receives packets for a host in batches, as `Host.receive` does one by one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._prediction, self._datagrams = Prediction(), Datagrams()
        host.write_quickly(writing.write)
        receivers: dict[type, Receive] = {
            TCPConnection: self._prediction.receive,
            UDPEndpoint: self._datagrams.receive,
        }
        self._demultiplexer = FastDemultiplexer(host.demultiplexer, receivers)
        self._deliver = self._demultiplexer.deliver
        self._stretch = self._prediction.stretch

    def receive(self, arrived: bytes | offload.Arrived, now: float) -> None:
        """Receive what came off the link; what TCP sends in return may wait for `end_batch`."""
        host = self._host
        if host.observers or host.forwarder is not None:
            # Observers see every packet with its decision, and forwarding comes before the decision.
            for packet in (arrived,) if isinstance(arrived, bytes) else offload.pieces(arrived):
                host.receive(packet, now)
            return
        if isinstance(arrived, bytes):
            protocol = plain.protocol(arrived)
            stretch = self._stretch
            if stretch.size:
                if protocol == ip.TCP and not stretch.offload and stretch.takes(arrived):
                    counters = host.demultiplexer.counters
                    counters.received += 1
                    counters.delivered += 1
                    return
                stretch.end()
            last = self._datagrams
            is_next = protocol == ip.UDP and arrived[KEY] == last.key and arrived[0] == IPV4
            if is_next and datagrams.receive(last.endpoint, arrived, now):
                counters = host.demultiplexer.counters
                counters.received += 1
                counters.delivered += 1
                return
            delivery = self._deliver(arrived, now, protocol=protocol)
            if delivery is not None:
                host.answer(delivery, now)
            return
        self._stretch.end()
        if arrived.is_run:
            self._receive_run(arrived, now)
        else:
            # The pieces of one stretch of a stream are received as one segment, however large.
            packet_or_view = arrived.packet if arrived.protocol == ip.TCP else bytes(arrived.packet)
            delivery = self._deliver(packet_or_view, now, checksum_unfinished=True)
            if delivery is not None:
                host.answer(delivery, now)

    def receive_with_header(self, data: bytes, now: float) -> None:
        """Do what `receive` does with what was read from a link with offload."""
        stretch, acknowledgments = self._stretch, self._prediction.acknowledgments
        if stretch.offload and stretch.size and stretch.takes(data):
            taken = True
        elif acknowledgments.active:
            taken = acknowledgments.takes(data)
            if not taken:
                acknowledgments.end(now)
        else:
            taken = False
        if taken:
            counters = self._host.demultiplexer.counters
            counters.received += 1
            counters.delivered += 1
        else:
            self.receive(offload.read(data), now)

    def end_batch(self, now: float) -> None:
        """Let TCP send what the packets since the last call have caused."""
        self._prediction.end_batch(now)
        self._datagrams.key = b""

    def _receive_run(self, run: offload.Arrived, now: float) -> None:
        """Receive the datagrams of one packet."""
        packet = bytes(run.packet)
        protocol = plain.protocol(packet, checksum_unfinished=True)
        socket = self._demultiplexer.sole_receiver(packet, protocol) if protocol == ip.UDP else None
        endpoint = None if socket is None else socket.handler
        if not isinstance(endpoint, UDPEndpoint) or endpoint.details is not None:
            for piece in offload.pieces(run):
                self.receive(piece, now)
            return
        count, fitting = datagrams.receive_run(endpoint, packet, run.size)
        counters = self._host.demultiplexer.counters
        counters.received += count
        counters.delivered += fitting
        if fitting < count:
            counters.dropped[FULL.counter] += count - fitting
