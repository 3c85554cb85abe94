"""The networks that this machine routes already, which a TUN must not overlap. Used by the opener alone."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

from demuxlab.links.base import Refused

if TYPE_CHECKING:
    from pyroute2 import IPRoute

Network = IPv4Network | IPv6Network
_FIRST_TRIED = {4: "10.9.0.0/24", 6: "fd09::/64"}
_TRIED = 200
_NO_DEVICE = "-"
_CARRYING = (1, 2)
"""RTN_UNICAST and RTN_LOCAL of linux/rtnetlink.h."""


def refuse_taken(route: "IPRoute", addresses: Sequence[str], hosts: Sequence[str]) -> None:
    """Raise Refused where a network of these addresses ("10.9.0.1/24") overlaps one that is routed already.

    The default routes do not count, since every network lies in them.
    """
    routed = sorted(_routed(route), key=lambda found: found[0].prefixlen)
    ours = {ip_interface(address).ip for address in addresses} | {ip_address(host) for host in hosts}
    for address in addresses:
        wanted = ip_interface(address).network
        taken = [(network, device) for network, device in routed if _overlap(network, wanted)]
        held = [network[0] for network, _ in taken if network.num_addresses == 1 and network[0] in ours]
        if held:
            raise Refused(
                "{address} is an address of this machine already, perhaps of another run",
                "give an --address of a free network, such as {free}",
                address=str(held[0]),
                free=_free(wanted, routed),
            )
        if taken:
            raise Refused(
                "{network} is routed to the device {device}, from which a TUN would take it",
                "give an --address of a free network, such as {free}",
                network=str(taken[0][0]),
                device=taken[0][1],
                free=_free(wanted, routed),
            )


def refuse_unreached(route: "IPRoute", device: int, hosts: Sequence[str]) -> None:
    """Raise Refused where this machine's packets to a host's address leave by another device than the TUN."""
    for host in hosts:
        [found, *_] = route.route("get", dst=host)
        index = found.get_attr("RTA_OIF")
        if index != device:
            raise Refused(
                "packets to {address} leave by {device}, not by the TUN: a rule of this machine says so",
                "give an --address of another network (ip rule shows the rules)",
                address=host,
                device=_name(route, index),
            )


def _routed(route: "IPRoute") -> Iterator[tuple[Network, str]]:
    """Yield each network of the routing tables but the defaults, and its device's name."""
    for found in route.get_routes():
        destination = found.get_attr("RTA_DST")
        if destination and found["dst_len"] and found["type"] in _CARRYING:
            yield (
                ip_network(f"{destination}/{found['dst_len']}", strict=False),
                _name(route, found.get_attr("RTA_OIF")),
            )


def _name(route: "IPRoute", index: Any) -> str:
    links = route.get_links(index) if index else []
    return str(links[0].get_attr("IFLA_IFNAME")) if links else _NO_DEVICE


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _free(wanted: Network, routed: Sequence[tuple[Network, str]]) -> str:
    """Return an address for a host in a network that no route overlaps."""
    start = ip_network(_FIRST_TRIED[wanted.version])
    for number in range(_TRIED):
        first = int(start.network_address) + number * start.num_addresses
        network = ip_network((first, start.prefixlen))
        if not any(_overlap(network, other) for other, _ in routed):
            return str(network[2])
    return str(start[2])
