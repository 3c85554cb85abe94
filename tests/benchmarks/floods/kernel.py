"""The same floods through a TUN, while the Linux kernel's own client works: a packet socket injects them."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial

from tests.benchmarks.floods import forge
from tests.benchmarks.floods.stage import Result, resident, serve
from tests.benchmarks.floods.strangers import FORGED

from demuxlab.host import Host
from demuxlab.links.choose import open_link
from demuxlab.runtime import Runtime

RATE = 5_000
"""Forged packets a second: what is beyond the host's pace the device's queue drops, the client's too."""
POOL = 20_000
CLIENT = """
import json, socket, sys, time
data, works, good, times = bytes(range(250)) * 8, int(sys.argv[1]), 0, []
standing = socket.create_connection(("10.9.0.20", 80), 10)
print(standing.getsockname()[1], flush=True)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect(("10.9.0.20", 53))
datagrams.settimeout(5)

def ask(connection):
    connection.sendall(data)
    heard = b""
    while len(heard) < len(data):
        got = connection.recv(65536)
        if not got:
            break
        heard += got
    return heard == data

for line in sys.stdin:
    times, good = [], 0
    for _ in range(works):
        begin = time.perf_counter()
        try:
            with socket.create_connection(("10.9.0.20", 80), 10) as fresh:
                datagrams.send(data[:500])
                good += ask(standing) and ask(fresh) and datagrams.recv(1000) == data[:500]
        except OSError:
            pass
        times.append(time.perf_counter() - begin)
    print(json.dumps([good, sorted(times)[works // 2]]), flush=True)
"""
INJECTOR = """
import socket, struct, sys, time
pool, count, rate, device = open(sys.argv[1], "rb").read(), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
packets, at = [], 0
while at < len(pool):
    size = struct.unpack_from("!H", pool, at)[0]
    packets.append(pool[at + 2 : at + 2 + size])
    at += 2 + size
out = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
begin, sent, refused = time.monotonic(), 0, 0
while sent < count:
    for _ in range(min(rate // 100, count - sent)):
        try:
            out.sendto(packets[sent % len(packets)], (device, 0x0800))
        except OSError:
            refused += 1
        sent += 1
    time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
print(sent - refused)
"""


def inside(link, script, *arguments):
    """Start a Python program in the link's network namespace."""
    return subprocess.Popen(
        [
            "nsenter",
            f"--net=/proc/self/fd/{link.namespace}",
            sys.executable,
            "-c",
            script,
            *map(str, arguments),
        ],
        pass_fds=(link.namespace,),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(client):
    client.stdin.write("\n")
    client.stdin.flush()
    return json.loads(client.stdout.readline())


def flood(name, count, source, bound, works=50):
    link, _ = open_link("tun", kernel_addresses=["10.9.0.1/24"])
    host = Host("B", ["10.9.0.20"])
    with Runtime(host, link.inside, link.now) as runtime, tempfile.NamedTemporaryFile() as file:
        with runtime.lock:
            serve(host, runtime.now)
        client = inside(link, CLIENT, works)
        forged = source(int(client.stdout.readline()))
        for _, data in zip(range(min(POOL, count)), forged, strict=False):
            file.write(len(data).to_bytes(2, "big") + data)
        file.flush()
        ask(client)
        quiet = [ask(client)[1] for _ in range(3)]
        before = most = resident()
        received = host.demultiplexer.counters.received
        injector = inside(link, INJECTOR, file.name, count, RATE, link.name)
        answered, asked, disturbed = 0, 0, []
        while injector.poll() is None:
            good, median = ask(client)
            answered, asked = answered + good, asked + works
            disturbed.append(median)
            most = max(most, resident())
        arrived = host.demultiplexer.counters.received - received
        quiet += [ask(client)[1] for _ in range(3)]
        client.stdin.close()
        client.wait()
    counters = host.demultiplexer.counters
    assert counters.balance(host.demultiplexer.reassembler.held), "a packet is not accounted for"
    link.close()
    noted = {"received meanwhile": arrived, "delivered": counters.delivered}
    noted |= {**counters.dropped, **host.counters}
    slowdown = statistics.median(disturbed) / statistics.median(quiet)
    return Result(
        name, count, before, most, asked, answered, slowdown, counters=noted, bound=bound, link="TUN"
    )


def floods(scale):
    if os.geteuid() != 0:
        return
    for name, (packets, source, bound) in FORGED.items():
        count = int(min(packets, 100_000) * scale) if source is not forge.syns else int(packets * scale)
        yield name, partial(flood, name, count, source, bound)
