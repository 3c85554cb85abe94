"""The table of states: each row is taken by some connection, and nothing else changes a state."""

import ast
from pathlib import Path

import pytest
from tests.transport.tcp.test_connection import A, B, Peer

import demuxlab.transport.tcp
from demuxlab.host import Host
from demuxlab.transport.tcp import states
from demuxlab.transport.tcp.states import TABLE, Event, State
from demuxlab.wire import ip, packet, tcp

SOURCE = Path(demuxlab.transport.tcp.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "tcp-states.md"


@pytest.fixture
def taken(monkeypatch):
    """The rows that connections have taken, in order."""
    rows = []

    class Recorded(dict):
        def __getitem__(self, row):
            rows.append(row)
            return super().__getitem__(row)

    monkeypatch.setattr(states, "TABLE", Recorded(TABLE))
    return rows


class Client:
    """Our side connects from B:80 to a crafted peer at A:9157."""

    def __init__(self):
        self.host = Host("B", ["10.9.0.20"])
        self.end = self.host.tcp_endpoint()
        self.end.bind(B, 80)
        self.end.connect(A, 9157, 0.0)
        [syn] = self.host.packets(0.0)
        self.next = packet.read(syn).sequence + 1

    def receive(self, flags, sequence, acknowledged=0):
        segment = tcp.build(
            *(A, B, 9157, 80),
            sequence=sequence,
            acknowledgment=(self.next + acknowledged) & 0xFFFFFFFF if "A" in flags else 0,
            flags=sum(1 << "FSRPA".index(letter) for letter in flags),
            window=1000,
        )
        self.host.receive(packet.build(A, B, ip.TCP, segment), 0.0)
        return self


# A script for each state, and from each the reset of the peer.


def syn_sent():
    return Client()


def syn_received():
    return Client().receive("S", 5000)


def closed_in_syn_received():
    client = syn_received()
    client.end.shutdown_write(0.0)
    assert client.end.state is State.SYN_RECEIVED
    return client.receive("A", 5001)


def established():
    return Client().receive("SA", 5000)


def fin_wait_1():
    client = established()
    client.end.shutdown_write(0.0)
    return client


def fin_wait_2():
    return fin_wait_1().receive("A", 5001, 1)


def closing():
    return fin_wait_1().receive("FA", 5001)


def close_wait():
    return established().receive("FA", 5001)


def last_ack():
    client = close_wait()
    client.end.close(0.0)
    return client


def time_wait():
    return fin_wait_2().receive("FA", 5001, 1)


STATES = {
    State.SYN_SENT: (syn_sent, 0),
    State.SYN_RECEIVED: (syn_received, 5001),
    State.ESTABLISHED: (established, 5001),
    State.FIN_WAIT_1: (fin_wait_1, 5001),
    State.FIN_WAIT_2: (fin_wait_2, 5001),
    State.CLOSING: (closing, 5002),
    State.CLOSE_WAIT: (close_wait, 5002),
    State.LAST_ACK: (last_ack, 5002),
    State.TIME_WAIT: (time_wait, 5002),
}


def resets():
    for state, (script, number) in STATES.items():
        client = script()
        assert client.end.state is state
        client.receive("RA" if state is State.SYN_SENT else "R", number)
        assert len(client.host.demultiplexer.table) == 0


def ends():
    closing().receive("A", 5002, 1)
    last_ack().receive("A", 5002, 1)
    client = time_wait()
    client.host.tick(client.host.next_tick)
    assert len(client.host.demultiplexer.table) == 0
    assert closed_in_syn_received().end.state is State.FIN_WAIT_1
    syn_sent().end.close(0.0)


def listens():
    peer = Peer()
    peer.listener.close(peer.now)


def test_every_row_of_the_table_is_taken_and_no_other(taken):
    resets()
    ends()
    listens()
    assert set(taken) == set(TABLE)


def test_a_passive_connection_goes_from_listen_to_time_wait(taken):
    peer = Peer()
    taken.clear()  # the listening socket's own, and the way to ESTABLISHED
    peer.server.close(peer.now)
    peer.sent()
    peer.send("A", ack=1)
    peer.send("FA", ack=1)
    peer.wait(61)
    assert taken == [
        (State.ESTABLISHED, Event.CLOSE),
        (State.FIN_WAIT_1, Event.ACK_OF_FIN),
        (State.FIN_WAIT_2, Event.FIN),
        (State.TIME_WAIT, Event.TIMEOUT),
    ]


def test_an_event_that_the_table_does_not_have_is_refused():
    machine = states.StateMachine(State.CLOSED)
    assert not machine.allows(Event.FIN)
    with pytest.raises(KeyError):
        machine.transition(Event.FIN)
    assert machine.state is State.CLOSED


@pytest.mark.parametrize("file", sorted(SOURCE.glob("*.py")), ids=lambda file: file.stem)
def test_nothing_but_the_machine_assigns_a_state(file):
    """`socket.state` is another: the socket table's."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        is_state = isinstance(node, ast.Attribute) and node.attr == "state"
        if is_state and isinstance(node.ctx, ast.Store) and not ast.unparse(node.value).endswith("socket"):
            found.append(f"{file.name}:{node.lineno}")
    assert len(found) == (2 if file.stem == "states" else 0), found


def test_every_state_can_be_left_and_the_diagram_shows_each_step():
    assert {state for state, _ in TABLE} == set(State)
    drawn = states.diagram()
    for (state, event), to in TABLE.items():
        step = f"{state.name} --> {to.name}: {event.value.partition(':')[0]}"
        assert (step in drawn) == (event is not Event.RESET)


def test_the_documentation_shows_the_table():
    assert PAGE.read_text() == states.page(), "write it again: see the page's first lines"
