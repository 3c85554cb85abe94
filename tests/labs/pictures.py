"""The pictures in the handouts: the report's ladder, and Wireshark with the course's profile.

`python -m tests.labs.pictures [NN …]` makes them from the reference captures: report.png and wireshark.png
in each lab's folder. It needs chromium, wireshark, Xvfb, xdotool, import (ImageMagick) and pngquant. Each
picture holds the SHA-256 of its capture, so that a test finds one that is out of date.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from tests.interop.browser import chromium
from tests.labs.runs import LABS, ROOT

NAMES = ("report.png", "wireshark.png")
MOST_BYTES = 60_000
FRAMES = {
    "01": 9, "02": 7, "03": 9, "04": 10, "05": 4, "06": 9, "07": 22, "08": 10,
    "09": 20, "10": 16, "11": 16, "12": 13, "13": 37, "14": 29, "15": 22, "16": 11,
    "17": 38, "18": 10, "19": 14, "20": 26, "21": 27,
}  # fmt: skip
"""By lab: the frame that its pictures unfold."""
WIDEST = 1900
"""Pixels of a ladder; what is wider is cut off."""
DISPLAY = ":97"
SIZE = (1240, 580)
CROP = (1240, 490, 0, 64)  # width, height, x, y: without menu, tool bar and status bar


def main(wanted: list[str]) -> None:
    for lab in LABS:
        if not wanted or lab.name[:2] in wanted:
            capture, frame = ROOT / "captures" / f"{lab.name}.pcapng", FRAMES[lab.name[:2]]
            for name, draw in zip(NAMES, (report, wireshark), strict=True):
                picture = lab / name
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    draw(capture, frame, Path(folder), picture)
                print(picture.relative_to(ROOT), finished(picture, capture), "bytes")


def report(capture: Path, frame: int, folder: Path, picture: Path) -> None:
    """Save the ladder, with one row open to the steps of its lookup."""
    page = folder / "report.html"
    subprocess.run(
        [sys.executable, "-m", "demuxlab", "report", str(capture), "-o", str(page)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with chromium(folder / "profile", "--window-size=1220,700", "--hide-scrollbars") as browser:
        tab = browser.tab(page.as_uri())
        tab.wait("document.querySelector('.ladder-box') !== null")
        width = tab.value("document.querySelector('.ladder').scrollWidth") + 80
        size = {"width": max(1220, min(width, WIDEST)), "height": 700}
        tab.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)
        tab.value(
            f"""(() => {{ const box = document.querySelector('.ladder-box');
            const row = document.querySelector('#frame-{frame}'); row.open = true;
            const arrow = row.querySelector('.arrow line');  // a wide ladder is scrolled to it
            const right = Math.max(arrow.x1.baseVal.value, arrow.x2.baseVal.value) + 80;
            box.scrollLeft = Math.max(0, right - box.clientWidth);
            box.scrollTop = Math.max(0, row.offsetTop - 290); box.scrollIntoView(); }})()"""
        )
        box = tab.value(
            "(() => { const b = document.querySelector('.ladder-box').getBoundingClientRect();"
            " return JSON.stringify({x: b.x, y: b.y + scrollY, width: b.width, height: b.height}); })()"
        )
        clip = {**json.loads(box), "scale": 1}
        shot = tab.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        picture.write_bytes(base64.b64decode(shot["data"]))


def wireshark(capture: Path, frame: int, folder: Path, picture: Path) -> None:
    """Save Wireshark's window, with the decision of one frame unfolded."""
    environment = {**os.environ, "DISPLAY": DISPLAY, "XDG_CACHE_HOME": str(folder)}
    screen = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24"])

    def run(*command: object) -> str:
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout

    start = "import sys\nfrom demuxlab.wireshark import program\n"
    start += "program._start('wireshark', *sys.argv[1:]).wait()"
    window = None
    shark = subprocess.Popen(
        [sys.executable, "-c", start, "-r", str(capture), "-g", str(frame)], env=environment
    )
    try:
        while not window:
            time.sleep(0.3)
            window = run("xdotool", "search", "--onlyvisible", "--name", "pcapng").split()
        run("xdotool", "windowmove", window[0], 0, 0, "windowsize", window[0], *SIZE)
        time.sleep(4)
        # The first line of the details: unfold it; then the last one, which is the decision.
        run("xdotool", "mousemove", 200, 337, "click", 1, "key", "Right", "key", "End", "key", "Right")
        run("xdotool", "key", "End")
        time.sleep(1.5)
        width, height, x, y = CROP
        run("import", "-window", "root", "-crop", f"{width}x{height}+{x}+{y}", "+repage", picture)
    finally:
        for window in run("xdotool", "search", "--name", "pcapng").split():
            run("xdotool", "windowclose", window)
        shark.terminate()
        screen.terminate()
        shark.wait()
        screen.wait()


def finished(picture: Path, capture: Path) -> int:
    """Reduce a picture to few colours and sign it with its capture's hash; return its size in bytes."""
    subprocess.run(["pngquant", "--force", "--speed", "1", "--output", picture, "32", picture], check=True)
    data = picture.read_bytes()
    end = data.rindex(b"IEND") - 4
    text = b"tEXtcapture\0" + digest(capture).encode()
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    picture.write_bytes(data[:end] + chunk + data[end:])
    return picture.stat().st_size


def digest(capture: Path) -> str:
    """Return a capture's SHA-256 in hexadecimal."""
    return hashlib.sha256(capture.read_bytes()).hexdigest()


def signed(picture: Path) -> str:
    """Return the hash of the capture that a picture was made from."""
    return picture.read_bytes().partition(b"tEXtcapture\0")[2][:64].decode()


if __name__ == "__main__":
    main(sys.argv[1:])
