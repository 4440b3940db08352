"""Promise 7, within one process: nothing is lost when receivers are cancelled, are closed, or come and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import contents, finish, numbered, take

if TYPE_CHECKING:
    from visionbus.messaging.conformance.trial import Trial
    from visionbus.messaging.message import Delivery
    from visionbus.messaging.subscription import Subscription


async def _cancelled_after(turns: int, receiver: Subscription, most: int, linger: float) -> list[Delivery]:
    """Cancel a receive after so many turns of the loop; give what it returned if it was faster."""
    receiving = asyncio.create_task(receiver.receive(most, linger=linger))
    for _ in range(turns):
        await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait([receiving])
    return [] if receiving.cancelled() else receiving.result()


@promise(7)
async def test_cancelled_receives_lose_nothing_and_repeat_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic)
    got: list[bytes] = []
    for start in range(0, 200, 5):
        await bus.send(topic, *numbered(5, prefix=f"{start}-"))
        linger = trial.random.choice((0.0, 0.01))
        batch = await _cancelled_after(trial.random.randrange(12), receiver, trial.random.randrange(1, 9), linger)
        got += contents(batch)
        await receiver.ack(*batch)
    while len(got) < 200:
        batch = await receiver.receive(50)
        got += contents(batch)
        await receiver.ack(*batch)
    assert len(set(got)) == 200


@promise(7)
async def test_receives_of_which_some_are_cancelled_share_without_loss(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    receiver = await trial.receiver(topic)
    got: list[bytes] = []

    async def receive() -> None:
        batch = await receiver.receive(2)
        got.extend(contents(batch))
        await asyncio.shield(receiver.ack(*batch))

    for start in range(0, 100, 10):
        tasks = [asyncio.create_task(receive()) for _ in range(5)]
        await asyncio.sleep(0)
        await bus.send(topic, *numbered(10, prefix=f"{start}-"))
        for task in trial.random.sample(tasks, 3):
            task.cancel()
        for task in tasks:
            if not task.cancelling():
                await task
        await asyncio.wait(tasks)
    while len(got) < 100:
        await receive()
    assert len(set(got)) == 100


@promise(7, 12)
async def test_what_a_cancelled_receive_had_gathered_comes_to_the_others_at_once(trial: Trial) -> None:
    topic = await trial.topic()
    receiver = await trial.receiver(topic, ack_deadline=600.0)
    other = await trial.receiver(topic)
    await trial.send(topic, *numbered(5))
    lingering = asyncio.create_task(receiver.receive(10, linger=600.0))
    await asyncio.wait({lingering}, timeout=0.2)  # it has the time to gather; whether it did, the others get all
    lingering.cancel()
    await asyncio.wait([lingering])
    again = await finish(other, 5)
    assert {one.attempt for one in again} == {1}


@promise(7)
async def test_receivers_that_come_and_go_with_messages_in_flight_lose_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(300), *(message for key in "abc" for message in numbered(50, key, f"{key}-")))
    acked: set[bytes] = set()

    async def visit() -> None:
        receiver = await trial.receiver(topic)
        for _ in range(trial.random.randrange(1, 4)):
            batch = await receiver.receive(trial.random.randrange(1, 40), timeout=0.05)
            done = trial.random.sample(batch, len(batch) // 2 + len(batch) % 2)
            await receiver.ack(*done)
            acked.update(contents(done))
        await receiver.close()

    while len(acked) < 450:
        await asyncio.gather(*(visit() for _ in range(4)))


@promise(7)
async def test_receiver_whose_task_is_cancelled_gives_back_what_it_held(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(10))
    bus = await trial.bus()
    holding = asyncio.Event()

    async def hold() -> None:
        async with bus.subscribe(topic, "workers", ack_deadline=600.0) as receiver:
            await take(receiver, 10)
            holding.set()
            await receiver.receive()

    task = asyncio.create_task(hold())
    await holding.wait()
    task.cancel()
    await asyncio.wait([task])
    again = await finish(await trial.receiver(topic), 10)
    assert sorted(contents(again)) == sorted(contents(numbered(10)))


@promise(7)
async def test_all_survives_that_every_connection_closes(trial: Trial) -> None:
    topic = await trial.topic()
    for round_ in range(5):
        await trial.send(topic, *numbered(10, prefix=f"{round_}-"))
        receiver = await trial.receiver(topic)
        taken = await take(receiver, 5)
        await receiver.ack(*taken)
        await receiver.close()
    received = await finish(await trial.receiver(topic), 25)
    assert len(set(contents(received))) == 25
