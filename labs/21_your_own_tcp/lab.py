"""Lab 21: two hosts whose TCP is made of the parts of labs 17 to 20: ours, or learners' (`--with FILE.py`).

B serves a page to A, over a link that loses nothing, and over one that loses segments. Above them are our
demultiplexer and our applications; below them the same link as in all labs.
"""

from random import Random

from demuxlab.labkit import Lab
from demuxlab.labkit.command import main
from demuxlab.serving.transport import Endpoint, LearnersTransport
from demuxlab.wire.address import to_text
from demuxlab.wire.segment import flag_letters

PAGE = b"".join(b"row %05d\n" % number for number in range(1000))  # 10,000 bytes
REQUEST = b"GET /\n"
LOSS, PATIENCE = 0.15, 600  # the share of segments lost, seconds of virtual time


def run(lab: Lab) -> None:
    b, a = lab.host("B", "10.9.0.20"), lab.host("A", "10.9.0.10")
    files = [*lab.learners, *lab.learners][:2]
    ends = [LearnersTransport(files[n : n + 1], host, draw=Random(n)) for n, host in enumerate((b, a))]
    for host, end in zip("BA", ends, strict=True):
        lab.say("{host}'s TCP: {classes}", host=host, classes=end.described())
    server, client = ends

    lab.step("B listens, and A connects: three segments.")
    listener = server.listen(lab.port(80), b.address, name="web", process="web", backlog=5)
    browser = client.connect(b.address, lab.port(80), lab.port(9157), lab.now(), name="browser")
    lab.replies()
    web = listener.accept()
    if web is None:
        lab.check("the handshake was completed", False)
        return
    opened = len(show_segments(lab, 1))

    lab.step("A asks for a page of {size} bytes. The link loses nothing.", size=len(PAGE))
    first = ask(lab, browser, web)
    clean = show_segments(lab, opened + 1)

    lab.step("A asks again. Now the link loses {share} % of the segments.", share=round(LOSS * 100))
    server.loss = client.loss = LOSS
    second = ask(lab, browser, web)
    server.loss = client.loss = 0.0
    lossy = show_segments(lab, opened + len(clean) + 1)
    lab.wait(1)

    lab.step("A closes, then B. A waits 60 seconds in TIME-WAIT: its last ACK may be lost.")
    before = lab.journal.frames
    browser.shutdown_write(lab.now())
    lab.replies()
    half = web.read(10, lab.now())
    web.close(lab.now())
    lab.replies()
    states = [browser.ask("state"), web.ask("state")]
    show_segments(lab, before + 1)
    lab.say("A is in {one}, B in {other}.", one=states[0], other=states[1])
    lab.wait(61)

    lab.step("Which segment went to which socket:")
    lab.show_decisions()

    lab.step("What the theory says:")
    lab.check("the page arrived whole", first == PAGE)
    lab.check("the page arrived whole over the lossy link, too", second == PAGE)
    numbers = [int(str(row[2])) for row in lossy if row[1] == b.address and row[3]]
    lab.check("what was lost was sent again", numbers != sorted(numbers))
    lab.check("A's FIN is the end of the stream for B", half == b"")
    lab.check("who closes first waits in TIME-WAIT", states == ["TIME-WAIT", "CLOSED"])
    lab.check("after that no socket is left but the listening one", browser.ask("state") == "CLOSED")


def ask(lab: Lab, browser: Endpoint, web: Endpoint) -> bytes:
    """Let A ask and B answer; return what A has received."""
    end, got, asked, unsent = lab.now() + PATIENCE, b"", b"", PAGE
    browser.write(REQUEST, lab.now())
    while len(got) < len(PAGE) and lab.now() < end:
        lab.replies()
        asked += web.read(100, lab.now()) or b""
        if asked == REQUEST and unsent:
            unsent = unsent[web.write(unsent, lab.now()) :]
            lab.replies()
        got += browser.read(100_000, lab.now()) or b""
        if len(got) < len(PAGE):
            lab.wait(0.05)
    lab.replies()
    return got


def show_segments(lab: Lab, first: int) -> list[tuple[object, ...]]:
    """Show the segments from a frame on; numbers count from each side's SYN, as Wireshark shows them."""
    rows: list[tuple[object, ...]] = []
    begin: dict[bytes, int] = {}
    for entry in lab.journal.entries:
        segment = entry.delivery.segment
        number = segment.sequence - begin.setdefault(segment.source, segment.sequence)
        acknowledged = segment.acknowledgment - begin.get(segment.destination, 0)
        flags = flag_letters(segment.flags)
        rows.append((entry.frame, to_text(segment.source), number, len(segment.payload), acknowledged, flags))
    shown = [row for row in rows if int(str(row[0])) >= first]
    lab.show_table(("frame", "from", "sequence number", "bytes", "acknowledgment", "flags"), shown)
    return shown


if __name__ == "__main__":
    main(__file__)
