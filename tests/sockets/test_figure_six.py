"""S6, line for line as one would write it with `import socket`; S10's five things; S22's three sockets."""

import threading

from demuxlab import sockets as socket

PAGE = b"<html>the page</html>"


def serve(server_socket, requests):
    for _ in range(requests):
        connection, _address = server_socket.accept()
        with connection:
            request = connection.recv(1024)
            if request.startswith(b"GET /index.html"):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE)


def test_server_and_client():
    server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server_socket.bind(("127.0.0.1", 8089))
    server_socket.listen(5)
    server = threading.Thread(target=serve, args=(server_socket, 2))
    server.start()
    for _ in range(2):
        client_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        client_socket.connect(("127.0.0.1", 8089))
        client_socket.send(b"GET /index.html HTTP/1.0\r\n\r\n")
        answer = b""
        while data := client_socket.recv(1024):
            answer += data
        client_socket.close()
        assert answer.endswith(PAGE)
    server.join()
    server_socket.close()


def test_a_socket_is_five_things(pair):
    client, server = pair
    number, local, remote = server.fileno(), server.getsockname(), server.getpeername()
    assert number > 2
    assert (*local, *remote) == (*client.getpeername(), *client.getsockname())


def test_two_clients_make_three_sockets_with_one_local_address(runtime):
    with socket.create_server(("10.9.0.20", 8080)) as listening:
        clients = [socket.create_connection(("10.9.0.20", 8080)) for _ in range(2)]
        data = [listening.accept()[0] for _ in clients]
        on_server = [listening, *data]
        assert {own.getsockname() for own in on_server} == {("10.9.0.20", 8080)}
        assert len({own.getpeername() for own in data}) == 2
        assert len(list(runtime.host.demultiplexer.table.on_port(6, 8080))) == 3
        for own in clients + data:
            own.close()


def test_udp_has_one_socket_for_all_senders():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        receiver.bind(("", 5353))
        one.sendto(b"from one", ("127.0.0.1", 5353))
        two.sendto(b"from two", ("10.9.0.20", 5353))
        assert [receiver.recvfrom(99)[0] for _ in range(2)] == [b"from one", b"from two"]
