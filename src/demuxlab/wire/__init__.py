"""Header fields ⇄ bytes: the only room that knows an offset.

`packet.read` turns bytes into a segment, a datagram, an ICMP message or a named fault, and never raises;
each protocol has its module with `read` and `build`. Nothing here does I/O or reads a clock.
"""
