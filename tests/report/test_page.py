"""The page and its figures: whole, safe, readable in both schemes and both languages, small and quick."""

import base64
import hashlib
import re
import time
from html.parser import HTMLParser
from itertools import product
from xml.dom import minidom

import pytest
from tests.interop.browser import chromium
from tests.report.captures import REFERENCES, A, B, reference, tcp_packet, told, udp_packet, write

from demuxlab import language
from demuxlab.report import page
from demuxlab.report.figures import FIGURES
from demuxlab.report.story import Story
from demuxlab.report.svg import style

VOID = {"meta", "br", "link"}
OPTIONAL_END = {"td", "th", "tr", "tbody", "thead"}
EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """Reads a page as a browser does, and notes what tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.faults = [], [], [], []
        self.unnamed = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if self.open and self.open[-1] == "svg!" and tag != "title":
            self.faults.append("an svg without a title")
        if self.open and self.open[-1] == "svg!":
            self.open[-1] = "svg"
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            tag = "svg!"
        if tag not in VOID | OPTIONAL_END:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag in OPTIONAL_END:
            return
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


@pytest.fixture(params=["en", "ko"])
def spoken(request):
    before = language.code()
    language.use(request.param)
    yield request.param
    language.use(before)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_page_of_every_lab_is_whole(repository, name, spoken):
    text = page.html(reference(repository, name))
    read = Page(text)
    assert read.faults == []
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert f'<html lang="{spoken}">' in text
    targets = {a["href"][1:] for tag, a in read.tags if tag == "a"}
    assert targets <= set(read.ids)
    assert ("여기서 볼 것" in text) == (spoken == "ko")


def test_a_page_needs_nothing_else(repository):
    text = page.html(reference(repository, "05_socket_program"))
    read = Page(text)
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not [a for _tag, a in read.tags if any(key.startswith("on") or key == "src" for key in a)]
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r"https?://[^\"<]*", text) in (
        [],
        ["http://www.w3.org/2000/svg"] * text.count("xmlns="),
    )


def test_the_page_permits_one_script_and_is_whole_without_it(repository):
    text = page.html(reference(repository, "04_tcp_four_tuple"))
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{hashed}'\"" in text
    assert '<div class="play" role="group" aria-label="Play the ladder" hidden>' in text
    assert 'class="segment later"' not in text


def test_every_segment_opens_by_keyboard_to_its_reason(repository):
    text = page.html(reference(repository, "04_tcp_four_tuple"))
    assert text.count("<details") == text.count("<summary>") == 20
    opened = text.partition('id="frame-9"')[2].partition("</details>")[0]
    assert "P5: this connection has exactly these four values" in opened
    assert re.search(r'class="won"><td>✓ P5<td>connection', opened)
    assert "<td>✗ P4<td>its peer is 10.9.0.10:9157" in opened


def test_tables_have_headers(repository):
    read = Page(page.html(reference(repository, "04_tcp_four_tuple")))
    tables = sum(tag == "table" for tag, _ in read.tags)
    heads = [a for tag, a in read.tags if tag == "th"]
    assert sum(tag == "thead" for tag, _ in read.tags) == tables
    assert all(a.get("scope") in ("col", "row") for a in heads)


def hostile(path):
    frames = [
        (
            tcp_packet((A, 1), (B, 80), 0x18, EVIL.encode()),
            {"comment": f"→ {EVIL}: connection {EVIL} → {EVIL}; {EVIL} lost: {EVIL}"},
        ),
        (udp_packet((A, 2), (B, 80), b"{{ 7*7 }}"), {"comment": "✗ malformed: {{ 7*7 }} {0} {reason}"}),
        (udp_packet((A, 2), (B, 80)), {"comment": f"✗ no udp socket for {EVIL}; not answered"}),
    ]
    return told(write(path, frames, names={A: EVIL, B: "B\x00\x0b"}, comment=f"{EVIL} {{{{ 7*7 }}}}"))


def test_markup_in_names_comments_and_payloads_is_only_text(tmp_path):
    text = page.html(hostile(tmp_path / "evil.pcapng"))
    read = Page(text)
    assert read.faults == []
    assert "img" not in {tag for tag, _ in read.tags}
    assert [tag for tag, _ in read.tags].count("script") == 1, "ours"
    assert "&lt;script&gt;" in text
    assert "{{ 7*7 }}" in text, "what looks like a template is text"


@pytest.mark.parametrize("name", page.NAMES)
def test_each_figure_is_a_file_of_its_own(repository, tmp_path, name):
    for story in (reference(repository, "04_tcp_four_tuple"), hostile(tmp_path / "evil.pcapng")):
        drawn = minidom.parseString(page.svg(story, name))
        assert drawn.documentElement.tagName == "svg"
        assert [child.tagName for child in drawn.documentElement.childNodes][:2] == ["style", "title"]
        assert not drawn.getElementsByTagName("script")


def test_all_six_figures_are_drawn_for_the_labs_and_the_course(repository):
    assert list(FIGURES) == ["multiplexing", "layer", "demultiplexing", "socket", "program", "example"]
    for name in REFERENCES:
        story = reference(repository, name)
        assert all(page.svg(story, figure) for figure in FIGURES), name


def test_the_example_shows_the_course_s_own_numbers(repository):
    drawn = page.svg(reference(repository, "04_tcp_four_tuple"), "example")
    said = re.findall(r"<text[^>]*>([^<]*)", drawn)
    assert said == "B A 9157 C 9157 5775 P4,tcp 80,P5,tcp 80,P6,tcp 8089,P6,udp 8089".replace(
        " ", ",", 6
    ).split(",")


def test_a_capture_without_decisions_says_so(tmp_path):
    path = write(tmp_path / "f.pcapng", [(udp_packet((A, 1), (B, 53), b"?"), {})], comment="")
    text = page.html(told(path))
    assert text.count("There are no decisions in this capture") == 1


def test_an_empty_story_has_a_page_but_no_figure():
    text = page.html(Story("nothing"))
    assert "There is neither TCP nor UDP in this capture" in text
    assert page.svg(Story("nothing"), "ladder") == ""


@pytest.mark.parametrize("told_why", [True, False])
def test_500_segments_take_less_than_a_second_and_a_megabyte(tmp_path, told_why):
    losers = "".join(f"; half-open {n} lost: its peer is 203.0.113.{n}:{1024 + n}" for n in range(8))
    frames = [
        (
            tcp_packet((f"10.1.0.{n % 40}", 1024 + n), (B, 80), 0x18, b"GET /" + b"x" * 400),
            {"comment": f"→ P{n}: connection x → y{losers}", "queue": n} if told_why else {},
        )
        for n in range(500)
    ]
    path = write(tmp_path / "big.pcapng", frames)
    page.html(Story("the templates are compiled once"))
    start = time.process_time()
    text = page.html(told(path))
    assert time.process_time() - start < 1
    assert len(text.encode()) < 1_000_000


def schemes():
    """Return the colours of the light and the dark scheme."""
    for block in re.findall(r"\.demuxlab \{([^}]*)\}", style("drawing.css"))[:2]:
        yield dict(re.findall(r"--(\w+): (#\w{6});", block))


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(one, other, share):
    pairs = [(int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


@pytest.mark.parametrize("colours", list(schemes()), ids=["light", "dark"])
def test_text_can_be_read_in_either_scheme(colours):
    """WCAG 2.2, 1.4.3 for text, 1.4.11 for lines that tell something."""
    grounds = [
        colours["bg"],
        colours["panel"],
        colours["tint"],
        mixed(colours["accent"], colours["bg"], 0.12),
    ]
    for name, ground in product(("text", "soft", "accent", "good", "bad"), grounds):
        assert contrast(colours[name], ground) >= 4.5, (name, ground)
    for name in [*(f"c{n}" for n in range(8)), "bad", "soft"]:
        assert contrast(colours["on"], colours[name]) >= 4.5, name
    for name, ground in product([f"c{n}" for n in range(8)], grounds):
        assert contrast(colours[name], ground) >= 4.5, (name, ground)
    assert contrast(colours["strong"], colours["bg"]) >= 3


@pytest.mark.long
def test_the_ladder_can_be_played_in_a_browser(repository, need_tool, tmp_path):
    need_tool("chromium")
    path = tmp_path / "04.html"
    path.write_text(page.html(reference(repository, "04_tcp_four_tuple")), encoding="utf-8")
    with chromium(tmp_path / "profile") as browser:
        tab = browser.tab(path.as_uri())
        drawn = "document.querySelectorAll('.segment:not(.later)').length"
        tab.wait("document.querySelector('.play:not([hidden])') !== null")
        assert tab.value(drawn) == 20
        tab.value("document.querySelectorAll('.play button')[1].click()")
        assert tab.value(drawn) == 1
        tab.value("document.querySelectorAll('.play button')[2].click()")
        for _ in range(7):
            tab.value("document.querySelectorAll('.play button')[2].click()")
        beside = tab.value("document.querySelector('.beside').innerText")
        assert tab.value(drawn) == 9
        assert "P5: this connection has exactly these four values" in beside
        assert "✗ P4" in beside
        tab.value("document.querySelectorAll('.play button')[3].click()")
        assert tab.value(drawn) == 20
        assert tab.value("document.querySelector('.beside').hidden")
