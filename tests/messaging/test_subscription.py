"""The portable half of a receiver, over drivers of a few lines that fail when they are told to."""

import asyncio
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionbus.messaging import Bus, ClosedError, Message, Retry, SendError, TooLargeError, UnavailableError, connect
from visionbus.messaging.dead_letters import original
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.memory import MemoryDriver

MEMORY = Address("memory", "", "", {})


@pytest.fixture
def topic():
    return f"images-{uuid.uuid4().hex}"


class Failing(MemoryDriver):
    keeps_acked = True

    """Does not take dead letters, as often as it is told."""

    def __init__(self, *failures):
        super().__init__(MEMORY)
        self.failures = list(failures)
        self.letters = []

    async def send(self, topic, messages):
        if topic.endswith(".dead"):
            if self.failures:
                raise self.failures.pop(0)(messages)
            self.letters += [message.data for message in messages]
        return await super().send(topic, messages)


def all_fail(messages):
    return UnavailableError("the broker is away")


def first_fails(messages):
    return SendError([(messages[0], UnavailableError("no room for this one"))])


async def receiving(bus, topic, count, **options):
    """Declare, send numbers, and take them all."""
    await bus.declare(topic, "workers")
    await bus.send(topic, *(Message(b"%d" % number) for number in range(count)))
    receiver = await bus.subscribe(topic, "workers", **options).__aenter__()
    taken = []
    while len(taken) < count:
        taken += await receiver.receive(count)
    return receiver, taken


async def left(bus, topic):
    """Tell what another receiver gets."""
    async with bus.subscribe(topic, "workers") as other:
        return sorted(one.message.data for one in await other.receive(100, timeout=0.0))


def test_dead_letter_that_was_not_taken_leaves_its_message_in_flight(topic):
    async def main():
        driver = Failing(all_fail)
        async with Bus(driver) as bus:
            receiver, taken = await receiving(bus, topic, 2)
            with pytest.raises(UnavailableError, match="away"):
                await receiver.reject(*taken, reason="bad")
            assert (driver.letters, await left(bus, topic)) == ([], [])
            await receiver.reject(*taken, reason="bad")
            await receiver.close()
            return driver.letters, await left(bus, topic)

    assert asyncio.run(main()) == ([b"0", b"1"], [])


def test_only_those_whose_dead_letters_are_confirmed_are_acked(topic):
    async def main():
        driver = Failing(first_fails)
        async with Bus(driver) as bus:
            receiver, taken = await receiving(bus, topic, 3, max_in_flight=3)
            with pytest.raises(SendError, match="no room"):
                await receiver.reject(*taken, reason="bad")
            await bus.send(topic, Message(b"3"), Message(b"4"), Message(b"5"))
            assert len(await receiver.receive(3)) == 2, "two have made room"
            await receiver.close()
            return await left(bus, topic)

    assert asyncio.run(main()) == [b"0", b"3", b"4", b"5"]


def first_two_are_too_large(messages):
    return SendError([(message, TooLargeError("over the broker's limit")) for message in messages[:2]])


def all_are_too_large(messages):
    return TooLargeError("over the broker's limit")


@pytest.mark.parametrize(("failure", "large"), [(first_two_are_too_large, 2), (all_are_too_large, 3)])
def test_dead_letter_that_is_too_large_for_the_broker_goes_without_its_data(topic, failure, large):
    async def main():
        async with Bus(Failing(failure)) as bus:
            receiver, taken = await receiving(bus, topic, 3)
            await receiver.reject(*taken, reason="bad")
            await receiver.close()
            async with bus.subscribe(f"{topic}.workers.dead", "dead-letters") as letters:
                return await left(bus, topic), [one.message for one in await letters.receive(10)]

    remaining, letters = asyncio.run(main())
    assert remaining == []
    assert [(one.data, one.attributes["visionbus-data-left-out"]) for one in letters] == [(b"", "1")] * large
    with pytest.raises(ValueError, match=f"in the topic {topic}"):
        original(letters[0])


def test_dead_letter_that_is_too_large_leaves_its_message_in_flight_where_nobody_else_has_it(topic, monkeypatch):
    monkeypatch.setattr(Failing, "keeps_acked", False)

    async def main():
        driver = Failing(all_are_too_large)
        async with Bus(driver) as bus:
            receiver, taken = await receiving(bus, topic, 2)
            with pytest.raises(SendError, match="limit"):
                await receiver.reject(*taken, reason="bad")
            await receiver.close()
            return driver.letters, await left(bus, topic)

    assert asyncio.run(main()) == ([], [b"0", b"1"])


def test_dead_letter_that_is_too_large_even_without_its_data_leaves_its_message_in_flight(topic):
    async def main():
        driver = Failing(all_are_too_large, all_are_too_large)
        async with Bus(driver) as bus:
            receiver, taken = await receiving(bus, topic, 2)
            with pytest.raises(SendError, match="limit"):
                await receiver.reject(*taken, reason="bad")
            await receiver.close()
            return driver.letters, await left(bus, topic)

    assert asyncio.run(main()) == ([], [b"0", b"1"])


def test_last_nack_fails_as_its_dead_letter_does(topic):
    async def main():
        async with Bus(Failing(all_fail)) as bus:
            receiver, taken = await receiving(bus, topic, 1, retry=Retry(max_attempts=1))
            with pytest.raises(UnavailableError):
                await receiver.nack(*taken)
            await receiver.close()
            return await left(bus, topic)

    assert asyncio.run(main()) == [b"0"]


@pytest.mark.slow
def test_expired_message_whose_dead_letter_is_not_taken_is_tried_again(topic, caplog):
    async def main():
        driver = Failing(all_fail)
        async with Bus(driver) as bus:
            await receiving(bus, topic, 1, retry=Retry(max_attempts=1), max_lease=0.05)
            async with bus.subscribe(f"{topic}.workers.dead", "dead-letters") as letters:
                await letters.receive()
        return driver.letters

    assert asyncio.run(main()) == [b"0"]
    assert "cannot be taken back yet: the broker is away" in caplog.text


def test_dead_letter_on_its_way_is_not_sent_a_second_time(topic):
    class Slow(Failing):
        async def send(self, topic, messages):
            if topic.endswith(".dead"):
                self.asked.set()
                await self.go.wait()
            return await super().send(topic, messages)

    async def main():
        driver = Slow()
        driver.asked, driver.go = asyncio.Event(), asyncio.Event()
        async with Bus(driver) as bus:
            receiver, taken = await receiving(bus, topic, 1, retry=Retry(max_attempts=1))
            nacking = asyncio.create_task(receiver.nack(*taken))
            await driver.asked.wait()
            await receiver.nack(*taken)
            await receiver.reject(*taken, reason="again")
            driver.go.set()
            await nacking
        return driver.letters

    assert asyncio.run(main()) == [b"0"]


def test_expiry_does_not_spin_while_a_dead_letter_is_on_its_way(topic):
    class Stuck(Failing):
        async def send(self, topic, messages):
            if topic.endswith(".dead"):
                self.asked.set()
                await asyncio.Event().wait()
            return await super().send(topic, messages)

    async def main():
        driver = Stuck()
        driver.asked = asyncio.Event()
        async with Bus(driver) as bus:
            receiver, taken = await receiving(bus, topic, 1, max_lease=0.05)
            rejecting = asyncio.create_task(receiver.reject(*taken, reason="bad"))
            await driver.asked.wait()
            looks = 0
            held = receiver._held

            def counted(deliveries):
                nonlocal looks
                looks += 1
                return held(deliveries)

            receiver._held = counted
            await asyncio.wait([rejecting], timeout=0.3)
            rejecting.cancel()
            return looks

    assert asyncio.run(main()) < 50


def test_delivery_given_twice_is_buried_once(topic):
    async def main():
        driver = Failing()
        async with Bus(driver) as bus:
            receiver, (one,) = await receiving(bus, topic, 1)
            await receiver.reject(one, one, reason="bad")
        return driver.letters

    assert asyncio.run(main()) == [b"0"]


def test_own_attributes_are_stripped_on_receipt(topic):
    async def main():
        async with connect("memory://") as bus:
            receiver, taken = await receiving(bus, topic, 1)
            await receiver.reject(*taken, reason="bad")
            async with bus.subscribe(f"{topic}.workers.dead", "dead-letters") as letters:
                (letter,) = await letters.receive()
            await bus.send(topic, letter.message)
            (again,) = await receiver.receive()
            return letter.message.attributes["visionbus-reason"], again.message

    assert asyncio.run(main()) == ("bad", Message(b"0"))


@given(st.integers(0, 30), st.sampled_from([0.0, 0.001, 0.01]), st.integers(1, 5))
@settings(max_examples=60)
def test_cancelling_a_receive_at_any_point_loses_and_repeats_nothing(turns, linger, most):
    topic = f"images-{uuid.uuid4().hex}"

    async def main():
        async with connect("memory://") as bus:
            await bus.declare(topic, "workers")
            async with bus.subscribe(topic, "workers") as receiver:
                task = asyncio.create_task(receiver.receive(most, linger=linger))
                sending = asyncio.create_task(bus.send(topic, *(Message(b"%d" % number) for number in range(5))))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task, sending])
                got = [] if task.cancelled() else task.result()
                while len(got) < 5:
                    got += await receiver.receive(5)
                return sorted(one.message.data for one in got)

    assert asyncio.run(main()) == [b"0", b"1", b"2", b"3", b"4"]


def test_cancelled_close_can_be_finished(topic):
    class Slow(MemoryDriver):
        closings = 0

        async def attach(self, *arguments, **options):
            attached = await super().attach(*arguments, **options)
            close = attached.close

            async def slow():
                Slow.closings += 1
                if Slow.closings == 1:
                    await asyncio.Event().wait()
                await close()

            attached.close = slow
            return attached

    async def main():
        async with Bus(Slow(MEMORY)) as bus:
            receiver, _ = await receiving(bus, topic, 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await receiver.close()
            with pytest.raises(ClosedError):
                await receiver.receive()
            await receiver.close()
            return await left(bus, topic)

    assert asyncio.run(main()) == [b"0"]


def test_lost_messages_make_room_and_their_acks_change_nothing(topic):
    async def main():
        async with connect("memory://") as bus:
            receiver, taken = await receiving(bus, topic, 3, max_in_flight=3)
            receiver._attached._lost([one.lease for one in taken[:2]])
            await bus.send(topic, Message(b"3"))
            assert [one.message.data for one in await receiver.receive(3)] == [b"3"]
            await receiver.ack(*taken)
            await receiver.close()
            return await left(bus, topic)

    assert asyncio.run(main()) == [b"0", b"1", b"3"]


@pytest.mark.parametrize("delay", [None, 0.5])
def test_delays_of_nacks_grow_as_retry_says_unless_one_is_given(topic, delay):
    class Noting(MemoryDriver):
        async def attach(self, *arguments, **options):
            attached = await super().attach(*arguments, **options)
            nack = attached.nack
            self.delays = []

            async def noted(leases, delay):
                self.delays.append(delay)
                await nack(leases, 0.0)

            attached.nack = noted
            return attached

    async def main():
        driver = Noting(MEMORY)
        async with Bus(driver) as bus:
            retry = Retry(max_attempts=5, delay=1.0, factor=3.0, max_delay=10.0)
            receiver, (one,) = await receiving(bus, topic, 1, retry=retry)
            for _ in range(4):
                await receiver.nack(one, delay=delay)
                (one,) = await receiver.receive()
        return driver.delays

    assert asyncio.run(main()) == ([1.0, 3.0, 9.0, 10.0] if delay is None else [0.5] * 4)


def test_receivers_that_wait_are_served_in_the_order_they_came(topic):
    async def main():
        async with connect("memory://") as bus:
            await bus.declare(topic, "workers")
            async with bus.subscribe(topic, "workers") as receiver:
                waiting = []
                for _ in range(4):
                    waiting.append(asyncio.create_task(receiver.receive()))
                    await asyncio.sleep(0)
                for number in range(4):
                    await bus.send(topic, Message(b"%d" % number))
                return [one.message.data for task in waiting for one in await task]

    assert asyncio.run(main()) == [b"0", b"1", b"2", b"3"]
