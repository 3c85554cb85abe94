"""Lab 16's exercise, solved."""


def destination_id(datagram: bytes, own_length: int) -> bytes | None:
    """Return the destination connection ID of a datagram that came to a server."""
    if not datagram:
        return None
    if not datagram[0] & 0x80:
        found = datagram[1 : 1 + own_length]
        return found if len(found) == own_length else None
    if len(datagram) < 6 or (datagram[1:5] == b"\0\0\0\1" and datagram[5] > 20):
        return None
    found = datagram[6 : 6 + datagram[5]]
    return found if len(found) == datagram[5] else None


def balance(datagram: bytes, sender: str, own_length: int, servers: int) -> int | None:
    """Return which server a load balancer sends this datagram to."""
    found = destination_id(datagram, own_length)
    return found[0] % servers if found else None


class Server:
    """A QUIC server of version 1: which connection does a datagram belong to?"""

    def __init__(self, own_length: int) -> None:
        self._own_length = own_length
        self._opened = 0
        self._owner: dict[bytes, str] = {}
        self._peer: dict[str, str] = {}

    def deliver(self, datagram: bytes, sender: str) -> str | None:
        """Return the name of the datagram's connection; or what the server answers; None: it drops it."""
        if not datagram:
            return None
        long = bool(datagram[0] & 0x80)
        version = int.from_bytes(datagram[1:5], "big")
        if long and version != 1:
            return "version negotiation" if version and len(datagram) >= 1200 else None
        found = destination_id(datagram, self._own_length)
        if found is None or not datagram[0] & 0x40:
            return None
        name = self._owner.get(found)
        if name is None and long:
            if datagram[0] & 0x30 or len(datagram) < 1200 or len(found) < 8:
                return None
            self._opened += 1
            name = self._owner[found] = f"C{self._opened}"
        if name is None:
            return "stateless reset" if len(datagram) > 21 else None
        self._peer[name] = sender
        return name

    def issue(self, connection: str, connection_id: bytes) -> bool:
        """The server issues a further ID for a connection."""
        if (
            connection not in self._peer
            or len(connection_id) != self._own_length
            or connection_id in self._owner
        ):
            return False
        self._owner[connection_id] = connection
        return True

    def retire(self, connection: str, connection_id: bytes) -> None:
        """The client retires one of its connection's IDs."""
        if self._owner.get(connection_id) == connection:
            del self._owner[connection_id]

    def close(self, connection: str) -> None:
        """A connection ends."""
        self._peer.pop(connection, None)
        self._owner = {number: name for number, name in self._owner.items() if name != connection}

    def peer(self, connection: str) -> str | None:
        """Return where the server sends a connection's packets."""
        return self._peer.get(connection)
