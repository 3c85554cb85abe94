"""A host behind a TUN that programs of this machine can talk to, and the servers that `serve` runs on it.

Takes addresses and a service; gives a running host. When it ends, no device, address or route is left.
"""
