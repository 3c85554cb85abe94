"""Capture files: pcap and pcapng, written (`pcap`, `pcapng`) and read (`reader`, `section`, `source`)."""
