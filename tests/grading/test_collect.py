"""What counts as a submission, whose it is, and what becomes of an archive that is broken or hostile."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.grading.test_outputs import WORKSHEETS, canvas_import, moodle_import

from demuxlab.errors import CallError
from demuxlab.grading import outputs
from demuxlab.grading.collect import HandedIn, collect

TEXT = b"x = 1\n"


def names(*paths: Path) -> list[str]:
    return [each.name for each in collect(paths)[0]]


def write(path: Path, text: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def zipped(*members: str, how: int = zipfile.ZIP_STORED, text: bytes = TEXT) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name in members:
            archive.writestr(name, text)
    return made.getvalue()


def taped(*members: str, mode: str = "w", text: bytes = TEXT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tape:  # type: ignore[call-overload]
        for name in members:
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tape.addfile(member, io.BytesIO(text))
    return made.getvalue()


GRADESCOPE = """---
submission_4711:
  :submitters:
  - :name: Kim 민수
    :sid: '0042'
    :email: kim@x
  - :name: Lee
    :sid: '0043'
  :created_at: 2026-11-29 09:00:00 Z
submission_4712:
  :submitters: []
""".encode()


def named_in(name: str, encoding: str) -> bytes:
    """Return a zip file whose name is in an encoding that it does not state."""
    raw = name.encode(encoding)
    return zipped("x" * len(raw)).replace(b"x" * len(raw), raw)


def zip64() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, archive.open("exercise.py", "w", force_zip64=True) as file:
        file.write(TEXT)
    return made.getvalue()


def sparse(size: int) -> bytes:
    """Return a tar of GNU's with a file of that size, of which only the last bytes, `TEXT`, are kept."""
    member = tarfile.TarInfo("exercise.py")
    member.size = len(TEXT)
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[156:157] = tarfile.GNUTYPE_SPARSE
    head[386:410] = b"%011o\0%011o\0" % (size - len(TEXT), len(TEXT))
    head[483:495] = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    head[148:156] = b"%06o\0 " % (256 + sum(head[:148]) + sum(head[156:512]))
    return bytes(head) + TEXT.ljust(512, b"\0") + bytes(1024)


def huge_dictionary() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(taped("exercise.py"), filters=filters))
    at = data.index(b"\x21\x01") + 2
    data[at] = 40  # 4 GiB
    data[20:24] = zlib.crc32(bytes(data[12:20])).to_bytes(4, "little")
    return bytes(data)


def looping() -> bytes:
    """Return a tar whose header goes back by its size (CVE-2025-8194)."""
    member = tarfile.TarInfo("exercise.py")
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\xff" * 10 + b"\xfe\x00"
    head[148:156] = b"%06o\0 " % (256 + sum(head[:148]) + sum(head[156:512]))
    return bytes(head) + bytes(1024)


def layout(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "in"


def test_one_file_is_one_submission(tmp_path):
    path = write(tmp_path / "kim.py")
    assert collect([path]) == ([HandedIn("kim", b"x = 1\n")], [])


def test_a_folder_has_a_file_each_a_folder_each_or_an_archive_each(tmp_path):
    write(tmp_path / "in" / "kim.py")
    write(tmp_path / "in" / "lee" / "exercise.py", "lee")
    write(tmp_path / "in" / "lee" / "notes.py")
    write(tmp_path / "in" / "park" / "anything.py", "park")
    with zipfile.ZipFile(tmp_path / "in" / "choi.zip", "w") as archive:
        archive.writestr("homework/exercise.py", "choi")
        archive.writestr("__MACOSX/homework/._exercise.py", "junk")
    with tarfile.open(tmp_path / "in" / "jung.tar.gz", "w:gz") as tar:
        tar.add(write(tmp_path / "jung.py", "jung"), "04/exercise.py")
    write(tmp_path / "in" / "readme.txt")
    write(tmp_path / "in" / ".hidden.py")
    found, skipped = collect([tmp_path / "in"])
    assert [(each.name, each.source) for each in found] == [
        ("choi", b"choi"), ("jung", b"jung"), ("kim", b"x = 1\n"), ("lee", b"lee"), ("park", b"park"),
    ]  # fmt: skip
    assert skipped == [".hidden.py", "readme.txt"]


def test_an_exercise_file_has_the_name_of_its_folder(tmp_path):
    paths = [write(tmp_path / name / "exercise.py") for name in ("kim", "lee")]
    assert names(*paths) == ["kim", "lee"]
    assert names(tmp_path / "kim") == ["kim"]


def test_two_of_one_name_are_both_graded(tmp_path):
    assert names(write(tmp_path / "a" / "kim.py"), write(tmp_path / "b" / "kim.py")) == ["kim", "kim-2"]


def test_what_is_not_there_is_the_callers_mistake(tmp_path):
    with pytest.raises(CallError, match="nowhere does not exist"):
        collect([tmp_path / "nowhere"])


def test_a_name_cannot_steer_a_terminal(tmp_path):
    assert names(write(tmp_path / "kim\x1b[2J\n.py")) == ["kim�[2J�"]


def test_one_exercise_file_in_a_flat_folder_does_not_hide_the_others(tmp_path):
    folder = layout(tmp_path, {"exercise.py": b"1", "kim.py": b"2", "lee.zip": zipped("a.py")})
    assert names(folder) == ["in", "kim", "lee"]


def test_a_folder_of_the_course_is_one_submission(tmp_path):
    files = dict.fromkeys(("exercise.py", "lab.py", "test_exercise.py", "README.md"), b"1")
    assert names(layout(tmp_path, files)) == ["in"]


def test_what_is_graded_alone_is_one_submission_whatever_it_holds(tmp_path):
    folder = layout(tmp_path, {"a.py": b"1", "b.py": b"2"})
    [taken], skipped = collect([folder], alone=True)
    assert (taken.problem, skipped) == ("2 files could be meant: hand in one exercise.py", [])
    [pdf], _skipped = collect([layout(tmp_path / "pdf", {"homework.pdf": b"%PDF"})], alone=True)
    assert pdf.problem == "homework.pdf is neither Python nor an archive: hand in one exercise.py"
    (tmp_path / "empty").mkdir()
    [nothing], _skipped = collect([tmp_path / "empty"], alone=True)
    assert nothing.problem == "the folder is empty: hand in one exercise.py"


# What learning systems and their users hand over


@pytest.mark.parametrize(
    ("files", "learner"),
    [
        ({"Ann Ito_101_assignsubmission_file_/hw.zip": zipped("exercise.py")}, ("Ann Ito", "101", "", False)),
        ({"Bo Lee_102_assignsubmission_file_/hw04/exercise.py": TEXT}, ("Bo Lee", "102", "", False)),
        ({"Bo Lee_102_assignsubmission_file_/Exercise.PY": TEXT}, ("Bo Lee", "102", "", False)),
        ({"Group A-Ann Ito_7_assignsubmission_file_exercise.py": TEXT}, ("Ann Ito", "7", "Group A", False)),
        ({"Jean-Luc Roi_8_assignsubmission_file_a.py": TEXT}, ("Jean-Luc Roi", "8", "", False)),
        (
            {
                "Cy_9_assignsubmission_file_/exercise.py": TEXT,
                "Cy_9_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
            },
            ("Cy", "9", "", False),
        ),
        ({"itoann_98765_12345_exercise-2.py": TEXT}, ("itoann", "98765", "", False)),
        ({"name_LATE_98765_12345_exercise-2.py": TEXT}, ("name", "98765", "", True)),
        ({"anon_Ab3xY_12345_exercise.py": TEXT}, ("", "anon_Ab3xY", "", False)),
        (
            {"itoann_98765_12345_exercise.py": b"old", "itoann_98765_12346_exercise-1.py": TEXT},
            ("itoann", "98765", "", False),
        ),
        (
            {"itoann_98765_12345_report.pdf": b"%PDF", "itoann_98765_12346_exercise.py": TEXT},
            ("itoann", "98765", "", False),
        ),
        ({"ann.tar.gz": taped("./._solution.py", "./solution.py", mode="w:gz")}, ("ann", "", "", False)),
        ({"bo.zip": zipped("hw\\exercise.py", "hw\\notes.py")}, ("bo", "", "", False)),
        ({"cy.tar.gz": taped("exercise.py", "exercise.py", mode="w:gz")}, ("cy", "", "", False)),
        ({"DI.ZIP": zipped("exercise.py")}, ("DI", "", "", False)),
        ({"ed.zip": zipped("04_x/exercise.py", "05_x/exercise.py")}, ("ed", "", "", False)),
        ({"flo.zip": zipped("hw.zip", text=zipped("exercise.py"))}, ("flo", "", "", False)),
        ({"gus.zip": taped("exercise.py", mode="w:xz")}, ("gus", "", "", False)),
        ({"hal.zip": zipped("hw/exercise.py", "venv/lib/site-packages/a.py")}, ("hal", "", "", False)),
        ({"lab_04_2_ida.py": TEXT}, ("lab_04_2_ida", "", "", False)),
        ({"Kim_Lee Jo_5_assignsubmission_file/exercise.py": TEXT}, ("Kim_Lee Jo", "5", "", False)),
        ({"Participant_12_assignsubmission_file_/exercise.py": TEXT}, ("Participant", "12", "", False)),
        (
            {
                "Lab 4_kim1_attempt_2026-11-28-09-00-00_exercise.py": b"old",
                "Lab 4_kim1_attempt_2026-11-28-09-00-00.txt": b"Name: Kim",
                "Lab 4_kim1_attempt_2026-11-29-08-00-00_exercise.py": TEXT,
            },
            ("kim1", "", "", False),
        ),
        (
            {
                "77-98 - Ann Ito - Nov 9, 2026 930 PM - exercise.py": b"old",
                "77-98 - Ann Ito - Nov 29, 2026 1000 AM - exercise.py": TEXT,
                "index.html": b"",
            },
            ("Ann Ito", "77", "", False),
        ),
        ({"77-98 - Ann Ito - Nov 29, 2026 930 AM/a.py": TEXT}, ("Ann Ito", "77", "", False)),
        (
            {"Kim, Minsu(kim1)/Submission attachment(s)/exercise.py": TEXT},
            ("Kim, Minsu(kim1)", "", "", False),
        ),
        (
            {"export/submission_4711/exercise.py": TEXT, "export/submission_metadata.yml": GRADESCOPE},
            ("Kim 민수", "0042", "", False),
        ),
        (
            {
                "lab-kim/labs/04_x/exercise.py": TEXT,
                "lab-kim/labs/05_x/exercise.py": b"",
                "lab-kim/.git/a.py": b"",
            },
            ("lab-kim", "", "", False),
        ),
        (
            {unicodedata.normalize("NFD", "김민수_9_assignsubmission_file_a.py"): TEXT},
            ("김민수", "9", "", False),
        ),
        ({unicodedata.normalize("NFD", "김민수.py"): TEXT}, ("김민수", "", "", False)),
        ({"kim\\hw\\exercise.py": TEXT}, ("hw", "", "", False)),
        ({"export/Ann Ito_101_assignsubmission_file_/a.py": TEXT}, ("Ann Ito", "101", "", False)),
        ({"cp949.zip": named_in("과제/연습.py", "cp949")}, ("cp949", "", "", False)),
        ({"sjis.zip": named_in("ソ.py", "cp932")}, ("sjis", "", "", False)),
        ({"nfd.zip": zipped(unicodedata.normalize("NFD", "과제.py"))}, ("nfd", "", "", False)),
        ({"sfx.zip": b"MZ" + bytes(600) + zipped("exercise.py")}, ("sfx", "", "", False)),
        ({"zip64.zip": zip64()}, ("zip64", "", "", False)),
        ({"in_tar.tar": taped("hw.zip", text=zipped("exercise.py"))}, ("in_tar", "", "", False)),
        ({"sparse.tar": sparse(len(TEXT))}, ("sparse", "", "", False)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_file_that_is_meant_is_found_and_its_learner(tmp_path, files, learner):
    found, skipped = collect([layout(tmp_path, {**files, "zz.py": b"y = 1"})], "04_x")
    mine, other = sorted(found, key=lambda each: each.name == "zz")
    assert (mine.source, mine.problem, other.name) == (TEXT, "", "zz")
    assert skipped in ([], ["index.html"], ["submission_metadata.yml"])
    told = mine.learner
    assert (told.name, told.number, told.group, told.late) == learner


def test_of_two_versions_in_a_tar_the_last_counts(tmp_path):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tape:
        for text in (b"first", b"last"):
            member = tarfile.TarInfo("exercise.py")
            member.size = len(text)
            tape.addfile(member, io.BytesIO(text))
    [[taken], _skipped] = collect([layout(tmp_path, {"kim.tar": made.getvalue()})])
    assert taken.source == b"last"


# An archive that is none, damaged, or hostile: its learner's mistake, and nobody else's


def problem(tmp_path: Path, name: str, data: bytes) -> str:
    found, skipped = collect([layout(tmp_path, {name: data, "neighbour.py": TEXT})])
    assert skipped == []
    mine, neighbour = sorted(found, key=lambda each: each.name == "neighbour")
    assert (neighbour.source, mine.source) == (TEXT, b"")
    assert "\n" not in mine.problem
    return mine.problem


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "there is no Python file in it: hand in one exercise.py"),
        (["a.py", "b.py"], "2 files could be meant: hand in one exercise.py"),
        (["a/exercise.py", "b/exercise.py"], "2 files could be meant: hand in one exercise.py"),
        (
            ["/etc/exercise.py"],
            "'/etc/exercise.py' leads out of the archive: pack it again without such paths",
        ),
        (
            ["..\\exercise.py"],
            "'..\\\\exercise.py' leads out of the archive: pack it again without such paths",
        ),
        (
            ["C:\\exercise.py"],
            "'C:\\\\exercise.py' leads out of the archive: pack it again without such paths",
        ),
        (["a.zip", "b.zip"], "2 archives could be meant: hand in one exercise.py"),
    ],
)
def test_an_archive_must_say_which_file_is_meant(tmp_path, files, said):
    assert problem(tmp_path, "kim.zip", zipped(*files)) == said


LONG = b"".join(b"def f%d(): return %d\n" % (i, random.Random(i).getrandbits(40)) for i in range(3000))
PACKED = {
    "deflated.zip": zipped("exercise.py", how=zipfile.ZIP_DEFLATED, text=LONG),
    "bzip2.zip": zipped("exercise.py", how=zipfile.ZIP_BZIP2, text=LONG),
    "lzma.zip": zipped("exercise.py", how=zipfile.ZIP_LZMA, text=LONG),
    "tape.tar.gz": taped("exercise.py", "other.txt", mode="w:gz", text=LONG),
    "tape.tar.bz2": taped("exercise.py", "other.txt", mode="w:bz2", text=LONG),
    "tape.tar.xz": taped("exercise.py", "other.txt", mode="w:xz", text=LONG),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_damaged_archive_is_its_learners_mistake_wherever_the_damage_is(tmp_path, name):
    for number, part in enumerate((0.002, 0.1, 0.4, 0.8)):
        at = int(len(PACKED[name]) * part) + 64
        data = bytearray(PACKED[name])
        data[at : at + 64] = bytes(byte ^ 0x5A for byte in data[at : at + 64])
        assert f"{name} cannot be read: " in problem(tmp_path / str(number), name, bytes(data))
    cut = PACKED[name][: len(PACKED[name]) // 2]
    assert f"{name} cannot be read: " in problem(tmp_path / "cut", name, cut)


def many(count: int) -> bytes:
    return zipped(*(f"{number}.txt" for number in range(count)), text=b"")


def matryoshka(depth: int) -> bytes:
    data = zipped("exercise.py")
    for _ in range(depth):
        data = zipped("hw.zip", text=data)
    return data


def pax(size: int) -> bytes:
    """Return a header that announces an extended header of so many bytes."""
    member = tarfile.TarInfo("exercise.py")
    member.type, member.size = tarfile.XHDTYPE, size
    return member.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20)


def linked(kind: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tape:
        member = tarfile.TarInfo("exercise.py")
        member.type, member.linkname = kind, "/etc/passwd"
        tape.addfile(member)
    return made.getvalue()


def method(number: int) -> bytes:
    """Return a zip file that is compressed in a way that Python may not know."""
    data = bytearray(zipped("exercise.py"))
    for at in (8, data.index(b"PK\x01\x02") + 10):
        data[at : at + 2] = number.to_bytes(2, "little")
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(zipped("exercise.py"))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


EXPANDS = "the archive expands to more than 64 MB: hand in the exercise only"
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "none.zip": (lambda: b"no archive", "none.zip cannot be read: "),
    "none.tar.gz": (lambda: b"\x1f\x8b no archive", "none.tar.gz cannot be read: "),
    "empty.zip": (lambda: b"", "empty.zip cannot be read: "),
    "seven.7z": (lambda: b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z archives are not read"),
    "rar.rar": (lambda: b"Rar!\x1a\x07\x01\x00", "RAR archives are not read"),
    "zst.tar.zst": (lambda: b"(\xb5/\xfd" + bytes(50), "Zstandard archives are not read"),
    "one.gz": (lambda: gzip.compress(TEXT), "one.gz cannot be read: "),
    "bomb.zip": (
        lambda: zipped("exercise.py", how=zipfile.ZIP_DEFLATED, text=bytes(1 << 26)),
        "the file has more than 1048576 bytes",
    ),
    "bomb.tar.gz": (lambda: gzip.compress(taped("a", "exercise.py", text=bytes(1 << 26))), EXPANDS),
    "bomb.tar.bz2": (lambda: bz2.compress(taped("a", "exercise.py", text=bytes(1 << 26))), EXPANDS),
    "bomb.tar.xz": (lambda: lzma.compress(taped("a", "exercise.py", text=bytes(1 << 26))), EXPANDS),
    "header.tar": (lambda: pax(1 << 32), "header.tar cannot be read: "),
    "header.tar.gz": (lambda: gzip.compress(pax(1 << 32) + bytes(1 << 26)), EXPANDS),
    "crowd.zip": (lambda: many(10_001), "the archive has more than 10000 files: hand in the exercise only"),
    "deep.zip": (lambda: matryoshka(5), "archives lie in archives more than 3 deep"),
    "link.tar": (lambda: linked(tarfile.SYMTYPE), "exercise.py is a link or a device"),
    "hard.tar": (lambda: linked(tarfile.LNKTYPE), "exercise.py is a link or a device"),
    "device.tar": (lambda: linked(tarfile.CHRTYPE), "exercise.py is a link or a device"),
    "secret.zip": (encrypted, "secret.zip cannot be read: "),
    "egg.egg": (lambda: b"EGGA" + bytes(50), "EGG archives are not read"),
    "alz.alz": (lambda: b"ALZ\x01" + bytes(50), "ALZ archives are not read"),
    "fifo.tar": (lambda: linked(tarfile.FIFOTYPE), "exercise.py is a link or a device"),
    "sparse.tar": (lambda: sparse(1 << 40), "the file has more than 1048576 bytes"),
    "dictionary.tar.xz": (huge_dictionary, "the archive takes more than 512 MB of memory"),
    "loop.tar": (looping, "loop.tar cannot be read: "),
    "method.zip": (lambda: method(93), "method.zip cannot be read: "),
    "doll.zip": (
        lambda: zipped(*(f"{n}.zip" for n in range(16)), text=matryoshka(3)),
        "16 archives could be",
    ),
    "bomb_in_bomb.zip": (lambda: zipped("a.zip", text=HOSTILE["bomb.zip"][0]()), "the file has more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_gets_a_sentence_soon(tmp_path, name):
    made, said = HOSTILE[name]
    data = made()
    began = time.process_time()
    assert said in problem(tmp_path, name, data)
    assert time.process_time() - began < 5  # of this process: the archive was not opened here


# A whole course, as Moodle and as Canvas hand it over


def moodle(number: int, rest: str) -> str:
    return f"Learner {'abcdefghij'[number % 10]}{number}_{1000 + number}_assignsubmission_file_{rest}"


def canvas(number: int, rest: str) -> str:
    late = "" if number % 7 else "_LATE"
    return f"learner{number}{late}_{90000 + number}_{50000 + number}{rest.replace('/', '_')}"


def oddities() -> Iterator[tuple[str, bytes, bool]]:
    """Yield what twenty learners hand in: a name, its bytes, and whether it can be graded."""
    for name in ("hw.zip", "HW.ZIP"):
        yield name, zipped("exercise.py"), True
    yield "hw.tar.gz", taped("hw/exercise.py", mode="w:gz"), True
    yield "hw.tar.xz", taped("._exercise.py", "exercise.py", mode="w:xz"), True
    yield "hw.tgz", zipped("a\\exercise.py", "a\\b.py"), True
    yield "solution.py", TEXT, True
    yield "Exercise (1).py", TEXT, True
    yield "exercise-3.py", TEXT, True
    yield "course.zip", zipped("labs/04_x/exercise.py", "labs/05_x/exercise.py"), True
    yield "nested.zip", zipped("hw.zip", text=zipped("exercise.py")), True
    yield "homework.pdf", b"%PDF-1.7", False
    yield "exercise.py.docx", b"PK\x03\x04", False
    yield "hw.rar", b"Rar!\x1a\x07\x01\x00", False
    yield "hw.7z", b"7z\xbc\xaf\x27\x1c" + bytes(30), False
    yield "cut.zip", PACKED["deflated.zip"][:900], False
    yield "cut.tar.gz", PACKED["tape.tar.gz"][:900], False
    yield "two.zip", zipped("a.py", "b.py"), False
    yield "none.zip", zipped("readme.txt"), False
    yield "large.py", b"#" * (1 << 21), False
    yield "bomb.tar.bz2", bz2.compress(taped("a", "exercise.py", text=bytes(1 << 26))), False


@pytest.mark.parametrize("system", [moodle, canvas])
def test_of_three_hundred_learners_each_is_accounted_for(tmp_path, system):
    odd = list(oddities())
    assert len(odd) == 20
    files = {system(number, "/exercise.py"): TEXT for number in range(280)}
    files |= {system(280 + n, f"/{name}"): data for n, (name, data, _fine) in enumerate(odd)}
    folder = layout(tmp_path, {**files, ".DS_Store": b"x", "index.html": b"x"})
    found, skipped = collect([folder], "04_x")
    assert len(found) == 300
    assert skipped == [".DS_Store", "index.html"]
    fine = {int(each.learner.number) % 1000 for each in found if not each.problem}
    assert fine == {*range(280), *(280 + n for n, (_name, _data, good) in enumerate(odd) if good)}
    assert all(each.source == TEXT for each in found if not each.problem)
    late = {int(each.learner.number) % 1000 for each in found if each.learner.late}
    assert late == ({number for number in range(300) if number % 7 == 0} if system is canvas else set())
    results = [as_if_graded(each) for each in found]
    points = {int(row["learner"]["number"]): str(row["points"]) for row in results}
    assert len(points) == 300
    if system is canvas:
        known = {number: f"L{number}" for number in points}
        back = canvas_import(outputs.canvas(results, "Lab 04 (77)"), {77: "Renamed"}, known)
        assert back == {(77, known[number]): earned for number, earned in points.items()}
    else:
        people = "".join(f"Participant {n},N,n@x,S,,3.00,Yes,-,-,\r\n" for n in (*points, 7))
        sheet = f"{WORKSHEETS['en'][1]}\r\n{people}"
        taken = moodle_import(outputs.moodle(results, sheet), "en", {})
        assert {int(n): float(grade) for n, (grade, _said) in taken.items()} == {
            number: float(earned) for number, earned in points.items()
        }


def as_if_graded(each: HandedIn) -> dict[str, Any]:
    """Return a result with the points that the learner's number says, 0 where the file cannot be read."""
    number = int(each.learner.number)
    return {
        "submission": each.name, "lab": "04_x", "points": 0 if each.problem else number % 4, "max_points": 3,
        "tests": [], "isolation": "bubblewrap", "seed": "", "problem": each.problem,
        "learner": asdict(each.learner),
    }  # fmt: skip
