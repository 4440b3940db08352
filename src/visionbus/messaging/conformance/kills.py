"""Promises 4, 6, 7, 9 and 10 where processes die and freeze: receivers and senders are killed at random moments."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from visionbus.messaging.conformance.crew import Crew
from visionbus.messaging.conformance.promises import promise
from visionbus.messaging.conformance.trial import LEASE, WORKERS, contents, finish, numbered, take
from visionbus.messaging.driver import Address, driver_class
from visionbus.messaging.message import Message

if TYPE_CHECKING:
    from visionbus.messaging.bus import Bus
    from visionbus.messaging.conformance.trial import Trial

LONG = 10.0  # seconds: where leases last as long, few receivers die while they are the only one


async def _nothing_is_left(trial: Trial, topic: str, lease: float, unheard: set[bytes]) -> None:
    """See that nothing comes any more but what may come once more, and that there are no dead letters."""
    receiver = await trial.receiver(topic)
    came: set[bytes] = set()
    while batch := await receiver.receive(10, timeout=2 * lease):
        await receiver.ack(*batch)
        assert came.isdisjoint(contents(batch)), "what was acked here came again"
        came.update(contents(batch))
        assert came <= unheard
    letters = await trial.receiver(f"{topic}.{WORKERS}.dead", "dead-letters")
    assert contents(await letters.receive(10, timeout=0.2)) == []


async def _all_is_settled(trial: Trial, crew: Crew, sent: set[bytes], lease: float) -> None:
    """Wait until the crew has acked all, and the broker has heard of it.

    Some brokers bring, behind a message that comes again, later ones that others have acked (promise 5): there the
    living go on until what the dead and the frozen held has come to them.
    """
    await crew.all_acked(sent)
    if driver_class(Address.parse(trial.url).scheme).redelivers_acked:
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(2 * lease):
                    await _more_comes(crew)


async def _more_comes(crew: Crew) -> None:
    got = crew.count("got")
    await crew.until(lambda: crew.count("got") > got)


async def _lease(trial: Trial, topic: str) -> float:
    """Find out the lease in force where workers ask for a short one, and allow for it."""
    receiver = await trial.receiver(topic, ack_deadline=LEASE)
    await receiver.close()
    return receiver.ack_deadline


async def _send_more(trial: Trial, bus: Bus, topic: str, already: int, count: int) -> set[bytes]:
    """Send further numbers, some with one of five keys."""
    keys = (None, *(f"key-{number}" for number in range(5)))
    messages = [Message(b"%d" % number, trial.random.choice(keys)) for number in range(already, already + count)]
    await bus.send(topic, *messages)
    return set(contents(messages))


async def _work_a_little(trial: Trial, crew: Crew, expected: set[bytes]) -> None:
    """Wait until a random number of messages more were received or acked, or there is nothing left to do."""
    enough = crew.count("got") + crew.count("acked") + trial.random.randrange(1, 120)
    await crew.until(lambda: crew.count("got") + crew.count("acked") >= enough or crew.data("acked") >= expected)


@promise(7, 9, slow=True, processes=True, patience=180.0)
async def test_thirty_random_kills_lose_nothing_and_bury_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    lease = await _lease(trial, topic)
    alone = 10 if lease < LONG else 2  # each of these deaths may cost a lease
    sent: set[bytes] = set()
    async with Crew(trial, topic) as crew:
        for kills in range(30):
            sent |= await _send_more(trial, bus, topic, len(sent), 100)
            while len(crew.living()) < 1 + (kills + 10 - alone) // 10:
                await crew.receiver(batch=trial.random.choice((1, 10, 50)))
            await _work_a_little(trial, crew, sent)
            trial.random.choice(crew.living()).kill()
        await crew.receiver()
        await _all_is_settled(trial, crew, sent, lease)
        await crew.end()
        assert crew.data("acked") == sent
        assert {attempt for worker in crew.workers for _, attempt in worker.said["got"]} == {"1"}
    await _nothing_is_left(trial, topic, lease, crew.unheard())


@promise(7, 9, slow=True, processes=True, patience=60.0)
async def test_failing_messages_are_buried_and_no_others_while_receivers_are_killed(trial: Trial) -> None:
    topic = await trial.topic()
    await _lease(trial, topic)
    good, bad = numbered(900), numbered(50, prefix="bad-")
    messages = [*good, *bad]
    trial.random.shuffle(messages)
    await trial.send(topic, *messages)
    letters = await trial.receiver(f"{topic}.{WORKERS}.dead", "dead-letters")
    async with Crew(trial, topic) as crew:
        for _ in range(10):
            while len(crew.living()) < 2:
                await crew.receiver(batch=20, max_attempts=3)
            await _work_a_little(trial, crew, set(contents(good)))
            trial.random.choice(crew.living()).kill()
        await crew.receiver(batch=20, max_attempts=3)
        dead: set[bytes] = set()
        while len(dead) < len(bad):
            dead.update(contents(await finish(letters, 1)))
        await crew.all_acked(set(contents(good)))
        await crew.end()
        assert crew.data("acked") == {*contents(good)}
        assert dead == {*contents(bad)}


@promise(6, slow=True, processes=True)
async def test_messages_of_a_killed_process_come_to_the_others_as_the_same_attempt(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(20))
    async with Crew(trial, topic) as crew:
        await _lease(trial, topic)
        killed = await crew.receiver(hold=True, batch=20)
        await crew.until(lambda: len(killed.data("got")) == 20)
        other = await trial.receiver(topic, ack_deadline=LEASE)
        killed.kill()
        again = await take(other, 20)
    assert sorted(contents(again)) == sorted(contents(numbered(20)))
    assert {one.attempt for one in again} == {1}


@promise(6, slow=True, processes=True)
async def test_acks_of_a_process_that_was_frozen_past_its_lease_change_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    await trial.send(topic, *numbered(10))
    async with Crew(trial, topic) as crew:
        await _lease(trial, topic)
        frozen = await crew.receiver(hold=True, batch=10)
        await crew.until(lambda: len(frozen.data("got")) == 10)
        frozen.freeze()
        other = await trial.receiver(topic)
        taken = await take(other, 10)
        frozen.go_on()
        frozen.wake()
        await crew.until(lambda: len(frozen.data("acked")) == 10)
        await other.ack(taken[0])
        frozen.kill()
    await other.close()
    again = await finish(await trial.receiver(topic), 9)
    assert sorted(contents(again)) == sorted(contents(taken[1:]))
    assert {one.attempt for one in again} == {1}


@promise(6, 7, slow=True, processes=True, patience=80.0)
async def test_receivers_frozen_and_woken_at_random_lose_nothing(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    lease = await _lease(trial, topic)
    sent: set[bytes] = set()
    async with Crew(trial, topic) as crew:
        workers = [await crew.receiver() for _ in range(3)]
        for _ in range(5):
            sent |= await _send_more(trial, bus, topic, len(sent), 200)
            await _work_a_little(trial, crew, sent)
            frozen = trial.random.choice(workers)
            frozen.freeze()
            with suppress(TimeoutError):  # whoever is frozen while it writes may hold up the others
                async with asyncio.timeout(2 * lease):
                    await crew.all_acked(sent)
            frozen.wake()
        await _all_is_settled(trial, crew, sent, lease)
        await crew.end()
        assert crew.data("acked") == sent
    await _nothing_is_left(trial, topic, lease, crew.unheard())


@promise(4, 7, slow=True, processes=True, patience=60.0)
async def test_what_killed_senders_had_confirmed_is_there(trial: Trial) -> None:
    topic = await trial.topic()
    received: set[bytes] = set()
    async with Crew(trial, topic) as crew:
        for kills in range(10):
            while len(crew.living()) < 2:
                await crew.sender(f"{kills}-{len(crew.workers)}-")
            await _confirm_some(trial, crew)
            trial.random.choice(crew.living()).kill()
        await crew.end()
        confirmed = crew.data("confirmed")
    receiver = await trial.receiver(topic)
    while not received >= confirmed:
        batch = await receiver.receive(1000)
        await receiver.ack(*batch)
        received.update(contents(batch))


async def _confirm_some(trial: Trial, crew: Crew) -> None:
    enough = crew.count("confirmed") + trial.random.randrange(20, 300)
    await crew.until(lambda: crew.count("confirmed") >= enough)


@promise(10, slow=True, processes=True, patience=60.0)
async def test_memory_of_a_receiver_is_bounded_however_deep_the_backlog(trial: Trial) -> None:
    topic = await trial.topic()
    bus = await trial.bus()
    for start in range(0, 8000, 400):
        await bus.send(topic, *(Message(b"%d " % number + bytes(8000)) for number in range(start, start + 400)))
    async with Crew(trial, topic) as crew:
        receiver = await crew.receiver(batch=10, max_in_flight=10)
        await crew.until(lambda: len(receiver.said["got"]) >= 1000)
        peaks = [int(peak) for (peak,) in receiver.said["peak"]]
    assert peaks[-1] - peaks[0] < 24_000_000, "a backlog of 64 MB came into memory"
