"""The portable half of a bus, over drivers of a few lines that fail in ways no broker fails on order."""

import asyncio
import uuid

import pytest

from visionbus.messaging import (
    Bus,
    ClosedError,
    Message,
    MessagingError,
    NotFoundError,
    SendError,
    TooLargeError,
    UnavailableError,
    connect,
)
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.memory import MemoryDriver

MEMORY = Address("memory", "", "", {})


@pytest.fixture
def topic():
    return f"images-{uuid.uuid4().hex}"


class Recording(MemoryDriver):
    """Keeps what is asked of it."""

    def __init__(self, address=MEMORY):
        super().__init__(address)
        self.calls = []

    async def declare(self, topic, subscriptions, *, create):
        self.calls.append((topic, dict(subscriptions), create))
        await super().declare(topic, subscriptions, create=create)

    async def send(self, topic, messages):
        self.calls.append(("send", topic, list(messages)))
        return await super().send(topic, messages)


def test_dead_letter_topic_is_there_before_its_subscription(topic):
    driver = Recording()
    asyncio.run(Bus(driver).declare(topic, "one", "two"))
    assert driver.calls == [
        (topic, {}, True),
        (f"{topic}.one.dead", {"dead-letters": None}, True),
        (f"{topic}.two.dead", {"dead-letters": None}, True),
        (topic, {"one": f"{topic}.one.dead", "two": f"{topic}.two.dead"}, False),
    ]


def test_bus_of_another_event_loop_says_so(topic):
    bus = connect("memory://")
    asyncio.run(bus.declare(topic))
    with pytest.raises(MessagingError, match="another event loop"):
        asyncio.run(bus.send(topic, Message(b"data")))


@pytest.mark.parametrize("most", [0, 2.5, float("nan"), 10**30])
def test_what_is_no_number_of_messages_in_flight_is_refused(topic, most):
    with pytest.raises(ValueError, match=r"max_in_flight is .*; it must be a whole number, 1 to"):
        connect("memory://").subscribe(topic, "workers", max_in_flight=most)


def test_topic_alone_is_one_call(topic):
    driver = Recording()
    asyncio.run(Bus(driver).declare(topic))
    assert driver.calls == [(topic, {}, True)]


def test_topic_of_another_program_may_be_called_as_it_likes(topic):
    theirs = f"1_{topic}!"

    async def main():
        driver = Recording()
        await MemoryDriver.declare(driver, theirs, {}, create=True)
        async with Bus(driver) as bus:
            await bus.declare(theirs, "workers")
            await bus.send(theirs, Message(b"data"))
            async with bus.subscribe(theirs, "workers") as receiver:
                (one,) = await receiver.receive()
        return one.message.data, driver.calls[0]

    assert asyncio.run(main()) == (b"data", (theirs, {}, False))


def test_bad_name_of_no_topic_explains_the_name_when_subscribing(topic):
    async def main():
        async with connect("memory://") as bus:
            await bus.subscribe(f"1_{topic}", "workers").__aenter__()

    with pytest.raises(ValueError, match="not a valid name"):
        asyncio.run(main())


def test_nothing_is_sent_where_one_message_is_too_large(topic):
    driver = Recording()
    with pytest.raises(TooLargeError, match=r"message 1 of 3 has 11 bytes, over 10.*nothing of this call was sent"):
        asyncio.run(Bus(driver, 10).send(topic, Message(b"1"), Message(b"12345", "12345", {"6": ""}), Message(b"3")))
    assert driver.calls == []


def test_what_is_no_message_is_refused(topic):
    driver = Recording()
    with pytest.raises(TypeError, match="message 1 is bytes"):
        asyncio.run(Bus(driver).send(topic, Message(b""), b"data"))
    assert driver.calls == []


def test_partial_failure_names_the_unconfirmed_and_their_reasons(topic):
    messages = [Message(b"0"), Message(b"1"), Message(b"2")]

    class HalfFull(Recording):
        async def send(self, topic, messages):
            raise SendError([(messages[2], UnavailableError("no room"))])

    with pytest.raises(SendError, match=r"1 messages are not confirmed.*no room") as caught:
        asyncio.run(Bus(HalfFull()).send(topic, *messages))
    ((message, reason),) = caught.value.unconfirmed
    assert message is messages[2]
    assert isinstance(reason, UnavailableError)


def test_close_reaches_the_driver_though_a_subscription_fails_to_close(topic):
    class Stubborn(Recording):
        async def attach(self, *arguments, **options):
            attached = await super().attach(*arguments, **options)

            async def close():
                await type(attached).close(attached)
                raise UnavailableError("gone")

            attached.close = close
            return attached

        async def close(self):
            self.calls.append("closed")

    driver = Stubborn()

    async def main():
        bus = Bus(driver)
        await bus.declare(topic, "workers")
        await bus.subscribe(topic, "workers").__aenter__()
        await bus.close()

    with pytest.raises(UnavailableError, match="gone"):
        asyncio.run(main())
    assert driver.calls[-1] == "closed"


def test_close_that_is_cancelled_reaches_the_driver(topic):
    closed = []

    class Slow(Recording):
        async def attach(self, *arguments, **options):
            attached = await super().attach(*arguments, **options)
            attached.close = asyncio.Event().wait
            return attached

        async def close(self):
            closed.append(True)

    async def main():
        bus = Bus(Slow())
        await bus.declare(topic, "workers")
        await bus.subscribe(topic, "workers").__aenter__()
        async with asyncio.timeout(0.05):
            await bus.close()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert closed == [True]


def test_bus_closed_while_a_subscription_is_entered_leaves_nothing_attached(topic):
    class SlowToAttach(Recording):
        def __init__(self):
            super().__init__()
            self.attached = []
            self.asked, self.go = asyncio.Event(), asyncio.Event()

        async def attach(self, *arguments, **options):
            self.asked.set()
            await self.go.wait()
            self.attached.append(await super().attach(*arguments, **options))
            return self.attached[0]

    async def main():
        driver = SlowToAttach()
        bus = Bus(driver)
        await bus.declare(topic, "workers")
        entering = asyncio.create_task(bus.subscribe(topic, "workers").__aenter__())
        await driver.asked.wait()
        await bus.close()
        driver.go.set()
        with pytest.raises(ClosedError):
            await entering
        return driver.attached[0]._closed

    assert asyncio.run(main())


def test_unknown_topic_of_good_name_is_not_found(topic):
    async def main():
        async with connect("memory://") as bus:
            await bus.send(topic, Message(b""))

    with pytest.raises(NotFoundError, match=r"declare it first"):
        asyncio.run(main())
