"""Fuzzing: every reader of foreign bytes is tested with random and malformed input.

A target is a module with two functions. `one(data)` runs one input and raises only on a finding. It
depends on its bytes alone, so that pytest can repeat any input. `seeds()`
yields inputs to begin with. `python -m tests.fuzz` changes inputs, guided by the code that they reach
(atheris); `corpus/TARGET.zip` keeps those that reached something new.
"""

TARGETS = (
    *("wire", "deliver", "host", "tcp"),
    *("capture", "report", "socket_file", "drill"),
    *("answers", "archive", "notes"),
)
