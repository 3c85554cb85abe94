"""Every table of up to three sockets: the kernel, the readable way and the quick way decide alike.

`python -m tests.kernel.exhaustive 1 0 0` decides about all tables by both ways: every 1st table of three
sockets. `… 1 1 40` asks the kernel too (root): about every 1st table of up to two sockets, and about every
40th of three. Prints one JSON object with the number of cases.

`… states 20` (root) goes through the tables with connections that are SYN-RECEIVED, ESTABLISHED or in
TIME-WAIT: every 20th of three sockets. There the kernel's own lookup is asked by inet_diag, since what TCP
does with a packet does not show which socket got it.

A table is an ordered choice of up to three of `kinds`: families, addresses, options, devices, states. Where a
socket cannot be opened, the table is one of the smaller ones and is left out.
"""

import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product
from typing import Any, NamedTuple

from tests.interop import craft
from tests.interop.kernel import (
    DEVICES,
    FIRST_SEQ,
    Connection,
    Establish,
    KernelOracle,
    Laboratory,
    Probe,
    SocketSpec,
    Step,
    enter_namespace,
)
from tests.interop.test_differential import Accident, Ours, compare

from demuxlab.demux.delivery import Delivery
from demuxlab.demux.slot import in_one_group
from demuxlab.demux.socket import ESTABLISHED, LISTEN, SYN_RECEIVED, TIME_WAIT
from demuxlab.demux.table import Candidate
from demuxlab.fast.demultiplexer import FastDemultiplexer
from demuxlab.kernel import netlink
from demuxlab.kernel.records import Record
from demuxlab.wire import ip

PORT, OTHER_PORT, PEER_PORTS = 53, 80, (9157, 5775)
OWN, PEER = {4: ("10.9.0.2", "10.9.0.3"), 6: ("fd09::2", "fd09::3")}, {4: "10.9.0.41", 6: "fd09::41"}
ADDRESSES = (
    (4, "0.0.0.0", False),
    (4, "10.9.0.2", False),
    (6, "::", False),
    (6, "::", True),
    (6, "fd09::2", False),
    (6, "::ffff:10.9.0.2", False),
)
"""Family, address, IPV6_V6ONLY."""
OPTIONS = tuple(product((False, True), repeat=2))
BATCH = 100
_SO_COOKIE = 57


class Handler:
    """Takes what the quick way hands to the only receiver that there is."""

    taken: "Handler | None" = None

    def handle_segment(self, _segment: object, _now: float) -> None:
        return None


def take(handler: Handler, _packet: bytes, _now: float) -> bool:
    Handler.taken = handler
    return True


def kinds(protocol: str) -> list[SocketSpec | Establish]:
    """Return the sockets that tables are made of; a connection is made by a listening socket before it."""
    listens = (True, False) if protocol == "tcp" else (False,)
    plain: list[SocketSpec | Establish] = [
        SocketSpec("", protocol, family, only, address, port, bind=(local, PORT), listen=listen)
        for family, local, only in ADDRESSES
        for address, port in OPTIONS
        for listen in listens
    ]
    listen = protocol == "tcp"
    plain += [
        SocketSpec("", protocol, 4, False, True, True, DEVICES[0], ("0.0.0.0", PORT), listen),
        SocketSpec("", protocol, 6, False, True, True, DEVICES[1], ("::", PORT), listen),
        SocketSpec("", protocol, 4, bind=("0.0.0.0", OTHER_PORT), listen=listen),
    ]
    if protocol == "tcp":
        return plain + [Establish("", (PEER[f], PEER_PORTS[0]), (OWN[f][0], PORT)) for f in (4, 6)]
    return plain + [
        replace(spec, connect=(peer, PEER_PORTS[0]))
        for spec in plain[: len(ADDRESSES) * len(OPTIONS)]
        if isinstance(spec, SocketSpec) and spec.bind
        for peer in _peers(spec)
        # Linux's early demultiplexing looks at the wrong end of such a socket's hash chain.
        if not (spec.family == 6 and spec.reuse_port and spec.bind[0] != "::")
    ]


def _peers(spec: SocketSpec) -> list[str]:
    address = spec.bind[0] if spec.bind else ""
    if spec.family == 4:
        return [PEER[4]]
    if address.startswith("::ffff:"):
        return [f"::ffff:{PEER[4]}"]
    both = address == "::" and not spec.v6only
    return [PEER[6], f"::ffff:{PEER[4]}"] if both else [PEER[6]]


def probes(protocol: str) -> list[Probe]:
    """Return a packet of each kind: to each address, from a connected peer and another, on each device."""
    ends = [
        ((PEER[family], peer_port), (own, PORT))
        for family in (4, 6)
        for own in OWN[family]
        for peer_port in PEER_PORTS
    ]
    if protocol == "udp":
        packets = [craft.udp_packet(peer, local, b"x") for peer, local in ends]
        return [Probe(packet, device) for packet in packets for device in DEVICES]
    # Not from the connections' port: the kernel's answer to a SYN there is TCP's matter, not the lookup's.
    ends = [(peer, local) for peer, local in ends if peer[1] != PEER_PORTS[0]]
    syns = [craft.tcp_packet(peer, local, "S", seq=5000) for peer, local in ends]
    others = [
        craft.tcp_packet(peer, local, flags, seq=5000, ack=7000)
        for peer, local in ends[::2]
        for flags in ("A", "SA", "F", "R", "SF", "")
    ]
    return [Probe(packet, device) for packet in syns for device in DEVICES] + [Probe(p) for p in others]


def opened(choice: tuple[SocketSpec | Establish, ...]) -> tuple[list[Step], Ours] | None:
    """Open the sockets of a table on our side; None where one of them cannot be opened."""
    ours = Ours()
    steps: list[Step] = []
    for number, kind in enumerate(choice):
        step = replace(kind, name=f"s{number}")
        failed = ours.step(step)
        if (failed is None) == isinstance(step, Establish):
            return None
        steps.append(step)
    return steps, ours


def tables(
    protocol: str, every: int
) -> Iterator[tuple[tuple[SocketSpec | Establish, ...], list[Step], Ours]]:
    """Yield each table with its sockets opened; of those of three sockets every `every`th."""
    those = kinds(protocol)
    pairs = []
    for choice in (*product(those), *product(those, repeat=2)):
        if made := opened(choice):
            yield choice, *made
            pairs += [choice] * (len(choice) == 2)
    for pair, third in islice(product(pairs, those), 0, None, every):
        if made := opened((*pair, third)):
            yield (*pair, third), *made


def both_ways(ours: Ours, packets: list[Probe], counts: Counter[str]) -> list[str]:
    """Decide about packets by the quick way and the readable way; return where they differ."""
    wrong = []
    demultiplexer = ours.demultiplexer
    for each in demultiplexer.table:
        each.handler = Handler()
    fast = FastDemultiplexer(demultiplexer, {Handler: take})
    for probe in packets:
        if probe.device != DEVICES[0]:
            continue  # the quick way serves a link without the name of a device
        Handler.taken = None
        quick = fast.deliver(probe.packet)
        readable = demultiplexer.deliver(probe.packet)
        counts["cases by both ways"] += 1
        if quick is None:
            counts["of these decided by the fast path alone"] += 1
            alike = readable.socket is not None and readable.socket.handler is Handler.taken
        else:
            alike = _decided(quick) == _decided(readable)
        if not alike:
            wrong.append(f"{probe.packet.hex()}: quick {quick}, readable {readable}")
    for each in demultiplexer.table:
        each.handler = None
    return wrong


def _decided(delivery: Delivery) -> tuple[object, ...]:
    return delivery.verdict, delivery.socket, delivery.rule, delivery.reply, delivery.copies


def run(every: int, small_in_kernel: int, in_kernel_of_three: int) -> dict[str, Any]:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    oracle = KernelOracle() if small_in_kernel else None
    waiting: list[list[Step]] = []
    for protocol in ("tcp", "udp"):
        packets = probes(protocol)
        counts[f"kinds of {protocol} sockets"] = len(kinds(protocol))
        made: Counter[bool] = Counter()
        for choice, steps, ours in tables(protocol, every):
            counts["tables"] += 1
            wrong += both_ways(ours, packets, counts)
            of_three = len(choice) == 3
            made[of_three] += 1
            if oracle and made[of_three] % (in_kernel_of_three if of_three else small_in_kernel) == 0:
                waiting.append([*steps, *packets])
            if oracle and len(waiting) == BATCH:
                wrong += in_kernel(oracle, waiting, counts)
                waiting.clear()
    if oracle:
        wrong += in_kernel(oracle, waiting, counts)
        oracle.close()
    seconds = round(time.monotonic() - began)
    return {**counts, "wrong": len(wrong), "stories": wrong[:10], "seconds": seconds}


def in_kernel(oracle: KernelOracle, runs: list[list[Step]], counts: Counter[str]) -> list[str]:
    """Compare tables with the kernel; return the disagreements."""
    wrong = []
    for steps, results in zip(runs, oracle.batch(runs), strict=True):
        try:
            found = list(compare(steps, results))
        except Accident:  # Linux let a socket in that overlaps with another one: see tests/interop
            counts["accidents of bind"] += 1
            continue
        counts["tables in the kernel"] += 1
        counts["cases in the kernel"] += sum(isinstance(step, Probe) for step in steps)
        if found:
            sockets = [step for step in steps if not isinstance(step, Probe)]
            wrong.append(f"{sockets}: {found[0]}")
    return wrong


class Conn(NamedTuple):
    """A connection of a crafted peer in a state; a listening socket before it made it."""

    family: int
    state: str


def stateful(laboratory: Laboratory, name: str, conn: Conn) -> bool:
    """Bring a real connection into its state; return whether a listening socket took it."""
    peer, local = (PEER[conn.family], PEER_PORTS[0]), (OWN[conn.family][0], PORT)
    if conn.state == SYN_RECEIVED:
        laboratory.drain()
        os.write(laboratory.taps[DEVICES[0]], craft.tcp_packet(peer, local, "S", seq=FIRST_SEQ))
        link = Connection(peer, local, "", DEVICES[0], FIRST_SEQ + 1, 0)
        laboratory.orphans.append(link)
        return any(reply.kind == "syn-ack" for _raw, reply in laboratory.drain())
    if laboratory.step(Establish(name, peer, local)) is None:
        return False
    if conn.state == TIME_WAIT:
        link = laboratory.connections.pop(name)
        laboratory.accepted.pop(name).close()
        fin = craft.tcp_packet(peer, local, "FA", seq=link.seq, ack=link.ack + 1)
        os.write(laboratory.taps[DEVICES[0]], fin)
        link.seq += 1
        laboratory.orphans.append(link)
    return True


def with_states(choice: tuple[SocketSpec | Conn, ...], laboratory: Laboratory) -> Ours | None:
    """Open a table in the kernel and on our side; None where a socket of it cannot be opened."""
    ours = Ours()
    laboratory.reset()
    for number, kind in enumerate(choice):
        name = f"s{number}"
        if isinstance(kind, SocketSpec):
            failed = laboratory.step(replace(kind, name=name)), ours.step(replace(kind, name=name))
            if failed != (None, None):
                return None
            continue
        peer, local = (PEER[kind.family], PEER_PORTS[0]), (OWN[kind.family][0], PORT)
        syn = ours.demultiplexer.read(craft.tcp_packet(peer, local, "S"), 0.0)[0]
        table = ours.table
        found = next(table.candidates(syn, DEVICES[0]), None)
        taken = found is not None and found.socket.state == LISTEN
        if not stateful(laboratory, name, kind) or not taken:
            return None
        assert found is not None
        table.spawn(found.socket, name, syn, kind.state)
    return ours


def run_states(every: int) -> dict[str, Any]:
    began = time.monotonic()
    laboratory = Laboratory(enter_namespace())
    lookup, counts, wrong = netlink.Lookup(), Counter[str](), list[str]()
    those: list[SocketSpec | Conn] = [
        kind
        for kind in kinds("tcp")
        if isinstance(kind, SocketSpec) and kind.reuse_address == kind.reuse_port and kind.bind
        if kind.bind[1] == PORT
    ]
    those += [Conn(family, state) for family in (4, 6) for state in (SYN_RECEIVED, ESTABLISHED, TIME_WAIT)]
    counts["kinds"] = len(those)
    packets = [
        (craft.tcp_packet((PEER[family], port), (own, PORT), "A"), device)
        for family in (4, 6)
        for own in OWN[family]
        for port in PEER_PORTS
        for device in DEVICES
    ]
    pairs = [choice for size in (1, 2) for choice in product(those, repeat=size)]
    for choice in (*pairs, *islice(product(those, repeat=3), 0, None, every)):
        if not any(isinstance(kind, Conn) for kind in choice):
            continue
        ours = with_states(choice, laboratory)
        if ours is None:
            continue
        counts["tables"] += 1
        cookies = {
            int.from_bytes(real.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8), sys.byteorder): name
            for name, real in laboratory.table.items()
        }
        for packet, device in packets:
            counts["cases"] += 1
            segment = ours.demultiplexer.read(packet, 0.0)[0]
            mine = next(ours.table.candidates(segment, device), None)
            ends = segment.destination, segment.destination_port, segment.source, segment.source_port
            record = lookup.socket(ip.TCP, *ends, socket.if_nametoindex(device))
            if record is not None and record.remote:
                counts[f"cases of a connection in {record.state}"] += 1
            if not _alike(mine, record, cookies, ours):
                wrong.append(f"{choice}, {packet.hex()} on {device}: kernel {record}, ours {mine}")
    laboratory.reset()
    seconds = round(time.monotonic() - began)
    return {**counts, "wrong": len(wrong), "stories": wrong[:10], "seconds": seconds}


def _alike(mine: Candidate | None, record: Record | None, cookies: dict[int, str], ours: Ours) -> bool:
    if mine is None or record is None:
        return mine is None and record is None
    if record.remote:
        return mine.socket.remote_address == record.remote and mine.socket.state == record.state
    theirs = ours.sockets[cookies[record.cookie]]
    return mine.socket is theirs or in_one_group(mine.socket, theirs)


if __name__ == "__main__":
    if sys.argv[1] == "states":
        print(json.dumps(run_states(int(sys.argv[2])), indent=1))
    else:
        print(json.dumps(run(*map(int, sys.argv[1:4])), indent=1))
