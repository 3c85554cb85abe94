"""Firewall rules that a packet meets before the lookup: they drop, reject or redirect it.

`nft -j list ruleset` lists the rules, iptables-save those of iptables. The matches handled here are exact; a
rule with any other match "may" apply.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple

from demuxlab.kernel import iptables, netlink
from demuxlab.wire import ip
from demuxlab.wire.address import to_text

DROP, REJECT, REDIRECT, MAYBE, ACCEPT = "drop", "reject", "redirect", "maybe", "accept"
_TIMEOUT = 5
_OLD_TABLES = ("ip_tables_names", "ip6_tables_names")
"""Names the tables of iptables' old kind, which nftables does not have."""
_DEPTH = 16
"""nf_tables' own limit of chains that jump to chains."""
_HARMLESS = {"counter", "log", "mangle", "notrack", "masquerade", "snat", "comment", "quota", "flow"}
_RESETS = "tcp reset"


class Packet(NamedTuple):
    """What rules compare."""

    protocol: int
    destination: bytes
    port: int
    source: bytes
    """Empty: not known."""
    source_port: int
    device: str
    from_here: bool
    """Whether this machine sends it to itself."""
    is_local: bool
    """Whether the destination is an address of this machine."""
    established: bool
    """Whether it belongs to a connection: address translation was decided with its first packet."""


class Met(NamedTuple):
    """A rule that a packet meets."""

    what: str
    """`DROP`, `REJECT`, `REDIRECT` or `MAYBE`."""
    rule: str
    """Where it is: "table ip nat, chain PREROUTING, handle 5"."""
    destination: bytes = b""
    """The new address, of `REDIRECT`; empty: the machine's own."""
    port: int = 0
    """The new port, of `REDIRECT`; 0: the same."""
    resets: bool = False
    """Whether `REJECT` answers with RST."""


def ruleset() -> list[dict[str, Any]] | None:
    """Return the rules of nftables and iptables; None where they cannot be read, or the user may not."""
    old = [name for name in _OLD_TABLES if _text(name)]
    if netlink.has_firewall() is False and not old:
        return []
    rules: list[dict[str, Any]] = []
    if netlink.has_firewall() is not False:
        listed = _output("nft", "-j", "list", "ruleset")
        if listed is None:
            return None
        rules = json.loads(listed)["nftables"]
    if old or any("xt" in part for entry in rules for part in entry.get("rule", {}).get("expr", ())):
        rules = _with_iptables(rules, "iptables-legacy-save" if old else "iptables-save", "ip")
        rules = _with_iptables(rules, "ip6tables-legacy-save" if old else "ip6tables-save", "ip6")
    return rules


def _with_iptables(rules: list[dict[str, Any]], program: str, family: str) -> list[dict[str, Any]]:
    """Return the rules with the tables that iptables has made as iptables lists them."""
    saved = iptables.read(_output(program) or "", family)
    listed = {chain["chain"]["table"] for chain in saved if "chain" in chain}
    others = [
        entry
        for entry in rules
        if not any(part.get("family") == family and part.get("table") in listed for part in entry.values())
    ]
    return others + saved


def _output(program: str, *arguments: str) -> str | None:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, *arguments], capture_output=True, text=True, timeout=_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _text(name: str) -> str:
    try:
        return Path("/proc/thread-self/net", name).read_text(encoding="ascii")
    except OSError:
        return ""


def meets(rules: list[dict[str, Any]], packet: Packet) -> Iterator[Met]:
    """Yield the rules that decide about a packet, up to the first one that certainly does."""
    walk, seen = _Walk(rules, packet), set[Met]()
    for chain in walk.base_chains():
        for met in walk.chain(chain, _DEPTH):
            if met.what == ACCEPT:
                break
            if met not in seen:
                yield met
            seen.add(met)
            if met.what != MAYBE:
                return
        else:
            if chain.get("policy") == "drop":
                yield Met(DROP, _place(chain, "policy"))
                return


class _Walk:
    def __init__(self, rules: list[dict[str, Any]], packet: Packet) -> None:
        self._packet = packet
        self._chains = [entry["chain"] for entry in rules if "chain" in entry]
        self._sets = {_key(entry["set"]): entry["set"] for entry in rules if "set" in entry}
        self._rules: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for entry in rules:
            if "rule" in entry:
                rule = entry["rule"]
                self._rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule)

    def base_chains(self) -> list[dict[str, Any]]:
        """Return the chains that see the packet, in order. Loopback packets pass output, then prerouting."""
        family = "ip" if len(self._packet.destination) == 4 else "ip6"
        hooks = ("output", "prerouting", "input") if self._packet.from_here else ("prerouting", "input")
        chains = [
            chain
            for chain in self._chains
            if chain.get("hook") in hooks and chain["family"] in (family, "inet")
            if not (chain["type"] == "nat" and (self._packet.established or self._translated(chain)))
        ]
        return sorted(chains, key=lambda chain: (hooks.index(chain["hook"]), chain.get("prio", 0)))

    def _translated(self, chain: dict[str, Any]) -> bool:
        """A packet from here was translated, or not, at output already; input's nat changes its source."""
        return chain["hook"] == "input" or (self._packet.from_here and chain["hook"] == "prerouting")

    def chain(self, chain: dict[str, Any], depth: int) -> Iterator[Met]:
        """Yield what the packet meets in a chain; `ACCEPT` ends all chains of its hook and priority."""
        if not depth:
            return
        for rule in self._rules.get((chain["family"], chain["table"], chain["name"]), ()):
            holds: bool | None = True
            for expression in rule["expr"]:
                kind, value = next(iter(expression.items()))
                if kind == "match":
                    matched = self._match(value, chain)
                    if matched is False:
                        holds = False
                        break
                    holds = None if matched is None else holds
                elif kind == "xt" and expression is not rule["expr"][-1]:
                    holds = None  # a match that is not read
                elif kind not in _HARMLESS:
                    ends = False
                    for met in self._verdict(kind, value, rule, holds, depth):
                        if met is None:
                            return
                        yield met
                        ends = ends or met.what != MAYBE
                    if ends:
                        return
                    if kind not in _VERDICTS:
                        holds = None

    def _verdict(
        self, kind: str, value: Any, rule: dict[str, Any], holds: bool | None, depth: int
    ) -> Iterator[Met | None]:
        """Yield what a rule's verdict does to the packet; None: the chain ends here."""
        place = _place(rule, f"handle {rule['handle']}")
        found: Met | None
        match kind:
            case "accept":
                found = Met(ACCEPT, place)
            case "return":
                found = None
            case "drop":
                found = Met(DROP, place)
            case "reject":
                found = Met(REJECT, place, resets=isinstance(value, dict) and value.get("type") == _RESETS)
            case "redirect" | "dnat" | "tproxy":
                found = self._redirected(value or {}, place)
            case "jump" | "goto":
                target = {"family": rule["family"], "table": rule["table"], "name": value["target"]}
                for met in self.chain(target, depth - 1):
                    yield met if holds or met.what == MAYBE else met._replace(what=MAYBE)
                if kind == "goto" and holds:
                    yield None
                return
            case _:
                found = Met(MAYBE, place)
        if holds:
            yield found
        elif found is not None and found.what != ACCEPT:
            yield Met(MAYBE, place)

    def _redirected(self, value: dict[str, Any], place: str) -> Met:
        address, port = value.get("addr", ""), value.get("port", 0)
        try:
            return Met(REDIRECT, place, ip_address(address).packed if address else b"", int(port))
        except (TypeError, ValueError):
            return Met(MAYBE, place)  # of several addresses or ports: one is drawn for each connection

    def _match(self, match: dict[str, Any], chain: dict[str, Any]) -> bool | None:
        """Return whether a match holds; None where that cannot be known."""
        have = self._left(match["left"], chain)
        if have is None:
            return None
        found = self._contains(match["right"], have, chain)
        if found is None or match["op"] not in ("==", "!=", "in"):
            return None
        return found is not (match["op"] == "!=")

    def _left(self, left: Any, chain: dict[str, Any]) -> Any:
        packet = self._packet
        protocol = ip.PROTOCOL_NAMES[packet.protocol]
        ip_version = "ip" if len(packet.destination) == 4 else "ip6"
        match left:
            case {"payload": {"protocol": "tcp" | "udp" | "th" as of, "field": field}}:
                if of not in (protocol, "th"):
                    return "another protocol"
                return {"dport": packet.port, "sport": packet.source_port if packet.source else None}.get(
                    field
                )
            case {"payload": {"protocol": "ip" | "ip6" as of, "field": field}}:
                if of != ip_version:
                    return "another protocol"
                source = to_text(packet.source) if packet.source else None
                fields = {"daddr": to_text(packet.destination), "saddr": source}
                return (fields | {"protocol": protocol, "nexthdr": protocol}).get(field)
            case {"meta": {"key": "l4proto"}}:
                return protocol
            case {"meta": {"key": "nfproto"}}:
                return {"ip": "ipv4", "ip6": "ipv6"}[ip_version]
            case {"meta": {"key": "protocol"}}:
                return ip_version
            case {"meta": {"key": "iifname" | "iif"}}:
                return None if chain.get("hook") == "output" else packet.device or None
            case {"meta": {"key": "oifname" | "oif"}}:
                return "lo" if packet.from_here else None
            case {"ct": {"key": "state"}}:
                return "established" if packet.established else "new"
            case {"fib": {"result": "type", "flags": ["daddr"]}}:
                return "local" if packet.is_local else None
        return None

    def _contains(self, right: Any, have: Any, chain: dict[str, Any]) -> bool | None:
        """Return whether the right side of a match is, or has in it, a value."""
        match right:
            case {"set": list() as elements}:
                return self._any(elements, have, chain)
            case list():
                return self._any(right, have, chain)
            case {"range": [low, high]} if isinstance(low, int) and isinstance(have, int):
                return bool(low <= have <= high)
            case {"range": [low, high]} if isinstance(have, str) and _is_address(have):
                return ip_address(low).packed <= ip_address(have).packed <= ip_address(high).packed
            case {"prefix": {"addr": address, "len": length}}:
                return _is_address(have) and ip_address(have) in ip_network(
                    f"{address}/{length}", strict=False
                )
            case {"elem": {"val": value}}:
                return self._contains(value, have, chain)
            case str() if right.startswith("@"):
                named = self._sets.get((chain.get("family", ""), chain.get("table", ""), right[1:]))
                return None if named is None else self._any(named.get("elem", []), have, chain)
            case str() if right.endswith("*"):
                return isinstance(have, str) and have.startswith(right[:-1])
            case str() | int():
                return bool(right == have)
        return None

    def _any(self, elements: list[Any], have: Any, chain: dict[str, Any]) -> bool | None:
        found = [self._contains(element, have, chain) for element in elements]
        return True if True in found else None if None in found else False


_VERDICTS = {"accept", "return", "drop", "reject", "redirect", "dnat", "tproxy", "jump", "goto"}


def _is_address(text: Any) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _key(named: dict[str, Any]) -> tuple[str, str, str]:
    return named["family"], named["table"], named["name"]


def _place(of: dict[str, Any], where: str) -> str:
    return f"table {of['family']} {of['table']}, chain {of.get('chain', of.get('name'))}, {where}"
