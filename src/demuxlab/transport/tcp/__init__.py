"""TCP, one connection's life (RFC 9293). The way through the modules:

`endpoint` is what an application holds; it listens through `listener` or talks through `connection`, whose
two halves are `sender` and `receiver`. `states` is the table of states, `handshake` the beginning,
`time_wait` the end, `output` the way out.
"""
