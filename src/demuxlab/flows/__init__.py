"""Count the packets and bytes of each TCP and UDP conversation in captures, about as fast as a file is read.

`batches` finds the packets of a file with an engine, `vectorised` (numpy) or `compiled` (numba). The engine
counts packets of the common layouts, `one_by_one` all others. `rows` pairs directions and merges files.
"""
