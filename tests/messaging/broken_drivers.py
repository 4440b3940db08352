"""Drivers that break one promise each: the conformance tests must notice."""

import asyncio
import random
import time

from visionbus.messaging.drivers import memory
from visionbus.messaging.drivers.memory import MemoryDriver, MemorySubscription
from visionbus.messaging.message import received_message


class Broken(MemoryDriver):
    """A memory driver whose subscriptions are of another class."""

    subscription = MemorySubscription

    async def attach(self, topic, subscription, *, ack_deadline, prefetch, lost):
        attached = await super().attach(topic, subscription, ack_deadline=ack_deadline, prefetch=prefetch, lost=lost)
        attached.__class__ = self.subscription
        return attached


def subscribing(**verbs):
    """Make a driver whose subscriptions have other verbs."""
    return type("Other", (Broken,), {"subscription": type("OtherSubscription", (MemorySubscription,), verbs)})


class DecodesData(Broken):
    async def send(self, topic, messages):
        texts = [message.data.decode(errors="replace").encode() for message in messages]
        pairs = zip(texts, messages, strict=True)
        return await super().send(topic, [received_message(text, one.key, one.attributes) for text, one in pairs])


class DropsEmptyAttributes(Broken):
    async def send(self, topic, messages):
        return await super().send(
            topic,
            [received_message(one.data, one.key, {k: v for k, v in one.attributes.items() if v}) for one in messages],
        )


class StripsText(Broken):
    async def send(self, topic, messages):
        return await super().send(
            topic, [received_message(one.data, one.key and one.key.strip(), one.attributes) for one in messages]
        )


class DeclaresAnew(Broken):
    async def declare(self, topic, subscriptions, *, create):
        await super().declare(topic, subscriptions, create=create)
        for name in subscriptions:
            memory._topics[topic][name] = memory._Queue()


class DropsWhatNobodyAwaits(Broken):
    async def send(self, topic, messages):
        queues = memory._queues(topic)
        away = {name: queues.pop(name) for name in [name for name, queue in queues.items() if not queue.receivers]}
        try:
            return await super().send(topic, messages)
        finally:
            queues.update(away)


class ServesTheFirstSubscription(Broken):
    async def send(self, topic, messages):
        queues = dict(memory._queues(topic))
        for name in list(queues)[1:]:
            del memory._topics[topic][name]
        try:
            return await super().send(topic, messages)
        finally:
            memory._topics[topic] = queues


class Broadcasts(Broken):
    """Every receiver has a queue of its own, as in publish and subscribe without groups."""

    async def attach(self, topic, subscription, *, ack_deadline, prefetch, lost):
        attached = await super().attach(topic, subscription, ack_deadline=ack_deadline, prefetch=prefetch, lost=lost)
        attached._queue.receivers.discard(attached)
        name = f"{subscription}-{next(memory._numbers)}"
        attached._queue = memory._topics[topic][name] = memory._Queue(receivers={attached})
        return attached


class ConfirmsEarly(Broken):
    waiting = ()

    async def send(self, topic, messages):
        memory._queues(topic)
        earlier, self.waiting = self.waiting, (topic, messages)
        if earlier:
            await super().send(*earlier)
        return [str(next(memory._numbers)) for _ in messages]


class SendsTheFirst(Broken):
    async def send(self, topic, messages):
        return await super().send(topic, messages[:1]) + [str(next(memory._numbers)) for _ in messages[1:]]


async def acks_all_before(self, leases):
    last = max(leases, default=0)
    await MemorySubscription.ack(self, [lease for lease in self.held if lease <= last])


async def acks_nothing(self, leases):
    pass


async def acks_later(self, leases):
    self._loop.call_later(0.1, lambda: None if self._closed else self._pop(leases))


class NamesMessagesByLease(Broken):
    class subscription(MemorySubscription):  # noqa: N801
        def _deliver(self, entry):
            self.held[entry.number] = entry
            return memory.delivery(entry.message, str(entry.number), entry.published, entry.attempt, entry.number)


async def nack_forgets(self, leases, delay):
    self._pop(leases)


async def nack_at_once(self, leases, delay):
    await MemorySubscription.nack(self, leases, 0.0)


async def nack_is_release(self, leases, delay):
    await MemorySubscription.release(self, leases)


def gives_nothing_up(self):
    return []


class AlwaysExpired(Broken):
    """Leases end though the loop turns."""

    class subscription(MemorySubscription):  # noqa: N801
        alive_until = property(lambda self: self.__dict__.setdefault("end", time.monotonic() + 0.5), lambda *_: None)


class AcksForOthers(Broken):
    """What a receiver once held, it may ack for ever."""

    class subscription(MemorySubscription):  # noqa: N801
        async def ack(self, leases):
            numbers = {self.__dict__.setdefault("all", {}).get(lease) for lease in leases}
            for other in self._queue.receivers:
                for lease in [lease for lease, entry in other.held.items() if entry.number in numbers]:
                    del other.held[lease]

        def _deliver(self, entry):
            one = super()._deliver(entry)
            self.__dict__.setdefault("all", {})[one.lease] = entry.number
            return one


async def fetch_loses_what_is_cancelled(self, room, timeout):
    got = await MemorySubscription.fetch(self, room, timeout)
    for one in got:
        self._pop([one.lease])
    for _ in range(5):  # a wide enough gap for some cancellation to hit
        await asyncio.sleep(0)
    for one in got:
        self.held[one.lease] = memory._Entry(int(one.id), one.message, one.published, one.attempt)
    return got


async def close_drops(self):
    self.held.clear()
    await MemorySubscription.close(self)


async def close_keeps(self):
    self._closed = True
    self._changed.set()
    self._heart.cancel()


async def close_counts(self):
    for entry in self.held.values():
        entry.attempt += 1
    await MemorySubscription.close(self)


async def close_hangs(self):
    await MemorySubscription.close(self)
    await asyncio.sleep(1)


async def fetch_any_key(self, room, timeout):
    others = self._queue.receivers - {self}
    self._queue.receivers -= others
    try:
        if got := await MemorySubscription.fetch(self, room, 0.0):
            return got
    finally:
        self._queue.receivers |= others
    return await MemorySubscription.fetch(self, room, timeout)


async def fetch_in_any_order(self, room, timeout):
    numbers = list(range(len(self._queue.waiting)))
    random.shuffle(numbers)
    for entry, number in zip(self._queue.waiting, numbers, strict=True):
        entry.number = number
    return await MemorySubscription.fetch(self, room, timeout)


async def fetch_too_much(self, room, timeout):
    return await MemorySubscription.fetch(self, room + 1, timeout)


async def fetch_waits_until_full(self, room, timeout):
    got = []
    while len(got) < room:
        got += await MemorySubscription.fetch(self, room - len(got), None)
    return got


async def fetch_spins(self, room, timeout):
    ends = float("inf") if timeout is None else time.monotonic() + timeout
    while time.monotonic() < ends:
        if got := await MemorySubscription.fetch(self, room, 0.0):
            return got
    return []


async def fetch_goes_on_after_close(self, room, timeout):
    got = await MemorySubscription.fetch(self, room, timeout)
    if not got and timeout is None:
        await asyncio.Event().wait()
    return got


class MakesWhatIsMissing(Broken):
    async def send(self, topic, messages):
        memory._topics.setdefault(topic, {})
        return await super().send(topic, messages)

    async def attach(self, topic, subscription, *, ack_deadline, prefetch, lost):
        await self.declare(topic, {subscription: None}, create=True)
        return await super().attach(topic, subscription, ack_deadline=ack_deadline, prefetch=prefetch, lost=lost)


class SameIds(Broken):
    async def send(self, topic, messages):
        return ["1" for _ in await super().send(topic, messages)]


DRIVERS = {
    "decodes-data": (DecodesData, "test_bytes_of_every_value_come_out_equal"),
    "drops-empty-attributes": (DropsEmptyAttributes, "test_attributes_of_any_text_come_out_equal"),
    "strips-text": (StripsText, "test_keys_of_any_text_come_out_equal"),
    "same-ids": (SameIds, "test_ids_are_one_a_message_in_the_order_given"),
    "declares-anew": (DeclaresAnew, "test_declaring_again_leaves_what_waits"),
    "drops-what-nobody-awaits": (DropsWhatNobodyAwaits, "test_messages_wait_for_a_receiver"),
    "serves-the-first-subscription": (ServesTheFirstSubscription, "test_each_subscription_gets_all"),
    "broadcasts": (Broadcasts, "test_receivers_of_one_subscription_share"),
    "confirms-early": (ConfirmsEarly, "test_what_was_sent_is_there_when_the_sender_has_gone"),
    "sends-the-first": (SendsTheFirst, "test_a_thousand_messages_of_one_send_arrive"),
    "acks-all-before": (
        subscribing(ack=acks_all_before),
        "test_acks_in_any_order_settle_their_own_messages_and_no_others",
    ),
    "acks-nothing": (subscribing(ack=acks_nothing), "test_close_sends_the_acks_that_it_holds"),
    "acks-later": (subscribing(ack=acks_later), "test_close_sends_the_acks_that_it_holds"),
    "names-messages-by-lease": (NamesMessagesByLease, "test_ack_of_an_earlier_hand_out_changes_nothing"),
    "nack-forgets": (
        subscribing(nack=nack_forgets),
        "test_nacked_message_is_delivered_again_and_its_attempt_counted",
    ),
    "nack-at-once": (subscribing(nack=nack_at_once), "test_nacked_message_waits_for_its_delay"),
    "nack-is-release": (subscribing(nack=nack_is_release), "test_message_nacked_so_often_is_a_dead_letter"),
    "gives-nothing-up": (
        subscribing(give_up=gives_nothing_up),
        "test_messages_of_a_receiver_whose_loop_stands_still_come_to_the_others",
    ),
    "always-expired": (AlwaysExpired, "test_slow_handler_keeps_its_message_while_its_loop_turns"),
    "acks-for-others": (
        AcksForOthers,
        "test_late_acks_and_nacks_of_a_receiver_that_stood_still_change_nothing",
    ),
    "loses-what-is-cancelled": (
        subscribing(fetch=fetch_loses_what_is_cancelled),
        "test_cancelled_receives_lose_nothing_and_repeat_nothing",
    ),
    "close-drops": (
        subscribing(close=close_drops),
        "test_receivers_that_come_and_go_with_messages_in_flight_lose_nothing",
    ),
    "close-keeps": (subscribing(close=close_keeps), "test_close_gives_back_at_once_what_is_not_acked"),
    "close-counts": (subscribing(close=close_counts), "test_closing_counts_no_attempt"),
    "close-hangs": (subscribing(close=close_hangs), "test_close_takes_seconds_with_much_in_flight"),
    "takes-any-key": (subscribing(fetch=fetch_any_key), "test_key_is_in_flight_at_one_receiver_at_a_time"),
    "takes-any-order": (subscribing(fetch=fetch_in_any_order), "test_messages_of_a_key_arrive_in_order"),
    "takes-too-much": (subscribing(fetch=fetch_too_much), "test_no_more_are_in_flight_than_allowed"),
    "waits-until-full": (subscribing(fetch=fetch_waits_until_full), "test_receive_returns_with_the_first_message"),
    "spins": (subscribing(fetch=fetch_spins), "test_waiting_takes_no_processor_time"),
    "goes-on-after-close": (
        subscribing(fetch=fetch_goes_on_after_close),
        "test_receives_that_wait_end_when_the_subscription_closes",
    ),
    "makes-what-is-missing": (MakesWhatIsMissing, "test_undeclared_topic_is_not_found"),
    "makes-subscriptions": (MakesWhatIsMissing, "test_undeclared_subscription_is_not_found"),
}
for _name, (_driver, _) in DRIVERS.items():
    globals()[_name.replace("-", "_")] = _driver
