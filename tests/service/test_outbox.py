import asyncio

import pytest

from visionbus.messaging import Message
from visionbus.service.outbox import MAX_BYTES, MAX_MESSAGES, Outbox


def messages(count, size=1):
    return [Message(bytes(size)) for _ in range(count)]


async def test_batch_is_what_is_there():
    outbox = Outbox()
    given = messages(3)
    await outbox.put(given)
    assert await outbox.take() == given


async def test_end_comes_after_what_is_there():
    outbox = Outbox()
    await outbox.put(messages(1))
    await outbox.end()
    assert len(await outbox.take()) == 1
    assert await outbox.take() == []


@pytest.mark.parametrize(("size", "most"), [(1, MAX_MESSAGES), (MAX_BYTES // 4, 4), (2 * MAX_BYTES, 1)])
async def test_batches_and_what_waits_are_bounded_in_count_and_bytes(size, most):
    outbox = Outbox()
    taken = []
    async with asyncio.TaskGroup() as group:
        putting = group.create_task(outbox.put(messages(2 * most + 1, size)))
        while len(taken) < 2 * most + 1:
            batch = await outbox.take()
            assert len(outbox._waiting) <= most
            assert 1 <= len(batch) <= most
            taken += batch
            await asyncio.sleep(0)
    assert putting.done()


async def test_take_waits_for_the_first():
    outbox = Outbox()
    taking = asyncio.create_task(outbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    await outbox.put(messages(1))
    assert len(await taking) == 1
