"""The offset tracker against a model that remembers everything."""

import base64
from itertools import pairwise

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from visionbus.messaging.drivers.kafka import progress
from visionbus.messaging.drivers.kafka.progress import MAX_METADATA, decode, encode
from visionbus.messaging.drivers.kafka.tracker import MAX_GAPS, MAX_SPAN, MAX_UNSETTLED, OffsetTracker


def receive(tracker, *offsets):
    """Receive offsets as a consumer does; give those that are to be handed out."""
    fresh = [offset for offset in offsets if tracker.receive(offset)]
    tracker.unsettled.update((offset, str(offset)) for offset in fresh)
    return fresh


def test_nothing_received_and_nothing_committed_is_nothing_to_commit():
    assert OffsetTracker(0).due() is None
    assert OffsetTracker(0, 7, "").due() is None


def test_commit_stops_before_the_first_unsettled_offset():
    tracker = OffsetTracker(0, 10, "")
    assert receive(tracker, 10, 11, 12, 13) == [10, 11, 12, 13]
    for offset in (10, 12):
        del tracker.unsettled[offset]
    commit = tracker.due()
    assert commit.offset == 11
    assert decode(commit.offset, commit.metadata) == [(12, 13)]


def test_offsets_that_were_never_there_hold_up_nothing():
    tracker = OffsetTracker(0, 0, "")
    receive(tracker, 3, 4, 9)
    tracker.unsettled.clear()
    assert tracker.due() == (10, "")


def test_what_is_acked_beyond_a_commit_is_not_handed_out_under_the_next_assignment():
    first = OffsetTracker(0, 0, "")
    receive(first, *range(10))
    for offset in (1, 2, 5, 9):
        del first.unsettled[offset]
    second = OffsetTracker(0, *first.due())
    assert receive(second, *range(12)) == [0, 3, 4, 6, 7, 8, 10, 11]


def test_commit_tells_as_many_gaps_as_are_let_come():
    tracker = OffsetTracker(0, 0, "")
    receive(tracker, *range(2 * MAX_GAPS))
    for offset in range(1, 2 * MAX_GAPS, 2):
        del tracker.unsettled[offset]
    assert len(tracker.unsettled) == MAX_GAPS
    assert len(decode(*tracker.due())) == MAX_GAPS


def test_same_commit_is_due_once():
    tracker = OffsetTracker(0, 0, "")
    receive(tracker, 0)
    tracker.unsettled.clear()
    commit = tracker.due()
    assert tracker.due() == commit
    tracker.committed(commit)
    assert tracker.due() is None


def test_wide_span_blocks_until_half_of_it_is_left():
    tracker = OffsetTracker(0, 0, "")
    receive(tracker, 0, MAX_SPAN - 2)
    assert not tracker.blocked(already=False)
    receive(tracker, MAX_SPAN - 1)
    assert tracker.blocked(already=False)
    tracker.unsettled = {MAX_SPAN // 2 - 1: ""}
    assert tracker.blocked(already=True)
    tracker.unsettled = {MAX_SPAN // 2 + 1: ""}
    assert not tracker.blocked(already=True)


def test_gaps_too_many_for_the_metadata_block_until_they_close():
    tracker = OffsetTracker(0, 0, "")
    receive(tracker, *range(0, 500_000, 400))  # 1,250, long runs between them
    commit = tracker.due()
    assert len(commit.metadata) <= MAX_METADATA
    assert tracker.blocked(already=False)
    for offset in list(tracker.unsettled)[:-100]:
        del tracker.unsettled[offset]
    tracker.due()
    assert not tracker.blocked(already=True)


def test_as_many_unsettled_as_a_commit_can_tell_block():
    tracker = OffsetTracker(0, 0, "")
    receive(tracker, *range(2 * MAX_UNSETTLED))
    for offset in range(1, 2 * MAX_UNSETTLED, 2):
        del tracker.unsettled[offset]
    commit = tracker.due()
    assert decode(commit.offset, commit.metadata)[-1] == (2 * MAX_UNSETTLED - 1, 2 * MAX_UNSETTLED)
    assert tracker.blocked(already=False)


def test_gaps_that_others_left_do_not_block_for_ever():
    first = OffsetTracker(0, 0, "")
    receive(first, *range(2 * MAX_UNSETTLED))
    for offset in range(1, 2 * MAX_UNSETTLED, 2):
        del first.unsettled[offset]
    second = OffsetTracker(0, *first.due())
    second.due()
    assert not second.blocked(already=True)


def test_expired_head_of_a_partition_is_skipped():
    tracker = OffsetTracker(0, 5, "")
    assert tracker.skip_to(20)
    assert tracker.due() == (20, "")
    receive(tracker, 20, 21)
    assert not tracker.skip_to(3)


def test_commit_does_not_go_back_behind_an_expired_head():
    first = OffsetTracker(0, 0, "")
    receive(first, *range(8))
    for offset in (5, 6):
        del first.unsettled[offset]
    second = OffsetTracker(0, *first.due())
    assert second.skip_to(10)
    assert second.due() == (10, "")


@given(st.integers(0, 2**62), st.lists(st.tuples(st.integers(1, 300_000), st.integers(1, 300_000))))
def test_ranges_survive_the_metadata(base, steps):
    ranges, end = [], base
    for gap, run in steps:
        ranges.append((end + gap, end + gap + run))
        end = ranges[-1][1]
    text, kept = encode(base, ranges)
    assert len(text) <= MAX_METADATA
    assert text.isascii()
    assert decode(base, text) == ranges[:kept]
    assert kept == len(ranges) or len(text) > MAX_METADATA - 12


@pytest.mark.parametrize("lengths", [[0, 5], [5, 0], [5, 2**62, 5, 2**62], [5, 2**70]])
def test_metadata_of_the_hostile_is_no_progress(lengths):
    packed = b"".join(progress._varint(length) for length in lengths)
    assert decode(100, progress.PREFIX + base64.b64encode(packed).decode()) == []


@given(st.text() | st.none() | st.text("vb1:AZaz09+/=").map(lambda text: "vb1:" + text))
def test_whatever_others_write_is_read_as_ranges_that_ascend_and_are_apart(text):
    found = decode(100, text)
    assert all(start < end for start, end in found)
    assert all(end < start for (_, end), (start, _) in pairwise([(0, 100), *found]))


class Partition(RuleBasedStateMachine):
    """Records come with gaps, are settled in any order, and the partition moves to another receiver now and then."""

    def __init__(self):
        super().__init__()
        self.log = []  # the offsets that exist
        self.end = 0
        self.settled = set()
        self.read = 0  # how many of the log the present receiver has read
        self.committed = (0, "")
        self.tracker = OffsetTracker(0, *self.committed)
        self.heard = set()  # what a commit said is settled

    @rule(gaps=st.lists(st.integers(0, 3), min_size=1, max_size=20))
    def send(self, gaps):
        for gap in gaps:
            self.end += gap
            self.log.append(self.end)
            self.end += 1

    @precondition(lambda self: self.read < len(self.log))
    @rule(count=st.integers(1, 30))
    def fetch(self, count):
        offsets = self.log[self.read : self.read + count]
        self.read += len(offsets)
        fresh = receive(self.tracker, *offsets)
        assert not set(fresh) & self.heard, "acked before, and handed out again"
        assert {offset for offset in offsets if offset not in self.heard} == set(fresh)

    @precondition(lambda self: self.tracker.unsettled)
    @rule(data=st.data())
    def settle(self, data):
        offsets = data.draw(st.sets(st.sampled_from(sorted(self.tracker.unsettled)), min_size=1))
        for offset in offsets:
            del self.tracker.unsettled[offset]
        self.settled |= offsets

    @rule()
    def commit(self):
        commit = self.tracker.due()
        if commit is None:
            return
        below = {offset for offset in self.log if offset < commit.offset}
        assert below <= self.settled, "a commit passes over what is not settled"
        beyond = {offset for start, end in decode(*commit) for offset in self.log if start <= offset < end}
        assert beyond <= self.settled, "the metadata says settled of what is not"
        assert self.heard <= below | beyond, "a commit forgets what an earlier one said"
        self.heard = below | beyond
        self.tracker.committed(commit)
        self.committed = commit

    @rule()
    def move(self):
        event("the partition moved")
        self.settled &= self.heard
        self.tracker = OffsetTracker(0, *self.committed)
        self.read = sum(offset < self.committed[0] for offset in self.log)

    @invariant()
    def unsettled_is_what_was_read_and_not_settled(self):
        start = self.committed[0]
        read = {offset for offset in self.log[: self.read] if offset >= start}
        assert set(self.tracker.unsettled) == read - self.settled


TestPartition = Partition.TestCase
TestPartition.settings = settings(max_examples=200, stateful_step_count=40)
