"""The life of a connection as a table (RFC 9293, section 3.3.2, figure 5).

`python -m demuxlab.transport.tcp.states` draws the diagram from it, as Mermaid text.
"""

from enum import Enum


class State(Enum):
    """The states of RFC 9293, section 3.3.2."""

    __hash__ = object.__hash__  # the enum's own hashes the name, for each segment several times

    CLOSED = "CLOSED"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"


class Event(Enum):
    """What moves a connection on."""

    __hash__ = object.__hash__

    PASSIVE_OPEN = "listen()"
    ACTIVE_OPEN = "connect(): send SYN"
    SYN = "receive SYN: send SYN,ACK"
    SYN_ACK = "receive SYN,ACK: send ACK"
    ACK_OF_SYN = "receive ACK of SYN"
    CLOSE = "close(): send FIN"
    FIN = "receive FIN: send ACK"
    ACK_OF_FIN = "receive ACK of FIN"
    RESET = "RST, or given up"
    TIMEOUT = "2 MSL have passed"


RESET_BY_ABORT = frozenset(
    (State.SYN_RECEIVED, State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT)
)
"""In these ABORT sends RST (RFC 9293, section 3.10.5)."""

_S, _E = State, Event

TABLE: dict[tuple[State, Event], State] = {
    (_S.CLOSED, _E.PASSIVE_OPEN): _S.LISTEN,
    (_S.CLOSED, _E.ACTIVE_OPEN): _S.SYN_SENT,
    (_S.LISTEN, _E.SYN): _S.SYN_RECEIVED,
    (_S.LISTEN, _E.CLOSE): _S.CLOSED,
    (_S.SYN_SENT, _E.SYN_ACK): _S.ESTABLISHED,
    (_S.SYN_SENT, _E.SYN): _S.SYN_RECEIVED,
    (_S.SYN_SENT, _E.CLOSE): _S.CLOSED,
    (_S.SYN_RECEIVED, _E.ACK_OF_SYN): _S.ESTABLISHED,
    (_S.SYN_RECEIVED, _E.CLOSE): _S.FIN_WAIT_1,
    (_S.ESTABLISHED, _E.CLOSE): _S.FIN_WAIT_1,
    (_S.ESTABLISHED, _E.FIN): _S.CLOSE_WAIT,
    (_S.FIN_WAIT_1, _E.ACK_OF_FIN): _S.FIN_WAIT_2,
    (_S.FIN_WAIT_1, _E.FIN): _S.CLOSING,
    (_S.FIN_WAIT_2, _E.FIN): _S.TIME_WAIT,
    (_S.CLOSE_WAIT, _E.CLOSE): _S.LAST_ACK,
    (_S.CLOSING, _E.ACK_OF_FIN): _S.TIME_WAIT,
    (_S.LAST_ACK, _E.ACK_OF_FIN): _S.CLOSED,
    (_S.TIME_WAIT, _E.TIMEOUT): _S.CLOSED,
    **{(state, _E.RESET): _S.CLOSED for state in State if state not in (_S.CLOSED, _S.LISTEN)},
}

SYNCHRONIZED = frozenset(State) - {_S.CLOSED, _S.LISTEN, _S.SYN_SENT, _S.SYN_RECEIVED}
CAN_SEND = frozenset((_S.ESTABLISHED, _S.CLOSE_WAIT))
CAN_RECEIVE = frozenset((_S.ESTABLISHED, _S.FIN_WAIT_1, _S.FIN_WAIT_2))


def diagram() -> str:
    """Return the state diagram as Mermaid text; resets are left out, for they lead from everywhere."""
    lines = ["stateDiagram-v2"]
    for (state, event), to in TABLE.items():
        if event is not Event.RESET:
            lines.append(f"    {state.name}: {state.value}")
            lines.append(f"    {state.name} --> {to.name}: {event.value}")
    return "\n".join(dict.fromkeys(lines))


if __name__ == "__main__":
    print(diagram())
