"""Wireshark for the course: profile, Lua script, starting it, and the labs as its interfaces (extcap).

Takes a capture, or a run's packets as they come; starts Wireshark, or installs files for the user's own.
"""
