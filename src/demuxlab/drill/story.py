"""A scenario that is being written: our stack plays each step at once, so that the next can be exact."""

from dataclasses import dataclass, field
from random import Random

from demuxlab.drill.lockstep import Observed, OnStack, Player, Scenario
from demuxlab.drill.script import TCPPacket
from demuxlab.wire.segment import ACK, RST, SYN

MODULUS = 1 << 32
_MIN_SACKED = 100
LISTEN = (
    "socket(..., SOCK_STREAM, IPPROTO_TCP)",
    "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)",
    "setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4)",
    "bind(3, ..., ...)",
    "listen(3, 1)",
)
CONNECT = (
    "socket(..., SOCK_STREAM, IPPROTO_TCP)",
    "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK)",
    "connect(3, ..., ...)",
)
_SYN_OPTIONS = ("", "mss 1000", "mss 1460,sackOK", "mss 536", "mss 1000,sackOK,TS val 100 ecr 0,nop,wscale 7")


@dataclass(slots=True)
class Peer:
    """The remote host's view of the connection."""

    next: int = 1
    """RCV.NXT of the stack, by its ACKs: the sequence number that the peer sends next."""
    unacked: int = 1
    """SND.UNA of the stack: up to here the peer has acknowledged."""
    sent: int = 1
    """SND.NXT of the stack: the end of its data."""
    timestamp: int = 0
    """The peer's last TSval; 0: timestamps are not in use."""
    sacks: bool = False
    """SACK was permitted in the handshake."""
    syn_answered: bool = False
    """The stack has answered a SYN, so that the options are agreed."""

    def receive(self, packet: TCPPacket) -> None:
        """Take over what a segment of the stack says."""
        if packet.flags & RST:
            return
        self.syn_answered = self.syn_answered or packet.flags & (SYN | ACK) == SYN | ACK
        if packet.flags & ACK and packet.acknowledgment is not None:
            self.next = packet.acknowledgment
        end = packet.sequence + packet.size + bool(packet.flags & SYN) + (packet.flags & 1)
        if (end - self.sent) % MODULUS < MODULUS // 2:
            self.sent = end % MODULUS


@dataclass(slots=True)
class Story:
    """A scenario being written, and the stack that plays it."""

    name: str
    random: Random
    scenario: Scenario = field(init=False)
    observed: list[Observed] = field(default_factory=list)
    machine: OnStack = field(init=False)
    player: Player = field(init=False)
    peer: Peer = field(default_factory=Peer)
    steps: list[str] = field(default_factory=list)
    socket: int = 3
    paused: bool = False

    def __post_init__(self) -> None:
        self.scenario = Scenario(self.name, 6 if self.random.random() < 0.2 else 4, ())
        self.machine = OnStack(self.scenario.options)
        self.player = Player(self.scenario.options, self.machine)

    def do(self, *steps: str) -> None:
        """Play steps and add them."""
        for step in steps:
            found = self.machine.play(self.player.do(step))
            for packet in found.sent:
                self.peer.receive(packet)
            self.steps.append(step)
            self.observed.append(found)

    # Segments

    def syn(self, what: str) -> str:
        """Return a step that injects a SYN with random options; `what` are its flags and numbers."""
        options = self.random.choice(_SYN_OPTIONS)
        self.peer.timestamp = 100 if "TS" in options else 0
        self.peer.sacks = "sackOK" in options
        window = self.random.choice((32000, 32000, 65535, 1000))
        return f"< {what} win {window}" + (f" <{options}>" if options else "")

    def segment(self, flags: str, sequence: int, size: int, acknowledgment: int, window: int) -> str:
        """Return a step that injects a segment, with timestamps and SACK blocks where they are in use."""
        start, end = sequence % MODULUS, (sequence + size) % MODULUS
        acknowledged = f" ack {acknowledgment % MODULUS}" if "." in flags else ""
        options = []
        if self.peer.timestamp and "R" not in flags and self.random.random() < 0.97:
            if self.random.random() < 0.9:
                self.peer.timestamp += 1
                timestamp = self.peer.timestamp
            else:
                timestamp = self.peer.timestamp - self.random.choice((1, 50, 99))
            options.append(f"nop,nop,TS val {timestamp} ecr 0")
        peer, in_flight = self.peer, self.peer.sent - self.peer.unacked
        if peer.sacks and "." in flags and in_flight > _MIN_SACKED and self.random.random() < 0.2:
            middle = self.random.randint(peer.unacked + 1, peer.sent - 1)
            options.append(f"nop,nop,sack {middle}:{self.peer.sent}")
        option_list = f" <{','.join(options)}>" if options else ""
        return f"< {flags} {start}:{end}({size}){acknowledged} win {window}{option_list}"
