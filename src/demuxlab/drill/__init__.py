"""Packet scripts in packetdrill's language, played on our TCP or on the Linux kernel's."""
