"""Packet scripts in packetdrill's language, run against our TCP or the Linux kernel's.

`drill` loads and plays scripts: `parser` reads them, `runner` interprets them on a `machine`, which is our
stack in virtual time (`on_stack`) or the kernel in real time (`on_kernel`). `compare` plays random scripts on
both and reports where they disagree, except for the differences that `known_differences` and `divergences`
list.
"""
