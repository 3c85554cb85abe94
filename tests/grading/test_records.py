"""The results file: what is in it is taken up again, and no other file is taken for one."""

import json

import pytest

from demuxlab.errors import CallError
from demuxlab.grading.grade import Job
from demuxlab.grading.records import Records

JOB = Job("kim", b"", "", "04", "", "", 10.0, "none", "en", "key of kim")
RESULT = {"submission": "kim", "points": 7}
LINE = json.dumps({"key": JOB.key, "result": RESULT}).encode() + b"\n"


def test_a_line_that_was_cut_off_is_given_up(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(LINE + LINE[:20])
    with Records(path) as records:
        assert records.result(JOB) == RESULT
        assert records.missing([JOB]) == []
    assert path.read_bytes() == LINE


@pytest.mark.parametrize(
    "other",
    [
        *(b"text\n", b"[]\n", b"{}\n", b'{"key": [], "result": {}}\n', b"\xff\n"),
        b"[" * 5000 + b"\n",  # json raises RecursionError
        b'{"key": "key of kim", "result": 5}\n',  # a line's result is an object
    ],
)
def test_another_file_is_refused_and_left_as_it_is(tmp_path, other):
    path = tmp_path / "results.jsonl"
    path.write_bytes(other)
    with pytest.raises(CallError, match="is not a results file"):
        Records(path)
    assert path.read_bytes() == other
