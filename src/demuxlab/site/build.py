"""`demuxlab site`: writes the course and its documentation as a folder of static files.

Each page is whole without a script. What runs labs and checks in the browser is Python: course.zip, unpacked
by assets/worker.js and called through `demuxlab.site.browser`.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from demuxlab import course, language
from demuxlab.course.starters import starter
from demuxlab.labkit.folder import PACKAGE, LabFolder
from demuxlab.language import _
from demuxlab.site import bundle, markdown, scripts
from demuxlab.site.examples import examples
from demuxlab.site.reference import public_names
from demuxlab.site.texts import texts

if TYPE_CHECKING:
    from jinja2 import Environment

_CHECKOUT, _IN_THE_WHEEL = PACKAGE.parents[1], Path(__file__).with_name("documents")
_TREE = _CHECKOUT if (_CHECKOUT / "docs").is_dir() else _IN_THE_WHEEL
_DOCUMENTS = ("docs/*.md", "C*.md", "SECURITY.md", "tests/drill/README.md")
_OTHER_LANGUAGE = re.compile(r"^(?:한국어|English): \[[^\]]*\]\([^)]*\)(?: · )?", re.MULTILINE)
"""The link to the other language, which every page has at its top."""
FIGURE = "04_tcp_four_tuple"
"""The lab that the first page runs."""


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the site: its address below the folder of its language, and its source in the repository."""

    address: str
    source: str


class Site:
    """The pages of one language, written into a folder."""

    def __init__(self, folder: Path, code: str) -> None:
        self._folder = folder
        self._code = code
        self._labs = course.labs(course.installed_folder())
        self._search: list[dict[str, str]] = []

    @property
    def _top(self) -> str:
        """The folder of this language's pages: English lies at the top."""
        return "" if self._code == "en" else f"{self._code}/"

    @cached_property
    def _addresses(self) -> dict[str, str]:
        """The address of every source that has a page in each language."""
        found = {f"labs/{lab.name}/README.md": f"labs/{lab.name}.html" for lab in self._labs}
        for path in _documents():
            name = path.removesuffix(".md").replace("/README", "").replace("/", "-").lower()
            found[path] = f"docs/{name.removeprefix('docs-')}.html"
        found["docs/README.md"] = "docs/index.html"
        return found

    def write(self) -> None:
        """Write every page and the index that the search reads."""
        language.use(self._code)
        for number, lab in enumerate(self._labs):
            self._write_lab(number, lab)
        for source, address in self._addresses.items():
            if not source.startswith("labs/") or source.count("/") == 1:
                self._write_document(source, address)
        self._page("docs/reference.html", "reference.html.j2", title=_("Reference"), names=public_names())
        title = _("Which socket gets this packet?")
        self._page("calculator.html", "calculator.html.j2", title=title, examples=examples())
        labs = [(lab.name, lab.title, f"labs/{lab.name}.html") for lab in self._labs]
        self._page("index.html", "home.html.j2", title="demuxlab", labs=labs, figure=FIGURE)
        index = json.dumps(self._search, ensure_ascii=False, separators=(",", ":"))
        (self._folder / f"assets/search.{self._code}.json").write_text(index, encoding="utf-8")

    def _write_lab(self, number: int, lab: LabFolder) -> None:
        source = f"labs/{lab.name}/README.md"
        address = self._addresses[source]
        handout = self._rendered(lab.path / "README.md", source, address)
        near = [*self._labs[max(number - 1, 0) : number], *self._labs[number + 1 : number + 2]]
        neighbours = [(each.title, f"{each.name}.html") for each in near]
        self._page(
            address,
            "lab.html.j2",
            title=handout.title,
            handout=handout,
            lab=lab.name,
            starter=starter(lab.name) or (lab.path / "exercise.py").read_text(encoding="utf-8"),
            neighbours=neighbours,
        )
        pictures = self._folder / "labs" / lab.name
        pictures.mkdir(parents=True, exist_ok=True)
        for path in (*lab.path.glob("*.png"), *lab.path.glob("*.svg"), bundle.reference(lab.name)):
            shutil.copy(path, pictures)

    def _write_document(self, source: str, address: str) -> None:
        path = _path(source)
        rendered = self._rendered(path, source, address)
        translated = self._code == "en" or _translation(path, self._code).exists()
        self._page(
            address, "document.html.j2", title=rendered.title, rendered=rendered, translated=translated
        )

    def _rendered(self, path: Path, source: str, address: str) -> markdown.Rendered:
        """Render the file in this language, where it has a translation, and enter it into the search."""
        translation = _translation(path, self._code)
        text = (translation if translation.exists() else path).read_text(encoding="utf-8")
        text = _OTHER_LANGUAGE.sub("", text, count=1)
        rendered = markdown.render(text, source, lambda target: self._resolve(target, address))
        for section in rendered.sections:
            entry = {"page": address, "anchor": section.anchor, "title": section.title, "text": section.text}
            self._search.append({**entry, "of": rendered.title} if section.level > 1 else entry)
        return rendered

    def _resolve(self, target: str, address: str) -> str | None:
        """Return the address that leads from a page to a file of the repository, None if it is not here."""
        up = "../" * address.count("/")
        target = target.replace(".ko.md", ".md")
        if target in self._addresses:
            return up + self._addresses[target]
        if target == "README.md":
            return f"{up}index.html"
        copied = self._copied(PurePosixPath(target))
        return f"{up}{'../' * self._top.count('/')}{copied}" if copied else None

    def _copied(self, file: PurePosixPath) -> str | None:
        """Return the place of a picture or a capture in the site; a picture of docs/ is copied there."""
        if file.suffix == ".pcapng" and file.stem in (lab.name for lab in self._labs):
            return f"labs/{file.stem}/{file.name}"
        if file.suffix not in (".png", ".svg") or not _path(str(file)).is_file():
            return None
        if file.parts[0] == "labs":
            return str(file)
        (self._folder / "docs").mkdir(parents=True, exist_ok=True)
        shutil.copy(_path(str(file)), self._folder / "docs")
        return f"docs/{file.name}"

    def _page(self, address: str, template: str, **values: Any) -> None:
        up = "../" * address.count("/")
        root = up + "../" * self._top.count("/")
        other = "ko" if self._code == "en" else "en"
        elsewhere = f"{root}{'' if other == 'en' else other + '/'}{address}"
        written = _environment().get_template(template).render(
            _=_,
            code=self._code,
            other=other,
            elsewhere=elsewhere,
            here=address,
            up=up,
            root=root,
            texts=texts(),
            ladder_hash=_ladder_hash(),
            **values,
        )  # fmt: skip
        path = self._folder / self._top / address
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written, encoding="utf-8")


def build(folder: Path) -> tuple[int, int]:
    """Write the whole site into a folder and return how many files and bytes it has."""
    before = language.code()
    folder.mkdir(parents=True, exist_ok=True)
    scripts.write(folder)
    (folder / "course.zip").write_bytes(bundle.course_zip())
    try:
        for code in language.CODES:
            Site(folder, code).write()
    finally:
        language.use(before)
    _write_service_worker(folder)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _write_service_worker(folder: Path) -> None:
    """Write the script that keeps the files for offline use; their hashes make its version."""
    kept: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Wireshark is a part of its own: it is kept once somebody has asked for it.
        if path.is_file() and name != "service.js" and not name.startswith("assets/wireshark/"):
            kept[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    source = (scripts.WEB / "service.js").read_text(encoding="utf-8")
    version = hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:16]
    head = (
        f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(kept, separators=(',', ':'))};\n"
    )
    (folder / "service.js").write_text(head + source, encoding="utf-8")


def _documents() -> Iterator[str]:
    for pattern in _DOCUMENTS:
        for path in sorted(_TREE.glob(pattern)):
            if not path.name.endswith(".ko.md"):
                yield path.relative_to(_TREE).as_posix()
    for path in sorted(course.installed_folder().glob("*.md")):
        if not path.name.endswith(".ko.md"):
            yield f"labs/{path.name}"


def _path(source: str) -> Path:
    """Return where a document lies: those of labs/ are with the labs, in a checkout and in a wheel."""
    folder, _slash, name = source.partition("/")
    return course.installed_folder() / name if folder == "labs" else _TREE / source


def _translation(path: Path, code: str) -> Path:
    return path.with_suffix(f".{code}.md")


def _ladder_hash() -> str:
    """Return the hash of the one script that a report has, for the page that shows it in a frame."""
    from demuxlab.report.page import script_hash

    return script_hash()


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("demuxlab.site", "templates"), autoescape=True)
