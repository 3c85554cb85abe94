"""Lab 15's questions, and what this kernel answers: `labs/15_who_may_have_the_port/verdicts.json`.

`python -m tests.kernel.lab_15 write` draws tables and asks the kernel about each (root; in a namespace of its
own). Without `write` it asks about the stored cases again, and prints a JSON object with the stories of those
that it answers otherwise. A case is a table of sockets, a question, and the answer.

Who is in the way of a bind is measured with each socket alone; a table of which the kernel then says
otherwise as a whole is left out: its search ends early there (src/demuxlab/kernel/binding.py).
"""

import errno
import json
import random
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from tests.kernel.laboratory import Process, Spec, abort, enter_namespace, make

STORED = Path(__file__).parents[2] / "labs" / "15_who_may_have_the_port" / "verdicts.json"
ANY, ANY6, LOCAL, LOCAL6 = "0.0.0.0", "::", "127.0.0.1", "::1"
ONE, TWO, A, C = "10.9.0.20", "111.0.0.2", "10.9.0.10", "10.9.0.30"
PORT, OTHER, LOW, FAR, FAR2 = 8080, 8089, 80, 9157, 5775
SHARE, GROUP, ONLY6 = "SO_REUSEADDR", "SO_REUSEPORT", "IPV6_V6ONLY"
ROOT, ANN, BOB = 0, 1001, 1002
NAMES = ("P1", "P2", "P3", "P4")
EACH = 12
"""The cases of a topic."""


class Row(NamedTuple):
    """A socket, in the fields of the exercise; a new one is "closed"."""

    name: str
    protocol: str
    address: str
    port: int
    peer: str
    peer_port: int
    state: str
    options: tuple[str, ...]
    user: int


class Packet(NamedTuple):
    """A packet to this host: a SYN, or data of a connection that there is, or a datagram."""

    protocol: str
    source: str
    source_port: int
    address: str
    port: int


class Kernel:
    """Opens the sockets of a table in processes of three users, and asks."""

    def __init__(self) -> None:
        enter_namespace()
        from pyroute2 import IPRoute

        with IPRoute() as route:
            for address in (ONE, TWO, A, C):
                route.addr("add", index=1, address=address, prefixlen=32)
        for name, value in (("ip_local_port_range", "60000 60999"), ("ip_unprivileged_port_start", "1024")):
            Path("/proc/sys/net/ipv4", name).write_text(value)
        self.users = {user: Process(user) for user in (ROOT, ANN, BOB)}
        self.free = count(10_000)
        self.clients: dict[str, socket.socket] = {}
        self.ports: dict[int, int] = {}

    def close(self) -> None:
        for process in self.users.values():
            process.close()

    def bind(self, table: list[Row], new: Row) -> tuple[str | None, list[str]] | None:
        """Return the errno and who is in the way; None where Linux ends its search early."""
        alone = [(row.name, self._error([row._replace(name="alone")], new)) for row in table]
        whole = self._error(table, new)
        names = [name for name, error in alone if error == "EADDRINUSE"]
        if whole == "EACCES":
            return whole, []
        return (whole, names) if bool(names) == (whole is not None) else None

    def owner(self, table: list[Row], packet: Packet) -> list[str] | None:
        """Return which sockets get such packets: one, or the members of a group."""
        with self._opened(table) as opened:
            if not opened:
                return None
            first = self._receiver(opened, table, packet)
            if first is None or any(row.name == first and row.peer for row in table):
                return [first] if first else []
            peers = {row.peer_port for row in table}
            ports = [port for port in range(5_000, 5_040) if port not in peers]
            got = {first} | {
                self._receiver(opened, table, packet._replace(source_port=port)) for port in ports
            }
        return [row.name for row in table if row.name in got]

    def _error(self, table: list[Row], new: Row) -> str | None:
        with self._opened(table) as opened:
            if len(opened) < len(table):
                return "not this table"
            found = self.users[new.user]("open", self._spec(new))
        return None if found > 0 else errno.errorcode[-found]

    def _opened(self, table: list[Row]) -> "_Opened":
        # TIME-WAIT lasts a minute: each table has ports of its own.
        self.ports = {LOW: LOW, PORT: next(self.free), OTHER: next(self.free)}
        return _Opened(self, table)

    def _spec(self, row: Row, **more: Any) -> Spec:
        family, options = 6 if ":" in row.address else 4, row.options
        place = row.address, self.ports.get(row.port, row.port)
        return Spec(row.protocol, family, place, ONLY6 in options, SHARE in options, GROUP in options, **more)

    def open(self, row: Row, table: list[Row]) -> tuple[int, int]:
        """Open a row; return the process and descriptor (0 for TIME-WAIT), or a negative number."""
        process = self.users[row.user]
        if row.protocol == "udp":
            peer = (row.peer, row.peer_port) if row.peer else None
            return process.pid, process("open", self._spec(row, connect=peer))
        if row.state == "listening":
            return process.pid, process("open", self._spec(row, listen=True))
        listening = process("open", self._spec(row, listen=True))
        # Where its listening socket is in the table, the connection comes through that one.
        client = make(Spec("tcp", 4, (row.peer, row.peer_port), reuse_address=True))
        client.bind((row.peer, row.peer_port))
        with suppress(OSError):
            client.connect((row.address, self.ports[row.port]))
        new = 0
        until = time.monotonic() + 0.3
        while not new and time.monotonic() < until:
            new = next((new for _, new in process("poll", True)), 0)
        if listening > 0:
            process("close", listening)
        if not new:
            abort(client)
            return process.pid, -1  # there is no such connection beside the other sockets
        if row.state == "time-wait":
            process("close", new, False)
            client.settimeout(5)
            assert client.recv(1) == b""
            client.close()
            return process.pid, 0
        self.clients[row.name] = client
        return process.pid, new

    def _receiver(self, opened: "_Opened", table: list[Row], packet: Packet) -> str | None:
        for row in table:
            theirs = row.protocol, row.peer, row.peer_port, row.address, row.port
            if row.protocol == "tcp" and theirs == packet and row.name in self.clients:
                self.clients[row.name].send(b"more")
                return opened.poll(5)
        client = make(Spec(packet.protocol, 4, (packet.source, packet.source_port), reuse_address=True))
        client.bind((packet.source, packet.source_port))
        with suppress(BlockingIOError, ConnectionRefusedError):
            client.connect((packet.address, self.ports[packet.port]))
            if packet.protocol == "udp":
                client.send(b"x")
        refused = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        got = opened.poll(0 if refused else 0.2)
        abort(client)
        return got


class _Opened(dict[tuple[int, int], str]):
    """The sockets of a table: names by process and descriptor."""

    def __init__(self, kernel: Kernel, table: list[Row]) -> None:
        super().__init__()
        self.kernel = kernel
        for row in table:
            pid, descriptor = kernel.open(row, table)
            if descriptor < 0:
                break
            self[pid, descriptor or -len(self) - 1] = row.name

    def poll(self, patience: float) -> str | None:
        until = time.monotonic() + patience
        while True:
            for process in self.kernel.users.values():
                for descriptor, _new in process("poll", False):
                    return self[process.pid, descriptor]
            if time.monotonic() >= until:
                return None

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.kernel.clients.values():
            abort(client)
        self.kernel.clients.clear()
        for process in self.kernel.users.values():
            process("reset")


# The cases

Case = tuple[list[Row], Row | Packet, Any]
Draw = Callable[[random.Random], tuple[list[Row], Row | Packet]]


def listening(address: str = ANY, *options: str, user: int = ANN, port: int = PORT) -> Row:
    return Row("", "tcp", address, port, "", 0, "listening", options, user)


def ended(row: Row, state: str, peer: str = A, peer_port: int = FAR) -> Row:
    """Return a connection of a listening socket: "connected", or in "time-wait"."""
    address = ONE if row.address == ANY else row.address
    return row._replace(address=address, peer=peer, peer_port=peer_port, state=state)


def datagrams(address: str = ANY, *options: str, user: int = ANN, port: int = PORT, peer: str = "") -> Row:
    return Row("", "udp", address, port, peer, FAR if peer else 0, "bound", options, user)


def closed(like: Row, address: str | None = None, options: tuple[str, ...] | None = None, **more: Any) -> Row:
    new = like._replace(name="new", peer="", peer_port=0, state="closed", **more)
    new = new if address is None else new._replace(address=address)
    return new if options is None else new._replace(options=options)


def some(chance: random.Random, *options: str) -> tuple[str, ...]:
    return tuple(option for option in options if chance.random() < 0.5)


def kind(chance: random.Random) -> Callable[..., Row]:
    return chance.choice((listening, datagrams))


def elsewhere(chance: random.Random) -> tuple[list[Row], Row]:
    make_one = kind(chance)
    rows = [make_one(chance.choice((ANY, ONE)), port=chance.choice((PORT, OTHER))) for _ in range(2)]
    rows[1] = rows[1]._replace(port=PORT + OTHER - rows[0].port)
    new = closed(chance.choice(rows), ANY)
    return chance.choice((rows, [row for row in rows if row.port != new.port])), new


def protocols(chance: random.Random) -> tuple[list[Row], Row]:
    rows = [listening(), datagrams()]
    chance.shuffle(rows)
    return chance.choice((rows, rows[:1])), closed(chance.choice(rows))


def addresses(chance: random.Random) -> tuple[list[Row], Row]:
    make_one = kind(chance)
    rows = [make_one(address) for address in chance.sample((ONE, TWO, LOCAL), chance.randint(1, 2))]
    rows = chance.choice((rows, rows, [make_one(ANY)]))
    return rows, closed(rows[0], chance.choice((ANY, ONE, TWO, LOCAL)))


def shared_listening(chance: random.Random) -> tuple[list[Row], Row]:
    options = chance.choice(((SHARE,), (SHARE,), (SHARE, GROUP)))
    row = listening(chance.choice((ANY, ONE, TWO, LOCAL)), *options)
    return [row], closed(row, options=chance.choice(((SHARE,), options, ())))


def group(chance: random.Random) -> tuple[list[Row], Row]:
    make_one = kind(chance)
    row = make_one(chance.choice((ANY, ONE)), *some(chance, GROUP))
    rows = [row] * (chance.randint(1, 2) if row.options else 1)
    return rows, closed(row, chance.choice((ANY, ONE)), chance.choice(((GROUP,), (GROUP,), ())))


def users(chance: random.Random) -> tuple[list[Row], Row]:
    row = kind(chance)(ANY, GROUP, user=chance.choice((ANN, BOB)))
    return [row] * chance.randint(1, 2), closed(row, user=chance.choice((ANN, BOB)))


def time_wait(chance: random.Random) -> tuple[list[Row], Row]:
    row = listening(chance.choice((ANY, ONE)), *some(chance, SHARE))
    return [ended(row, "time-wait")], closed(row, options=chance.choice(((SHARE,), (SHARE,), ())))


def connections(chance: random.Random) -> tuple[list[Row], Row]:
    row = listening(chance.choice((ANY, ONE)), *some(chance, SHARE))
    rows = [ended(row, "connected", peer) for peer in chance.choice(((A,), (A, C)))]
    return rows, closed(row, chance.choice((ANY, ONE)), options=chance.choice(((SHARE,), (SHARE,), ())))


def with_listener(chance: random.Random) -> tuple[list[Row], Row]:
    row = listening(chance.choice((ANY, ONE)), SHARE)
    rows = [row, ended(row, chance.choice(("connected", "time-wait"))), listening(ANY, port=OTHER)]
    return rows[chance.randint(0, 1) :], closed(row, options=(SHARE,))


def udp_shared(chance: random.Random) -> tuple[list[Row], Row]:
    row = datagrams(chance.choice((ANY, ONE)), *some(chance, SHARE), user=chance.choice((ANN, BOB)))
    rows = [row, row._replace(user=ANN)] if row.options and chance.random() < 0.5 else [row]
    return rows, closed(row, chance.choice((ANY, ONE)), some(chance, SHARE), user=ANN)


def mixed_options(chance: random.Random) -> tuple[list[Row], Row]:
    row = chance.choice((datagrams(ANY), ended(listening(), "connected"), ended(listening(), "time-wait")))
    row = row._replace(options=chance.choice(((SHARE,), (GROUP,), (SHARE, GROUP))))
    return [row], closed(row, ANY, chance.choice(((SHARE,), (GROUP,))))


def dual(chance: random.Random) -> tuple[list[Row], Row]:
    make_one = kind(chance)
    one, other = chance.sample((ANY6, ANY6, ANY, ONE, LOCAL, LOCAL6), 2)
    if ANY6 not in (one, other):
        one = ANY6
    return [make_one(one)], closed(make_one(other))


def only_ipv6(chance: random.Random) -> tuple[list[Row], Row]:
    make_one = kind(chance)
    row, new = make_one(ANY6, *some(chance, ONLY6)), make_one(chance.choice((ANY, ONE, ANY6, ANY6, LOCAL6)))
    if ":" in new.address:
        new = new._replace(options=some(chance, ONLY6))
    rows = [row, make_one(ANY)] if ONLY6 in row.options and chance.random() < 0.5 else [row]
    if chance.random() < 0.5 and len(rows) == 1:
        return [new], closed(row)
    return rows, closed(new)


def localhost(chance: random.Random) -> tuple[list[Row], Row]:
    make_one = kind(chance)
    rows = [make_one(address) for address in chance.sample((LOCAL, LOCAL6), chance.randint(1, 2))]
    return rows, closed(rows[0], chance.choice((LOCAL, LOCAL6, LOCAL, LOCAL6, ONE, ANY, ANY6)))


def low_ports(chance: random.Random) -> tuple[list[Row], Row]:
    make_one, user = kind(chance), chance.choice((ROOT, ANN))
    rows = [make_one(chance.choice((ANY, ONE)), port=chance.choice((LOW, PORT)), user=ROOT)]
    return rows[chance.randint(0, 1) :], closed(rows[0], port=chance.choice((LOW, LOW, PORT)), user=user)


def several(chance: random.Random) -> tuple[list[Row], Row]:
    """Up to four sockets of one port, drawn freely."""
    make_one, options = kind(chance), chance.choice(((), (SHARE,), (GROUP,), (SHARE, GROUP)))
    rows = []
    for _ in range(chance.randint(2, 4)):
        address = chance.choice((ANY, ONE, TWO, LOCAL, ANY6, LOCAL6))
        only = some(chance, ONLY6) if address == ANY6 else ()
        row = make_one(address, *options, *only, user=chance.choice((ANN, ANN, BOB)))
        if row.protocol == "tcp" and ":" not in address and chance.random() < 0.6:
            row = ended(
                row,
                chance.choice(("connected", "time-wait")),
                chance.choice((A, C)),
                chance.choice((FAR, FAR2)),
            )
        elif chance.random() < 0.2:
            row = row._replace(port=OTHER)
        rows.append(row)
    address = chance.choice((ANY, ANY, ONE, ANY6))
    more = chance.choice(((), (SHARE,), (GROUP,), options)) + (some(chance, ONLY6) if address == ANY6 else ())
    return rows, closed(rows[0], address, more, port=PORT, user=ANN)


def to(row: Row, address: str = ONE, source: str = A, source_port: int = FAR, **more: Any) -> Packet:
    return Packet(row.protocol, source, source_port, address, row.port)._replace(**more)


def by_port(chance: random.Random) -> tuple[list[Row], Packet]:
    rows = [listening(), datagrams(), listening(port=OTHER), datagrams(port=OTHER)]
    chance.shuffle(rows)
    return rows[: chance.randint(2, 4)], to(chance.choice(rows))


def by_address(chance: random.Random) -> tuple[list[Row], Packet]:
    make_one = kind(chance)
    options = (GROUP,) if make_one is listening else (SHARE,)
    chosen = chance.sample((ANY, ONE, TWO, LOCAL), chance.randint(2, 3))
    rows = [make_one(address, *options) for address in chosen]
    return rows, to(rows[0], chance.choice((ONE, TWO)))


def by_peer(chance: random.Random) -> tuple[list[Row], Packet]:
    if chance.random() < 0.5:
        row = listening(chance.choice((ANY, ONE)))
        rows = [row, *(ended(row, "connected", peer, far) for peer, far in ((A, FAR), (C, FAR), (A, FAR2)))]
        rows = [rows[0], *chance.sample(rows[1:], 2)]
    else:
        rows = [datagrams(ONE, SHARE, peer=A), datagrams(ANY, SHARE), datagrams(ONE, SHARE, peer=C)]
        rows = chance.sample(rows, chance.randint(2, 3))
    source, port = chance.choice(((A, FAR), (C, FAR), (A, FAR2)))
    return rows, to(rows[0], ONE, source, port)


def by_family(chance: random.Random) -> tuple[list[Row], Packet]:
    make_one = kind(chance)
    options = (GROUP,) if make_one is listening else (SHARE,)
    rows = [make_one(ANY6, *options, *some(chance, ONLY6))]
    if chance.random() < 0.6:
        rows.insert(chance.randint(0, 1), make_one(chance.choice((ANY, TWO, LOCAL6)), *options))
    return rows, to(rows[0], chance.choice((ONE, TWO)))


def by_hash(chance: random.Random) -> tuple[list[Row], Packet]:
    make_one = kind(chance)
    address = chance.choice((ANY, ONE))
    rows = [make_one(address, GROUP) for _ in range(chance.randint(2, 3))]
    if chance.random() < 0.7:
        rows.insert(
            chance.randint(0, 2), make_one(chance.choice((ONE, TWO) if address == ANY else (ANY,)), GROUP)
        )
    return rows, to(rows[0], chance.choice((ONE, TWO)))


def by_order(chance: random.Random) -> tuple[list[Row], Packet]:
    rows = [
        datagrams(chance.choice((ANY, ANY, ONE)), SHARE, user=chance.choice((ANN, BOB)))
        for _ in range(chance.randint(2, 4))
    ]
    return rows, to(rows[0], chance.choice((ONE, TWO)))


TOPICS: dict[str, Draw] = {
    "another port": elsewhere,
    "another protocol": protocols,
    "addresses": addresses,
    "a listening socket": shared_listening,
    "a group": group,
    "users": users,
    "time-wait": time_wait,
    "connections": connections,
    "a listening socket and its connections": with_listener,
    "udp": udp_shared,
    "two options": mixed_options,
    "dual stack": dual,
    "IPv6 only": only_ipv6,
    "localhost": localhost,
    "low ports": low_ports,
    "port of a packet": by_port,
    "address of a packet": by_address,
    "source of a packet": by_peer,
    "IPv4 and dual stack": by_family,
    "members of a group": by_hash,
    "order of binding": by_order,
    "several": several,
}


def always() -> dict[str, list[tuple[list[Row], Row | Packet]]]:
    """Return what a topic asks beside what is drawn: the cases that tell two likely programs apart."""
    asked: dict[str, list[tuple[list[Row], Row | Packet]]] = defaultdict(list)
    both = (SHARE, GROUP)
    for make_one in (listening, datagrams):
        for port, user in ((1023, ANN), (1024, ANN), (1023, ROOT), (1024, ROOT)):
            asked["low ports"].append(([], closed(make_one(ONE, port=port), user=user)))
        for row in (make_one(port=LOW, user=ROOT), make_one()):
            asked["low ports"].append(([row], closed(row, port=LOW, user=ANN)))
        pair = make_one(ANY6, GROUP), make_one(ANY, GROUP)
        asked["IPv4 and dual stack"] += [(list(rows), to(pair[0])) for rows in (pair, pair[::-1])]
        for user, other in ((ROOT, ANN), (ANN, ROOT), (ROOT, ROOT)):
            asked["users"].append(
                ([make_one(ANY, GROUP, user=user)], closed(make_one(ANY, GROUP, user=other)))
            )
    for state in ("connected", "time-wait"):
        for options in ((GROUP,), both):
            row = ended(listening(ANY, *options, user=BOB), state)
            topic = "users" if options == (GROUP,) else "two options"
            asked[topic].append(([row], closed(row, ANY, user=ANN)))
    for row in (datagrams(ANY, *both, user=BOB), listening(ANY, *both, user=BOB)):
        asked["two options"].append(([row], closed(row, user=ANN)))
    row = ended(listening(ANY, SHARE, user=BOB), "time-wait")
    asked["time-wait"] += [([row], closed(row, ANY, options, user=ANN)) for options in ((SHARE,), ())]
    for options, more in (((), ()), ((SHARE,), (SHARE,)), ((), (SHARE,))):
        asked["udp"].append(([datagrams(ONE, *options, peer=A)], closed(datagrams(ANY), options=more)))
    first, last = (ended(listening(address), "connected") for address in (TWO, ONE))
    asked["source of a packet"] = [
        ([listening(), first, last], to(first)),
        ([listening(), first], to(first)),
        ([datagrams(ANY, SHARE), *(datagrams(each, SHARE, peer=A) for each in (TWO, ONE))], to(datagrams())),
        ([datagrams(ANY, SHARE), datagrams(TWO, SHARE, peer=A)], to(datagrams())),
        ([datagrams(ANY, SHARE), datagrams(ONE, SHARE, peer=A)], to(datagrams(), source_port=FAR2)),
    ]
    return asked


def named(rows: list[Row], chance: random.Random) -> list[Row]:
    names = chance.sample(NAMES, len(rows))
    return [row._replace(name=name) for row, name in zip(rows, names, strict=True)]


def drawn(kernel: Kernel, topic: str, draw: Draw, counts: Counter[str]) -> Iterator[Case]:
    """Yield different cases of a topic, of each kind of answer about as many."""
    chance, seen = random.Random(topic), set()
    kinds: Counter[object] = Counter()
    wanted = EACH * (4 if topic == "several" else 1)
    tries = 0
    while len(seen) < wanted and tries < 40 * wanted:
        tries += 1
        rows, question = draw(chance)
        if (repr(rows), repr(question)) in seen:
            continue
        table = named(rows, chance)
        answer = ask(kernel, table, question)
        counts["asked"] += 1
        if answer is None:
            counts["left out: the search ends early"] += 1
            continue
        if answer and answer[0] == "not this table":
            counts["left out: no such table"] += 1
            continue
        shape = answer[0] if isinstance(answer, tuple) else len(answer)
        if kinds[shape] >= wanted * 0.6:
            continue
        kinds[shape] += 1
        seen.add((repr(rows), repr(question)))
        yield table, question, answer
    for rows, question in always().get(topic, ()):
        table = named(rows, chance)
        answer = ask(kernel, table, question)
        counts["asked"] += 1
        assert answer is not None, (topic, table, question)
        assert answer[:1] != ("not this table",), (topic, table, question)
        yield table, question, answer


def ask(kernel: Kernel, table: list[Row], question: Row | Packet) -> Any:
    return kernel.bind(table, question) if isinstance(question, Row) else kernel.owner(table, question)


def write(kernel: Kernel) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    lines = []
    for topic, draw in TOPICS.items():
        cases = [json.dumps(case, separators=(",", ":")) for case in drawn(kernel, topic, draw, counts)]
        counts["cases"] += len(cases)
        lines.append(f"{json.dumps(topic)}:[\n" + ",\n".join(cases) + "]")
    STORED.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    return dict(counts)


def compare(kernel: Kernel) -> dict[str, Any]:
    stories, cases = [], 0
    for topic, stored in json.loads(STORED.read_text(encoding="utf-8")).items():
        for rows, question, answer in stored:
            table = [Row(*row) for row in rows]
            found = ask(
                kernel, table, Row(*question) if len(question) == len(Row._fields) else Packet(*question)
            )
            cases += 1
            if json.loads(json.dumps(found)) != answer:
                stories.append(f"{topic}: {rows} {question}: stored {answer}, now {found}")
    return {"cases": cases, "wrong": len(stories), "stories": stories}


if __name__ == "__main__":
    asked = Kernel()
    try:
        print(json.dumps((write if sys.argv[1:] == ["write"] else compare)(asked)))
    finally:
        asked.close()
