"""Deadlines: in order, corrected lazily, and gone with what had them."""

from demuxlab.transport.timers import NEVER, TimerQueue, Timers


class Alarm:
    def __init__(self, deadline, timers):
        self.deadline, self.entered, self.rang = deadline, NEVER, []
        timers.update(self)

    def tick(self, now):
        self.rang.append(now)
        self.deadline = NEVER


def test_what_is_due_is_told_and_what_moved_later_is_not():
    timers = Timers()
    soon, moved = Alarm(1.0, timers), Alarm(2.0, timers)
    moved.deadline = 5.0
    timers.update(moved)
    timers.run(3.0)
    assert (soon.rang, moved.rang, timers.next) == ([3.0], [], 5.0)
    timers.run(5.0)
    assert (moved.rang, timers.next) == ([5.0], NEVER)


def test_what_was_forgotten_never_rings_and_leaves_the_heap():
    timers = Timers()
    alarms = [Alarm(10.0 + number, timers) for number in range(100)]
    for alarm in alarms[:99]:
        timers.forget(alarm)
        timers.forget(alarm)
        assert alarm.deadline == NEVER
    assert len(timers) <= 2
    timers.run(1000.0)
    assert [len(alarm.rang) for alarm in alarms] == [0] * 99 + [1]


def test_who_was_forgotten_may_ask_again():
    timers = Timers()
    alarm, other = Alarm(10.0, timers), Alarm(20.0, timers)
    timers.forget(alarm)
    alarm.deadline = 15.0
    timers.update(alarm)
    timers.run(15.0)
    assert (alarm.rang, other.rang, timers.next) == ([15.0], [], 20.0)


class Wait:
    def __init__(self):
        self.over = 0

    def expire(self):
        self.over += 1


def test_timers_of_equal_length_share_an_entry_of_the_heap_and_end_in_order():
    timers = Timers()
    queue, waits = TimerQueue(timers), [Wait() for _ in range(5)]
    for number, wait in enumerate(waits):
        queue.set(wait, 10.0 + number)
    assert (len(queue), len(timers), timers.next) == (5, 1, 10.0)
    queue.clear(waits[1])
    queue.set(waits[0], 15.0)
    timers.run(12.5)
    assert [wait.over for wait in waits] == [0, 0, 1, 0, 0]
    assert (len(queue), timers.next) == (3, 13.0)
    timers.run(15.0)
    assert [wait.over for wait in waits] == [1, 0, 1, 1, 1]
    assert (len(queue), timers.next) == (0, NEVER)


def test_an_empty_queue_of_timers_leaves_the_heap():
    timers = Timers()
    queue, wait = TimerQueue(timers), Wait()
    queue.set(wait, 10.0)
    queue.clear(wait)
    queue.clear(wait)
    assert timers.next == NEVER
    queue.set(wait, 20.0)
    assert timers.next == 20.0
