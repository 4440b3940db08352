"""A receiver or a sender in a process of its own, to be killed and frozen; it says on standard output what it does.

It is run as a file, not as a module, so that it starts without importing pytest.

    worker.py receive URL TOPIC SUBSCRIPTION OPTIONS    -> "joined", "got DATA ATTEMPT", "acked DATA", "peak BYTES"
    worker.py send URL TOPIC PREFIX                     -> "confirmed DATA"

It ends when standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from visionbus.messaging import ClosedError, Message, Retry, connect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from visionbus.messaging import Delivery, Subscription

GATHER = 10.0  # seconds within which a batch that is held is to become full
BAD = b"bad"  # data that begins so is nacked, always


def say(lines: Iterable[str]) -> None:
    """Write lines at once: whoever reads has them whatever happens to this process."""
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


async def standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def handle(receiver: Subscription, batch: list[Delivery]) -> None:
    """Settle a batch in random order and in parts."""
    left = random.sample(batch, len(batch))
    while left:
        some = [left.pop() for _ in range(random.randint(1, len(left)))]  # noqa: S311
        await asyncio.sleep(random.random() * 0.01)  # noqa: S311 (the work)
        await receiver.nack(*(one for one in some if one.message.data.startswith(BAD)))
        good = [one for one in some if not one.message.data.startswith(BAD)]
        await receiver.ack(*good)
        say(f"acked {one.message.data.decode()}" for one in good)


async def receive(url: str, topic: str, subscription: str, options: str) -> None:
    """Receive and settle; where `hold` is set, settle each batch only when a line comes in."""
    settings = json.loads(options)
    control = await standard_input()
    receiver = connect(url).subscribe(
        topic,
        subscription,
        ack_deadline=settings["ack_deadline"],
        max_in_flight=settings["max_in_flight"],
        retry=Retry(max_attempts=settings["max_attempts"], delay=0.0),
    )
    async with receiver:
        say(["joined", f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}"])
        work = asyncio.create_task(_receive(receiver, settings["batch"], control if settings["hold"] else None))
        if not settings["hold"]:
            await control.read()
            await receiver.close()
        with suppress(ClosedError):
            await work


async def _receive(receiver: Subscription, batch_size: int, control: asyncio.StreamReader | None) -> None:
    while True:
        batch = await receiver.receive(batch_size, linger=GATHER if control else 0.0)
        say(f"got {one.message.data[:40].decode()} {one.attempt}" for one in batch)
        if control and not await control.readline():
            return
        await handle(receiver, batch)
        say([f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}"])


async def send(url: str, topic: str, prefix: str) -> None:
    """Send numbers after the prefix, several at a time, and say what is confirmed."""
    control = await standard_input()
    async with connect(url) as bus:
        ending = asyncio.create_task(control.read())
        numbers = count()
        while not ending.done():
            data = [f"{prefix}{next(numbers)}" for _ in range(random.randint(1, 20))]  # noqa: S311
            await bus.send(topic, *(Message(one.encode()) for one in data))
            say(f"confirmed {one}" for one in data)


if __name__ == "__main__":
    asyncio.run((receive if sys.argv[1] == "receive" else send)(*sys.argv[2:]))
