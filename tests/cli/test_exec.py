"""`demuxlab exec`: unmodified programs on our sockets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demuxlab.errors import CallError
from demuxlab.serving.tun_host import tun_host

ON_A_HOST_WITHOUT_LINK = (
    sys.executable,
    "-c",
    """
import sys
from demuxlab.cli.exec import run_program
from demuxlab.host import Host
from demuxlab.runtime import Runtime
runtime = Runtime(Host("exec", ["10.9.0.2"]))
runtime.start()
run_program(tuple(sys.argv[1:]), runtime)
""",
)
ON_A_TUN = ("unshare", "--net", sys.executable, "-m", "demuxlab", "exec")
LIBRARY = """
import asyncio, http.server, smtplib, socket, socketserver, ssl, sys, threading, urllib.request, xmlrpc.client
import xmlrpc.server

def serve(server):
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server

class Pages(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())

class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 ready\\r\\n")
        in_data = False
        for line in self.rfile:
            word = line.strip().upper()
            if in_data and word != b".":
                mails.append(line)
                continue
            in_data = word == b"DATA"
            if word == b"QUIT":
                self.wfile.write(b"221 bye\\r\\n")
                return
            self.wfile.write(b"354 go\\r\\n" if in_data else b"250 ok\\r\\n")

mails = []
kernels = open("/proc/net/tcp").read().count("\\n")
serve(http.server.ThreadingHTTPServer(("10.9.0.2", 8080), Pages))
print(urllib.request.urlopen("http://10.9.0.2:8080/page.html").read())
serve(socketserver.ThreadingTCPServer(("", 8081), Upper))
with socket.create_connection(("127.0.0.1", 8081)) as client:
    client.sendall(b"hello\\n")
    print(client.makefile("rb").read())

async def streams():
    async def answer(reader, writer):
        writer.write((await reader.readline())[::-1])
        await writer.drain()
        writer.close()
    async with await asyncio.start_server(answer, "::1", 8082):
        reader, writer = await asyncio.open_connection("::1", 8082)
        writer.write(b"abc\\n")
        print(await reader.read())
        writer.close()

asyncio.run(streams())
rpc = serve(xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 8083), logRequests=False))
rpc.register_function(pow)
print(xmlrpc.client.ServerProxy("http://127.0.0.1:8083").pow(2, 10))
serve(socketserver.ThreadingTCPServer(("", 2525), Mail))
with smtplib.SMTP("10.9.0.2", 2525) as mail:
    mail.sendmail("a@b", "c@d", "hello")
print(mails)
print(open("/proc/net/tcp").read().count("\\n") - kernels)
"""


def run(start: tuple[str, ...], *program: str, cwd: Path):
    return subprocess.run(
        [*start, *program],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )


def test_the_standard_library_on_our_sockets(tmp_path):
    (tmp_path / "page.html").write_text("the page")
    (tmp_path / "library.py").write_text(LIBRARY)
    done = run(ON_A_HOST_WITHOUT_LINK, "library.py", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    expected = [b"the page", b"HELLO\n", b"\ncba", 1024, [b"hello\r\n"], 0]
    assert done.stdout.splitlines() == [repr(value) for value in expected]


def test_the_program_sees_its_own_arguments_and_status(tmp_path):
    (tmp_path / "beside.py").write_text("found = True\n")
    (tmp_path / "program.py").write_text(
        "import beside, sys\nassert __name__ == '__main__'\nprint(sys.argv, beside.found)\nsys.exit(7)\n"
    )
    done = run(ON_A_HOST_WITHOUT_LINK, "program.py", "--flag", "-x", cwd=tmp_path)
    assert done.stdout == "['program.py', '--flag', '-x'] True\n"
    assert done.returncode == 7


def test_a_module(tmp_path):
    (tmp_path / "tool.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    done = run(ON_A_HOST_WITHOUT_LINK, "-m", "tool", "a", cwd=tmp_path)
    assert done.stdout == "__main__ ['a']\n"


def test_what_was_sent_last_is_delivered(tmp_path):
    """The reader is slower than the program, and a daemon thread: only the end of the program waits."""
    (tmp_path / "program.py").write_text(
        """
import socket, threading
listener = socket.create_server(("127.0.0.1", 80))
client = socket.create_connection(("127.0.0.1", 80))
server, _ = listener.accept()
client.setblocking(False)
sent = 0
try:
    while True:
        sent += client.send(bytes(65536))
except BlockingIOError:
    pass
client.close()
def read():
    received = 0
    while data := server.recv(65536):
        received += len(data)
    print(received == sent, flush=True)
threading.Thread(target=read).start()
"""
    )
    done = run(ON_A_HOST_WITHOUT_LINK, "program.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_program_that_fails_shows_its_own_traceback(tmp_path):
    (tmp_path / "program.py").write_text("import socket\nsocket.create_connection(('127.0.0.1', 1))\n")
    done = run(ON_A_HOST_WITHOUT_LINK, "program.py", cwd=tmp_path)
    assert done.returncode == 1
    first, second, *_, last = done.stderr.splitlines()
    assert first.startswith("Traceback")
    assert "program.py" in second
    assert last == "ConnectionRefusedError: [Errno 111] Connection refused"


@pytest.mark.parametrize(
    ("program", "message"),
    [(("nowhere.py",), "there is no file"), (("-m", "no.such"), "there is no module"), (("-m",), "-m needs")],
)
def test_wrong_calls_are_one_line(tmp_path, need_root, program, message):
    done = run(ON_A_TUN, "--", *program, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("demuxlab: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        *((each, "is a broadcast address") for each in ("10.9.0.255", "255.255.255.255")),
        *(
            (each, "is the address of a network")
            for each in ("10.9.0.0", "0.0.0.0", "0.1.2.3", "::", "fd00::")
        ),
        *((each, "every machine keeps to itself") for each in ("127.0.0.1", "::1", "::ffff:10.9.0.2")),
        *((each, "of a multicast group") for each in ("224.0.0.1", "ff02::1")),
        *((each, "belongs to one link") for each in ("169.254.1.1", "fe80::1")),
        ("10.9.0.256", "10.9.0.256"),
    ],
)
def test_an_address_that_is_no_one_hosts_is_refused(address, message):
    with pytest.raises(CallError, match=message), tun_host([address], print):
        pass


def test_a_kernel_client_reaches_the_program_through_the_tun(tmp_path, need_root):
    (tmp_path / "program.py").write_text(
        """
import socket, subprocess, sys
listener = socket.create_server(("10.9.0.2", 80))
client = '''
import socket
with socket.create_connection(("10.9.0.2", 80)) as own:
    own.sendall(b"hello")
    print(own.recv(99))
'''
kernel = subprocess.Popen([sys.executable, "-I", "-c", client], stdout=subprocess.PIPE)
connection, address = listener.accept()
print(address[0], connection.recv(99))
connection.sendall(b"welcome")
print(kernel.communicate()[0], kernel.returncode)
"""
    )
    done = run(ON_A_TUN, "--", "program.py", cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout == "10.9.0.1 b'hello'\nb\"b'welcome'\\n\" 0\n"
