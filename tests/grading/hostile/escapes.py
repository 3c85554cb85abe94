"""Raises and prints what steers a terminal, and markup."""


class Evil(Exception):
    pass


Evil.__name__ = "\x1b[2J<script>alert(1)</script>\u202e"
print("\x1b]0;title\x07\x1b[31mred <b>bold</b>")


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
        raise Evil("\x1b[2J\x1b[1;1H<script>alert(1)</script>\u202e\r\n\x00")
