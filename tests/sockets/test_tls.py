"""`SSLContext.wrap_socket` on our sockets: the standard library's ssl.py over memory BIOs."""

import _socket
import importlib
import os
import select
import sys
import threading

import pytest

from demuxlab import sockets
from demuxlab.sockets import substitute, tls


def _ssl_on_our_sockets():
    """Return a copy of ssl.py as `install` gives it to a program."""
    names = ("socket", "_socket", "_ssl", "ssl")
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(socket=sockets, _socket=substitute.module, _ssl=tls.module)
    try:
        return importlib.import_module("ssl")
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(before)


ssl = _ssl_on_our_sockets()

KEY = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEINuN8pND5/9C9tbFEDgS4hE+qCPMjs9RUb86vm2krUWGoAoGCCqGSM49
AwEHoUQDQgAE8YXDXOxhJsE1AeNADX6JiQswsLNFOcSelH2KNsqI4olXqLss8B4M
G7HQJmtMxR0gRySZg4PixSZvMBLgkib0bw==
-----END EC PRIVATE KEY-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUA7xlXiHln3MzfyAlPZNSIEviRIowCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyOTA4NDA0MVoYDzIxMDkwMTE4
MDg0MDQxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATxhcNc7GEmwTUB40ANfomJCzCws0U5xJ6UfYo2yojiiVeouyzwHgwb
sdAma0zFHSBHJJmDg+LFJm8wEuCSJvRvo2kwZzAdBgNVHQ4EFgQURkEZP7mLcf1D
khQlydJ49bZbJQAwHwYDVR0jBBgwFoAURkEZP7mLcf1DkhQlydJ49bZbJQAwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgKZnkBjpW4pN8Z6D0tmor0VZBO2xxeanYQ4bNXN1PLsYCIDz1YdoxY1nh
/pMIletawC0/uF3aK5/QM3iptW3kIOdO
-----END CERTIFICATE-----
"""
"""For the name localhost, until 2109; made for these tests."""


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """A client's and a server's."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_text(KEY + CERTIFICATE)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=CERTIFICATE)
    client.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    client.check_hostname = True
    # The certificate is valid from the day on which it was made, whatever the test machine's clock says.
    client.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME
    return client, server


@pytest.fixture
def secure(pair, contexts):
    """Both ends of a connection after the handshake."""
    return shake_hands(*pair, *contexts)


def shake_hands(client, server, client_context, server_context, **options):
    ends = []
    thread = threading.Thread(
        target=lambda: ends.append(server_context.wrap_socket(server, server_side=True))
    )
    thread.start()
    ours = client_context.wrap_socket(client, server_hostname="localhost", **options)
    thread.join()
    return ours, ends[0]


def test_data_goes_both_ways(secure):
    client, server = secure
    with client, server:
        assert client.getpeercert()["subject"] == ((("commonName", "localhost"),),)
        assert client.cipher() == server.cipher()
        client.sendall(b"hello")
        assert server.recv(99) == b"hello"
        assert server.send(b"answer") == 6
        buffer = bytearray(9)
        assert client.recv_into(buffer) == 6
        assert buffer[:6] == b"answer"
        with server.makefile("wb") as out, client.makefile("rb") as lines:
            out.write(b"line 1\nline 2\n")
            out.flush()
            assert lines.readline() == b"line 1\n"
            assert lines.readline() == b"line 2\n"


def test_much_data_while_the_peer_reads(secure):
    client, server = secure
    data = bytes(range(256)) * 8000
    got = bytearray()

    def read():
        while part := server.recv(30_000):
            got.extend(part)
        server.unwrap().close()

    thread = threading.Thread(target=read)
    thread.start()
    client.sendall(data)
    client.unwrap().close()
    thread.join()
    assert got == data


def test_no_more_is_read_than_the_record_in_hand(secure):
    """A server that waits in select(2) would never find the second record."""
    client, server = secure
    with client, server:
        client.send(b"first")
        client.send(b"second")
        assert server.recv(99) == b"first"
        assert server.pending() == 0
        assert select.select([server], [], [], 0)[0] == [server]
        assert server.recv(99) == b"second"
        server.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            server.recv(99)
        assert select.select([server], [], [], 0)[0] == []


def test_after_unwrap_the_connection_goes_on_in_clear(secure):
    client, server = secure
    plain = []

    def end():
        assert server.recv(9) == b""  # close_notify
        plain.append(server.unwrap())
        plain[0].sendall(b"in clear")

    thread = threading.Thread(target=end)
    thread.start()
    client.settimeout(10)
    own = client.unwrap()
    assert own.recv(99) == b"in clear"
    thread.join()
    for each in own, plain[0]:
        each.close()


def test_timeouts(secure):
    client, server = secure
    with client, server:
        client.settimeout(0.001)
        with pytest.raises(TimeoutError, match="The read operation timed out"):
            client.recv(1)
        client.settimeout(0.01)
        with pytest.raises(TimeoutError, match="The write operation timed out"):
            client.sendall(bytes(3_000_000))


def test_a_handshake_times_out(pair, contexts):
    client, _server = pair
    client.settimeout(0.001)
    with pytest.raises(TimeoutError, match="The handshake operation timed out"):
        contexts[0].wrap_socket(client, server_hostname="localhost")


def test_without_blocking(pair, contexts):
    ends = []
    for own, context, options in zip(
        pair, contexts, ({"server_hostname": "localhost"}, {"server_side": True}), strict=True
    ):
        own.setblocking(False)
        ends.append(context.wrap_socket(own, do_handshake_on_connect=False, **options))
    waiting = list(ends)
    while waiting:
        for own in tuple(waiting):
            try:
                own.do_handshake()
                waiting.remove(own)
            except ssl.SSLWantReadError:
                pass
    client, server = ends
    with client, server:
        data, sent, got = bytes(range(256)) * 6000, 0, bytearray()
        while len(got) < len(data):
            try:
                while sent < len(data):
                    sent += client.send(data[sent : sent + 50_000])
            except ssl.SSLWantWriteError:
                pass
            try:
                while part := server.recv(100_000):
                    got.extend(part)
            except ssl.SSLWantReadError:
                pass
        assert got == data


def test_sessions_are_used_again(secure, contexts):
    client, server = secure
    server.send(b"x")
    client.recv(1)  # with it came the session tickets
    with client, server, sockets.create_server(("127.0.0.1", 0)) as listener:
        again = sockets.create_connection(listener.getsockname())
        second, third = shake_hands(again, listener.accept()[0], *contexts, session=client.session)
        with second, third:
            assert second.session_reused


def test_a_client_may_close_at_once(secure):
    client, server = secure
    client.close()
    # A server that had sent its session tickets, which the client never reads, would find a reset.
    with server:
        assert server.recv(1) == b""


def ticket_without_answer(client):
    """Tell whether the client has a session ticket, although it has sent no data."""
    client.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)
    return client.session.has_ticket


def test_session_tickets_follow_the_first_data(secure):
    client, server = secure
    with client, server:
        assert not ticket_without_answer(client)
        client.send(b"x")
        assert server.recv(1) == b"x"
        assert ticket_without_answer(client)


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_server_that_waits_for_data_has_sent_its_session_tickets(secure, timeout):
    client, server = secure
    with client, server:
        server.settimeout(timeout)
        with pytest.raises((ssl.SSLWantReadError, TimeoutError)):
            server.recv(1)
        assert ticket_without_answer(client)


def test_a_server_that_closes_sends_its_session_tickets_first(secure):
    client, server = secure
    server.close()
    with client:
        assert client.recv(1) == b""
        assert client.session.has_ticket


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_server_that_forks_has_sent_its_session_tickets(secure):
    client, server = secure
    with client, server:
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
        assert ticket_without_answer(client)
        server.send(b"x")
        client.settimeout(5)
        assert client.recv(1) == b"x"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("teller", ["parent", "child"])
def test_tls_goes_on_in_a_forked_child(secure, teller):
    client, server = secure
    client.settimeout(5)
    server.send(b"before")
    assert client.recv(9) == b"before"
    if not (child := os.fork()):
        if teller == "child":
            server.sendall(b"from the child")
            os._exit(server.recv(9) != b"answer")
        os._exit(0)
    with client:
        if teller == "child":
            server.close()
            assert client.recv(99) == b"from the child"
            client.sendall(b"answer")
            assert os.waitpid(child, 0)[1] == 0
        else:
            os.waitpid(child, 0)
            server.sendall(b"from the parent")
            assert client.recv(99) == b"from the parent"
            server.close()


def test_the_server_chooses_a_context_by_name(pair, contexts):
    client_context, other = contexts
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asked = []

    def choose(own, name, _context):
        asked.append((type(own), name))
        own.context = other

    server_context.sni_callback = choose
    client, server = shake_hands(*pair, client_context, server_context)
    with client, server:
        assert asked == [(ssl.SSLSocket, "localhost")]
        assert server.context is other


def test_an_unknown_certificate_is_refused_on_both_sides(pair, contexts):
    stranger = ssl.create_default_context()
    problems = []

    def serve():
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA") as caught:
            contexts[1].wrap_socket(pair[1], server_side=True)
        problems.append(caught.value)

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.wrap_socket(pair[0], server_hostname="localhost")
    thread.join()
    assert problems


def test_a_client_that_writes_on_finds_the_alert_and_no_reset(pair, contexts, tmp_path):
    (tmp_path / "server.pem").write_text(KEY + CERTIFICATE)
    demanding, stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    demanding.verify_mode = ssl.CERT_REQUIRED
    for context in demanding, stranger:
        context.load_cert_chain(tmp_path / "server.pem")  # the server knows no authority that issued it

    def refuse():
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            demanding.wrap_socket(pair[1], server_side=True)

    thread = threading.Thread(target=refuse)
    thread.start()
    with stranger.wrap_socket(pair[0]) as client:
        thread.join()  # the server has closed, with the end of the client's handshake unread
        client.send(b"data")
        with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
            client.recv(1)


def test_what_is_no_tls_is_refused(pair, contexts):
    client, server = pair
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
        contexts[1].wrap_socket(server, server_side=True)


def test_after_detach_the_descriptor_is_its_new_owners(secure):
    client, server = secure
    number = client.detach()
    for call in lambda: client.send(b"x"), lambda: client.recv(1):
        with pytest.raises(ssl.SSLError, match="has been closed"):
            call()
    sockets.socket(fileno=number).close()
    with server:
        assert server.recv(1) == b""


def test_sockets_of_the_kernel_stay_the_kernels(contexts):
    one, two = sockets.socketpair()
    client, server = shake_hands(one, two, *contexts)
    with client, server:
        client.send(b"by AF_UNIX")
        assert server.recv(99) == b"by AF_UNIX"
        assert type(client._sslobj).__module__ == "_ssl"
        assert isinstance(client._own, _socket.socket)
