"""Which socket owns this segment, and why.

`Demultiplexer.deliver` reads a packet and asks the `SocketTable`; a `Delivery` is the answer. Nothing here
does I/O, starts a thread or reads a clock.
"""
