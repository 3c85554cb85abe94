"""The connections of a script, and how its numbers are counted against those on the wire.

As in packetdrill, the number of a SYN is what the script writes, `S. 123:123(0)`, and all others count from
the SYN of their side, which has number 0: `. 1:1(0) ack 1` follows it. Timestamps of the system under test
count from its first one.
"""

from dataclasses import dataclass

from demuxlab.drill.script import ICMPPacket, Options, Packet
from demuxlab.wire.address import from_text
from demuxlab.wire.segment import TCPSegment, UDPDatagram

MODULUS = 1 << 32
FIRST_REMOTE_PORT = 9157


@dataclass(slots=True)
class Flow:
    """One connection as the script sees it; `local` is the system under test."""

    local_address: bytes
    remote_address: bytes
    local_port: int | None
    remote_port: int
    tick: int = 0
    """The period of the timestamp clock in microseconds; 0: TSval is not compared."""
    sequence_offset: int | None = None
    """What to add to the number that the script gives the system's SYN for the one on the wire."""
    initial: int = 0
    """ISS of the system under test, on the wire."""
    remote_initial: int | None = None
    """The script's own ISS, once the system under test knows it."""
    injected: int | None = None
    """The number of the last SYN that the script has injected."""
    timestamp_offset: int | None = None
    """The same for its TSval."""
    lockstep: bool = False
    """The window scale, which each stack may choose, is not compared."""
    compares_push: bool = True
    renumbers: bool = False
    """A SYN was injected since the last SYN was sent: the next one may have a new initial sequence number."""

    def wire_number(self, number: int, *, syn: bool = False) -> int:
        """Return the number on the wire of one of the system under test; `syn`: of a segment with SYN."""
        return (number + ((self.sequence_offset or 0) if syn else self.initial)) % MODULUS

    def script_number(self, number: int, *, syn: bool = False) -> int:
        """Return the number in the script of one of the system under test."""
        return (number - ((self.sequence_offset or 0) if syn else self.initial)) % MODULUS

    def remote_number(self, number: int, *, syn: bool = False) -> int:
        """Return the number on the wire of one of the script's own side."""
        return (number + (0 if syn else self.remote_initial or 0)) % MODULUS

    def remote_script_number(self, number: int, *, syn: bool = False) -> int:
        """Return the number in the script of one of its own side."""
        return (number - (0 if syn else self.remote_initial or 0)) % MODULUS

    def injects_syn(self, number: int) -> None:
        """The script injects a SYN: its first one to a system that has sent its own has its ISS."""
        self.injected = number
        if self.sequence_offset is not None and self.remote_initial is None:
            self.remote_initial = number

    def learn(self, script: int, wire: int) -> None:
        """The system under test has sent a SYN: it answers the last one of the script, if there was one."""
        offset = (wire - script) % MODULUS
        if self.sequence_offset is None or (self.renumbers and offset != self.sequence_offset):
            self.sequence_offset, self.initial, self.timestamp_offset = offset, wire, None
            self.remote_initial = self.injected
        self.renumbers = False


class Flows:
    """The connections of a script; a packet without ports belongs to the latest."""

    def __init__(self, options: Options, *, has_push: bool = True) -> None:
        """`has_push` is the machine's."""
        self._options, self._has_push = options, has_push
        self._local, self._remote = from_text(options.local_ip), from_text(options.remote_ip)
        self._next_remote_port = FIRST_REMOTE_PORT
        self.current = self._new(options.bind_port, FIRST_REMOTE_PORT)
        self._named: dict[tuple[int, int], Flow] = {}
        self._earlier: set[tuple[int | None, int]] = set()

    def _new(self, local_port: int | None, remote_port: int) -> Flow:
        options = self._options
        flow = Flow(self._local, self._remote, local_port, remote_port, options.tcp_ts_tick_usecs)
        flow.lockstep = bool(options.lockstep)
        flow.compares_push = self._has_push and not flow.lockstep
        return flow

    def begin_connection(self, local_port: int | None, remote_port: int | None = None) -> None:
        """Make a new connection the current one; `local_port` is None where it is not known yet.

        Without a remote port it is one that no connection of the script has had.
        """
        if self.current.sequence_offset is not None:
            self._earlier.add((self.current.local_port, self.current.remote_port))
        if remote_port is None:
            self._next_remote_port += self.current.sequence_offset is not None
            remote_port = self._next_remote_port
        self.current = self._new(local_port, remote_port)

    def of_packet(self, packet: Packet) -> Flow:
        """Return the connection that a packet of the script belongs to."""
        if isinstance(packet, ICMPPacket) or packet.ports is None:
            return self.current
        remote, local = packet.ports if packet.inbound else packet.ports[::-1]
        if (local, remote) == (self.current.local_port, self.current.remote_port):
            return self.current
        return self._named.setdefault((local, remote), self._new(local, remote))

    def is_earlier(self, segment: TCPSegment) -> bool:
        """Tell whether a segment belongs to a connection that the script has left behind."""
        ports = segment.source_port, segment.destination_port
        current = self.current.local_port, self.current.remote_port
        return ports in self._earlier and ports != current and ports not in self._named

    def of_segment(self, segment: TCPSegment | UDPDatagram) -> Flow:
        """Return the connection of a segment that was sent; the current one where its ports are unknown."""
        return self._named.get((segment.source_port, segment.destination_port), self.current)
