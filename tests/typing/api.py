"""What a program may write, as mypy sees it: checked by `make check`, never run."""

from __future__ import annotations

from typing import assert_type

from visionbus.messaging import (
    Bus,
    Delivery,
    Message,
    MessagingError,
    Retry,
    SendError,
    Subscription,
    connect,
    connect_blocking,
)


async def asynchronous() -> None:
    async with connect() as bus:
        assert_type(bus, Bus)
        await bus.declare("images", "workers", "audit")
        assert_type(await bus.send("images", Message(b"data", key="k", attributes={"a": "b"})), list[str])
        async with bus.subscribe("images", "workers", ack_deadline=10, retry=Retry(max_attempts=3)) as subscription:
            assert_type(subscription, Subscription)
            assert_type(await subscription.receive(10, linger=0.1, timeout=1), list[Delivery])
            async for delivery in subscription:
                assert_type(delivery, Delivery)
                await subscription.nack(delivery, delay=1)
                await subscription.reject(delivery, reason="unreadable")


def blocking() -> None:
    with connect_blocking("memory://") as bus, bus.subscribe("images", "workers") as subscription:
        assert_type(bus.send("images", Message(b"data")), list[str])
        for delivery in subscription:
            assert_type(delivery.message.data, bytes)
            subscription.ack(delivery)


def reasons(error: SendError) -> list[tuple[Message, MessagingError]]:
    return list(error.unconfirmed)
