"""A memory bomb."""


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
        parts = []
        while True:
            parts.append(bytearray(1 << 26))
