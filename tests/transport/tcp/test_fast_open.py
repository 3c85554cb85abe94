"""Fast Open without a connection, and between two hosts."""

import pytest
from tests.transport.network import Network

from demuxlab.transport.tcp import fast_open
from demuxlab.transport.tcp.fast_open import Cache, Switch
from demuxlab.transport.tcp.states import State
from demuxlab.wire.tcp import FastOpenCookie, Options, build_options, read_options

KEY = bytes(range(16))
CLIENT, SERVER = bytes((192, 0, 2, 1)), bytes((192, 168, 0, 1))


def test_siphash_of_its_authors():
    # Aumasson and Bernstein, "SipHash: a fast short-input PRF", appendix A.
    assert fast_open.siphash(KEY, bytes(range(15))) == 0xA129CA6149BE45E5


def test_a_cookie_is_that_of_linux_with_the_same_key():
    key = bytes.fromhex("a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4")
    assert fast_open.cookie(key, CLIENT, SERVER).hex() == "3021b9d889017eeb"


@pytest.mark.parametrize(
    "cookie", [FastOpenCookie(), FastOpenCookie(b"12345678"), FastOpenCookie(b"1234", True)]
)
def test_the_option_is_read_back(cookie):
    data = build_options(Options(mss=1460, fast_open=cookie))
    assert len(data) % 4 == 0
    assert read_options(data).fast_open == cookie


@pytest.mark.parametrize("size", [1, 2, 3, 5, 18])
def test_a_cookie_of_another_size_is_none(size):
    assert read_options(bytes((34, size + 2)) + bytes(size)).fast_open is None


def check(offered, keys=KEY, needed=True):
    return fast_open.check(offered, keys, CLIENT, SERVER, needed=needed)


def test_which_data_a_server_takes():
    valid = fast_open.cookie(KEY, CLIENT, SERVER)
    assert check(None) == (False, None)
    assert check(None, needed=False) == (True, None)
    assert check(FastOpenCookie(valid)) == (True, None)
    assert check(FastOpenCookie()) == (False, FastOpenCookie(valid))
    assert check(FastOpenCookie(b"x" * 8, True)) == (False, FastOpenCookie(valid, True))


def test_a_cookie_of_the_old_key_is_taken_and_replaced():
    new = bytes(16)
    old_cookie = FastOpenCookie(fast_open.cookie(KEY, CLIENT, SERVER))
    assert check(old_cookie, new + KEY) == (True, FastOpenCookie(fast_open.cookie(new, CLIENT, SERVER)))


def test_the_cache_is_bounded_and_the_oldest_gives_way():
    cache = Cache()
    given = FastOpenCookie(b"12345678")
    for number in range(1025):
        cache.answered(number.to_bytes(4, "big"), 1460, FastOpenCookie(), given, tried=False)
    assert cache[bytes(4)].cookie == b""
    assert cache[bytes((0, 0, 4, 0))].cookie == given.value


def test_a_cookie_that_was_not_asked_for_is_not_kept():
    cache = Cache()
    cache.answered(SERVER, 1460, None, FastOpenCookie(b"12345678"), tried=False)
    assert cache[SERVER].cookie == b""


# Two hosts


def listen(network, **settings):
    listener = network.b.tcp_endpoint(network.family)
    listener.settings.fast_open_queue = 5
    for name, value in settings.items():
        setattr(listener.settings, name, value)
    listener.bind(network.address(network.b), 80)
    listener.listen(16)
    return listener


def connect(network, data, **settings):
    client = network.a.tcp_endpoint(network.family)
    for name, value in settings.items():
        setattr(client.settings, name, value)
    taken = client.connect(network.address(network.b), 80, network.now, data)
    return client, taken


def accepted(network, listener):
    assert network.run(lambda: listener.readable)
    return listener.accept()


@pytest.mark.parametrize("family", [4, 6])
def test_the_second_connection_s_data_is_read_after_half_a_round_trip(family):
    network = Network(family=family)
    listener = listen(network)
    first, taken = connect(network, b"hello")
    assert taken == 0
    assert network.run(lambda: first.connected)
    accepted(network, listener)
    began = network.now
    second, taken = connect(network, b"hello")
    assert taken == 5
    server = accepted(network, listener)
    assert server.read(100, network.now) == b"hello"
    assert network.now - began == pytest.approx(0.005)
    assert server.state is State.SYN_RECEIVED
    server.write(b"world", network.now)
    assert network.run(lambda: second.waiting == 5)
    assert network.now - began == pytest.approx(0.010)
    assert network.run(lambda: server.state is State.ESTABLISHED)


def test_a_syn_with_data_that_is_lost_costs_one_timeout():
    network = Network()
    listener = listen(network, fast_open=Switch.SERVER | Switch.SERVER_WITHOUT_COOKIE)
    network.cut = True
    client, taken = connect(network, b"x" * 1000, fast_open=Switch.CLIENT | Switch.CLIENT_WITHOUT_COOKIE)
    assert taken == 1000
    network.run(limit=0.5)
    network.cut = False
    began = network.now
    server = accepted(network, listener)
    assert network.run(lambda: server.waiting == 1000)
    assert network.now - began < 0.6
    assert client.info()["tcpi_fastopen_client_fail"] == fast_open.Failure.SYN_RETRANSMITTED


def test_resets_during_the_handshake_count_for_a_minute():
    network = Network()
    open_to_all = Switch.SERVER | Switch.SERVER_WITHOUT_COOKIE
    listener = listen(network, fast_open=open_to_all, fast_open_queue=1)
    how = {"fast_open": Switch.CLIENT | Switch.CLIENT_WITHOUT_COOKIE}

    def early():
        client, _ = connect(network, b"x", **how)
        server = accepted(network, listener)
        taken = server.state is State.SYN_RECEIVED
        return client, taken

    client, taken = early()
    assert taken
    client.abort(network.now)
    network.run(limit=1)  # the client's host answers the SYN,ACK with RST
    assert not early()[1]
    network.run(limit=61)
    assert early()[1]
