"""What a connection knows: the transmission control block of RFC 9293, section 3.3.1."""

from demuxlab.demux.socket import Socket
from demuxlab.transport.services import Services
from demuxlab.transport.tcp.receiver import Receiver
from demuxlab.transport.tcp.sender import Sender
from demuxlab.transport.tcp.settings import Settings
from demuxlab.transport.tcp.states import StateMachine
from demuxlab.transport.timers import NEVER


class ControlBlock(StateMachine):
    """The state of one connection; its variables in RFC 9293's sense stand in `sender` and `receiver`."""

    __slots__ = (
        *("acknowledge_at", "receiver", "recent", "recent_at", "scale_in", "scale_out", "sender"),
        *("services", "settings", "socket", "timestamps"),
    )

    def __init__(self, services: Services, socket: Socket, settings: Settings) -> None:
        super().__init__()
        self.services = services
        self.socket = socket
        self.settings = settings
        self.sender = Sender(0, 536, settings.send_buffer)
        self.receiver = Receiver(0, settings.receive_buffer)
        self.timestamps = False
        """Both sides agreed on timestamps."""
        self.recent = 0
        """TS.Recent (RFC 7323, section 4.3), and when it was taken."""
        self.recent_at = 0.0
        self.scale_out = self.scale_in = 0
        """How far the peer's and our window fields are shifted (RFC 7323, section 2)."""
        self.acknowledge_at = NEVER
        """When a delayed acknowledgment is due, in seconds."""
