"""The transport protocols as one table: rules, counters and replies.

To add a rule or a protocol, begin here, and with its value in `demux.verdicts`.
"""

from dataclasses import dataclass

from demuxlab.demux.socket import BOUND, ESTABLISHED, LISTEN, SYN_RECEIVED, TIME_WAIT, Socket
from demuxlab.demux.verdicts import Reply, Rule
from demuxlab.wire import ip
from demuxlab.wire.address import is_any


@dataclass(frozen=True, slots=True)
class TransportProtocol:
    """One row of the table."""

    number: int
    """The IP header's protocol number."""
    name: str
    connected: Rule
    """A socket with a peer: all four values match."""
    specific: Rule
    """A socket without a peer, on the segment's destination address."""
    wildcard: Rule
    """A socket without a peer, on the wildcard address."""
    no_socket: str
    """The counter of segments for which there is no socket."""
    reply: Reply
    """What the host sends back for them."""
    queue_full: str
    """The counter of segments that were dropped because the receive queue was full."""
    states: tuple[str, ...]
    """The states that a socket file may give its sockets; the first is the default without a peer."""

    @property
    def rules(self) -> tuple[Rule, Rule, Rule]:
        """The rules from most to least specific: the order of the lookup."""
        return self.connected, self.specific, self.wildcard

    def rule_of(self, socket: Socket) -> Rule:
        """Return the rule by which a socket of this protocol can get segments."""
        if socket.remote_address:
            return self.connected
        return self.wildcard if is_any(socket.local_address) else self.specific


TCP = TransportProtocol(
    number=ip.TCP,
    name="tcp",
    connected=Rule.CONNECTION,
    specific=Rule.LISTENER,
    wildcard=Rule.WILDCARD_LISTENER,
    no_socket="TcpNoSocket",
    reply=Reply.RST,
    queue_full="TcpExtTCPRcvQDrop",
    states=(LISTEN, ESTABLISHED, SYN_RECEIVED, TIME_WAIT, BOUND),
)
UDP = TransportProtocol(
    number=ip.UDP,
    name="udp",
    connected=Rule.CONNECTED_TWO_TUPLE,
    specific=Rule.TWO_TUPLE,
    wildcard=Rule.WILDCARD_TWO_TUPLE,
    no_socket="UdpNoPorts",
    reply=Reply.PORT_UNREACHABLE,
    queue_full="UdpRcvbufErrors",
    states=(BOUND, ESTABLISHED),
)
PROTOCOLS = {protocol.number: protocol for protocol in (TCP, UDP)}
"""By protocol number."""
BY_NAME = {protocol.name: protocol for protocol in PROTOCOLS.values()}
RULES = tuple(rule for protocol in PROTOCOLS.values() for rule in protocol.rules)
"""Every rule of the table. `Rule.COPY`, for broadcasts and multicasts, is not a rule of the table."""
BACKLOG_FULL = "TcpExtListenOverflows"
"""The counter of SYNs that were dropped because the listening socket's backlog was full."""
