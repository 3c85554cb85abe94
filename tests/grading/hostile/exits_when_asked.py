"""Ends the process with success in the middle of a call."""

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
        os._exit(0)
