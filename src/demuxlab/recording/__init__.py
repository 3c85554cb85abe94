"""Captures of what a host sees: observers of a host that write each packet, with its decision, to a file.

Takes packets and `Delivery`s as a host reports them; gives pcapng or pcap files, whole up to the last packet.
"""
