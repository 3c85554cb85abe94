"""Transport demultiplexing: which socket a segment belongs to, and why.

`Demultiplexer.deliver` reads a packet, looks up its socket in the `SocketTable` and returns a `Delivery`.
Nothing here does I/O, starts a thread or reads a clock.
"""
