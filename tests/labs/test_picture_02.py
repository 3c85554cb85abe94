"""The picture in the handout is drawn from the run."""

import re

ROW = re.compile(
    r"^│ (\w+) +(\w+)(?: \w+)? +(\d+) │──[┐┴┼┘]─?([ \d]*)─* *[┌┴┼└]─▶"
    r"│ (\w+) +(\w+(?: server)?) +(\d+)  ([\d –]+?) +│$",
    re.MULTILINE,
)


def test_who_sends_what_is_on_the_link_and_who_gets_it(decisions, figures):
    by_frame = {row["frame"]: row for row in decisions}
    for figure in figures:
        rows = ROW.findall(figure)
        assert len(rows) == 7
        blocks = rows[:2], rows[2:4], rows[4:]
        for block in blocks:
            [link] = [list(map(int, row[3].split())) for row in block if row[3].strip()]
            received = {frame: row for row in block for frame in _numbers(row[7])}
            assert link == sorted(received)
            for frame, (*_, host, socket, port, _) in received.items():
                found = by_frame[frame]
                assert (found["host"], found["socket"], found["destination"][1]) == (host, socket, int(port))
            senders = {int(row[2]) for row in block}
            assert senders == {by_frame[frame]["source"][1] for frame in link}
        drawn = [frame for row in rows for frame in _numbers(row[7])]
        assert sorted(drawn) == sorted(by_frame)


def test_each_sender_stands_beside_its_port(decisions, figures):
    bound = {tuple(row["destination"]): (row["host"], row["socket"]) for row in decisions}
    hosts = {address: host for (address, _), (host, _) in bound.items()}
    for figure in figures:
        for host, socket, port, *_ in ROW.findall(figure):
            sources = {tuple(row["source"]) for row in decisions if row["source"][1] == int(port)}
            [source] = sources
            assert hosts[source[0]] == host
            assert bound.get(source, (host, socket)) == (host, socket)


def _numbers(text: str) -> list[int]:
    """Return the numbers of "5 8 10–13"."""
    numbers = []
    for part in text.split():
        first, _, last = part.partition("–")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
