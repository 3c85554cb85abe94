"""The live page through our own TCP, to curl and to Chromium."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from tests.interop.browser import chromium

NUMBER = 50 + os.getpid() % 100
ADDRESS = f"10.11.{NUMBER}.2"
OTHER = f"10.12.{NUMBER}.2"
UNSEEN = f"10.13.{NUMBER}.2"  # that no browser of an earlier test still retransmits to
PATIENCE = 60


@contextmanager
def serve(*options, address=OTHER, service="http"):
    command = [sys.executable, "-m", "demuxlab", "serve", service, "--address", address, *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line.startswith("ready: "):
        pytest.fail(process.communicate()[1])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.fixture(scope="module")
def page(need_root, need_tool, tmp_path_factory):
    need_tool("curl")
    folder = tmp_path_factory.mktemp("www")
    (folder / "index.html").write_text("the folder's own")
    (folder / "note.txt").write_text("a note")
    with serve("--live", "--directory", folder, address=ADDRESS):
        yield f"http://{ADDRESS}"


def curl(address, *options):
    done = subprocess.run(["curl", "-s", "-m", "60", *options, address], capture_output=True, check=True)
    return done.stdout.decode()


class Stream:
    """One `curl -N` that follows the host."""

    def __init__(self, page, *options):
        command = ["curl", "-s", "-N", *options, f"{page}/live/events"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self.own = []

    def next(self):
        """Return the next state; note what is said of the viewer's own connections."""
        kind = "message"
        while line := self.process.stdout.readline().decode():
            if line.startswith("event: "):
                kind = line[7:].strip()
            elif line.startswith("data: "):
                value = json.loads(line[6:])
                if kind == "message":
                    return value
                self.own, kind = value, "message"
        raise AssertionError("the stream ended")

    def until(self, holds):
        """Return the first state for which something holds, and how many seconds that took."""
        began = time.monotonic()
        while not holds(state := self.next()):
            assert time.monotonic() - began < PATIENCE, state
        return state, time.monotonic() - began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def peers(state):
    return [row["remote"] for row in state["sockets"]]


def established(state):
    return [row["remote"] for row in state["sockets"] if row["state"] == "ESTABLISHED"]


def test_the_page_stands_at_the_root_and_the_folder_s_files_under_their_names(page):
    assert "Host B, live" in curl(f"{page}/")
    assert curl(f"{page}/index.html") == "the folder's own"
    assert curl(f"{page}/note.txt") == "a note"
    assert "HTTP/1.1 404" in curl(f"{page}/live/none", "-i")
    assert "text/html" in curl(f"{page}/", "-I")
    assert "text/event-stream" in curl(f"{page}/live/events", "-I")


def test_the_page_speaks_the_reader_s_language(page):
    korean = curl(f"{page}/", "-H", "Accept-Language: ko-KR,ko;q=0.9,en;q=0.8")
    assert '<html lang="ko">' in korean
    assert "최근 세그먼트" in korean
    assert '<html lang="en">' in curl(f"{page}/", "-H", "Accept-Language: en,ko;q=0.5")


def test_without_live_there_is_no_page(need_root, need_tool, tmp_path):
    need_tool("curl")
    (tmp_path / "index.html").write_text("the folder's own")
    with serve("--directory", tmp_path):
        assert curl(f"http://{OTHER}/") == "the folder's own"
        assert "HTTP/1.1 404" in curl(f"http://{OTHER}/live/events", "-i")


def test_a_viewer_finds_its_own_connection_in_the_table(page):
    with Stream(page) as stream:
        state = stream.next()
        assert len(stream.own) == 1
        assert stream.own[0] in peers(state)
        assert peers(state)[0] is None, "the listening socket"


def test_all_connections_of_one_browser_are_its_own(page):
    cookie = "demuxlab=abcdefghijklmnopqrstuv"
    with Stream(page, "-b", cookie) as first, Stream(page, "-b", cookie) as second, Stream(page) as other:
        first.until(lambda _: len(first.own) == 2)
        second.until(lambda _: len(second.own) == 2)
        assert sorted(first.own) == sorted(second.own)
        other.next()
        assert other.own[0] not in first.own


def test_a_second_client_is_shown_within_a_second(page):
    with Stream(page) as stream:
        stream.next()
        with socket.create_connection((ADDRESS, 80)) as client:
            own = list(client.getsockname())
            state, seconds = stream.until(lambda state: own in established(state))
        assert seconds < 1
        rules = [row["rule"] for row in state["segments"] if row["source"] == own]
        assert rules == ["listener", "connection"], "its SYN, and the last part of its handshake"


def test_twenty_viewers_at_fifty_segments_per_second_stay_current(page, need_tool):
    """Datagrams to a closed port, 50 a second for 3 s: all viewers see the last one within a second."""
    need_tool("python3")
    sender = (
        "import socket, time\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for number in range(150):\n"
        f"    s.sendto(b'x' * (number + 1), ('{ADDRESS}', 9))\n"
        "    time.sleep(0.02)\n"
    )
    streams = [Stream(page) for _ in range(20)]
    try:
        for stream in streams:
            stream.next()
        first = streams[0]
        updates = 0
        with subprocess.Popen(["python3", "-c", sender]) as sending:
            began = time.monotonic()
            while "150 B" not in [row["text"] for row in first.next()["segments"]]:
                updates += 1
                assert time.monotonic() - began < PATIENCE
            took = time.monotonic() - began
            assert sending.wait(10) == 0
        assert updates <= 10 * took + 2, "at most ten states a second"
        for stream in streams[1:]:
            _, behind = stream.until(lambda state: "150 B" in [row["text"] for row in state["segments"]])
            assert behind < 1
    finally:
        for stream in streams:
            stream.__exit__()


def test_a_slow_viewer_gets_the_latest_state_and_no_queue_of_old_ones(page):
    """A viewer that stops reading, and reads on after a thousand datagrams, soon sees the last one."""
    with Stream(page) as slow, Stream(page) as quick:
        slow.next()
        slow.process.send_signal(signal.SIGSTOP)
        sender = (
            "import socket, time\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "for number in range(1000):\n"
            f"    s.sendto(b'y' * (number + 200), ('{ADDRESS}', 9))\n"
            "    time.sleep(0.003)\n"
        )
        subprocess.run([sys.executable, "-c", sender], check=True)
        state, _ = quick.until(lambda state: "1199 B" in [row["text"] for row in state["segments"]])
        [waits] = [row["unsent"] for row in state["sockets"] if row["remote"] == slow.own[0]]
        assert waits < 100_000
        slow.process.send_signal(signal.SIGCONT)
        _, seconds = slow.until(lambda state: "1199 B" in [row["text"] for row in state["segments"]])
        assert seconds < 2


def test_a_viewer_that_disconnects_is_removed(page):
    with Stream(page) as gone:
        gone.next()
        [peer] = gone.own
    with Stream(page) as stream:
        stream.until(lambda state: peer not in established(state))


# Chromium

OWN = "document.querySelectorAll('#sockets tr.own').length"
LIVE = "document.getElementById('status')?.textContent === 'Live'"


@pytest.fixture(scope="module")
def browser(page, need_tool, tmp_path_factory):
    need_tool("chromium", "bash")
    with chromium(tmp_path_factory.mktemp("profile"), "--lang=en-US") as running:
        yield running


def test_chromium_shows_its_own_connections(page, browser):
    tab = browser.tab(f"{page}/")
    tab.wait(f"{LIVE} && {OWN} > 0")
    badge = "document.querySelector('#sockets tr.own .badge').textContent"
    assert tab.value(badge) == "this is you"
    tab.close()


def test_chromium_shows_a_second_client_within_a_second_and_survives_a_reload(page, browser):
    tab = browser.tab(f"{page}/")
    for _ in range(2):
        tab.wait(f"{LIVE} && {OWN} > 0")
        with socket.create_connection((ADDRESS, 80)) as client:
            shown = f"{client.getsockname()[0]}:{client.getsockname()[1]}"
            table = "document.getElementById('sockets').innerText"
            assert tab.wait(f"{table}.includes({json.dumps(shown)})") < 1
        tab.call("Page.reload")
    tab.wait(f"{LIVE} && {OWN} > 0")
    tab.close()


def test_twenty_tabs_of_one_browser_share_one_stream(page, browser):
    tabs = [browser.tab(f"{page}/") for _ in range(20)]
    for tab in tabs:
        # Chromium does not draw hidden tabs.
        tab.call("Page.bringToFront")
        tab.wait(f"{LIVE} && {OWN} > 0")
    with Stream(page) as stream:
        state = stream.next()
        assert len(established(state)) < 10
        for tab in tabs:
            tab.close()


def test_a_paused_page_does_not_change(page, browser):
    tab = browser.tab(f"{page}/")
    tab.wait(f"{LIVE} && {OWN} > 0")
    tab.value("document.getElementById('pause').click()")
    assert tab.value("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    assert "Paused" in tab.value("document.getElementById('status').textContent")
    before = tab.value("document.getElementById('segments').innerText")
    curl(f"{page}/note.txt")
    with Stream(page) as stream:
        stream.next()
    assert tab.value("document.getElementById('segments').innerText") == before
    tab.value("document.getElementById('pause').click()")
    tab.wait(f"document.getElementById('segments').innerText !== {json.dumps(before)}")
    tab.close()


def test_a_page_without_shared_workers_follows_by_itself(page, need_tool, tmp_path):
    need_tool("chromium", "bash")
    with chromium(tmp_path, "--disable-shared-workers") as running:
        tab = running.tab("about:blank")
        tab.call("Page.enable")
        tab.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.SharedWorker")
        tab.call("Page.navigate", url=f"{page}/")
        tab.wait(f"{LIVE} && {OWN} > 0")


def test_the_page_says_when_the_host_is_gone_and_goes_on_when_it_is_back(browser):
    with serve("--live"):
        tab = browser.tab(f"http://{OTHER}/")
        tab.wait(f"{LIVE} && {OWN} > 0")
    tab.wait("document.getElementById('status').className === 'lost'")
    with serve("--live"):
        tab.wait(f"{LIVE} && {OWN} > 0")
        tab.close()


# The terminal


def test_watching_without_a_terminal_is_a_line_for_each_segment(need_root, need_tool, tmp_path):
    need_tool("curl")
    with serve("--watch", "--directory", tmp_path, address=UNSEEN) as process:
        curl(f"http://{UNSEEN}/")
        lines = [process.stderr.readline() for _ in range(3)]
    assert [int(line.split()[0]) for line in lines] == [1, 2, 3]
    assert lines[0].endswith(f"{UNSEEN}:80 S → http (listener)\n")
    assert lines[1].endswith("→ http#1 (connection)\n")


def test_a_live_page_of_what_is_no_http_is_refused():
    command = [sys.executable, "-m", "demuxlab", "serve", "echo", "--live"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "serve http --live" in done.stderr
