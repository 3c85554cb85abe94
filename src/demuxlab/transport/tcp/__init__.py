"""TCP, one connection's life: the passive side, data in order, and closing.

Not here yet: retransmission, congestion control, active open, window scaling. Crafted handshakes and clean
links need none of them.
"""
