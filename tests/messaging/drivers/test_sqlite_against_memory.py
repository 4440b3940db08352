"""The SQLite bus does what the memory bus does, whatever is asked of both in turn."""

import asyncio
import contextlib
import tempfile
import uuid

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from visionbus.messaging import Message, MessagingError, Retry, connect
from visionbus.messaging.dead_letters import original
from visionbus.messaging.drivers.sqlite import driver as sqlite_driver

TOPICS = ("one", "two")
SUBSCRIPTIONS = ("red", "blue")
SLOTS = (0, 1, 2)  # receivers that may be open at a time
MAX_IN_FLIGHT = 6
OWN = ("visionbus-reason", "visionbus-attempts", "visionbus-source-subscription")  # of a dead letter, without its ids

topics = st.sampled_from(("one", "one", "one", "two"))
subscriptions = st.sampled_from(SUBSCRIPTIONS)
slots = st.sampled_from(SLOTS)
PLACE = ("one", "red")  # where most happens: receivers are to meet
OTHERS = (("one", "blue"), ("two", "red"), ("one.red.dead", "dead-letters"), ("two.blue.dead", "dead-letters"))
places = st.sampled_from(OTHERS)  # of the last receiver
keys = st.sampled_from([None, None, "a", "b"])


class Side:
    """One of the two buses, and what is open and held there."""

    def __init__(self, url, prefix):
        self.url = url
        self.prefix = prefix  # of topics: memory:// is shared by the whole process
        self.bus = connect(url)
        self.receivers = {}  # by slot
        self.held = {}  # by slot: the last delivery of each message, by its data
        self.stale = {}  # by slot: earlier deliveries

    async def declare(self, topic, *names):
        await self.bus.declare(self.prefix + topic, *names)

    async def send(self, topic, messages):
        return len(await self.bus.send(self.prefix + topic, *messages))

    async def open(self, slot, topic, name):
        retry = Retry(max_attempts=3, delay=0.0)
        made = self.bus.subscribe(
            self.prefix + topic, name, ack_deadline=600.0, max_in_flight=MAX_IN_FLIGHT, retry=retry
        )
        self.receivers[slot] = await made.__aenter__()
        self.held[slot], self.stale[slot] = {}, []

    async def receive(self, slot, most):
        batch = await self.receivers[slot].receive(most, timeout=0.0)
        for one in batch:
            if earlier := self.held[slot].pop(one.message.data, None):
                self.stale[slot].append(earlier)
            self.held[slot][one.message.data] = one
        return [self.seen(one) for one in batch]

    def seen(self, one):
        marks = {name: one.message.attributes[name] for name in OWN if name in one.message.attributes}
        return original(one.message), marks, one.attempt

    async def ack(self, slot, chosen):
        await self.receivers[slot].ack(*(self.held[slot][data] for data in chosen))
        attached = self.receivers[slot]._attached
        if getattr(attached, "_flushing", None):  # SQLite gathers acks for a moment
            await attached._flushing

    async def nack(self, slot, chosen):
        await self.receivers[slot].nack(*(self.held[slot][data] for data in chosen))

    async def reject(self, slot, chosen):
        await self.receivers[slot].reject(*(self.held[slot][data] for data in chosen), reason="refused")

    async def ack_stale(self, slot):
        await self.receivers[slot].ack(*self.stale[slot])

    async def close(self, slot):
        await self.receivers.pop(slot).close()

    async def reopen(self):
        await self.bus.close()
        self.receivers.clear()
        self.bus = connect(self.url)


class Comparison(RuleBasedStateMachine):
    """Asks the same of both, and compares what can be seen."""

    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.loop = self.stack.enter_context(asyncio.Runner())
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.patch.setattr(sqlite_driver, "GATHERING_TIME", 0.0)
        self.count = 0

    @initialize()
    def connect(self):
        prefix = f"x{uuid.uuid4().hex}-"
        self.sides = (Side("memory://", prefix), Side(f"sqlite:///{self.folder}/bus.db", prefix))
        self.both("declare", "one", *SUBSCRIPTIONS)
        for slot in (0, 1):
            self.both("open", slot, *PLACE)

    def both(self, verb, *arguments):
        """Ask both; return what both did, which must be the same."""
        memory, sqlite = (self.loop.run(outcome(getattr(side, verb)(*arguments))) for side in self.sides)
        assert sqlite == memory, f"{verb}{arguments}"
        return memory

    @property
    def open_slots(self):
        return sorted(self.sides[0].receivers)

    def held(self, data, slot):
        """Choose some of what a receiver has or had in hand."""
        known = sorted(self.sides[0].held[slot])
        return data.draw(st.lists(st.sampled_from(known), unique=True)) if known else []

    @rule(topic=topics, names=st.lists(subscriptions, max_size=2))
    def declare(self, topic, names):
        self.both("declare", topic, *names)

    @rule(topic=topics, some=st.lists(keys, min_size=1, max_size=8))
    def send(self, topic, some):
        messages = [Message(b"%d" % (self.count + at), key) for at, key in enumerate(some)]
        self.count += len(messages)
        self.both("send", topic, messages)

    @rule(slot=slots, place=places)
    def open(self, slot, place):
        if slot in self.open_slots:
            self.both("close", slot)
        self.both("open", slot, *(place if slot == SLOTS[-1] else PLACE))

    @precondition(lambda self: self.open_slots)
    @rule(data=st.data(), most=st.integers(1, 5))
    def receive(self, data, most):
        self.both("receive", data.draw(st.sampled_from(self.open_slots)), most)

    @precondition(lambda self: self.open_slots)
    @rule(data=st.data(), verb=st.sampled_from(["ack", "ack", "nack", "reject"]))
    def settle(self, data, verb):
        slot = data.draw(st.sampled_from(self.open_slots))
        self.both(verb, slot, self.held(data, slot))

    @precondition(lambda self: self.open_slots)
    @rule(data=st.data())
    def ack_earlier_hand_outs(self, data):
        self.both("ack_stale", data.draw(st.sampled_from(self.open_slots)))

    @precondition(lambda self: self.open_slots)
    @rule(data=st.data(), chance=st.integers(1, 4))
    def close(self, data, chance):
        if chance == 4:
            self.both("close", data.draw(st.sampled_from(self.open_slots)))

    @rule(chance=st.integers(1, 10))
    def reopen(self, chance):
        if chance == 10:
            self.both("reopen")
            for slot in (0, 1):
                self.both("open", slot, *PLACE)

    @invariant()
    def no_more_is_in_flight_than_allowed(self):
        for side in getattr(self, "sides", ()):
            assert all(len(receiver._in_flight) <= MAX_IN_FLIGHT for receiver in side.receivers.values())

    def teardown(self):
        try:
            if hasattr(self, "sides"):
                self.drain()
                for side in self.sides:
                    self.loop.run(side.bus.close())
        finally:
            self.stack.close()

    def drain(self):
        """See that the same is left everywhere."""
        self.both("reopen")
        places = [(topic, name) for topic in TOPICS for name in SUBSCRIPTIONS]
        for topic, name in [*places, *((f"{topic}.{name}.dead", "dead-letters") for topic, name in places)]:
            if self.both("open", 0, topic, name) is not None:
                continue  # neither has it
            while batch := self.both("receive", 0, MAX_IN_FLIGHT):
                self.both("ack", 0, [message.data for message, _, _ in batch])
            self.both("close", 0)


async def outcome(verb):
    """Give what a verb returns, or the kind of error that it raises."""
    try:
        return await verb
    except (MessagingError, ValueError) as error:
        return type(error)


def run(examples, steps):
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Comparison,
        settings=settings(
            phases=[Phase.generate],  # shrinking would outlast the time limit of the test, and hide what was found
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=quiet,
            database=None,
        ),
    )


def test_sqlite_and_memory_do_the_same():
    run(25, 30)


@pytest.mark.slow
def test_sqlite_and_memory_do_the_same_in_many_and_long_runs():
    run(150, 60)
