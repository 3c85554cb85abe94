"""The packet that the calculator "which socket gets this packet?" asks about."""

from typing import Any

from demuxlab.errors import CallError
from demuxlab.language import _
from demuxlab.wire import ip, packet, tcp, udp
from demuxlab.wire.address import from_text

_FLAGS = {"SYN": 0x02, "ACK": 0x10, "RST": 0x04, "FIN": 0x01}


def craft(question: dict[str, Any]) -> bytes:
    """Return the packet of {"protocol", "source": [address, port], "destination", "flags": "SYN"}.

    `flags` counts for TCP alone; several are joined by commas. CallError names what cannot be read.
    """
    source, source_port = _endpoint(question["source"], _("source"))
    destination, destination_port = _endpoint(question["destination"], _("destination"))
    if len(source) != len(destination):
        raise CallError(
            _("source and destination are not of one family"), _("give two IPv4 or two IPv6 addresses")
        )
    if question["protocol"] == "udp":
        payload = udp.build(source, destination, source_port, destination_port)
        return packet.build(source, destination, ip.UDP, payload)
    flags = sum(_FLAGS[name] for name in question["flags"].split(","))
    payload = tcp.build(source, destination, source_port, destination_port, flags=flags)
    return packet.build(source, destination, ip.TCP, payload)


def _endpoint(value: list[Any], name: str) -> tuple[bytes, int]:
    try:
        address, port = from_text(str(value[0])), int(value[1])
    except ValueError as error:
        raise CallError(f"{name}: {error}", _("give an address such as 10.9.0.20, and a port")) from error
    if not 0 <= port <= 65535:
        raise CallError(f"{name}: {port}", _("a port is 0 to 65535"))
    return address, port
