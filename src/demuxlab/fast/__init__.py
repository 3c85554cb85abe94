"""The fast path: what most packets take. It decides as the readable way does; tests/fast compares the two.

The readable way, `Host.receive`, reads every field, makes objects and can explain what it did. Most packets
need none of that: a whole IPv4 packet without options (`plain`), for a socket without competitors
(`demultiplexer`), with the next data of an established connection (`prediction`) or a datagram (`datagrams`).
Whatever is not so goes on by the readable way from the place where the fast path left it.

Only the runtime and the benchmarks use this room. It knows the host and the rooms below; they do not know
it. Three things elsewhere are public for it alone: the table's views `connections` and `connected`, and a
queue's `items`.
"""
