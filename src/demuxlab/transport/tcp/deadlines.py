"""All deadlines of one connection: when it has to do something although no segment arrives.

Nothing else assigns them. Times are seconds of the host's clock; a deadline that is not set is `NEVER`. The
retransmission and the persist timer exclude each other: one runs while something is in flight, the other
while nothing is and the peer's window is closed.
"""

from enum import Enum

from demuxlab.transport.tcp.rtt import RTTEstimator
from demuxlab.transport.timers import NEVER

DELAYED_ACK = 0.04
"""Seconds that an ACK waits for data to travel with (RFC 9293, section 3.8.6.3: less than 0.5)."""


class Deadline(Enum):
    """What is to be done, the most important first."""

    END = "end"
    LOSS_DETECTION = "loss detection"
    RETRANSMISSION = "retransmission"
    PERSIST = "persist"
    KEEPALIVE = "keepalive"


class Deadlines:
    """Retransmission, persist, delayed ACK, keepalive and the end of an orphaned connection."""

    __slots__ = (
        *(
            "delayed_ack",
            "end",
            "keepalive",
            "loss_detection",
            "persist",
            "probes",
            "retransmission",
            "stalled_since",
        ),
    )

    def __init__(self) -> None:
        self.retransmission = NEVER
        """RFC 6298, section 5."""
        self.loss_detection = NEVER
        """While all arrives in order, the tail loss probe; else RACK looks for losses again (RFC 8985)."""
        self.probes = False
        """`loss_detection` is the time of a tail loss probe."""
        self.persist = NEVER
        """Zero-window probe, or data for a window too small to be worth a segment (RFC 9293, 3.8.6.1)."""
        self.delayed_ack = NEVER
        self.keepalive = NEVER
        """RFC 9293, section 3.8.4."""
        self.end = NEVER
        """An orphaned connection in FIN-WAIT-2 is given up."""
        self.stalled_since = NEVER
        """When the data was sent that retransmissions did not get acknowledged, or the window first probed:
        the user timeout runs from here (RFC 5482)."""

    @property
    def earliest(self) -> float:
        """The next deadline."""
        probing = min(self.retransmission, self.loss_detection, self.persist)
        return min(probing, self.delayed_ack, self.keepalive, self.end)

    def pop_due(self, now: float) -> Deadline | None:
        """Clear and return the most important deadline that has passed, or None; a delayed ACK is none."""
        if self.end <= now:
            self.end = NEVER
            return Deadline.END
        if self.loss_detection <= now:
            self.loss_detection = NEVER
            return Deadline.LOSS_DETECTION
        if self.retransmission <= now:
            self.retransmission = self.loss_detection = NEVER
            return Deadline.RETRANSMISSION
        if self.persist <= now:
            self.persist = NEVER
            return Deadline.PERSIST
        if self.keepalive <= now:
            self.keepalive = NEVER
            return Deadline.KEEPALIVE
        return None

    def in_flight(self, now: float, rtt: RTTEstimator) -> None:
        """Something is in flight: the retransmission timer runs (RFC 6298, section 5.1)."""
        if self.persist != NEVER:
            self.window_opened(rtt)
        if self.retransmission == NEVER:
            self.retransmission = now + rtt.rto

    def window_opened(self, rtt: RTTEstimator) -> None:
        """Data is sent again, without the back-off of the window probes (RFC 9293, section 3.8.6.1)."""
        self.persist = self.stalled_since = NEVER
        rtt.backoff = 0

    def nothing_in_flight(self, has_unsent: bool, now: float, rtt: RTTEstimator) -> None:
        """Nothing is (RFC 6298, section 5.2); what is still unsent waits for the peer's window."""
        self.retransmission = self.loss_detection = NEVER
        if not has_unsent:
            self.persist = NEVER
        elif self.persist == NEVER:
            self.persist = now + rtt.probe_timeout

    def window_reported(self, now: float, rtt: RTTEstimator) -> None:
        """An ACK has arrived while nothing is in flight: the next probe is a whole back-off away."""
        if self.persist != NEVER:
            self.persist = now + rtt.probe_timeout

    def probe_loss(self, at: float) -> None:
        """Probe for a lost tail at a time, or when the retransmission timer would expire (7.2)."""
        if at < NEVER:
            self.loss_detection, self.probes = min(at, self.retransmission), True

    def look_for_losses(self, at: float) -> None:
        """Let RACK look again at a time; `NEVER`: it need not."""
        self.loss_detection, self.probes = at, False
        if at < NEVER:
            # The retransmission timer begins anew: Linux has one timer for both.
            self.retransmission = NEVER

    def retransmitted(self, now: float, rto: float) -> None:
        """Restart the retransmission timer (RFC 6298, section 5.6)."""
        self.retransmission = now + rto

    def acknowledged(self, *, looks_again: bool = False) -> None:
        """SND.UNA has advanced: what is still in flight gets a whole timeout (RFC 6298, section 5.3).

        `looks_again`: RACK waits for what is late, so that no probe is due.
        """
        self.retransmission = self.stalled_since = NEVER
        if not looks_again:
            self.loss_detection = NEVER

    def limit(self, user_timeout: float) -> None:
        """Let neither timer run beyond the user timeout, in seconds, once data has stalled (RFC 5482)."""
        at = self.stalled_since + user_timeout
        if self.retransmission != NEVER:
            self.retransmission = min(self.retransmission, at)
        if self.persist != NEVER:
            self.persist = min(self.persist, at)

    def stalled(self, since: float) -> None:
        """Nothing was acknowledged within a timeout; only the first call after an acknowledgment counts."""
        if self.stalled_since == NEVER:
            self.stalled_since = since

    def stalled_for(self, now: float) -> float:
        """Return for how many seconds retransmissions have gone unacknowledged."""
        return 0.0 if self.stalled_since == NEVER else now - self.stalled_since

    def delay_acknowledgment(self, now: float) -> None:
        """Let an ACK wait for data; one that waits already is not put off."""
        if self.delayed_ack == NEVER:
            self.delayed_ack = now + DELAYED_ACK

    def acknowledgment_sent(self) -> None:
        """A segment has carried the ACK."""
        self.delayed_ack = NEVER

    def set_keepalive(self, at: float) -> None:
        """Probe the peer at a time; `NEVER` switches keepalive off."""
        self.keepalive = at

    def set_end(self, at: float) -> None:
        """Give the connection up at a time."""
        self.end = at

    def clear(self) -> None:
        """The connection is over."""
        self.loss_detection = NEVER
        self.retransmission = self.persist = self.delayed_ack = self.keepalive = self.end = NEVER
