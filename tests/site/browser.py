"""A folder served by a plain static server, and a headless Chromium that reads it."""

import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
    *("--disable-default-apps", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE 10.9.0.2"),
)
SCRIPT_SECONDS = 180


class Server(ThreadingHTTPServer):
    """A plain static server that counts what it sent; `closed`, it answers nothing, as if it were gone."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[str] = []
        self.sent = 0
        self.closed = False
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def handle(self) -> None:
                if not server.closed:
                    super().handle()

            def send_head(self) -> Any:
                return None if server.closed else super().send_head()

            def copyfile(self, source: Any, outputfile: Any) -> None:
                data = source.read()
                server.requests.append(self.path)
                server.sent += len(data)
                outputfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


@contextlib.contextmanager
def chromium(profile: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Any]:
    """Start Chromium with a profile, whose cache stays in it; its log of requests is profile/net.json."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for option in (*_OPTIONS, f"--user-data-dir={profile}", f"--log-net-log={profile}/net.json"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        driver.set_script_timeout(SCRIPT_SECONDS)
        look(driver, width=width, dark=dark)
        yield driver
    finally:
        driver.quit()


def look(driver: Any, *, width: int, dark: bool = False, height: int = 900) -> None:
    """Set the width of the page and its colours."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def wait(driver: Any, expression: str) -> Any:
    """Return what a promise in the page gives; RuntimeError where it is rejected."""
    script = (
        "const done = arguments[arguments.length - 1];"
        f"Promise.resolve({expression})"
        ".then(value => done({value}), error => done({error: String(error)}));"
    )
    got = driver.execute_async_script(script)
    if "error" in got:
        raise RuntimeError(got["error"])
    return got.get("value")


def foreign_requests(profile: Path, *origins: str) -> list[str]:
    """Return what pages asked of other hosts, by Chromium's own log."""
    text = (profile / "net.json").read_text(encoding="utf-8").rstrip().rstrip(",")
    log = json.loads(text if text.endswith("}") else text + "]}")
    found = []
    for event in log["events"]:
        url, by = event.get("params", {}).get("url", ""), event.get("params", {}).get("initiator", "")
        if (
            url.startswith(("http:", "https:", "ws"))
            and by.startswith(origins)
            and not url.startswith(origins)
        ):
            found.append(url)
    return found


def temporary_profile() -> Path:
    return Path(tempfile.mkdtemp(prefix="chromium-"))
