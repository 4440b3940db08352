"""What a receiver holds, without a broker: records are stand-ins, everything else is real."""

import threading
import time
from dataclasses import dataclass

import pytest

from visionbus.messaging.drivers.kafka.holding import Holding
from visionbus.messaging.drivers.kafka.tracker import MAX_GAPS, MAX_UNSETTLED


@dataclass
class StandIn:
    """A record as confluent-kafka gives it."""

    place: tuple[int, int]

    def topic(self):
        return "images"

    def partition(self):
        return self.place[0]

    def offset(self):
        return self.place[1]

    def key(self):
        return b"key"

    def value(self):
        return b"%d" % self.place[1]

    def headers(self):
        return [("name", b"value")]

    def timestamp(self):
        return (1, 1_700_000_000_000)


def records(number, *offsets):
    return [StandIn((number, offset)) for offset in offsets]


@pytest.fixture
def holding():
    """Ten places; partitions 0 and 1 are ours, from their beginning."""
    made = Holding(10)
    made.assign(0, 0, "")
    made.assign(1, 0, "")
    return made


def leases(deliveries):
    return [one.lease for one in deliveries]


def committed(holding):
    return {tracker.number: commit.offset for tracker, commit in holding.commits()}


def test_records_are_handed_out_in_order_and_once(holding):
    assert holding.add([*records(0, 0, 1), *records(1, 0)])
    assert [one.id for one in holding.take(2)] == ["0-0", "0-1"]
    assert [one.id for one in holding.take(2)] == ["1-0"]
    assert not holding.add(records(0, 0, 1))
    assert holding.take(2) == []


def test_records_of_partitions_that_are_not_ours_are_left(holding):
    assert not holding.add(records(7, 0))
    assert holding.take(10) == []


def test_room_is_what_is_not_settled(holding):
    holding.add(records(0, *range(6)))
    assert holding.room() == 4
    taken = holding.take(6)
    assert holding.room() == 4
    holding.postpone(leases(taken[:2]), 3600.0)
    assert holding.room() == 4
    holding.settle(leases(taken[2:]))
    assert holding.room() == 8


def test_ready_records_of_many_bytes_leave_no_room():
    holding = Holding(10, max_bytes=3)
    holding.assign(0, 0, "")
    holding.add(records(0, 0, 1, 2))
    assert holding.room() == 0
    holding.take(1)
    assert holding.room() == 7


def test_few_partitions_leave_room_for_few(holding):
    large = Holding(100_000)
    assert large.room() == 1000
    for number in range(4):
        large.assign(number, 0, "")
    assert large.room() == 4000


def test_only_the_settled_prefix_is_committed(holding):
    holding.add(records(0, 0, 1, 2, 3))
    taken = holding.take(4)
    holding.settle(leases(taken[2:]))
    assert committed(holding) == {0: 0}  # what lies beyond is in the metadata
    holding.settle(leases(taken[:2]))
    assert committed(holding) == {0: 4}


def test_lease_of_an_earlier_hand_out_has_no_effect(holding):
    holding.add(records(0, 0))
    (first,) = holding.take(1)
    holding.postpone([first.lease], 0.0)
    (second,) = holding.take(1)
    assert (second.attempt, second.message) == (2, first.message)
    holding.settle([first.lease])
    assert committed(holding) == {}
    holding.settle([second.lease, second.lease])
    assert committed(holding) == {0: 1}


def test_leases_of_another_receiver_have_no_effect(holding):
    other = Holding(10)
    other.assign(0, 0, "")
    other.add(records(0, 0))
    holding.add(records(0, 0))
    holding.settle(leases(other.take(1)))
    assert committed(holding) == {}


def test_what_is_put_back_comes_first_and_as_the_same_attempt(holding):
    holding.add(records(0, 0, 1, 2, 3))
    taken = holding.take(3)
    holding.put_back(leases(taken[1:]))
    assert [(one.id, one.attempt) for one in holding.take(10)] == [("0-1", 1), ("0-2", 1), ("0-3", 1)]


def test_lease_that_was_released_has_no_effect(holding):
    holding.add(records(0, 0))
    (one,) = holding.take(1)
    holding.put_back([one.lease, one.lease])
    holding.settle([one.lease])
    holding.postpone([one.lease], 0.0)
    (again,) = holding.take(10)
    assert (again.id, again.attempt) == (one.id, 1)
    assert committed(holding) == {}


def test_delayed_ones_come_when_they_are_due_and_not_before(holding):
    holding.add(records(0, 0, 1))
    one, other = holding.take(2)
    begun = time.monotonic()
    holding.postpone([one.lease], 0.02)
    holding.postpone([other.lease], 3600.0)
    assert holding.next_due() >= begun + 0.02
    while not (again := holding.take(10)):
        time.sleep(0.001)
    assert time.monotonic() >= begun + 0.02
    assert [delivery.id for delivery in again] == [one.id]


def test_lost_partition_takes_its_leases_and_what_is_ready(holding):
    holding.add([*records(0, 0, 1), *records(1, 0, 1)])
    taken = holding.take(1)
    gone = holding.forget({0})
    assert gone[0] == taken[0].lease
    assert len(gone) == 2
    assert [one.id for one in holding.take(10)] == ["1-0", "1-1"]
    holding.settle(gone)
    assert committed(holding) == {}
    assert holding.room() == 8


def test_partition_that_comes_back_has_new_leases(holding):
    holding.add(records(0, 0))
    (first,) = holding.take(1)
    holding.forget({0})
    holding.assign(0, 0, "")
    holding.add(records(0, 0))
    (second,) = holding.take(1)
    assert second.lease != first.lease
    holding.settle([first.lease])
    assert committed(holding) == {}


def test_drain_waits_for_what_is_handed_out_and_for_nothing_else(holding):
    holding.add(records(0, 0, 1, 2))
    held, failed = holding.take(2)
    done = threading.Thread(target=holding.drain, args=({0}, 60.0))
    done.start()
    holding.settle([held.lease])
    assert done.is_alive()
    holding.postpone([failed.lease], 0.0)
    done.join(30.0)
    assert not done.is_alive()
    assert holding.take(10) == [], "what is withdrawn is not handed out"


def test_closing_waits_for_nothing(holding):
    holding.add(records(0, 0))
    holding.take(1)
    holding.hurry = True
    holding.drain({0}, 60.0)


def test_no_more_comes_at_once_than_a_commit_can_tell_of_the_fullest_partition_that_is_read():
    held = Holding(10_000)
    for number in range(4):
        held.assign(number, 0, "")
    held.add(records(0, *range(MAX_UNSETTLED - 1)))
    assert held.at_once() == MAX_GAPS - MAX_UNSETTLED + 1
    held.add(records(0, MAX_UNSETTLED - 1))  # it is not read on, and holds up no others
    assert held.at_once() == MAX_GAPS


def test_bytes_are_those_of_what_is_ready(holding):
    def weighed():
        return sum(len(one.message.data) for one in holding._ready)

    holding.add(records(0, 0, 1, 2, 3))
    assert holding._ready_bytes == weighed() == 4
    first, second = holding.take(2)
    assert holding._ready_bytes == weighed() == 2
    holding.put_back([first.lease])
    holding.postpone([second.lease], 0.0)
    assert holding.lies_idle()  # what is due is ready
    assert holding._ready_bytes == weighed() == 4
    holding.forget({0})
    assert holding._ready_bytes == weighed() == 0


def test_whoever_waits_for_room_hears_of_bytes_that_are_handed_out():
    held = Holding(10, 2)
    held.assign(0, 0, "")
    held.add(records(0, 0, 1))
    assert held.room() == 0
    heard = threading.Event()

    def wait():
        with held.changed:
            waiting.set()
            if held.changed.wait(10.0):
                heard.set()

    waiting = threading.Event()
    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    held.take(1)
    thread.join()
    assert heard.is_set()
    assert held.room() > 0


def test_idle_is_what_lies_ready_while_nothing_is_handed_out(holding):
    assert not holding.lies_idle()
    holding.add(records(0, 0, 1))
    assert holding.lies_idle()
    (one,) = holding.take(1)
    assert not holding.lies_idle()
    holding.postpone([one.lease], 3600.0)
    assert holding.lies_idle()


def test_truncated_partition_begins_again_and_expired_head_does_not(holding):
    holding.add(records(0, 5))
    assert holding.begin_again(0, 20) == []
    (one,) = holding.take(1)
    assert holding.begin_again(0, 3) == [one.lease]
    assert holding.add(records(0, 3))


def test_second_commit_waits_for_news(holding):
    holding.add(records(0, 0))
    holding.settle(leases(holding.take(1)))
    ((tracker, commit),) = holding.commits()
    tracker.committed(commit)
    assert holding.commits() == []


def test_times_that_no_calendar_has_are_brought_into_it(holding):
    odd = StandIn((0, 0))
    odd.timestamp = lambda: (1, 2**62)
    early = StandIn((0, 1))
    early.timestamp = lambda: (0, -1)
    holding.add([odd, early])
    assert [one.published.year for one in holding.take(2)] == [9999, 1970]
