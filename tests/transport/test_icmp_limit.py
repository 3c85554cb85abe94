"""How many ICMP errors a host sends: to each, to all, and what is remembered for it."""

from demuxlab.transport import icmp_limit
from demuxlab.transport.icmp_limit import ErrorLimit


def address(number):
    return b"\x0a\x09" + number.to_bytes(2, "big")


def allowed(limit, destination, now, times):
    return [limit.refuses(destination, now) for _ in range(times)].count("")


def test_six_at_once_then_one_a_second_to_the_same_host():
    limit = ErrorLimit()
    assert allowed(limit, address(1), 100.0, 20) == 6
    assert allowed(limit, address(2), 100.0, 20) == 6
    assert allowed(limit, address(1), 101.0, 20) == 1
    assert allowed(limit, address(1), 1000.0, 20) == 6
    assert limit.refuses(address(1), 1000.0) == "IcmpOutRateLimitHost"


def test_ten_a_second_to_an_ipv6_host():
    limit = ErrorLimit()
    assert allowed(limit, bytes(16), 100.0, 20) == 6
    assert allowed(limit, bytes(16), 100.25, 20) == 2


def test_fifty_at_once_then_a_thousand_a_second_to_all_together():
    limit = ErrorLimit()
    assert [limit.refuses(address(n), 100.0) for n in range(100)].count("") == 50
    assert limit.refuses(address(1000), 100.0) == "IcmpOutRateLimitGlobal"
    assert sum(not limit.refuses(address(200 + n), 100.0 + n / 10_000) for n in range(10_000)) in (999, 1000)


def test_what_one_host_was_refused_is_left_to_the_others():
    limit = ErrorLimit()
    assert allowed(limit, address(1), 100.0, 1000) == 6
    assert [limit.refuses(address(2 + n), 100.0) for n in range(44)].count("") == 44


def test_so_many_hosts_are_remembered_and_no_more(monkeypatch):
    monkeypatch.setattr(icmp_limit, "_DESTINATIONS", 10)
    limit = ErrorLimit()
    for number in range(1000):
        limit.refuses(address(number), 100.0 + number)
    assert len(limit._each) == 10
