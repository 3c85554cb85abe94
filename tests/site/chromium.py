"""Reads the built site in Chromium, in a network namespace without any other host, and says what holds.

`python -m tests.site.chromium FOLDER [--pictures FOLDER] [--only PART…]`, as root, with Debian's chromium and
chromedriver and PyPI's selenium. The parts are those of PARTS.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from tests import solutions
from tests.site import browser
from tests.site.node import findings, natively, stories

from demuxlab.site.examples import examples

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "src/demuxlab/site/web/node_modules/axe-core/axe.min.js"
FIRST_RUN, SECOND_VISIT, AGAIN, LOOP, ALL_CHECKS, TRANSFERRED = 60, 15, 1, 10, 60, 30_000_000
"""Seconds, and bytes."""
WRONG_OF_A_LAB = 2
LABS = sorted(path.name for path in (ROOT / "labs").glob("[0-9][0-9]_*"))
LAB_04 = "labs/04_tcp_four_tuple.html"
SHOWN = (
    *("index.html", "labs/01_port_fields.html", LAB_04, "labs/14_your_own_demultiplexer.html"),
    *("labs/15_who_may_have_the_port.html", "labs/16_when_the_4_tuple_changes.html"),
    *("calculator.html", "docs/index.html", "docs/commands.html"),
)
MISCHIEF = {
    "a loop without an end": "while True:\n    pass\n",
    "a loop in C": "import itertools\nsum(itertools.count())\n",
    "calls too deep, through C": "def fall(n):\n    return max([n], key=fall)\nfall(0)\n",
    "a syntax error": "class TCPDemultiplexer(:\n",
    "a huge print": 'for _ in range(300000):\n    print("x" * 100)\n',
    "memory without end": "kept = []\nwhile True:\n    kept.append(bytearray(1 << 24))\n",
    "memory without end in small pieces": "kept = []\nwhile True:\n    kept += [[] for _ in range(9999)]\n",
    "memory without end in C": "list(iter(list, 0))\n",
}
_SERIOUS = """axe.run({iframes: false}).then(found => found.violations
    .filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => each.id + ": " + each.nodes.slice(0, 3)
        .map(node => node.target.join(" ") + " " + (node.any[0]?.message ?? "")).join(" | ")))"""
_COLUMNS = "[...document.querySelectorAll('.shark th[scope=col]')].map(each => each.textContent)"
_FILTER = "const i = document.querySelector('.shark input'); i.value = {}; i.form.requestSubmit()"
_FOCUS = """[...document.querySelectorAll('#run .fields button')]
    .find(each => each.textContent.startsWith({!r})).focus()"""
_RAN = "!document.querySelector('[data-result]').hidden && !document.querySelector('[data-run]').disabled"


class Judge:
    """Runs the parts against one served folder, and counts what holds."""

    def __init__(self, driver: Any, server: browser.Server, pictures: Path) -> None:
        self.driver = driver
        self.server = server
        self.pictures = pictures
        self.passed = self.failed = 0

    def say(self, holds: bool, what: str) -> None:
        """Print one finding."""
        self.passed += holds
        self.failed += not holds
        print("ok  " if holds else "FAIL", what, flush=True)

    def value(self, expression: str) -> Any:
        """Return what an expression gives in the page; a promise is waited for."""
        return browser.wait(self.driver, expression)

    def click(self, selector: str) -> None:
        """Click on an element, as a script does."""
        self.driver.execute_script(f"document.querySelector({selector!r}).click()")

    def until(self, condition: str, seconds: float = 90) -> bool:
        """Wait until a condition holds in the page."""
        end = time.monotonic() + seconds
        while not (holds := self.driver.execute_script(f"return {condition}")) and time.monotonic() < end:
            time.sleep(0.02)
        return bool(holds)

    def open(self, page: str) -> None:
        """Open a page and wait until its script has started."""
        self.driver.get(f"{self.server.origin}/{page}")
        self.until("window.demuxlab !== undefined")

    def graded(self, lab: str, source: str) -> dict[str, Any]:
        """Return what the checks say of a file."""
        got: dict[str, Any] = self.value(f"demuxlab.grade({lab!r}, {json.dumps(source)})")
        return got

    def visit(self) -> None:
        """Visit from an empty cache; run the first lab by its button."""
        clock = Clock()
        self.open("index.html")
        reads = clock.seconds
        self.click("[data-run]")
        green = self.until(
            "document.querySelector('[data-status]').textContent.startsWith('Done: every')", 120
        )
        first = clock.seconds
        self.say(
            green and first <= FIRST_RUN, f"first run green after {first:.1f} s; reads after {reads:.1f} s"
        )
        clock = Clock()
        self.value("demuxlab.run('04')")
        self.say(clock.seconds <= AGAIN, f"lab 04 again in {clock.seconds:.2f} s")
        self.until("document.getElementById('offline').textContent !== ''", 60)
        sent, requests = self.server.sent, len(self.server.requests)
        self.say(sent <= TRANSFERRED, f"{sent / 1e6:.1f} MB transferred in {requests} requests")

    def offline(self) -> None:
        """Visit again; then again without a server."""
        self.open("index.html")
        self.until("document.getElementById('offline').textContent !== ''", 120)
        clock = Clock()
        self.open(LAB_04)
        self.value("demuxlab.ready.then(() => demuxlab.run('04'))")
        self.say(clock.seconds <= SECOND_VISIT, f"second visit: lab 04 has run after {clock.seconds:.1f} s")
        sent, self.server.closed = self.server.sent, True
        for page in ("index.html", "ko/labs/14_your_own_demultiplexer.html", "docs/trust.html"):
            self.open(page)
            self.say(bool(self.value("document.querySelector('h1').textContent")), f"offline: {page}")
        self.open("labs/01_port_fields.html?embed=1")
        ran = self.value("demuxlab.ready.then(() => demuxlab.run('01'))")["ok"]
        self.say(ran and self.server.sent == sent, "offline: lab 01 runs, and the server sends nothing")
        self.server.closed = False

    def labs(self) -> None:
        """Run every lab, and compare its capture with the reference."""
        self.open("index.html")
        self.value("demuxlab.ready")
        for lab in LABS:
            clock = Clock()
            got = self.value(f"demuxlab.run({lab[:2]!r})")
            equal = base64.b64decode(got["capture"]) == (ROOT / "captures" / f"{lab}.pcapng").read_bytes()
            same = "equal" if equal else "DIFFERENT"
            self.say(got["ok"] and equal, f"{lab}: {clock.seconds:.2f} s, capture {same}")

    def grade(self) -> None:
        """Check every reference, and two wrong solutions a lab, which fail on the check that they name."""
        self.open(LAB_04)
        for lab in LABS:
            clock = Clock()
            got = self.graded(lab, (solutions.FOLDER / lab / "reference.py").read_text(encoding="utf-8"))
            points, most = got["points"], got["max_points"]
            self.say(
                points == most > 0, f"{lab}: reference {points} of {most} points in {clock.seconds:.1f} s"
            )
            for wrong in solutions.wrong(lab)[:WRONG_OF_A_LAB]:
                here, there = stories(self.graded(lab, wrong.source())), natively(lab, wrong.source())
                differ = list(findings(here, there, wrong.check))
                self.say(not differ, "\n".join([f"{lab}: {wrong.name} fails on {wrong.check}", *differ]))

    def mischief(self) -> None:
        """A loop, a syntax error, a huge print; a tab closed in the middle and opened again."""
        self.open(LAB_04)
        self.value("demuxlab.ready")
        for name, source in MISCHIEF.items():
            self.graded("04", "")  # Python may have been stopped by the one before
            clock = Clock()
            try:
                got = self.graded("04", source)
                told, points = got["tests"][0]["story"], got["points"]
            except RuntimeError as error:
                told, points = str(error), 0
            told = " ".join(told.split())[:160]
            most = LOOP if "loop" in name else ALL_CHECKS
            self.say(points == 0 and clock.seconds < most, f"{name}: after {clock.seconds:.1f} s “{told}”")
        self.say(self.value("demuxlab.run('04')")["ok"], "lab 04 runs after all that")
        self.driver.execute_script("demuxlab.run('11')")
        first = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        second = self.driver.current_window_handle
        self.driver.switch_to.window(first)
        self.driver.close()
        self.driver.switch_to.window(second)
        self.open(LAB_04)
        self.say(self.value("demuxlab.run('04')")["ok"], "a tab closed in the middle, and opened again")

    def page(self) -> None:
        """Read a lab's page as a learner does: packets, ladder, a check that fails, what is taken home."""
        home = Path(tempfile.mkdtemp(prefix="home-"))
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(home)}
        )
        browser.look(self.driver, width=1280)
        self.open(LAB_04)
        self.click("[data-run]")
        self.until(_RAN)
        rows = self.value("document.querySelectorAll('#run [data-packets] tr').length")
        steps = self.value("document.querySelectorAll('#run .decision li').length")
        self.say(rows == 20 and steps > 2, f"{rows} packets; {steps} steps of the first lookup")
        self.driver.execute_script(_FOCUS.format("Destination port"))
        lit = self.value("[...document.querySelectorAll('#run .lit')].map(each => each.textContent).join('')")
        self.say(lit == "0050", f"the field “Destination port” lights up the bytes {lit}")
        self._ladder()
        wrong = solutions.wrong("04")[0]
        self.driver.find_element("css selector", "[data-load-exercise]").send_keys(str(wrong.save(home)))
        self.until(
            f"demuxlab && document.querySelector('.cm-content').textContent.includes('fails: {wrong.check}')"
        )
        self.click("[data-check]")
        self.until("document.querySelectorAll('.checks li').length > 0")
        self.click(".checks details button")
        shown = "document.querySelectorAll('.checks [data-packets] tr').length"
        self.until(f"{shown} > 0")
        chosen = self.value("document.querySelector('.checks tr.chosen th').textContent")
        story = self.value("document.querySelector('.checks pre').textContent")
        asked = f"(frame {chosen} is" in story and self.value(shown) == int(chosen)
        self.say(asked, f"the packets of a failed check: {chosen}, the last is chosen")
        self.driver.save_screenshot(str(self.pictures / "failed-check.png"))
        self.driver.execute_script("document.querySelector('[name=student]').value = 'kim'")
        self.click("[data-quiz] button")
        self.until("!document.querySelector('[data-answers]').hidden")
        rows = self.value("document.querySelectorAll('#quiz [data-packets] tr').length")
        self.click("[data-answers] button.primary")
        marks = "document.querySelectorAll('[data-answers] output.bad').length"
        self.say(
            self.until(f"{marks} > 0") and rows == 20, f"quiz: {rows} packets, {self.value(marks)} marks"
        )
        self._taken_home(home, wrong.source())
        shutil.rmtree(home)

    def _ladder(self) -> None:
        """Play the ladder in its frame, arrow after arrow."""
        self.driver.switch_to.frame(self.driver.find_element("css selector", "[data-report]"))
        self.until("document.querySelector('.play') && !document.querySelector('.play').hidden")
        drawn, counts, beside = "document.querySelectorAll('.segment:not(.later)').length", [], ""
        self.click(".play button:nth-child(2)")
        for _arrow in range(2):
            counts.append(self.driver.execute_script(f"return {drawn}"))
            self.click(".play button:nth-child(3)")
            beside = self.driver.execute_script("return document.querySelector('.beside').textContent")
        self.driver.switch_to.default_content()
        self.say(
            counts == [1, 2] and "→" in beside,
            f"the ladder plays arrow by arrow; beside it: {beside.split()[:9]}",
        )

    def _taken_home(self, home: Path, source: str) -> None:
        """Save capture, report, exercise and progress; load the progress in a browser that has none."""
        for button in ("[data-save=capture]", "[data-save=report]", "[data-save-exercise]"):
            self.click(button)
        self.open("index.html")
        self.click("[data-progress-save]")
        names = (f"{LABS[3]}.pcapng", f"{LABS[3]}.html", "exercise.py", "demuxlab-progress.json")
        end = time.monotonic() + 20
        while not all((home / name).exists() for name in names) and time.monotonic() < end:
            time.sleep(0.05)
        reference = (ROOT / "captures" / names[0]).read_bytes()
        same = (home / names[0]).read_bytes() == reference and (home / names[2]).read_text("utf-8") == source
        self.say(
            same and "<svg" in (home / names[1]).read_text("utf-8"), "capture, report and exercise taken home"
        )
        self.driver.execute_script("localStorage.clear()")
        self.open("index.html")
        before = self.value("document.querySelector('[data-progress^=\"04\"]').textContent")
        self.driver.find_element("css selector", "[data-progress-load]").send_keys(str(home / names[3]))
        self.until("document.querySelector('[data-progress-status]').textContent !== ''")
        after = self.value("document.querySelector('[data-progress^=\"04\"]').textContent")
        self.open(LAB_04)
        kept = self.until("document.querySelector('.cm-content')?.textContent.includes('# fails: test_')", 10)
        self.say(before == "" and "points" in after and kept, f"progress saved to a file and loaded: {after}")

    def calculator(self) -> None:
        """Ask every example of the calculator."""
        self.open("calculator.html")
        self.value("demuxlab.ready")
        select = "document.querySelector('[name=example]')"
        wrong = []
        for each in examples():
            self.driver.execute_script(
                f"{select}.value = {each['name']!r}; {select}.onchange(); {select}.form.requestSubmit()"
            )
            said = (
                "(document.querySelector('[data-answer] h2, [data-status]:not(:empty)')?.textContent ?? '')"
            )
            self.until(f"{said} !== '' && {said} !== 'Running …'", 20)
            names = (
                ["second cannot be opened"] if each["answers"] is None else each["answers"] or ["No socket"]
            )
            if not any(name in self.value(said) for name in names):
                wrong.append(f"{each['name']}: {self.value(said)}")
        self.say(not wrong, f"{len(examples())} examples of the calculator {wrong}")

    def printed(self) -> None:
        """Print pages as PDF into the folder of pictures, to be looked at."""
        for name, page in (("home", "index.html"), ("lab", LAB_04), ("lab-ko", f"ko/{LAB_04}")):
            self.open(page)
            self._fill(page)
            got = self.driver.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
            data = base64.b64decode(got["data"])
            (self.pictures / f"{name}.pdf").write_bytes(data)
            self.say(data.startswith(b"%PDF"), f"{name} printed: {len(data) // 1000} kB")

    def wireshark(self) -> None:
        """Open a capture in Wireshark in the page, and filter it."""
        browser.look(self.driver, width=1280)
        self.open(LAB_04)
        self.click("[data-run]")
        self.until(_RAN)
        clock, sent, rows = Clock(), self.server.sent, "document.querySelectorAll('.shark tbody tr').length"
        self.click("[data-wireshark]")
        self.until(f"{rows} === 20", 120)
        took, loaded = clock.seconds, (self.server.sent - sent) / 1e6
        for wanted, count in (("tcp.stream == 1", 6), ('frame.comment contains "P5: connection"', 2)):
            self.driver.execute_script(_FILTER.format(json.dumps(wanted)))
            self.say(self.until(f"{rows} === {count}", 20), f"Wireshark: {wanted} gives {count} frames")
        columns = self.value(_COLUMNS)
        self.say(
            {"Socket", "Rule"} <= set(columns), f"Wireshark after {took:.1f} s, {loaded:.1f} MB: {columns}"
        )
        self.driver.execute_script("document.querySelector('.shark').scrollIntoView()")
        self.driver.save_screenshot(str(self.pictures / "wireshark.png"))

    def tun(self) -> None:
        """Read the same folder from our own TCP, through a TUN device."""
        call = [sys.executable, "-m", "demuxlab", "serve", "http", "--directory", str(self.server.folder)]
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout is not None
            line = next(line for line in serving.stdout if line.startswith("ready: "))
            clock = Clock()
            self.driver.get(line.removeprefix("ready: ").strip() + LAB_04)
            self.until("window.demuxlab !== undefined")
            ran = self.value("demuxlab.ready.then(() => demuxlab.run('04'))")
            equal = base64.b64decode(ran["capture"]) == (ROOT / "captures" / f"{LABS[3]}.pcapng").read_bytes()
            self.say(ran["ok"] and equal, f"over our own TCP: lab 04 has run after {clock.seconds:.1f} s")
            self.driver.get("about:blank")
            serving.terminate()

    def pages(self) -> None:
        """Take pictures; nothing is wider than the screen, and axe-core has no serious finding."""
        for folder, page in product(("", "ko/"), SHOWN):
            browser.look(self.driver, width=1280)
            self.open(folder + page)
            self._fill(page)
            self.driver.execute_script(AXE.read_text(encoding="utf-8"))
            name = f"{folder.strip('/') or 'en'}-{page.removesuffix('.html').replace('/', '-')}"
            for width, dark in product((1280, 400), (False, True)):
                self._look_at(f"{name}-{width}-{'dark' if dark else 'light'}", width, dark=dark)

    def _look_at(self, name: str, width: int, *, dark: bool) -> None:
        browser.look(self.driver, width=width, dark=dark)
        wide, found = self.value("document.documentElement.scrollWidth"), self.value(_SERIOUS)
        self.say(wide <= width and not found, f"{name}: {wide} pixels wide, axe-core: {found}")
        tall = self.value("document.documentElement.scrollHeight") if width < 600 else 900
        browser.look(self.driver, width=width, dark=dark, height=max(900, min(tall, 8000)))
        self.driver.save_screenshot(str(self.pictures / f"{name}.png"))

    def _fill(self, page: str) -> None:
        """Bring a page into the state that has the most on it."""
        if page == "index.html" or page.startswith("labs/"):
            self.click("[data-run]")
            self.until(_RAN)
        if page == LAB_04:
            self.click("[data-check]")
            self.until("document.querySelectorAll('.checks li').length > 0")
        if page == "calculator.html":
            self.driver.execute_script("document.querySelector('[data-calculator]').requestSubmit()")
            self.until("document.querySelector('[data-answer] h2') !== null")
        self.driver.execute_script("document.getAnimations().forEach(each => each.finish())")


class Clock:
    """The seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return time.monotonic() - self._start


PARTS = (
    *("visit", "labs", "mischief", "offline", "wireshark", "tun"),
    *("page", "calculator", "printed", "pages", "grade"),
)


def _inside(arguments: argparse.Namespace) -> int:
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    server, profile = browser.Server(arguments.folder), browser.temporary_profile()
    try:
        with browser.chromium(profile) as driver:
            judge = Judge(driver, server, arguments.pictures)
            for part in arguments.only or PARTS:
                getattr(judge, part)()
        foreign = browser.foreign_requests(profile, server.origin, "http://10.9.0.2")
        judge.say(not foreign, f"{len(foreign)} requests to other hosts {foreign[:3]}")
    finally:
        shutil.rmtree(profile, ignore_errors=True)
    print(f"{judge.passed} passed, {judge.failed} failed")
    return int(judge.failed > 0)


def main() -> int:
    """Go into a network namespace that has lo alone, and judge there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=Path, default=Path("pictures"))
    parser.add_argument("--only", nargs="*", choices=PARTS)
    arguments = parser.parse_args()
    if os.environ.get("DEMUXLAB_ALONE"):
        return _inside(arguments)
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    again = [sys.executable, "-m", "tests.site.chromium", *sys.argv[1:]]
    return subprocess.run([*alone, *again], env={**os.environ, "DEMUXLAB_ALONE": "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
