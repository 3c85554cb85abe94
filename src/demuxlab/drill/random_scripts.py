"""Random scenarios: bring a connection into some state, then inject segments and make calls, valid or not.

Our stack plays a scenario while it is generated, so that sequence numbers can be exact, at a window's edge or
next to it. The same seed generates the same scenario.
"""

from collections.abc import Sequence
from random import Random

from demuxlab.drill import random_paths
from demuxlab.drill.lockstep import INFO, PAUSE, STATE, Observed, Scenario
from demuxlab.drill.story import CONNECT, LISTEN, MODULUS, Story

_WINDOW, _NEAR_EDGE = 65_535, 5000
_PATHS = 0.3
"""How many of the scenarios are about what lies below TCP's states: paths, windows, other protocols."""
_FLAGS = (
    *(".", ".", ".", ".", "P.", "P.", "P.", "F.", "F.", "FP."),
    *("R", "R", "R.", "S", "S", "S.", "F", "P"),
)
_MOVES = ("", "", "", "w", "wa", "s", "sa", "f", "sf", "sfa", "fs", "d", "saf", "c", "ca")
"""Sequences of events that change the state.

w: write, s: shutdown, c: close; from the peer d: data, f: FIN, a: an ACK of everything.
"""
_ODD_FLAGS = ("-", "SF", "SR", "SF.", "RF.", "SP", "SRFP.", "FP", "SR.", "RP.", "SP.", "SFP.")


def generate(name: str, seed: str) -> tuple[Scenario, list[Observed]]:
    """Return a random scenario, and the outcome of each of its steps on our stack."""
    generator = _Generator(name, Random(seed))
    try:
        generator.run()
    finally:
        generator.machine.close()
    return generator.scenario, generator.observed


class _Generator(Story):
    """Writes a scenario of random steps."""

    def run(self) -> None:
        """Write the whole scenario."""
        if self.random.random() < _PATHS:
            self.random.choice(random_paths.PATHS)(self)
        else:
            self._random_steps()
        if self.steps[-1] != STATE:
            self.do(STATE)
        self.scenario = Scenario(self.name, self.scenario.ip_version, tuple(self.steps))

    def _random_steps(self) -> None:
        begin = self.random.choices(
            (
                *(self._closed, self._listening, self._half_open),
                *(self._accepted, self._connecting, self._connected),
            ),
            (1, 1, 2, 8, 2, 4),
        )[0]
        begin()
        for _ in range(self.random.randint(2, 10)):
            self._random_step()

    # Beginnings

    def _closed(self) -> None:
        if self.random.random() < 0.5:
            self.do(*LISTEN[:4])

    def _listening(self) -> None:
        self.do(*LISTEN)

    def _half_open(self) -> None:
        self.do(*LISTEN)
        self.do(self.syn("S 0:0(0)"))

    def _accepted(self) -> None:
        self._half_open()
        if self.random.random() < 0.1:
            self.do(self.segment("P.", 1, self.random.choice((1, 100)), 1, 32000))
        else:
            self.do(self.segment(".", 1, 0, 1, self.random.choice((32000, 32000, 2000, 100, 0))))
        self.do("accept(3, ..., ...)", "fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK)")
        self.socket = 4
        self._change_state()

    def _connecting(self) -> None:
        self.do(*CONNECT)
        self.peer.next = 0

    def _connected(self) -> None:
        self.do(*CONNECT)
        self.do(self.syn("S. 0:0(0) ack 1"))
        self.do("connect(3, ..., ...)")
        self._change_state()

    def _change_state(self) -> None:
        """Bring the connection into another state now and then."""
        for move in self.random.choice(_MOVES):
            if move == "w":
                self.do(f"write({self.socket}, ..., {self.random.choice((10, 1000, 3000))})")
            elif move == "d":
                self.do(self.segment("P.", self.peer.next, 100, self.peer.sent, 32000))
            elif move == "s":
                self.do(f"shutdown({self.socket}, SHUT_WR)")
            elif move == "c":
                self.do(f"close({self.socket})")
            elif move == "f":
                self.do(self.segment("F.", self.peer.next, 0, self.peer.unacked, 32000))
            else:
                self.peer.unacked = self.peer.sent
                self.do(self.segment(".", self.peer.next, 0, self.peer.sent, 32000))

    # Segments

    def _random_step(self) -> None:
        kinds = (self._random_segment, self._valid_segment, self._random_call, self._query, self._pause)
        self.random.choices(kinds, (10, 6, 8, 3, 1))[0]()

    def _random_segment(self) -> None:
        random, peer = self.random, self.peer
        flags = random.choice(_ODD_FLAGS if random.random() < 0.12 else _FLAGS)
        offset = random.choice(
            (
                *((0,) * 8),
                *(-1, -1, -10, 1, 1, 10, 1000, -1000),
                *(_WINDOW - 1, _WINDOW, _WINDOW + 1, _WINDOW - 1000),
                *(1 << 24, -(1 << 24), (1 << 31) - 1),
            )
        )
        acknowledgment = random.choice(
            (
                *((peer.sent,) * 6),
                *(peer.unacked, peer.unacked, (peer.unacked + peer.sent) // 2),
                *(peer.sent + 1, peer.sent + 1000, peer.sent + (1 << 30)),
                *(peer.unacked - 1, peer.unacked - 70_000),
            )
        )
        # Only the first window on IPv4, without window scaling, has the same right edge on both stacks.
        other_edge = peer.timestamp or self.scenario.ip_version == 6 or peer.next != 1 or "S" in flags
        if other_edge and abs(abs(offset) - _WINDOW) < _NEAR_EDGE:
            offset = 0
        size = 0 if "S" in flags and "." in flags else random.choice((0, 0, 0, 1, 10, 1000, 1460))
        # A SYN,ACK for a connection in SYN-RECEIVED is a known divergence (`divergences`).
        if "S" in flags and "." in flags and self.socket == 3 and LISTEN[-1] in self.steps:
            flags = flags.replace(".", "")
        if "S" in flags and random.random() < 0.5:
            number = random.choice((peer.next + offset, 0, 1 << 24))
            agreed = peer.timestamp, peer.sacks
            self.do(
                self.syn(
                    f"{flags} {number % MODULUS}:{number % MODULUS}(0)"
                    + (f" ack {acknowledgment % MODULUS}" if "." in flags else "")
                )
            )
            if peer.syn_answered:
                peer.timestamp, peer.sacks = agreed
            return
        window = random.choice((32000, 32000, 32000, 0, 1, 500, 65535))
        self.do(self.segment(flags, peer.next + offset, size, acknowledgment, window))

    def _valid_segment(self) -> None:
        random, peer = self.random, self.peer
        flags, size = random.choice(((".", 0), (".", 0), ("P.", 10), ("P.", 1000), ("F.", 0), ("FP.", 100)))
        peer.unacked = peer.sent
        self.do(self.segment(flags, peer.next, size, peer.sent, 32000))

    # Calls

    def _random_call(self) -> None:
        own = self.socket if self.random.random() < 0.93 else 3
        size = self.random.choice((1, 10, 1000, 1000, 3000, 20_000))
        self.do(
            self.random.choice(
                (
                    *((f"write({own}, ..., {size})",) * 5),
                    *((f"read({own}, ..., {self.random.choice((1, 50, 5000, 5000))})",) * 5),
                    f"recv({own}, ..., 100, MSG_PEEK)",
                    *(f"shutdown({own}, SHUT_WR)", f"shutdown({own}, SHUT_WR)", f"shutdown({own}, SHUT_RD)"),
                    f"shutdown({own}, SHUT_RDWR)",
                    *(f"close({own})", f"close({own})", "accept(3, ..., ...)"),
                    *(() if self.socket == 3 else (f"connect({own}, ..., ...)",)),
                    f"setsockopt({own}, SOL_TCP, TCP_NODELAY, [1], 4)",
                    f"setsockopt({own}, SOL_SOCKET, SO_LINGER, {{onoff=1, linger=0}}, 8)",
                    *(() if self.socket == 3 else (f"listen({own}, 1)",)),
                )
            )
        )

    def _query(self) -> None:
        own = self.socket if self.random.random() < 0.93 else 3
        queries: Sequence[str] = (
            *(STATE, INFO),
            f"poll([{{fd={own}, events=POLLIN|POLLOUT, revents=?}}], 1, 0)",
            f"poll([{{fd={own}, events=POLLIN|POLLOUT, revents=?}}], 1, 0)",
            f"getsockopt({own}, SOL_SOCKET, SO_ERROR, ?, [4])",
            *(() if own == 3 else (f"ioctl({own}, SIOCINQ, ?)", f"ioctl({own}, SIOCOUTQ, ?)")),
        )
        self.do(self.random.choice(queries))

    def _pause(self) -> None:
        if not self.paused:
            self.paused = True
            self.do(PAUSE)
