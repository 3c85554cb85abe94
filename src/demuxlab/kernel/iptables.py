"""The rules of iptables-save(8) in the form of `nft -j`, which names iptables' matches only."""

import shlex
from collections.abc import Iterator
from typing import Any

_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_HOOKS = {"PREROUTING": "prerouting", "INPUT": "input", "OUTPUT": "output"}
_VERDICTS = {"ACCEPT": "accept", "DROP": "drop", "RETURN": "return"}
_HARMLESS = {"LOG", "MARK", "CONNMARK", "MASQUERADE", "SNAT", "TCPMSS", "CHECKSUM", "NFLOG", "CT"}
_SILENT = ("-m", "--comment")
"""Options that say nothing about which packets match."""
_TARGETS = ("--to-ports", "--to-destination", "--reject-with")


def read(text: str, family: str) -> list[dict[str, Any]]:
    """Return chains and rules of the family "ip" or "ip6"."""
    found: list[dict[str, Any]] = []
    table, handle = "", 0
    for line in text.splitlines():
        if line.startswith("*"):
            table, handle = line[1:].strip(), 0
        elif line.startswith(":"):
            name, policy, *_rest = line[1:].split()
            chain: dict[str, Any] = {"family": family, "table": table, "name": name}
            if name in _HOOKS:
                kind = "nat" if table == "nat" else "filter"
                where = {"type": kind, "hook": _HOOKS[name], "prio": _PRIORITIES.get(table, 0)}
                chain |= where | {"policy": policy.lower()}
            found.append({"chain": chain})
        elif line.startswith("-A "):
            handle += 1
            _append, name, *words = shlex.split(line)
            rule = {"family": family, "table": table, "chain": name, "handle": handle}
            found.append({"rule": rule | {"expr": list(_expressions(words, family))}})
    return found


def _expressions(words: list[str], family: str) -> Iterator[dict[str, Any]]:
    protocol, target, values = "", "", dict[str, str]()
    operator = "=="
    options = iter(words)
    for option in options:
        if option == "!":
            operator = "!="
            continue
        value = next(options, "")
        if option in _TARGETS:
            values[option] = value
        elif option in ("-j", "-g"):
            target = value
        elif option not in _SILENT:
            protocol = value if option == "-p" else protocol
            left, right = _match(option, value, protocol, family)
            yield {"match": {"op": operator, "left": left, "right": right}} if left else {"xt": {}}
        operator = "=="
    if target not in _HARMLESS | {""}:
        yield _verdict(target, values)


def _match(option: str, value: str, protocol: str, family: str) -> tuple[dict[str, Any], Any]:
    """Return the two sides of a match; ({}, None) where it is not one that we read."""
    match option:
        case "-p":
            return {"meta": {"key": "l4proto"}}, value
        case "-d" | "-s":
            address, _slash, length = value.partition("/")
            side = {"payload": {"protocol": family, "field": "daddr" if option == "-d" else "saddr"}}
            whole = {"addr": address, "len": int(length or (32 if family == "ip" else 128))}
            return side, {"prefix": whole}
        case "-i" | "-o":
            return {"meta": {"key": "iifname" if option == "-i" else "oifname"}}, value.replace("+", "*")
        case "--dport" | "--sport" | "--dports" | "--sports":
            side = {"payload": {"protocol": protocol or "th", "field": option[2:7]}}
            return side, {"set": [_ports(part) for part in value.split(",")]}
        case "--ctstate" | "--state":
            return {"ct": {"key": "state"}}, [state.lower() for state in value.split(",")]
        case "--dst-type":
            return {"fib": {"result": "type", "flags": ["daddr"]}}, value.lower()
    return {}, None


def _ports(text: str) -> Any:
    low, colon, high = text.partition(":")
    return {"range": [int(low or 0), int(high or 65535)]} if colon else int(low)


def _verdict(target: str, values: dict[str, str]) -> dict[str, Any]:
    if target in _VERDICTS:
        return {_VERDICTS[target]: None}
    if target == "REDIRECT":
        ports = values.get("--to-ports", "")
        return {"redirect": {"port": ports} if ports else None}
    if target == "DNAT":
        address, _colon, port = values.get("--to-destination", "").rpartition(":")
        if not address or (":" in address and "]" not in address):
            address, port = values.get("--to-destination", ""), "0"
        return {"dnat": {"addr": address.strip("[]"), "port": port}}
    if target == "REJECT":
        resets = values.get("--reject-with") == "tcp-reset"
        return {"reject": {"type": "tcp reset"} if resets else None}
    return {"jump": {"target": target}}
