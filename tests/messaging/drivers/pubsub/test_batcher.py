"""Which messages go together, and when: for any order of events, in order by key and within the limits."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from visionbus.messaging.drivers.pubsub.batcher import UNKEYED, Batcher, Lane

KEYED, OTHER, FREE = Lane("images", "a"), Lane("images", "b"), Lane("images", None)
LANES = st.sampled_from([KEYED, OTHER, FREE, Lane("answers", "a"), Lane("answers", None)])
COUNT, BYTES, LINGER = 5, 100, 1.0


def batcher(linger=0.0):
    return Batcher(linger, COUNT, BYTES)


def add(batcher, lane, *numbers, size=1, now=0.0):
    batcher.add(lane, [(number, size) for number in numbers], now)


def taken(batcher, now=0.0):
    """All batches that may go now, as their items."""
    return [batch.items for batch in iter(lambda: batcher.take(now), None)]


def test_what_waits_goes_together():
    one = batcher()
    add(one, FREE, 1)
    add(one, FREE, 2, 3)
    batch = one.take(0.0)
    assert (batch.lane, batch.items, batch.size) == (FREE, [1, 2, 3], 3)
    assert one.take(0.0) is None


def test_batches_are_bounded_by_count_and_bytes():
    one = batcher()
    add(one, FREE, *range(7))
    assert taken(one) == [[0, 1, 2, 3, 4], [5, 6]]
    two = batcher()
    add(two, FREE, *range(5), size=40)
    assert taken(two) == [[0, 1], [2, 3], [4]]


def test_keys_do_not_mix():
    one = batcher()
    for number in range(6):
        add(one, (KEYED, OTHER, FREE)[number % 3], number)
    assert taken(one) == [[0, 3], [1, 4], [2, 5]]


def test_batch_of_a_key_waits_for_the_one_before():
    one = batcher()
    add(one, KEYED, 1)
    assert taken(one) == [[1]]
    add(one, KEYED, 2, 3)
    assert taken(one) == []
    one.done(KEYED)
    assert taken(one) == [[2, 3]]


def test_a_few_batches_without_a_key_go_at_once():
    one = batcher()
    for number in range(UNKEYED + 2):
        add(one, FREE, number)
        one.take(0.0)
    assert taken(one) == []
    one.done(FREE)
    assert taken(one) == [[UNKEYED, UNKEYED + 1]]


def test_large_lane_does_not_starve_the_others():
    one = batcher()
    add(one, FREE, *range(10))
    add(one, KEYED, "key")
    assert taken(one) == [[0, 1, 2, 3, 4], ["key"], [5, 6, 7, 8, 9]]


def test_lingering_ends_with_its_time():
    one = batcher(LINGER)
    add(one, KEYED, 1, now=10.0)
    add(one, FREE, 2, now=10.5)
    add(one, KEYED, 3, now=10.9)
    assert one.next_due() == 11.0
    assert taken(one, 10.9) == []
    assert taken(one, 11.0) == [[1, 3]]
    assert one.next_due() == 11.5
    assert taken(one, 11.5) == [[2]]
    assert one.next_due() is None


def test_lingering_ends_with_a_full_batch():
    one = batcher(LINGER)
    add(one, KEYED, *range(COUNT))
    assert (taken(one), one.next_due()) == ([list(range(COUNT))], None)


def test_what_came_while_one_was_on_its_way_does_not_linger():
    one = batcher(LINGER)
    add(one, KEYED, *range(COUNT))
    one.take(0.0)
    add(one, KEYED, "next")
    assert one.next_due() is None
    one.done(KEYED)
    assert taken(one, 0.1) == [["next"]]


@pytest.mark.parametrize("linger", [0.0, LINGER])
def test_what_is_dropped_does_not_go(linger):
    one = batcher(linger)
    add(one, KEYED, 1, 2)
    add(one, OTHER, 3)
    assert one.drop(KEYED) == [(1, 1), (2, 1)]
    assert taken(one, 9.0) == [[3]]
    add(one, KEYED, 4)
    assert taken(one, 9.0) == [[4]]
    assert one.drop(FREE) == []


def test_nothing_is_left_of_lanes_that_are_done():
    one = batcher()
    add(one, KEYED, 1)
    assert one.lanes() == [KEYED]
    one.take(0.0)
    one.done(KEYED)
    add(one, FREE, 2)
    one.drop(FREE)
    assert one.lanes() == []


class Model(RuleBasedStateMachine):
    """Any events in any order."""

    linger = 0.0

    def __init__(self):
        super().__init__()
        self.batcher = batcher(self.linger)
        self.now = 0.0
        self.number = 0
        self.queued = {}  # lane: numbers in order
        self.under_way = []  # batches

    @rule(lane=LANES, sizes=st.lists(st.integers(1, BYTES), min_size=1, max_size=8))
    def add(self, lane, sizes):
        numbers = range(self.number, self.number + len(sizes))
        self.number += len(sizes)
        self.batcher.add(lane, list(zip(numbers, sizes, strict=True)), self.now)
        self.queued.setdefault(lane, []).extend(zip(numbers, sizes, strict=True))

    @rule()
    def take(self):
        batch = self.batcher.take(self.now)
        if batch is None:
            return
        queued = self.queued[batch.lane]
        expected, self.queued[batch.lane] = queued[: len(batch.items)], queued[len(batch.items) :]
        assert batch.items == [number for number, _ in expected]
        assert batch.size == sum(size for _, size in expected) <= BYTES
        assert 1 <= len(batch.items) <= COUNT
        beside = sum(other.lane == batch.lane for other in self.under_way)
        assert beside < (1 if batch.lane.key else UNKEYED)
        self.under_way.append(batch)

    @rule(lane=LANES)
    def drop(self, lane):
        assert self.batcher.drop(lane) == self.queued.pop(lane, [])

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def done(self, data):
        batch = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.batcher.done(batch.lane)

    @rule(seconds=st.floats(0.0, 2.0))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def all_goes_in_the_end(self):
        due = self.batcher.next_due()
        assert due is None or self.linger
        assert due is None or due <= self.now + self.linger

    def teardown(self):
        while self.under_way or any(self.queued.values()):
            before = len(self.under_way), sum(map(len, self.queued.values()))
            self.now += 2 * LINGER
            self.take()
            if self.under_way and before[1] == sum(map(len, self.queued.values())):
                self.batcher.done(self.under_way.pop().lane)
            assert before != (len(self.under_way), sum(map(len, self.queued.values()))), "nothing goes any more"
        assert self.batcher.lanes() == []


class LingeringModel(Model):
    linger = LINGER


TestAnyEvents = Model.TestCase
TestAnyEventsWithLinger = LingeringModel.TestCase
TestAnyEvents.settings = TestAnyEventsWithLinger.settings = settings(max_examples=100)
