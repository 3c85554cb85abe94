"""course.zip: what Python in the browser imports and reads, the pure-Python files of what is installed.

lib/ has demuxlab and what it needs; labs/ and captures/ lie beside it, as in a checkout. The same sources
give the same bytes.
"""

import io
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

from demuxlab import course
from demuxlab.course.starters import NAME as EXERCISE
from demuxlab.course.starters import starter
from demuxlab.errors import DemuxlabError
from demuxlab.labkit.folder import PACKAGE
from demuxlab.language import _

_NEEDED = (
    *("babel", "click", "iniconfig", "jinja2", "markdown-it-py", "markupsafe", "mdurl", "packaging"),
    *("pluggy", "pygments", "pytest", "rich", "scapy", "tabulate", "wcwidth"),
)
_LEFT_OUT = (
    # Of scapy the labs craft IP, TCP, UDP, ICMP and DNS; the layers below are imported by these.
    *("scapy/contrib/*", "scapy/modules/*", "scapy/tools/*", "scapy/libs/manuf.py"),
    *("scapy/layers/msrpce/*", "scapy/layers/tls/*", "scapy/layers/tuntap.py", "scapy/layers/usb.py"),
    # Languages that no page is in, and lexers of other languages than Python.
    *("babel/locale-data/*", "pygments/lexers/*", "pygments/styles/*", "pygments/formatters/*"),
    *("*.pyi", "*.so", "*.pyc", "*/tests/*", "*.rst", "*.txt", "*.c"),
)
_KEPT = (
    *("babel/locale-data/root.dat", "babel/locale-data/en.dat", "babel/locale-data/ko.dat"),
    *(
        "pygments/lexers/__init__.py",
        "pygments/lexers/_mapping.py",
        "pygments/lexers/python.py",
        "pygments/lexers/diff.py",
    ),
    *("pygments/styles/__init__.py", "pygments/styles/_mapping.py", "pygments/styles/default.py"),
    *(
        "pygments/formatters/__init__.py",
        "pygments/formatters/_mapping.py",
        "pygments/formatters/terminal*.py",
    ),
    "*.dist-info/entry_points.txt",
)
_OF_A_DISTRIBUTION = ("METADATA", "entry_points.txt")
"""What a program may ask of an installed distribution; its list of files is not true any more."""
_OF_DEMUXLAB = ("*.py", "*.j2", "*.css", "*.js", "*.po", "*.json", "*.toml", "*.txt", "*.svg", "py.typed")
_NOT_IN_THE_BROWSER = ("bench", "site/web", "site/documents", "course/labs", "course/captures")
_OF_A_LAB = ("*.py", "*.po", "*.toml", "*.md", "*.pkt", "*.json")
_A_DAY = (1980, 1, 1, 0, 0, 0)


def course_zip() -> bytes:
    """Return the archive; DemuxlabError where one of the distributions is not installed."""
    written = io.BytesIO()
    add(written, {**_libraries(), **_package(), **_labs()})
    return written.getvalue()


def add(archive: Path | io.BytesIO, files: dict[str, bytes]) -> None:
    """Add files to an archive."""
    with zipfile.ZipFile(archive, "a") as opened:
        for name, data in sorted(files.items()):
            opened.writestr(zipfile.ZipInfo(name, _A_DAY), data, zipfile.ZIP_DEFLATED, 9)


def _libraries() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in _NEEDED:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            wrong = _("{name} is not installed", name=name)
            raise DemuxlabError(wrong, _("install demuxlab again")) from error
        for file in distribution.files or ():
            path = file.as_posix()
            if ".." in file.parts or not _is_taken(path):
                continue
            found[f"lib/{path}"] = Path(str(distribution.locate_file(file))).read_bytes()
    return found


def _is_taken(path: str) -> bool:
    folder, _slash, rest = path.partition("/")
    if folder.endswith(".dist-info"):
        return rest in _OF_A_DISTRIBUTION
    return any(fnmatch(path, kept) for kept in _KEPT) or not any(fnmatch(path, out) for out in _LEFT_OUT)


def _package() -> dict[str, bytes]:
    distribution = metadata.distribution("demuxlab")
    folder = f"lib/demuxlab-{distribution.version}.dist-info"
    found = {f"{folder}/{name}": (distribution.read_text(name) or "").encode() for name in _OF_A_DISTRIBUTION}
    for path in _files(PACKAGE, _OF_DEMUXLAB):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(tuple(f"{folder}/" for folder in _NOT_IN_THE_BROWSER)):
            found[f"lib/demuxlab/{name}"] = path.read_bytes()
    return found


def _labs() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for lab in course.labs(course.installed_folder()):
        for path in _files(lab.path, _OF_A_LAB):
            text = starter(lab.name) if path.name == EXERCISE else None
            found[f"labs/{lab.name}/{path.name}"] = text.encode() if text else path.read_bytes()
        for capture in course.references(lab):
            found[f"captures/{capture.name}"] = capture.read_bytes()
    return found


def reference(lab: str) -> Path:
    """Return the reference capture of a lab."""
    return course.installed_folder().parent / "captures" / f"{lab}.pcapng"


def _files(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "node_modules" not in path.parts and any(map(path.match, patterns)):
            yield path
