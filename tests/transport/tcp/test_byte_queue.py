"""A queue of bytes behaves as one bytearray, whatever the sizes of its pieces."""

import random

from demuxlab.transport.tcp.byte_queue import ByteQueue


def test_it_behaves_as_one_bytearray():
    for seed in range(200):
        chance = random.Random(seed)
        queue, model, target = ByteQueue(), bytearray(), memoryview(b"")
        for _ in range(60):
            size = chance.choice((0, 1, 3, 700, 2048, 5000))
            kind = chance.randrange(6)
            if kind <= 1:
                data = chance.randbytes(size)
                queue.append(chance.choice((bytes, memoryview))(data))
                model += data
            elif kind == 2:
                read = queue.read(size)
                assert type(read) is bytes
                assert read == model[:size]
                del model[:size]
            elif kind == 5:
                # A reader waits with a buffer, which this one or another takes up.
                queue.offer(target := memoryview(bytearray(size)))
            elif kind == 3:
                if chance.random() < 0.5:
                    target = memoryview(bytearray(size))
                size = len(target)
                count = queue.read_into(target)
                assert target[:count] == model[:size]
                assert count == min(size, len(model))
                del model[:size]
            else:
                size = min(size, len(model))
                queue.drop(size)
                del model[:size]
            assert len(queue) == len(model)
            start = chance.randrange(len(model) + 1)
            size = chance.randrange(len(model) - start + 1)
            assert b"".join(queue.at(start, size)) == model[start : start + size]


def test_a_large_piece_is_read_without_a_copy():
    queue, data = ByteQueue(), bytes(5000)
    queue.append(data)
    [view] = queue.at(1000, 3000)
    assert isinstance(view, memoryview)
    assert view.obj is data
    assert queue.read(9000) is data


def test_small_pieces_are_gathered():
    queue = ByteQueue()
    for _ in range(3000):
        queue.append(b"x")
    assert queue._pieces is not None
    assert len(queue._pieces) == 2


def test_what_comes_goes_into_the_buffer_of_a_reader_that_waits():
    queue, target = ByteQueue(), memoryview(bytearray(5000))
    queue.offer(target)
    queue.append(b"x" * 3000)
    queue.append(b"y" * 3000)  # there is no room for it
    assert (len(queue), bytes(target[:3001])) == (6000, b"x" * 3000 + b"\0")
    assert queue.read_into(target) == 5000
    assert target == b"x" * 3000 + b"y" * 2000
    queue.drop(1000)
    queue.offer(target)
    queue.append(b"z")
    queue.withdraw()
    target[0] = 0
    assert queue.read(9) == b"z"
