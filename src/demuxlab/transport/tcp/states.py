"""The states of a connection as a table (RFC 9293, section 3.3.2, figure 5).

Every change of state is an event of this table and goes through `StateMachine.transition`; nothing else
assigns `state`. `python -m demuxlab.transport.tcp.states > docs/tcp-states.md` draws the diagram from it.
"""

from enum import Enum


class State(Enum):
    """The states of RFC 9293, section 3.3.2."""

    # Enum's own hash is that of the name and costs four times as much; several lookups a segment use it.
    __hash__ = object.__hash__

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
    """What changes a state: a user call, a segment, or a timeout (RFC 9293, section 3.10)."""

    __hash__ = object.__hash__

    PASSIVE_OPEN = "listen()"
    ACTIVE_OPEN = "connect(): send SYN"
    SYN = "receive SYN: send SYN,ACK"
    SYN_ACK = "receive SYN,ACK: send ACK"
    ACK_OF_SYN = "receive ACK of SYN"
    CLOSE = "close(): send FIN"
    FIN = "receive FIN: send ACK"
    ACK_OF_FIN = "receive ACK of FIN"
    RESET = "RST received or sent, or given up"
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


class StateMachine:
    """Something with a state of the table: a listening socket, a connection, or its TIME-WAIT."""

    __slots__ = ("state",)

    def __init__(self, state: State = State.CLOSED) -> None:
        self.state = state

    def transition(self, event: Event) -> None:
        """Move on by an event; KeyError where the table has no row for it in this state."""
        self.state = TABLE[self.state, event]

    def allows(self, event: Event) -> bool:
        """Tell whether the table has a row for an event in this state."""
        return (self.state, event) in TABLE


def diagram() -> str:
    """Return the table as a Mermaid state diagram, without the resets: they lead from all states to one."""
    lines = ["stateDiagram-v2"]
    for (state, event), to in TABLE.items():
        if event is not Event.RESET:
            # Before there is a peer, and after the last segment, nothing is sent.
            label = event.value.partition(":")[0] if to is State.CLOSED else event.value
            lines.append(f"    {state.name}: {state.value}")
            lines.append(f"    {state.name} --> {to.name}: {label}")
    return "\n".join(dict.fromkeys(lines))


def page() -> str:
    """Return the page of the documentation that shows the diagram, as Markdown."""
    return f"""# The states of a TCP connection

Drawn from the table in `src/demuxlab/transport/tcp/states.py` (RFC 9293, section 3.3.2, figure 5). Write it
again after a change of the table: `python -m demuxlab.transport.tcp.states > docs/tcp-states.md`.

```mermaid
{diagram()}
```

Not drawn: from every state but CLOSED and LISTEN, "{Event.RESET.value}" leads to CLOSED.

Where ours does more than the figure says:

- A data socket passes through LISTEN on its way to SYN-RECEIVED; its listening socket stays there.
- `shutdown()` in SYN-RECEIVED is queued until the SYN is acknowledged, and so is `close()` where data waits
  (RFC 9293, section 3.10.4); then it leads straight to FIN-WAIT-1.
- An orphaned connection (closed by its application) leaves FIN-WAIT-2 after 2 MSL even if no FIN arrives.
- In TIME-WAIT a newer SYN ends the wait, and the listening socket answers it (RFC 6191, section 2).
"""


if __name__ == "__main__":
    print(page(), end="")
