"""Fuzzing: every reader of foreign bytes gets bytes that nobody would send.

A target is a module with two functions. `one(data)` tries one input and raises on a finding, and on nothing
else; it is the same function of its bytes each time, so that plain pytest can try an input again. `seeds()`
yields inputs to begin with. `python -m tests.fuzz` changes inputs, guided by the code that they reach
(atheris); `corpus/TARGET.zip` keeps those that reached something new.
"""

TARGETS = (
    *("wire", "deliver", "host", "tcp"),
    *("capture", "report", "socket_file", "drill"),
    *("answers", "archive", "notes"),
)
