"""Leaves threads behind that are not daemons."""

import threading
import time

for _number in range(8):
    threading.Thread(target=time.sleep, args=(1_000_000,)).start()


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
        return None
