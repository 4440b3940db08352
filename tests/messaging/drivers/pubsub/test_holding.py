"""What a receiver holds, without a broker and without a clock: messages are made, times are given."""

from google.pubsub_v1 import types
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from visionbus.messaging.drivers.pubsub.acked import AckedIds
from visionbus.messaging.drivers.pubsub.holding import Holding

DEADLINE = 60.0
NEVER = float("inf")


def received(name, ack_id=None, key="", data=b"data"):
    made = types.ReceivedMessage.pb()(ack_id=ack_id or f"ack-{name}")
    made.message.message_id = str(name)
    made.message.ordering_key = key
    made.message.data = data
    return made


def holding(*names, prefetch=100, prefetch_bytes=1 << 24, ends=DEADLINE, acked=None, key=""):
    made = Holding(prefetch, prefetch_bytes, DEADLINE, AckedIds() if acked is None else acked)
    made.add([received(name, key=key) for name in names], ends)
    return made


def ids(deliveries):
    return [one.id for one in deliveries]


def leases(deliveries):
    return [one.lease for one in deliveries]


def test_what_was_received_is_handed_out_once_in_order():
    held = holding(*range(5))
    assert ids(held.take(2, 0.0)) == ["0", "1"]
    assert ids(held.take(10, 0.0)) == ["2", "3", "4"]
    assert held.take(10, 0.0) == []


def test_settled_are_acked_once():
    held = holding("a", "b")
    taken = held.take(2, 0.0)
    assert held.settle(leases(taken)) == ["ack-a", "ack-b"]
    assert held.settle(leases(taken)) == []
    assert len(held) == 0


def test_whether_any_message_had_a_key_is_known_from_then_on():
    held = holding(1, 2)
    assert not held.keyed
    held.add([received(3), received(4, key="a")], DEADLINE)
    held.add([received(5)], DEADLINE)
    assert held.keyed


def test_unknown_leases_are_ignored():
    held = holding("a")
    strange = [0, -1, "text", None]
    assert held.settle(strange) == []
    held.postpone(strange, 0.0)
    held.put_back(strange)
    assert len(held) == 1


def test_leases_of_two_receivers_differ():
    one, other = holding("a"), holding("a")
    (taken,) = one.take(1, 0.0)
    assert other.settle([taken.lease]) == []


def test_what_is_held_already_stays_and_is_acked_by_its_newest_ack_id():
    held = holding("a", "b")
    (first,) = held.take(1, 0.0)
    assert held.add([received("b", "newer-b"), received("a", "newer-a")], DEADLINE + 5) == []
    (second,) = held.take(10, 0.0)
    assert held.settle([first.lease, second.lease]) == ["newer-a", "newer-b"]


def test_id_that_is_held_and_has_another_time_is_another_message_and_the_first_is_lost():
    held = holding("a")
    (first,) = held.take(1, 0.0)
    other = received("a", "ack-of-another")
    other.message.publish_time.seconds = 7
    assert held.add([other], DEADLINE) == []
    assert held.expire(0.0) == [first.lease]
    (second,) = held.take(10, 0.0)
    assert (second.published.timestamp(), first.published.timestamp()) == (7, 0)
    assert held.settle([first.lease, second.lease]) == ["ack-of-another"]
    assert len(held) == 0


def test_message_that_comes_twice_at_once_is_one():
    held = holding()
    held.add([received("a", "first"), received("b"), received("a", "second")], DEADLINE)
    taken = held.take(10, 0.0)
    assert ids(taken) == ["a", "b"]
    assert held.settle(leases(taken)) == ["second", "ack-b"]


def test_repeats_of_what_was_acked_are_for_acking_and_not_held():
    held = holding("a", "b")
    held.settle(leases(held.take(1, 0.0)))
    assert held.add([received("a", "again-a"), received("c"), received("b", "again-b")], DEADLINE) == ["again-a"]
    assert len(held) == 2
    assert ids(held.take(10, 0.0)) == ["b", "c"]


def test_id_that_was_acked_and_has_another_time_is_another_message():
    held = holding("a")
    held.settle(leases(held.take(1, 0.0)))
    other = received("a", "other-a")
    other.message.publish_time.seconds = 1
    assert held.add([other], DEADLINE) == []
    assert held.settle(leases(held.take(1, 0.0))) == ["other-a"]


def test_repeats_are_known_to_all_who_share_the_memory():
    acked = AckedIds()
    one = holding("a", acked=acked)
    one.settle(leases(one.take(1, 0.0)))
    other = holding(acked=acked)
    assert other.add([received("a")], DEADLINE) == ["ack-a"]


def test_nacked_comes_again_when_it_is_due_as_a_further_attempt():
    held = holding("a", "b")
    (first, _) = held.take(2, 0.0)
    held.postpone([first.lease], 7.0)
    assert held.next_due() == 7.0
    assert held.take(10, 6.9) == []
    (again,) = held.take(10, 7.0)
    assert (again.id, again.attempt, again.message) == ("a", 2, first.message)
    assert held.settle([first.lease]) == [], "the lease of the first hand-out has no effect any more"
    assert held.settle([again.lease]) == ["ack-a"]
    assert held.next_due() == NEVER


def test_what_is_due_is_handed_out_before_what_is_ready():
    held = holding("a", "b")
    held.postpone(leases(held.take(1, 0.0)), 1.0)
    assert ids(held.take(1, 1.0)) == ["a"]


def test_nacked_ones_take_room_and_are_extended():
    held = holding("a", prefetch=1)
    held.postpone(leases(held.take(1, 0.0)), 1000.0)
    assert held.room() == 0
    assert list(held.due(DEADLINE / 2).values()) == ["ack-a"]


def test_room_is_what_is_not_held():
    held = holding(*range(3), prefetch=10)
    assert held.room() == 7
    taken = held.take(2, 0.0)
    assert held.room() == 7
    held.settle(leases(taken))
    assert held.room() == 9
    held.add([received(f"more-{number}") for number in range(20)], DEADLINE)
    assert held.room() == 0


def test_bytes_that_wait_leave_no_room():
    held = holding(prefetch_bytes=1000)
    held.add([received("a", data=b"x" * 600), received("b", data=b"x" * 400)], DEADLINE)
    assert held.room() == 0
    (first,) = held.take(1, 0.0)
    assert held.room() > 0
    held.postpone([first.lease], 0.0)
    held.take(1, 0.0)
    assert held.room() > 0
    held.withdraw_ready()
    held.add([received("c", data=b"x" * 1000)], DEADLINE)
    assert held.room() == 0
    assert held.expire(DEADLINE)
    assert held.room() > 0


def test_expired_are_lost_wherever_they_are():
    held = holding("ready", "taken", "delayed")
    held.take(1, 0.0)
    out = held.take(2, 0.0)
    held.postpone([out[1].lease], 5.0)
    held.add([received("later")], DEADLINE + 1)
    assert held.expire(DEADLINE - 0.1) == []
    assert len(held.expire(DEADLINE)) == 3
    assert held.settle([out[0].lease]) == []
    assert held.next_due() == NEVER
    assert ids(held.take(10, DEADLINE)) == ["later"]


def test_lost_message_that_comes_again_is_held_anew():
    held = holding("a")
    (first,) = held.take(1, 0.0)
    assert held.expire(DEADLINE) == [first.lease]
    held.add([received("a", "newer")], 2 * DEADLINE)
    (again,) = held.take(1, DEADLINE)
    assert again.lease != first.lease
    assert again.attempt == 1
    assert held.settle([first.lease, again.lease]) == ["newer"]


def test_extended_last_longer():
    held = holding("a", "b")
    due = held.due(DEADLINE / 2)
    assert list(due.values()) == ["ack-a", "ack-b"]
    held.extended(due, DEADLINE * 1.5)
    assert held.expire(DEADLINE) == []
    assert len(held.expire(DEADLINE * 1.5)) == 2


def test_extension_of_an_old_ack_id_says_nothing_of_a_newer_one():
    held = holding("a")
    due = held.due(DEADLINE / 2)
    held.add([received("a", "newer")], DEADLINE)
    held.extended(due, DEADLINE * 1.5)
    assert len(held.expire(DEADLINE)) == 1


def test_extension_of_what_is_settled_meanwhile_is_nothing():
    held = holding("a")
    due = held.due(DEADLINE / 2)
    held.settle(leases(held.take(1, 0.0)))
    held.extended(due, DEADLINE * 1.5)
    assert held.expire(DEADLINE * 2) == []


def test_only_what_runs_out_soon_is_extended():
    held = holding("soon", ends=30.0)
    held.add([received("late")], 60.0)
    assert list(held.due(0.0).values()) == ["ack-soon"]


def test_what_is_put_back_is_ahead_of_what_is_ready_and_is_the_same_attempt():
    held = holding("a", "b", "c", "d")
    taken = held.take(3, 0.0)
    held.put_back(leases(taken[:2]))
    assert held.settle(leases(taken[:2])) == []  # of hand-outs that are over
    again = held.take(10, 0.0)
    assert ids(again) == ["a", "b", "d"]
    assert {one.attempt for one in again} == {1}


def test_idle_is_what_is_ready_while_nothing_is_handed_out():
    held = holding("a", "b")
    assert held.lies_idle(0.0)
    (first,) = held.take(1, 0.0)
    assert not held.lies_idle(0.0)
    held.postpone([first.lease], 1000.0)
    assert held.lies_idle(0.0)
    assert held.withdraw_ready() == ["ack-b"]
    assert not held.lies_idle(999.0)
    assert len(held) == 1


def test_what_was_nacked_and_is_due_lies_idle_too():
    held = holding("a")
    held.postpone(leases(held.take(1, 0.0)), 5.0)
    assert not held.lies_idle(4.0)
    assert held.lies_idle(5.0)
    assert held.withdraw_ready() == ["ack-a"]


def test_giving_all_back_leaves_nothing():
    held = holding("a", "b", "c")
    held.postpone(leases(held.take(1, 0.0)), 5.0)
    held.take(1, 0.0)
    assert sorted(held.withdraw_all()) == ["ack-a", "ack-b", "ack-c"]
    assert len(held) == 0
    assert held.take(10, 1000.0) == []
    assert held.next_due() == NEVER


@given(st.lists(st.lists(st.integers(0, 5)), max_size=8))
def test_each_message_is_handed_out_once_however_often_it_comes(responses):
    held = holding()
    got = []
    for response in responses:
        held.add([received(name) for name in response], DEADLINE)
        got += ids(held.take(3, 0.0))
    got += ids(held.take(100, 0.0))
    assert sorted(got) == sorted({str(name) for response in responses for name in response})


class HoldingMachine(RuleBasedStateMachine):
    """Whatever is done, in whatever order: each message is in one place, and what is over is over."""

    @initialize()
    def begin(self):
        self.held = Holding(50, 1 << 24, DEADLINE, AckedIds())
        self.now = 0.0
        self.out = {}  # lease: delivery, handed out
        self.acked = set()
        self.serial = 0

    def ack_id(self):
        self.serial += 1
        return f"ack-{self.serial}"

    @rule(names=st.lists(st.integers(0, 12), max_size=6), age=st.sampled_from((0.0, 10.0)))
    def receive(self, names, age):
        self.lose()
        messages = [received(name, self.ack_id(), key=str(name % 3)) for name in names]
        repeats = self.held.add(messages, self.now - age + DEADLINE)
        assert repeats == [one.ack_id for one in messages if one.message.message_id in self.acked]

    @rule(room=st.integers(1, 8))
    def take(self, room):
        self.lose()
        taken = self.held.take(room, self.now)
        assert len(taken) <= room
        for one in taken:
            assert one.id not in {other.id for other in self.out.values()}, "nothing is handed out twice at a time"
            assert one.id not in self.acked
            self.out[one.lease] = one

    @rule(data=st.data())
    def settle(self, data):
        self.lose()
        some = self.some(data)
        assert len(self.held.settle(some)) == len(some)
        self.acked |= {self.out.pop(lease).id for lease in some}

    @rule(data=st.data(), delay=st.sampled_from((0.0, 5.0, 500.0)))
    def postpone(self, data, delay):
        self.lose()
        some = self.some(data)
        self.held.postpone(some, self.now + delay)
        for lease in some:
            del self.out[lease]

    @rule(data=st.data())
    def put_back(self, data):
        self.lose()
        some = self.some(data)
        self.held.put_back(some)
        for lease in some:
            del self.out[lease]

    @rule()
    def extend(self):
        self.lose()
        due = self.held.due(self.now)
        self.held.extended(due, self.now + DEADLINE)
        assert self.held.due(self.now) == {}

    @rule(seconds=st.floats(0.0, 50.0))
    def wait(self, seconds):
        self.now += seconds

    def some(self, data):
        return data.draw(st.lists(st.sampled_from(sorted(self.out)), unique=True)) if self.out else []

    def lose(self):
        for lease in self.held.expire(self.now):
            self.out.pop(lease, None)
        assert self.held.settle([]) == []

    @invariant()
    def nothing_is_counted_twice_or_forgotten(self):
        held = self.held
        assert len(held) == len(held._leases) == len(held._ack_ids) == len(held._ends)
        assert len(held) == len(held._ready) + len(held._delayed) + len(set(self.out) & set(held._deliveries))
        assert held._ready_bytes == sum(len(one.message.data) for one in held._ready)
        assert held._earliest <= min(held._ends.values(), default=NEVER)
        assert held.room() == max(0, 50 - len(held))


TestHoldingMachine = HoldingMachine.TestCase
