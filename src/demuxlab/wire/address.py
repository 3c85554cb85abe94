"""Network addresses: 4 bytes (IPv4) or 16 bytes (IPv6), as in the header; text only for input and output.

The bytes need no conversion to be part of a dictionary key.
"""

from functools import lru_cache
from ipaddress import ip_address

ANY_IPV4 = bytes(4)
ANY_IPV6 = bytes(16)
BROADCAST_IPV4 = b"\xff" * 4
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


@lru_cache(maxsize=4096)
def from_text(text: str) -> bytes:
    """Return the 4 or 16 bytes of an address such as "10.9.0.20" or "fd09::2".

    Raises ValueError, whose message quotes the text, if it is not an address.
    """
    return ip_address(text).packed


@lru_cache(maxsize=4096)
def to_text(address: bytes) -> str:
    """Return the usual text of a 4-byte or 16-byte address (RFC 5952 for IPv6)."""
    return str(ip_address(address))


def endpoint_text(address: bytes, port: int) -> str:
    """Return "10.9.0.20:80", or "[fd09::2]:80" (RFC 3986, section 3.2.2)."""
    return f"{to_text(address)}:{port}" if len(address) == 4 else f"[{to_text(address)}]:{port}"


def is_any(address: bytes) -> bool:
    """Tell whether the address is the wildcard, 0.0.0.0 or ::."""
    return not any(address)


@lru_cache(4096)
def is_multicast(address: bytes) -> bool:
    """Tell whether the address is in 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291, section 2.7)."""
    return address[0] >> 4 == 0xE if len(address) == 4 else address[0] == 0xFF


@lru_cache(4096)
def is_loopback(address: bytes) -> bool:
    """Tell whether the address is in 127.0.0.0/8 or is ::1."""
    return address[0] == 127 if len(address) == 4 else address == bytes(15) + b"\x01"


def is_link_local(address: bytes) -> bool:
    """Tell whether the address is in fe80::/10 (RFC 4291, section 2.5.6): valid on one link."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def unmapped(address: bytes) -> bytes:
    """Return the IPv4 address of ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2), any other address unchanged."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED_PREFIX) else address


def mapped(address: bytes) -> bytes:
    """Return ::ffff:a.b.c.d for an IPv4 address, an IPv6 address unchanged."""
    return _MAPPED_PREFIX + address if len(address) == 4 else address
