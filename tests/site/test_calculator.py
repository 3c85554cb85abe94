"""The calculator's examples: our lookup gives the answer that stands beside each, and so does Linux.

`python -m tests.site.test_calculator` opens their sockets in the kernel, in a network namespace of its own as
root, and prints who got each packet, as JSON.
"""

import errno
import json
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from demuxlab.errors import DemuxlabError
from demuxlab.site import browser
from demuxlab.site.examples import examples

EXAMPLES = {each["name"]: each for each in examples()}
_OPTIONS = {
    "reuse_address": (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    "reuse_port": (socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT", 0)),
    "v6only": (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY),
}
_NOT_BY_SOCKETS = {"scapy", "moved"}
"""A segment of a connection that there is not: the kernel's own client sends none."""


def table(example):
    """Return the sockets of an example as the page sends them."""
    return [
        {
            **{key: each[key] for key in ("name", "protocol")},
            "local": [each["address"], each["port"]],
            "remote": [each["remote"], each["remote_port"]] if each["remote"] else None,
            **({each["option"]: True} if each["option"] else {}),
        }
        for each in example["sockets"]
    ]


def question(example):
    packet = example["packet"]
    ends = {end: [packet[end], packet[f"{end}_port"]] for end in ("source", "destination")}
    return {"protocol": packet["protocol"], "flags": packet["flags"], **ends}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_answer_of_an_example_is_the_lookup_s(name):
    example = EXAMPLES[name]
    if example["answers"] is None:
        with pytest.raises(DemuxlabError, match=r"second cannot be opened: 10\.9\.0\.20:80 is in use"):
            browser.which(table(example), question(example))
        return
    got = browser.which(table(example), question(example))
    assert got["winner"] in (example["answers"] or [None])
    assert got["steps"]
    if not example["answers"]:
        assert got["reply"] == ("rst" if example["packet"]["protocol"] == "tcp" else "port-unreachable")
    if name == "multicast":
        assert "a copy each to first, second" in got["comment"]


def test_the_answer_of_an_example_is_the_kernel_s(need_root):
    alone = ["unshare", "--net", sys.executable, "-m", "tests.site.test_calculator"]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == EXAMPLES.keys() - _NOT_BY_SOCKETS
    for name, got in found.items():
        answers = EXAMPLES[name]["answers"]
        if answers is None:
            assert got == "EADDRINUSE", name
        elif name == "multicast":
            assert sorted(got) == sorted(answers), name
        else:
            assert got in ([[each] for each in answers] or ["ECONNREFUSED"]), (name, got)


class _Kernel:
    """The sockets of one example, opened in the kernel, and the clients of its connections."""

    def __init__(self, example):
        self._example = example
        self._open = {}
        self._clients = {}

    def got(self):
        """Return the names of those that got the packet, or the name of the error."""
        try:
            for each in sorted(self._example["sockets"], key=lambda each: bool(each["remote"])):
                self._open[each["name"]] = self._opened(each)
            return self._sent(self._example["packet"])
        except OSError as error:
            return errno.errorcode[error.errno]
        finally:
            for each in (*self._open.values(), *self._clients.values()):
                _abort(each)

    def _opened(self, row):
        here, there = (row["address"], row["port"]), (row["remote"], row["remote_port"])
        if row["protocol"] == "tcp" and row["remote"]:
            return self._connected(here, there)
        made = _bound(row["protocol"], here, row["option"])
        if row["protocol"] == "tcp":
            made.listen()
        elif row["remote"]:
            made.connect(there)
        elif self._example["packet"]["destination"].startswith("224."):
            joined = socket.inet_aton(self._example["packet"]["destination"]) + socket.inet_aton("127.0.0.1")
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        return made

    def _connected(self, here, there):
        """Return the data socket of a new connection; its server stays only where the example has it."""
        served = [each for each in self._open.values() if each.getsockname()[1] == here[1] and _listens(each)]
        listening = served[0] if served else _bound("tcp", here, "reuse_address")
        if not served:
            listening.listen()
        client = self._clients[there, here] = _bound("tcp", there, "reuse_address")
        client.connect(here)
        listening.settimeout(2)
        made, _peer = listening.accept()
        if not served:
            listening.close()
        return made

    def _sent(self, packet):
        source = packet["source"], packet["source_port"]
        destination = packet["destination"], packet["destination_port"]
        kept = self._clients.get((source, destination))
        client = kept or _bound(packet["protocol"], source, "reuse_address")
        self._clients.setdefault((source, destination), client)
        if kept is None:
            if destination[0].startswith("224."):
                client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            client.settimeout(2)
            client.connect(destination)
        if kept or packet["protocol"] == "udp":
            client.send(b"x")
        got = [name for name, each in self._open.items() if _has_something(each)]
        if not got and packet["protocol"] == "udp":
            client.send(b"x")  # the error of the first datagram is that of the second call
        return got


def _bound(protocol, end, option):
    family = socket.AF_INET6 if ":" in end[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        made.setsockopt(*_OPTIONS["v6only"], option == "v6only")
    if option in ("reuse_address", "reuse_port"):
        made.setsockopt(*_OPTIONS[option], 1)
    made.bind(end)
    return made


def _listens(one):
    return one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def _has_something(one):
    one.settimeout(0.02)
    with suppress(TimeoutError):
        if _listens(one):
            _abort(one.accept()[0])
            return True
        return bool(one.recv(10))
    return False


def _abort(one):
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()


def _main():
    rows = [row for each in EXAMPLES.values() for row in (*each["sockets"], each["packet"])]
    named = {row.get(key) for row in rows for key in ("address", "remote", "source", "destination")}
    for address in sorted(named - {None, "", "0.0.0.0", "::", "::1", "127.0.0.1", "224.0.0.251"}):
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    names = [name for name in EXAMPLES if name not in _NOT_BY_SOCKETS]
    print(json.dumps({name: _Kernel(EXAMPLES[name]).got() for name in names}))


if __name__ == "__main__":
    _main()
