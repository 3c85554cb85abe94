"""The reference result: counted with the capture reader and `one_by_one` alone, without an engine."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from demuxlab.capture.reader import Capture
from demuxlab.flows.count import Counted
from demuxlab.flows.one_by_one import OneByOne, Record
from demuxlab.flows.rows import Conversation, Table


class Answer(NamedTuple):
    conversations: list[Conversation]
    packets: int
    left_out: Counter[str]
    damage: str


def reference(path: Path, *, inside_udp: bool = False) -> Answer:
    one_by_one = OneByOne(inside_udp=inside_udp)
    with Capture(path) as capture:
        for frame in capture:
            time = min(max(round(frame.time * 1e9), 0), 2**64 - 1)
            one_by_one.count(Record(frame.number, time, frame.linktype, frame.data, frame.original_length))
    conversations = list(Table.of(one_by_one.rows()).conversations())
    return Answer(conversations, capture.frames, one_by_one.left_out, capture.damage)


def answer(counted: Counted) -> Answer:
    return Answer(list(counted.table.conversations()), counted.packets, counted.left_out, counted.damage)
