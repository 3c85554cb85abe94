"""Header fields ⇄ bytes: the only package that knows the offset of a field.

`packet.read` returns a segment, a datagram, an ICMP message or a `Malformed` with its reason, and never
raises. Each protocol has a module with `read` and `build`. Nothing here does I/O or reads a clock.
"""
