"""Ephemeral ports: in range, unpredictable without the secret, never one that is taken."""

import errno

import pytest

from demuxlab.transport.ports import FIRST, LAST, EphemeralPorts


def test_ports_are_dynamic_ones_and_seldom_repeat():
    ports = EphemeralPorts(b"secret")
    chosen = [ports.choose(lambda _port: True, b"10.9.0.20:80") for _ in range(1000)]
    assert FIRST <= min(chosen) <= max(chosen) <= LAST
    assert len(set(chosen)) == 1000


def test_the_secret_decides():
    def first(secret):
        return EphemeralPorts(secret).choose(lambda _port: True, b"there")

    assert first(b"one") == first(b"one")
    assert len({first(bytes([number])) for number in range(1, 30)}) > 20


def test_a_taken_port_is_passed_over():
    ports = EphemeralPorts(b"secret")
    assert ports.choose(lambda port: port == 50_000) == 50_000


def test_when_all_are_taken_it_says_so():
    with pytest.raises(OSError, match="close some sockets") as error:
        EphemeralPorts(b"secret").choose(lambda _port: False)
    assert error.value.errno == errno.EADDRNOTAVAIL
