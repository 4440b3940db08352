"""The producer where no broker answers."""

import asyncio

import pytest

from visionbus.brokers.ports import free_ports
from visionbus.messaging import ClosedError, MessagingError, SendError
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.kafka.producer import Producer
from visionbus.messaging.drivers.kafka.settings import KafkaSettings
from visionbus.messaging.message import Message


def producer_without_broker():
    """A producer with room for ten records."""
    (port,) = free_ports(1)
    address = Address.parse(f"kafka://127.0.0.1:{port}?rdkafka.queue.buffering.max.messages=10")
    return Producer(KafkaSettings.parse(address))


@pytest.mark.slow
def test_send_that_waits_for_room_ends_when_the_bus_closes():
    messages = [Message(b"%d" % number) for number in range(30)]

    async def send_and_close():
        producer = producer_without_broker()
        sending = asyncio.create_task(producer.send("images", messages))
        await asyncio.wait([sending], timeout=0.5)
        assert not sending.done()
        await producer.close()
        await asyncio.wait_for(sending, 30.0)

    with pytest.raises(SendError) as caught:
        asyncio.run(send_and_close())
    assert [message for message, _ in caught.value.unconfirmed] == messages


@pytest.mark.slow
def test_close_during_the_first_send_leaves_nothing_behind():
    async def send_and_close():
        producer = producer_without_broker()
        sending = asyncio.create_task(producer.send("images", [Message(b"data")]))
        await asyncio.sleep(0)
        await producer.close()
        with pytest.raises(MessagingError):
            await asyncio.wait_for(sending, 30.0)
        with pytest.raises(ClosedError):
            await producer.send("images", [Message(b"late")])

    asyncio.run(send_and_close())
