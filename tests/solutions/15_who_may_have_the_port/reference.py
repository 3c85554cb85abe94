"""Lab 15's exercise, solved."""

from ipaddress import IPv4Address
from typing import NamedTuple

WILDCARDS = ("0.0.0.0", "::")


class Socket(NamedTuple):
    """A row of a host's socket table."""

    name: str
    protocol: str
    address: str
    port: int
    peer: str
    peer_port: int
    state: str
    options: list[str]
    user: int


def may_bind(table: list[list], new: list) -> tuple[str | None, list[str]]:
    """Return what bind says for the socket `new`: an error or None, and the names of those in the way."""
    wanted = Socket(*new)
    if wanted.port < 1024 and wanted.user != 0:
        return "EACCES", []
    in_the_way = []
    for row in table:
        other = Socket(*row)
        same = other.protocol == wanted.protocol and other.port == wanted.port
        if same and overlap(wanted, other) and not share(wanted, other):
            in_the_way.append(other.name)
    return ("EADDRINUSE" if in_the_way else None), in_the_way


def overlap(one: Socket, other: Socket) -> bool:
    """Return whether two sockets have an address in common."""
    if one.address == other.address:
        return True
    return covers(one, other.address) or covers(other, one.address)


def covers(wildcard: Socket, address: str) -> bool:
    """Return whether a socket stands for an address, or for a part of another wildcard."""
    if wildcard.address == "0.0.0.0":
        return ":" not in address
    if wildcard.address == "::":
        return ":" in address or "IPV6_V6ONLY" not in wildcard.options
    return False


def share(new: Socket, other: Socket) -> bool:
    """Return whether two sockets may have one address and port."""
    both = set(new.options) & set(other.options)
    if "SO_REUSEADDR" in both and other.state != "listening":
        return True
    return "SO_REUSEPORT" in both and (new.user == other.user or other.state == "time-wait")


def owner(table: list[list], packet: bytes) -> list[str]:
    """Return the name of the socket that gets this packet, in a list; [] where no socket does."""
    protocol = {6: "tcp", 17: "udp"}[packet[9]]
    source, destination = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
    source_port = int.from_bytes(packet[20:22], "big")
    port = int.from_bytes(packet[22:24], "big")
    sockets = [Socket(*row) for row in table]
    sockets = [own for own in sockets if own.protocol == protocol and own.port == port]
    for own in sockets:
        if (own.peer, own.peer_port, own.address) == (source, source_port, destination):
            return [own.name]
    waiting = [own for own in sockets if not own.peer]
    for address in (destination, *WILDCARDS):
        found = [own for own in waiting if own.address == address]
        if address == "::":
            found = [own for own in found if "IPV6_V6ONLY" not in own.options]
        if found:
            group = "SO_REUSEPORT" in found[0].options
            return [own.name for own in (found if group else found[-1:])]
    return []
