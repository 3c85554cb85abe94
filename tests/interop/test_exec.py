"""`demuxlab exec`: unmodified programs of the standard library on our sockets, with the kernel's as peers."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

NUMBER = 50 + os.getpid() % 100
OURS, KERNEL = f"10.11.{NUMBER}.2", f"10.11.{NUMBER}.1"
"""The address of the program's host, and the kernel's end of its TUN."""
PORT = str(20_000 + os.getpid() % 10_000)
"""Where the kernel's own programs listen; another run of the tests has another one."""


@contextmanager
def program(*command, **options):
    """Run a program under `demuxlab exec`, and end it."""
    whole = [sys.executable, "-m", "demuxlab", "exec", "--address", OURS, "--", *map(str, command)]
    process = subprocess.Popen(
        whole,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@contextmanager
def of_the_kernel(*command):
    """Run a program on the kernel's own sockets, and end it however the test goes."""
    process = subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output(tmp_path, source, *arguments):
    """Run a client program to its end under `demuxlab exec`; return what it printed."""
    path = tmp_path / "client.py"
    path.write_text(source)
    whole = [sys.executable, "-m", "demuxlab", "exec", "--address", OURS, "--", path, *arguments]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def script(tmp_path, source):
    path = tmp_path / "server.py"
    path.write_text(source)
    return path


@pytest.fixture(autouse=True)
def rights(need_root):
    pass


def test_http_server_serves_curl(tmp_path, need_tool):
    need_tool("curl")
    (tmp_path / "page.html").write_text("<h1>page</h1>")
    command = ("-m", "http.server", "8000", "--bind", OURS, "--directory", tmp_path)
    with program(*command, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as server:
        assert server.stdout.readline().startswith(f"Serving HTTP on {OURS} port 8000")
        done = subprocess.run(
            ["curl", "-s", "-m", "30", f"http://{OURS}:8000/page.html"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "<h1>page</h1>"


THREADING_SERVER = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
socketserver.ThreadingTCPServer.daemon_threads = True
with socketserver.ThreadingTCPServer((sys.argv[1], 9000), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
"""

ASYNCIO_SERVER = """
import asyncio, sys
async def handle(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(handle, sys.argv[1], 9000)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.parametrize("source", [THREADING_SERVER, ASYNCIO_SERVER], ids=["socketserver", "asyncio"])
def test_servers_answer_many_clients_at_once(tmp_path, need_tool, source):
    need_tool("nc")
    with program(script(tmp_path, source), OURS) as server:
        assert server.stdout.readline() == "ready\n"
        clients = [
            subprocess.Popen(
                ["nc", "-N", OURS, "9000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(20)
        ]
        for number, client in enumerate(clients):
            client.stdin.write(f"hello {number}\n" * 1000)
        answers = [client.communicate(timeout=30)[0] for client in clients]
    assert answers == [f"HELLO {number}\n" * 1000 for number in range(20)]


def test_urllib_and_http_client_fetch_from_a_server_of_the_kernel(tmp_path):
    (tmp_path / "page.html").write_text("<h1>kernel</h1>" * 10_000)
    source = """
import http.client, sys, urllib.request
print(len(urllib.request.urlopen(f"http://{sys.argv[1]}:{sys.argv[2]}/page.html").read()))
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]))
for _ in range(2):
    connection.request("GET", "/page.html")
    answer = connection.getresponse()
    print(answer.status, len(answer.read()))
"""
    command = (sys.executable, "-m", "http.server", PORT, "--directory", tmp_path)
    with of_the_kernel(*command) as server:
        assert server.stdout.readline().startswith("Serving HTTP")
        assert output(tmp_path, source, KERNEL, PORT) == "150000\n200 150000\n200 150000\n"


def test_a_client_of_ours_talks_to_nc(tmp_path, need_tool):
    need_tool("nc")
    source = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as client:
    client.sendall(b"hello from ours\\n")
    print(client.recv(100))
"""
    with of_the_kernel("nc", "-l", "-v", PORT) as server:
        assert "Listening" in server.stderr.readline()
        server.stdin.write("hello from nc\n")
        server.stdin.flush()
        assert output(tmp_path, source, KERNEL, PORT) == "b'hello from nc\\n'\n"
        assert server.stdout.readline() == "hello from ours\n"


def test_connecting_to_a_closed_port_is_refused(tmp_path):
    source = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 8002), 10)
except ConnectionRefusedError as error:
    print(type(error).__name__, error.errno)
"""
    assert output(tmp_path, source, KERNEL) == "ConnectionRefusedError 111\n"


SMTP = """
import smtplib, socketserver, threading
class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda line: self.wfile.write(line + b"\\r\\n")
        say(b"220 ready")
        for line in self.rfile:
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                say(b"354 go on")
                got = b""
                while not got.endswith(b"\\r\\n.\\r\\n"):
                    got += self.rfile.readline()
                print(len(got), b"Subject: test" in got)
                say(b"250 taken")
            elif word == b"QUIT":
                say(b"221 bye")
                return
            else:
                say(b"250 fine")
server = socketserver.ThreadingTCPServer(("127.0.0.1", 2525), Mail)
threading.Thread(target=server.serve_forever, daemon=True).start()
with smtplib.SMTP("127.0.0.1", 2525) as client:
    client.sendmail("a@example.org", ["b@example.org"], "Subject: test\\r\\n\\r\\nhello")
server.shutdown()
"""

XMLRPC = """
import threading, xmlrpc.client
from xmlrpc.server import SimpleXMLRPCServer
server = SimpleXMLRPCServer(("127.0.0.1", 8003), logRequests=False)
server.register_function(lambda a, b: a + b, "add")
threading.Thread(target=server.serve_forever, daemon=True).start()
with xmlrpc.client.ServerProxy("http://127.0.0.1:8003/") as proxy:
    print(proxy.add(2, 3), proxy.add("a", "b"))
server.shutdown()
"""


@pytest.mark.parametrize(
    ("source", "printed"), [(SMTP, "27 True\n"), (XMLRPC, "5 ab\n")], ids=["smtplib", "xmlrpc"]
)
def test_pairs_of_the_standard_library_talk_inside_one_host(tmp_path, source, printed):
    assert output(tmp_path, source) == printed


def test_wrong_calls_and_the_program_s_own_errors(tmp_path):
    def run(*arguments):
        whole = [sys.executable, "-m", "demuxlab", "exec", "--address", OURS, *map(str, arguments)]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, done.stderr

    broken = script(tmp_path, "import socket\nraise ValueError('mine')\n")
    status, standard_error = run("--", broken)
    assert status == 1
    assert "ValueError: mine" in standard_error
    assert "demuxlab" not in standard_error.replace(str(tmp_path), "")
    for arguments, message in (
        (("--", "none.py"), "none.py"),
        (("--", "-m", "no_such"), "no_such"),
        ((), "PROGRAM"),
    ):
        status, standard_error = run(*arguments)
        assert status == 2
        assert message in standard_error
        assert len(standard_error.splitlines()) == 1
    status = run("--", script(tmp_path, "import sys\nsys.exit(7)\n"))[0]
    assert status == 7


CHILDREN = """
import os, socket, subprocess, sys
with socket.create_server(("127.0.0.1", 9100)) as listener:
    child = "import socket; print(len(socket.create_connection(('127.0.0.1', 9100), 10).recv(9)))"
    process = subprocess.Popen([sys.executable, "-c", child])
    listener.accept()[0].sendall(b"x")
    process.wait()
    if os.fork() == 0:
        with socket.create_connection(("127.0.0.1", 9100), 10) as client:
            print(client.recv(9), flush=True)
        os._exit(0)
    listener.accept()[0].sendall(b"forked")
    os.wait()
    try:
        subprocess.Popen(["cat"], stdin=listener)
    except OSError as error:
        print(error.strerror)
"""


def test_processes_that_a_program_starts_have_its_host_or_are_told_that_they_have_not(tmp_path):
    lines = output(tmp_path, CHILDREN).splitlines()
    assert lines[:2] == ["1", "b'forked'"]
    assert "is a socket of demuxlab's, which no other program can use" in lines[2]
    assert len(lines) == 3


LIBRARIES = """
import sys, types
for name in "uvloop", "pycurl":
    try:
        __import__(name)
    except ImportError as error:
        print(name, type(error).__name__)
"""


def test_libraries_with_sockets_of_their_own_are_hidden_or_named(tmp_path):
    for name in "uvloop", "pycurl":
        (tmp_path / f"{name}.py").write_text("")
    path = script(tmp_path, LIBRARIES)
    whole = [sys.executable, "-m", "demuxlab", "exec", "--address", OURS, "--", path]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "uvloop ModuleNotFoundError\n"
    assert "demuxlab: pycurl has sockets of its own" in done.stderr
