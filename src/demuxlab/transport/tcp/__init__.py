"""TCP (RFC 9293), from an application's calls to the segments. The way through the modules:

- `endpoint`: the socket as an application has it; it listens through `listener` (with `cookies`) or talks
  through `connection`.
- `control_block`: the variables of one connection. `handshake`, `arrival` (a segment) and `timeouts` act on
  it, `connection` adds the user's calls, `time_wait` is what remains of it.
- The parts that decide, each readable alone: `states` (the table), `deadlines`, `acknowledgments`,
  `timestamps`, `mss`, `receiver` (with `byte_queue`), and of the sending half, put together by `sender`:
  `send_buffer`, `loss_recovery` (with `retransmission_queue`), `congestion`, `nagle`, `rtt`. Of both halves:
  `ecn`, `fast_open`, `path_mtu`, `buffers`.
- `output` and `reset` build segments.

A module imports only from those after it in this list, `sequence` and `settings`.
"""
