"""Headless Chromium, controlled by its DevTools protocol over a pipe."""

import json
import os
import select
import subprocess
import time
from contextlib import contextmanager

PATIENCE = 40.0
"""The timeout of every action in seconds: a browser on a busy machine is slow."""


class Browser:
    """One Chromium process with a profile of its own; `tab` opens a page."""

    def __init__(self, profile, *options):
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        command = [
            *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "--proxy-server=direct://"),
            *("--disable-background-networking", "--disable-component-update", *options),
        ]

        # Chromium reads commands from descriptor 3 and answers on 4.
        launch = f'exec 3<&{theirs} 4>&{answers}; exec "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", launch, "bash", *command],
            pass_fds=(theirs, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._buffer = b""
        self._calls = 0

    def call(self, method, session=None, **parameters):
        """Send a command and return its result."""
        self._calls += 1
        order = {"id": self._calls, "method": method, "params": parameters}
        if session is not None:
            order["sessionId"] = session
        os.write(self._out, json.dumps(order).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self, deadline):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser is gone"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def tab(self, address):
        """Open a page in a tab of its own."""
        target = self.call("Target.createTarget", url=address)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, target, session)

    def close(self):
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)


class Tab:
    """One page of a browser."""

    def __init__(self, browser, target, session):
        self._browser = browser
        self._target = target
        self._session = session

    def call(self, method, **parameters):
        """Send the page a command."""
        return self._browser.call(method, self._session, **parameters)

    def close(self):
        """Close the tab."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def value(self, expression):
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression, patience=PATIENCE):
        """Wait until a JavaScript expression is true, and return how many seconds that took."""
        began = time.monotonic()
        while not (found := self.value(expression)):
            assert time.monotonic() - began < patience, f"never true: {expression}: {found}"
        return time.monotonic() - began


@contextmanager
def chromium(profile, *options):
    """Run Chromium with a profile of its own."""
    browser = Browser(profile, *options)
    try:
        yield browser
    finally:
        browser.close()
