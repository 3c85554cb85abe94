"""A program that is not one of ours, plain CPython, on our sockets by its system calls."""

import platform
import subprocess
import sys

import pytest

from demuxlab.sockets import foreign

SUPERVISOR = """
import sys
from demuxlab.host import Host
from demuxlab.runtime import Runtime
from demuxlab.sockets import foreign
with Runtime(Host("B", ["10.9.0.20"])) as runtime:
    sys.exit(foreign.run([sys.executable, "-I", "-c", sys.argv[1]], runtime))
"""
BEGIN = """
import os, select, socket, struct, threading
listener = socket.socket()
listener.bind(("10.9.0.20", 8080))  # the kernel has no such address
listener.listen()
def pair():
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]
"""
STORIES = {
    "a stream": (
        """
client, server = pair()
server.sendall(bytes(150_000)); server.shutdown(socket.SHUT_WR)
size = 0
while data := client.recv(65536): size += len(data)
print(size, client.getpeername(), server.getsockname())
""",
        "150000 ('10.9.0.20', 8080) ('10.9.0.20', 8080)",
    ),
    "waiting in accept and recv": (
        """
def serve():
    own, _ = listener.accept(); own.sendall(own.recv(9)); own.close()
thread = threading.Thread(target=serve); thread.start()
client = socket.create_connection(listener.getsockname()); client.sendall(b"ab")
print(client.recv(9)); thread.join()
""",
        "b'ab'",
    ),
    "datagrams, select and a refusal": (
        """
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); own.bind(("127.0.0.1", 0))
own.sendto(b"x", own.getsockname()); print(select.select([own], [], [], 9)[0] == [own], own.recvfrom(9)[0])
print(socket.socket().connect_ex(("127.0.0.1", 1)))
""",
        "True b'x'\n111",
    ),
    "sendmsg, recvmsg, options, not blocking": (
        """
client, server = pair()
print(client.sendmsg([b"a", b"bc"]), server.recvmsg(9)[0])
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1); client.setblocking(False)
print(client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), listener.getsockopt(1, socket.SO_ACCEPTCONN))
try: client.recv(1)
except BlockingIOError as error: print(error.errno)
""",
        "3 b'abc'\n1 1\n11",
    ),
    "a fork, whose end closes its sockets": (
        """
process = os.fork()
if process == 0:
    socket.create_connection(listener.getsockname()).sendall(b"child"); os._exit(0)
own, _ = listener.accept(); print(own.recv(9), own.recv(9), os.waitpid(process, 0)[1])
""",
        "b'child' b'' 0",
    ),
    "the kernel's own files and sockets stay its own": (
        """
one, two = socket.socketpair(); one.send(b"u")
print(two.recv(9), os.read(os.open("/dev/zero", 0), 2), flush=True); os._exit(3)
""",
        "b'u' b'\\x00\\x00'",
    ),
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="system calls of x86-64")
def test_a_program():
    sources, expected = zip(*STORIES.values(), strict=True)
    command = [sys.executable, "-c", SUPERVISOR, BEGIN + "".join(sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "cannot be watched" in done.stderr:
        pytest.skip("this machine's seccomp or ptrace refuses it")
    assert (done.stdout.strip(), done.stderr) == ("\n".join(expected), "")
    assert done.returncode == 3


def test_what_is_native(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("print(1)\n")
    assert not foreign.is_native(str(script))
    assert not foreign.is_native(str(tmp_path / "nothing"))
    assert foreign.is_native(sys.executable)
