"""The text of each reason why a socket did not get a segment, and back."""

from demuxlab.demux.verdicts import Reason
from demuxlab.language import Say, _, marked

_TEXTS = marked(
    {
        Reason.OTHER_DEVICE: "bound to device {detail}",
        Reason.OTHER_PEER: "its peer is {detail}",
        Reason.OTHER_ADDRESS: "its address is {detail}",
        Reason.NO_IPV4: "it does not take IPv4",
        Reason.NO_IPV6: "it does not take IPv6",
        Reason.NOT_LISTENING: "it does not listen",
        Reason.FOUR_TUPLE: "the 4-tuple is more specific",
        Reason.CONNECTED: "a connected socket is more specific",
        Reason.SPECIFIC_ADDRESS: "a specific address beats the wildcard",
        Reason.BOUND_TO_DEVICE: "a socket bound to the device beats one that is not",
        Reason.IPV4_ONLY: "an IPv4 socket beats a dual-stack one",
        Reason.CONNECTED_EARLIER: "connected earlier",
        Reason.BOUND_EARLIER: "bound earlier",
        Reason.SAME_GROUP: "another member of the SO_REUSEPORT group has this flow",
        Reason.LATER_GROUP: "a SO_REUSEPORT group bound later is asked first",
        Reason.IPV6_GROUP: "IPv6 sockets of a SO_REUSEPORT group are asked last",
        Reason.IPV6_GROUP_ORDER: "of IPv6 groups by SO_REUSEPORT the one bound first is asked first",
        Reason.QUEUE_FULL: "its queue is full",
        Reason.NO_IPV4_MULTICAST: "a dual-stack socket gets no IPv4 multicast",
        Reason.TCP_TO_MANY: "TCP connects two hosts, never many",
        Reason.REPLACED_BY_OTHER: "the demultiplexer in the table's place chose another socket",
        Reason.REPLACED_BY_NONE: "the demultiplexer in the table's place chose no socket",
    }
)


_DETAIL = "{detail}"
_WITH_DETAIL = {reason: text.removesuffix(_DETAIL) for reason, text in _TEXTS.items() if _DETAIL in text}
_BY_TEXT = {text: reason for reason, text in _TEXTS.items() if reason not in _WITH_DETAIL}


def write(reason: Reason | None, detail: str, say: Say = _) -> str:
    """Return a reason as text, translated by `say`; `detail` alone if `reason` is None."""
    if reason is None:
        return say(detail)
    return say(_TEXTS[reason], detail=detail) if reason in _WITH_DETAIL else say(_TEXTS[reason])


def read(text: str) -> tuple[Reason | None, str]:
    """Return the reason and its detail from its English text; None and the text if it is unknown."""
    if text in _BY_TEXT:
        return _BY_TEXT[text], ""
    for reason, start in _WITH_DETAIL.items():
        if text.startswith(start) and text != start:
            return reason, text.removeprefix(start)
    return None, text
