"""The built site: links lead somewhere, nothing is asked of other hosts, pages are whole without a script."""

import base64
import json
import re
import shutil
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.site.node import Node

from demuxlab import course
from demuxlab.errors import DemuxlabError
from demuxlab.site import bundle, markdown, scripts
from demuxlab.site.build import build

built = pytest.mark.skipif(
    not (scripts.WEB / "node_modules").is_dir(), reason="npm ci --prefix src/demuxlab/site/web was not run"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def archive() -> zipfile.Path:
    import io

    return zipfile.Path(zipfile.ZipFile(io.BytesIO(bundle.course_zip())))


class _Page(HTMLParser):
    """What a page refers to, its ids, its headings, its landmarks."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.tags: list[str] = []
        self.language = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.tags.append(tag)
        self.language = values["lang"] if tag == "html" else self.language
        if "id" in values:
            self.ids.append(values["id"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "a":
            self.links.append(values["href"])
        self.loaded += [values[name] for name in ("src", "data") if name in values]
        if tag == "link" and values["rel"] != "alternate":
            self.loaded.append(values["href"])


def _pages(site: Path) -> dict[Path, _Page]:
    return {path: _Page(path) for path in sorted(site.rglob("*.html"))}


@built
def test_every_link_and_picture_leads_to_a_file_and_its_anchor(site):
    pages = _pages(site)
    assert len(pages) == 2 * (len(course.labs()) + len(list(site.glob("docs/*.html"))) + 2)
    lost = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            target, _sign, anchor = unquote(link).partition("#")
            to = (path.parent / target).resolve() if target else path
            if ":" in target:
                continue
            if not to.is_file() or (anchor and to in pages and anchor not in pages[to].ids):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert lost == []


@built
def test_nothing_is_loaded_from_another_host(site):
    foreign = {
        f"{path.relative_to(site)}: {link}"
        for path, page in _pages(site).items()
        for link in page.loaded
        if re.match(r"\w+:|//", link) and link != "data:,"
    }
    assert foreign == set()
    style = (site / "assets/style.css").read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    own = [path for path in scripts.WEB.glob("*.js") if re.search(r"[\"'`]https?:", path.read_text("utf-8"))]
    assert own == []


@built
def test_every_page_has_its_language_its_landmarks_and_one_main_heading(site):
    for path, page in _pages(site).items():
        name = path.relative_to(site)
        assert page.language == ("ko" if name.parts[0] == "ko" else "en"), name
        assert [tag for tag in page.tags if tag in ("header", "main", "footer")] == [
            "header",
            "main",
            "footer",
        ]
        assert page.headings[0] == 1, name
        assert page.headings.count(1) == 1, name
        assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), name
        assert len(page.ids) == len(set(page.ids)), name


@built
def test_a_lab_reads_without_a_script(site):
    for address, words in (("labs", "Predict first."), ("ko/labs", "먼저 예측")):
        text = (site / address / "04_tcp_four_tuple.html").read_text(encoding="utf-8")
        assert words in text
        assert "class TCPDemultiplexer:" in text


@built
def test_the_search_finds_headings_that_are_there(site):
    pages = _pages(site)
    for code, top in (("en", site), ("ko", site / "ko")):
        for entry in json.loads((site / f"assets/search.{code}.json").read_text(encoding="utf-8")):
            page = pages[top / entry["page"]]
            assert entry["anchor"] in page.ids or entry["title"]


@built
def test_the_service_worker_knows_every_file_but_wireshark(site):
    head = (site / "service.js").read_text(encoding="utf-8").split("\n")[1]
    files = json.loads(head.removeprefix("const FILES = ").removesuffix(";"))
    there = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {name for name in there if "wireshark/" not in name} == {*files, "service.js"}


@built
def test_the_archives_have_the_bytecode_of_what_a_page_imports(site):
    for archive, name in (
        ("course.zip", "lib/scapy/layers/__pycache__/inet.cpython-314.pyc"),
        ("course.zip", "lib/demuxlab/transport/tcp/__pycache__/__init__.cpython-314.pyc"),
        (scripts.LIBRARY, "json/decoder.pyc"),
    ):
        data = zipfile.ZipFile(site / archive).read(name)
        assert data[2:8] == b"\r\n\1\0\0\0"  # taken without a look at the source's time (PEP 552)


@built
def test_a_second_build_leaves_nothing_of_the_first(site):
    (site / "assets/part-OLD.js").write_text("old")
    build(site)
    assert not (site / "assets/part-OLD.js").exists()


def test_the_archive_has_what_python_needs_and_no_solved_exercise(archive):
    assert {each.name for each in archive.iterdir()} == {"lib", "labs", "captures"}
    for lab in course.labs():
        assert (archive / "labs" / lab.name / "exercise.py").read_text("utf-8").count(
            "NotImplementedError"
        ) > 0
        assert (archive / "captures" / f"{lab.name}.pcapng").exists()
    for name in ("demuxlab/report/page.html.j2", "demuxlab/messages/ko.po", "scapy/layers/inet.py", "py.py"):
        assert (archive / "lib" / name).exists()
    assert not (archive / "lib" / "scapy" / "contrib").exists()


def test_the_archive_is_the_same_each_time():
    assert bundle.course_zip() == bundle.course_zip()


def test_without_npm_s_packages_a_line_says_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "_MODULES", tmp_path)
    with pytest.raises(DemuxlabError, match="npm ci --prefix"):
        build(tmp_path / "site")


def test_the_lock_file_names_no_host():
    lock = (scripts.WEB / "package-lock.json").read_text(encoding="utf-8")
    assert not re.search(
        r'"resolved"|https?://(?!(?:www\.)?(?:opencollective|github|tidelift|patreon))', lock
    )
    package = json.loads((scripts.WEB / "package.json").read_text(encoding="utf-8"))
    versions = [*package["dependencies"].values(), *package["devDependencies"].values()]
    assert [version for version in versions if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


def test_the_scripts_stay_thin():
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in scripts.WEB.glob("*.*js"))
    assert lines <= 1500


def test_links_of_markdown_lead_to_pages_or_become_text():
    known = {"docs/links.md": "links.html", "labs/x.png": "x.png"}
    links = "[a](links.md#b) [c](../src/d.py) ![e](../labs/x.png) [f](https://g.example)"
    text = f"# T\n\n{links}\n\n## B `c`\n\nw\n"
    page = markdown.render(text, "docs/a.md", known.get)
    assert page.title == "T"
    assert '<a href="links.html#b">a</a> c <img src="x.png"' in page.html
    assert '<a href="https://g.example">f</a>' in page.html
    assert [(each.anchor, each.title, each.text) for each in page.sections] == [
        ("t", "T", "a c f"),
        ("b-c", "B c", "w"),
    ]


@pytest.fixture(scope="module")
def python(site):
    node = Node(site)
    yield node
    node.close()


@built
@pytest.mark.parametrize("lab", [lab.name for lab in course.labs()])
def test_every_lab_runs_under_webassembly_with_the_same_capture(python, lab, repository):
    got = python.call("run", lab, "en")
    assert got["ok"]
    assert base64.b64decode(got["capture"]) == (repository / "captures" / f"{lab}.pcapng").read_bytes()


@built
def test_checks_quiz_report_and_calculator_run_under_webassembly(python, repository):
    reference = (repository / "tests/solutions/03_udp_two_tuple/reference.py").read_text(encoding="utf-8")
    got = python.call("grade", "03", reference, "ko")
    assert got["points"] == got["max_points"] > 0
    quiz = python.call("make_quiz", "04", "kim", "ko")
    assert quiz["questions"]
    assert "<svg" in python.call("report", quiz["capture"], "en")
    marked = python.call("check_quiz", "04", "kim", {quiz["questions"][0]["id"]: "?"}, "en")
    assert (marked["right"], marked["of"]) == (0, len(quiz["questions"]))
    sockets = [{"name": "any", "protocol": "udp", "local": ["0.0.0.0", 53], "remote": None}]
    asked = {"protocol": "udp", "source": ["10.0.0.1", 4000], "destination": ["10.0.0.2", 53], "flags": "SYN"}
    assert python.call("which", sockets, asked, "en")["winner"] == "any"


@built
def test_a_file_that_allocates_without_end_gets_a_memory_error_and_python_goes_on(python):
    starter = "def ports(packet):\n    kept = []\n    while True:\n        kept.append(bytearray(1 << 24))\n"
    stories = [test["story"] for test in python.call("grade", "01", starter, "en")["tests"]]
    assert "raised MemoryError in line 4" in "".join(stories)
    assert python.call("run", "04", "en")["ok"]


@built
@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_wrong_solution_of_each_lab_has_the_stories_under_webassembly_that_it_has_natively(
    site, repository
):
    words = [sys.executable, "-m", "tests.site.node", str(site), "--first", "1"]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"{2 * len(course.labs())} solutions, 0 differences\n")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_site_is_built_from_a_wheel_in_a_clean_environment(tmp_path, repository):
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(repository))
    [wheel] = builder.build(directory=str(tmp_path), versions=["standard"])
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    def run(*words, program=python):
        return subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    got = run("-m", "pip", "install", "--quiet", wheel)
    if got.returncode:
        pytest.skip(f"PyPI has nothing: {got.stderr.splitlines()[-1]}")
    missing = run("-m", "demuxlab", "site", "site")
    assert missing.returncode == 1
    assert len(missing.stderr.splitlines()) == 1
    command = missing.stderr.partition("run npm ci --prefix ")[2].strip()
    assert command.startswith(str(tmp_path / "venv"))
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    got = run("ci", "--prefix", command, program="npm")
    if got.returncode:
        pytest.skip(f"npm has nothing: {got.stderr.splitlines()[0]}")
    made = run("-m", "demuxlab", "site", "site")
    assert made.returncode == 0, made.stderr
    build(tmp_path / "here")
    pages = [
        {path.relative_to(at) for path in at.rglob("*.html")} for at in (tmp_path / "site", tmp_path / "here")
    ]
    assert pages[0] == pages[1]
    node = Node(tmp_path / "site")
    assert node.call("run", "04", "en")["ok"]
    node.close()
