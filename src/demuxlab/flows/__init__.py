"""Conversations of captures: who sent how much to whom, nearly as quickly as the file can be read.

`batches` finds the packets of a file, with an engine: `vectorised` (numpy) or `compiled` (numba). The engine
counts the packets of the usual shapes, `one_by_one` all others. `rows` pairs directions and merges files.
"""
