"""Runs well-known programs and libraries under `demuxlab exec` against a peer on the kernel's sockets.

    unshare -n python -m tests.sockets.programs PYTHON [NAME...] > docs/programs.md

PYTHON: an interpreter whose packages are demuxlab and those of `PROGRAMS`; what it lacks is left out. redis,
PostgreSQL, MariaDB and RabbitMQ are Debian's packages, run in a folder of their own.
"""
# ruff: noqa: E501 - programs as text

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

OURS, KERNEL = "10.9.0.2", "10.9.0.1"
_READY, _LIMIT = 15.0, 150.0


class Program(NamedTuple):
    """`source` is run with `arguments`; the peer is `peer`, run by the same Python on the kernel's sockets."""

    name: str
    role: str
    package: str
    source: str
    peer: str
    arguments: tuple[str, ...] = ("{file}",)


GET = """
import time, urllib.request, ssl, sys
context = ssl._create_unverified_context()
for _ in range(250):
    try:
        print(urllib.request.urlopen(sys.argv[1], timeout=5, context=context).read()[:5].decode()); break
    except OSError as error:
        problem = error; time.sleep(0.1)
else:
    print(problem)
"""
PAGES = """
import http.server, threading, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "5"); self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_): pass
plain, secure = (http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler) for port in (8001, 8443))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("server.pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=plain.serve_forever).start(); secure.serve_forever()
"""
WSGI = "def app(environ, start):\n    start('200 OK', [('Content-Length', '5')])\n    return [b'hello']\n"
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for event in "startup", "shutdown":
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})
"""
TORNADO = """
import asyncio, ssl, tornado.web
class Main(tornado.web.RequestHandler):
    def get(self): self.write("hello")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain("server.pem")
async def main():
    application = tornado.web.Application([("/", Main)])
    application.listen(8000); application.listen(8443, ssl_options=context)
    await asyncio.Event().wait()
asyncio.run(main())
"""
SERVER = """
import glob, os, pwd, shutil, subprocess, sys
def run(*words, wait=False, user=None, **environment):
    own = subprocess.Popen(words, user=user, group=user and pwd.getpwnam(user).pw_gid, env=os.environ | environment)
    try: own.wait()
    except KeyboardInterrupt: own.terminate(); own.wait()
def newest(pattern): return sorted(glob.glob(pattern))[-1]
os.chmod(".", 0o755); os.mkdir("data"); here = os.getcwd()
"""
REDIS = SERVER + "run('redis-server', '--bind', '0.0.0.0', '--protected-mode', 'no', '--save', '')"
POSTGRES = (
    SERVER
    + """
own = pwd.getpwnam("postgres"); bin = newest("/usr/lib/postgresql/*/bin"); shutil.copy("server.pem", "data.pem")
for name in "data", "data.pem": os.chown(name, own.pw_uid, own.pw_gid)
os.chmod("data.pem", 0o600); run(bin + "/initdb", "-N", "-D", "data", "-A", "trust", "-U", "u", user="postgres")
open("data/pg_hba.conf", "w").write("host all all all trust\\n")
settings = dict(listen_addresses="*", unix_socket_directories="", ssl="on", ssl_cert_file=here + "/data.pem",
    ssl_key_file=here + "/data.pem", fsync="off")
run(bin + "/postgres", "-D", "data", *(word for item in settings.items() for word in ("-c", "=".join(item))), user="postgres")
"""
)
MARIADB = (
    SERVER
    + """
shutil.chown("data", "mysql"); run("mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir=" + here + "/data")
run("mariadbd", "--no-defaults", "--user=mysql", "--datadir=" + here + "/data", "--socket=" + here + "/data/s",
    "--bind-address=0.0.0.0", "--skip-grant-tables")
"""
)
RABBITMQ = (
    SERVER
    + """
subprocess.Popen(["epmd"]); open("rabbitmq.conf", "w").write("loopback_users = none\\n")
run(newest("/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server"), HOME=here, RABBITMQ_NODENAME="x@localhost",
    RABBITMQ_MNESIA_BASE=here, RABBITMQ_LOG_BASE=here, RABBITMQ_CONFIG_FILE=here + "/rabbitmq.conf",
    RABBITMQ_ENABLED_PLUGINS_FILE=here + "/plugins")
"""
)
HTTP, HTTPS = f"http://{OURS}:8000/", f"https://{OURS}:8443/"
PLAIN, SECURE = f"http://{KERNEL}:8001/", f"https://{KERNEL}:8443/"


def server(name: str, package: str, source: str, *arguments: str, url: str = HTTP) -> Program:
    return Program(name, "server", package, source, GET + f"# {url}", arguments or ("{file}",))


def client(name: str, package: str, source: str) -> Program:
    return Program(name, "client", package, source, PAGES)


def connected(connect: str, then: str) -> str:
    """Return a program that connects, once the server is there, and goes on."""
    tried = (
        f"    try: own = {connect}; break\n    except Exception as error: problem = error; time.sleep(0.2)"
    )
    return f"import time\nfor _ in range(500):\n{tried}\nelse: raise problem\n{then}"


PROGRAMS = [
    server("http.server", "http", "", "-m", "http.server", "8000"),
    server("uvicorn", "uvicorn", ASGI, "-m", "uvicorn", "{module}:app", "--host", "0.0.0.0"),
    server("uvicorn, with uvloop installed", "uvloop", ASGI, "-m", "uvicorn", "{module}:app", "--host", "0.0.0.0"),
    server("gunicorn, 2 workers", "gunicorn", WSGI, "{bin}/gunicorn", "-w2", "-b0.0.0.0:8000", "{module}:app"),
    server(
        "gunicorn, threads", "gunicorn", WSGI, "{bin}/gunicorn", "-kgthread", "-b0.0.0.0:8000", "{module}:app"
    ),
    server("hypercorn", "hypercorn", ASGI, "{bin}/hypercorn", "-b", "0.0.0.0:8000", "{module}:app"),
    server("waitress", "waitress", WSGI, "{bin}/waitress-serve", "--listen=0.0.0.0:8000", "{module}:app"),
    server(
        "flask --debug", "flask",
        "import flask\napp = flask.Flask(__name__)\napp.get('/')(lambda: 'hello')\n",
        "-m", "flask", "--app", "{module}", "run", "--debug", "-h", "0.0.0.0", "-p", "8000",
    ),
    server(
        "Django runserver, with its reloader", "django", """
import sys
from django.conf import settings
settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("hello"))]
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line([sys.argv[0], "runserver", "0.0.0.0:8000"])
""",
    ),
    server("tornado", "tornado", TORNADO),
    server("tornado, TLS", "tornado", TORNADO, url=HTTPS),
    server(
        "tornado, 2 processes", "tornado", """
import tornado.httpserver, tornado.ioloop, tornado.web
class Main(tornado.web.RequestHandler):
    def get(self): self.write("hello")
own = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Main)]))
own.bind(8000); own.start(2); tornado.ioloop.IOLoop.current().start()
""",
    ),
    server(
        "twisted", "twisted", """
from twisted.internet import reactor
from twisted.web import resource, server
class Main(resource.Resource):
    isLeaf = True
    def render_GET(self, request): return b"hello"
reactor.listenTCP(8000, server.Site(Main())); reactor.run()
""",
    ),
    server(
        "trio", "trio", """
import trio
async def answer(stream):
    await stream.receive_some(); await stream.send_all(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello"); await stream.aclose()
trio.run(trio.serve_tcp, answer, 8000)
""",
    ),
    server(
        "gevent", "gevent", """
from gevent import monkey; monkey.patch_all()
from gevent.pywsgi import WSGIServer
WSGIServer(("0.0.0.0", 8000), lambda environ, start: (start("200 OK", []), [b"hello"])[1]).serve_forever()
""",
    ),
    server(
        "aiohttp", "aiohttp", """
from aiohttp import web
async def main(request): return web.Response(text="hello")
application = web.Application(); application.router.add_get("/", main); web.run_app(application, port=8000)
""",
    ),
    server(
        "socketserver, ForkingMixIn", "socketserver", """
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self): self.rfile.readline(); self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello")
class Server(socketserver.ForkingMixIn, socketserver.TCPServer): pass
Server(("0.0.0.0", 8000), Handler).serve_forever()
""",
    ),
    *(
        server(
            f"multiprocessing, {method}", "multiprocessing", f"""
import multiprocessing, socket
def work(listener):
    while True:
        own, _ = listener.accept(); own.recv(9999); own.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello"); own.close()
if __name__ == "__main__":
    multiprocessing.set_start_method("{method}")
    worker = multiprocessing.Process(target=work, args=(socket.create_server(("0.0.0.0", 8000)),))
    worker.start(); worker.join()
""",
        )
        for method in ("fork", "spawn")
    ),
    Program(
        "multiprocessing managers", "server", "multiprocessing", """
from multiprocessing.managers import BaseManager
class Manager(BaseManager): pass
Manager.register("word", lambda: ["hello"])
Manager(("0.0.0.0", 8000), b"key").get_server().serve_forever()
""", f"""
import time
from multiprocessing.managers import BaseManager
class Manager(BaseManager): pass
Manager.register("word")
manager = Manager(("{OURS}", 8000), b"key")
for _ in range(250):
    try: manager.connect(); break
    except OSError: time.sleep(0.1)
print(manager.word().copy()[0])
""",
    ),
    Program(
        "websockets", "server", "websockets", """
import asyncio, websockets
async def answer(own):
    async for message in own: await own.send(message)
async def main():
    async with websockets.serve(answer, "0.0.0.0", 8000): await asyncio.Event().wait()
asyncio.run(main())
""", f"""
import asyncio, websockets
async def main():
    for _ in range(250):
        try:
            async with websockets.connect("ws://{OURS}:8000") as own:
                await own.send("hello"); print(await own.recv()); return
        except OSError: await asyncio.sleep(0.1)
asyncio.run(main())
""",
    ),
    Program(
        "pyftpdlib", "server", "pyftpdlib", """
import os
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
open("big", "wb").write(b"q" * 2_000_000)
FTPHandler.authorizer = DummyAuthorizer(); FTPHandler.authorizer.add_user("u", "p", os.getcwd())
FTPServer(("0.0.0.0", 2121), FTPHandler).serve_forever()
""", f"""
import ftplib, io, time
for _ in range(250):
    try: own = ftplib.FTP(); own.connect("{OURS}", 2121); break
    except OSError: time.sleep(0.1)
own.login("u", "p"); data = io.BytesIO(); own.retrbinary("RETR big", data.write)
print("hello" if data.tell() == 2_000_000 else data.tell())
""",
    ),
    Program(
        "aiosmtpd", "server", "aiosmtpd", """
import asyncio
from aiosmtpd.smtp import SMTP
from aiosmtpd.handlers import Debugging
async def main():
    await (await asyncio.get_running_loop().create_server(lambda: SMTP(Debugging()), "0.0.0.0", 2525)).serve_forever()
asyncio.run(main())
""", f"""
import smtplib, time
for _ in range(250):
    try: own = smtplib.SMTP("{OURS}", 2525); break
    except OSError: time.sleep(0.1)
own.sendmail("a@example.org", ["b@example.org"], "Subject: x\\r\\n\\r\\nhello"); own.quit(); print("hello")
""",
    ),
    client("urllib", "urllib", f"import urllib.request\nprint(urllib.request.urlopen('{PLAIN}').read().decode())"),
    client("requests", "requests", f"import requests\nprint(requests.get('{PLAIN}').text)"),
    client("requests, TLS", "requests", f"import requests\nprint(requests.get('{SECURE}', verify=False).text)"),
    client("urllib3, TLS", "urllib3", (
        f"import urllib3\nprint(urllib3.PoolManager(cert_reqs='CERT_NONE').request('GET', '{SECURE}').data.decode())"
    )),
    client("httpx", "httpx", f"import httpx\nprint(httpx.get('{PLAIN}').text)"),
    client("httpx, TLS", "httpx", f"import httpx\nprint(httpx.get('{SECURE}', verify=False).text)"),
    client("aiohttp, TLS", "aiohttp", f"""
import aiohttp, asyncio
async def main():
    async with aiohttp.ClientSession() as own, own.get("{SECURE}", ssl=False) as answer: print(await answer.text())
asyncio.run(main())
"""),
    client("tornado, TLS", "tornado", f"""
import asyncio
from tornado.httpclient import AsyncHTTPClient
async def main(): print((await AsyncHTTPClient().fetch("{SECURE}", validate_cert=False)).body.decode())
asyncio.run(main())
"""),
    client("gevent, TLS", "gevent", f"""
from gevent import monkey; monkey.patch_all()
import ssl, urllib.request
print(urllib.request.urlopen("{SECURE}", context=ssl._create_unverified_context()).read().decode())
"""),
    client("pyOpenSSL on a socket", "OpenSSL", f"""
import socket
from OpenSSL import SSL
own = SSL.Connection(SSL.Context(SSL.TLS_METHOD), socket.create_connection(("{KERNEL}", 8443)))
own.set_connect_state(); own.do_handshake(); own.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); print(own.recv(999)[-5:].decode())
"""),
    *(
        Program(name, "client", name, source, """
import asyncio, asyncssh
class Server(asyncssh.SSHServer):
    def begin_auth(self, username): return False
async def main():
    await asyncssh.create_server(Server, "0.0.0.0", 8022, server_host_keys=[asyncssh.generate_private_key("ssh-rsa")],
        process_factory=lambda process: (process.stdout.write("hello"), process.exit(0)))
    await asyncio.Event().wait()
asyncio.run(main())
""")
        for name, source in (
            ("paramiko", f"""
import paramiko
own = paramiko.SSHClient(); own.set_missing_host_key_policy(paramiko.AutoAddPolicy())
own.connect("{KERNEL}", 8022, "u", "p", look_for_keys=False, allow_agent=False)
print(own.exec_command("x")[1].read().decode()); own.close()
"""),
            ("asyncssh", f"""
import asyncio, asyncssh
async def main():
    async with asyncssh.connect("{KERNEL}", 8022, username="u", known_hosts=None) as own:
        print((await own.run("x")).stdout)
asyncio.run(main())
"""),
        )
    ),
    Program("redis", "client", "redis", "import redis\n" + connected(
        f"redis.Redis('{KERNEL}'); own.ping()",
        "own.set('k', 'hello'); own.set('big', bytes(1_000_000)); assert len(own.get('big')) == 1_000_000\n"
        "own.pipeline().incr('n').incr('n').execute(); print(own.get('k').decode())",
    ), REDIS),
    Program("pg8000", "client", "pg8000", "import pg8000.native\n" + connected(
        f"pg8000.native.Connection('u', host='{KERNEL}', database='postgres')",
        """print(own.run("select 'hello'")[0][0])""",
    ), POSTGRES),
    Program("asyncpg, TLS", "client", "asyncpg", f"""
import asyncio, asyncpg
async def main():
    for _ in range(250):
        try: own = await asyncpg.connect(host="{KERNEL}", user="u", database="postgres", ssl="require"); break
        except OSError: await asyncio.sleep(0.2)
    assert len(await own.fetch("select repeat('x', 1000) from generate_series(1, 2000)")) == 2000
    print(await own.fetchval("select 'hello'")); await own.close()
asyncio.run(main())
""", POSTGRES),
    Program("pymysql", "client", "pymysql", "import pymysql\n" + connected(
        f"pymysql.connect(host='{KERNEL}', user='u')",
        """cursor = own.cursor(); cursor.execute("select 'hello'"); print(cursor.fetchone()[0])""",
    ), MARIADB),
    Program("amqp", "client", "amqp", "import amqp\n" + connected(
        f"amqp.Connection('{KERNEL}:5672'); own.connect()",
        "channel = own.channel(); channel.queue_declare('q')\n"
        "channel.basic_publish(amqp.Message('hello'), routing_key='q'); print(channel.basic_get('q').body); own.close()",
    ), RABBITMQ),
    Program("dnspython", "client", "dns", f"""
import dns.message, dns.query
print(dns.query.udp(dns.message.make_query("x.", "TXT"), "{KERNEL}", port=5353, timeout=9).answer[0][0].strings[0].decode())
""", """
import dns.message, dns.rrset, socket
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); own.bind(("0.0.0.0", 5353))
while True:
    data, peer = own.recvfrom(999); question = dns.message.from_wire(data)
    answer = dns.message.make_response(question)
    answer.answer.append(dns.rrset.from_text("x.", 1, "IN", "TXT", '"hello"')); own.sendto(answer.to_wire(), peer)
"""),
]  # fmt: skip


def main(python: str, *names: str) -> None:
    """Print the table, of all programs or of those named."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print("# Programs under exec\n")
    print("Each was run by `python -m tests.sockets.programs` against a peer on the kernel's sockets.\n")
    print("| program | as | version | |\n|---|---|---|---|")
    for program in PROGRAMS:
        if names and program.name not in names:
            continue
        version = _version(python, program.package)
        if version is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            result = _run(python, program, Path(folder))
        print(f"| {program.name} | {program.role} | {version} | {result} |", flush=True)


def _version(python: str, package: str) -> str | None:
    """Return a package's version, "" for the standard library's; None where it is not there."""
    source = (
        "import importlib.metadata as m, sys\n"
        "p = sys.argv[1]\n"
        "names = m.packages_distributions().get(p)\n"
        "print(m.version(names[0]) if names else '' if p in sys.stdlib_module_names else 1/0)"
    )
    done = subprocess.run([python, "-c", source, package], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(python: str, program: Program, folder: Path) -> str:
    """Return "works", or the last line that the program's user sees."""
    pages = ("program.py", program.source), ("peer.py", program.peer), ("index.html", "hello")
    for name, source in pages:
        (folder / name).write_text(source)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "key", "-out", "cert"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (folder / "server.pem").write_text((folder / "key").read_text() + (folder / "cert").read_text())
    words = {"file": "program.py", "module": "program", "bin": str(Path(python).parent)}
    ours = [python, "-m", "demuxlab", "exec", "--"] + [word.format(**words) for word in program.arguments]
    peer = [python, "peer.py", program.peer.rpartition("# ")[2]]
    first, second = (ours, peer) if program.role == "server" else (peer, ours)
    with (folder / "log").open("w+") as log:
        waiting = subprocess.Popen(first, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            time.sleep(1 if program.role == "client" else 0)
            done = subprocess.run(
                second, cwd=folder, capture_output=True, text=True, timeout=_LIMIT, check=False
            )
            said = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            said = "no answer"
        finally:
            os.killpg(waiting.pid, signal.SIGINT)
            try:
                waiting.wait(_READY)
            except subprocess.TimeoutExpired:
                os.killpg(waiting.pid, signal.SIGKILL)
                waiting.wait()
        if said.split()[:1] == ["hello"]:
            return "works"
        log.seek(0)
        lines = [*(log.read().splitlines() if program.role == "server" else ()), *said.splitlines()]
    return f"fails: {lines[-1] if lines else 'no answer'}"


if __name__ == "__main__":
    main(*sys.argv[1:])
