"""Whose segment goes down the link next: multiplexing, as fair queues and IP headers."""
