"""Wireshark as the course uses it: profile, Lua script, starting it, and the labs as its interfaces (extcap).

Takes a capture, or a run's packets as they come; gives a running Wireshark, or files in the user's own one.
"""
