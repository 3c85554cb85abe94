"""`serve http` and odd requests: an answer to each, and no more than was asked for (RFC 9110, section 14)."""

import os
from email.utils import formatdate

import pytest

from demuxlab import sockets
from demuxlab.host import Host
from demuxlab.runtime import Runtime
from demuxlab.serving import servers

MODIFIED = 1_000_000_000
DATA = bytes(range(250)) * 12
"""3000 bytes."""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("www")
    (folder / "a.bin").write_bytes(DATA)
    (folder / "empty").write_bytes(b"")
    os.mkfifo(folder / "pipe")  # opening it would wait for a writer
    os.utime(folder / "a.bin", (MODIFIED, MODIFIED))
    with Runtime(Host("B", ["10.9.0.2"])) as runtime, sockets.on(runtime):
        running = servers.start("http", runtime, None, folder)
        yield "10.9.0.2", 80
        running.stop()


def answers(address, *requests):
    """Send requests on one connection; return all that comes until the server closes it."""
    with sockets.create_connection(address, 10) as client:
        client.sendall("".join(requests).encode("latin-1"))
        client.shutdown(sockets.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65_536), b""))


def get(address, path, *fields, method="GET"):
    """Return status, fields (lower case) and content of one answer."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields]
    head, _, content = answers(address, "\r\n".join(lines) + "\r\n\r\n").partition(b"\r\n\r\n")
    status, *rest = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in rest), content


@pytest.mark.parametrize(
    "path", ["/%00", "/a.bin%00", "/" + "x" * 300, "/" + "x/" * 3000, "/%ff%fe", "/none"]
)
def test_a_name_that_no_file_has_is_not_found(address, path):
    for method in "GET", "HEAD":
        assert get(address, path, method=method)[0] == 404
    assert get(address, path, "Range: bytes=0-1")[0] == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=2990-99999", 2990, 2999),
        ("bytes=-5", 2995, 2999),
        ("bytes=-5000", 0, 2999),
        (f"bytes=-{'9' * 19}", 0, 2999),
        ("bytes=2999-", 2999, 2999),
        ("Bytes=1-1", 1, 1),
    ],
)
def test_ranges(address, asked, first, last):
    status, fields, content = get(address, "/a.bin", f"Range: {asked}")
    assert (status, fields["content-range"]) == (206, f"bytes {first}-{last}/3000")
    assert content == DATA[first : last + 1]
    assert fields["last-modified"] == formatdate(MODIFIED, usegmt=True).lower()


@pytest.mark.parametrize(
    "asked",
    [
        *(f"bytes={number}" for number in ("9-0", "-", "0-1,4-5", "x-", "+1-2", "1 -2", "\xb2-\xb3")),
        *("lines=0-9", "bytes", "", f"bytes={'9' * 5000}-", f"bytes=0-{'9' * 5000}"),
    ],
)
def test_what_is_no_range_is_ignored(address, asked):
    status, _, content = get(address, "/a.bin", f"Range: {asked}")
    assert (status, content) == (200, DATA)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/a.bin", "3000-"),
        ("/a.bin", "5000-6000"),
        ("/a.bin", f"{'9' * 99}-"),
        ("/a.bin", "-0"),
        ("/empty", "0-"),
        ("/empty", "-5"),
    ],
)
def test_a_range_beyond_the_end_cannot_be_had(address, path, asked):
    status, fields, content = get(address, path, f"Range: bytes={asked}")
    assert (status, content) == (416, b"")
    assert fields["content-range"] == f"bytes */{3000 if path == '/a.bin' else 0}"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (formatdate(MODIFIED, usegmt=True), 206),
        (formatdate(MODIFIED - 1, usegmt=True), 200),
        (formatdate(MODIFIED + 1, usegmt=True), 200),
        ('"other"', 200),
        ("yesterday", 200),
    ],
)
def test_if_range_asks_for_a_part_only_of_what_has_not_changed(address, condition, status):
    assert get(address, "/a.bin", "Range: bytes=0-9", f"If-Range: {condition}")[0] == status


def test_if_modified_since_comes_before_a_range(address):
    since = f"If-Modified-Since: {formatdate(MODIFIED, usegmt=True)}"
    assert get(address, "/a.bin", since, "Range: bytes=0-9")[0] == 304


def statuses(address, *requests):
    """Return the status of each answer on one connection, at the end of which the server closes."""
    said = answers(address, *requests)
    return [int(line.split()[1]) for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


LAST = "GET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("request_line", "fields", "status"),
    [
        ("GET http://10.9.0.2/empty HTTP/1.1", (), 200),  # the absolute form
        ("GET HTTPS://other:443/empty?query HTTP/1.1", (), 200),
        ("GET http://10.9.0.2 HTTP/1.1", (), 200),
        ("GET /empty HTTP/1.1", ("Connection: te, Close",), 200),
        ("GET /empty HTTP/1.1", ("Connection: te", "Connection: close"), 200),
        ("GET /empty HTTP/1.1", ("Host: other",), 400),
        ("GET /empty HTTP/1.1", ("Content-Length: 4", "Transfer-Encoding: chunked"), 400),
        ("GET /empty HTTP/1.1", ("Content-Length: 4", "Content-Length: 0"), 400),
        *(("GET /empty HTTP/1.1", (f"Content-Length: {size}",), 400) for size in ("+4", "-4", "x", "9" * 19)),
        ("GET /empty HTTP/1.1", ("Content-Length : 4",), 400),
        ("GET /empty HTTP/1.1", ("no field",), 400),
        ("GET /empty HTTP/1.1", (": nameless",), 400),
        ("GET /empty HTTP/1.1", ("Transfer-Encoding: chunked",), 501),
        ("GET /empty HTTP/2.0", (), 505),
        ("GET /empty HTTP/x", (), 400),
        ("one two three four", (), 400),
        ("PUT /empty HTTP/1.1", ("Content-Length: 4",), 501),
        ("GET /" + "x" * 70_000 + " HTTP/1.1", (), 414),
    ],
)
def test_each_request_is_answered_once(address, request_line, fields, status):
    """And nothing after it, whose beginning another program might see elsewhere (RFC 9112, section 11.2)."""
    if status == 200:
        fields = ("Connection: close", *fields)
    request = "\r\n".join([request_line, "Host: x", *fields]) + "\r\n\r\n"
    assert statuses(address, request, LAST) == [status]


def test_a_request_for_no_host_is_bad(address):
    assert statuses(address, "GET /empty HTTP/1.1\r\n\r\n", LAST) == [400]
    assert statuses(address, "GET /empty HTTP/1.0\r\n\r\n") == [200]


def test_requests_follow_each_other(address):
    alive = LAST.replace("Connection: close\r\n", "")
    with_content = alive.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello")
    without_a_part = alive.replace("\r\n\r\n", "\r\nRange: bytes=5-\r\n\r\n")
    head = alive.replace("GET", "HEAD")
    said = statuses(address, alive, "\r\n\r\n", with_content, without_a_part, head, alive, LAST, LAST)
    assert said == [200, 200, 416, 200, 200, 200]


def test_what_is_neither_file_nor_folder_is_not_found(address):
    assert get(address, "/pipe")[0] == 404


def test_head_has_no_ranges(address):
    status, fields, content = get(address, "/a.bin", "Range: bytes=0-9", method="HEAD")
    assert (status, fields["content-length"], content) == (200, "3000", b"")


def test_an_http_1_0_client_is_told_that_the_connection_stays(address):
    """`ab -k` waited for the end of a connection that stayed open."""
    request = "GET /empty HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    said = answers(address, request, request)
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert said.count(b"Connection: keep-alive\r\n") == 2
    said = answers(address, "GET /empty HTTP/1.0\r\n\r\n", request)
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert b"keep-alive" not in said
