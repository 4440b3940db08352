"""Receivers that are killed and added, and receivers that stand still: every message is settled by somebody.

On the tests' own server. Google's emulator cannot show it: it feeds the streams of killed clients for good, so that a
plain loop with one stream a process, five of them killed, got 4,300 of 5,000 messages in 80 seconds, and no more.
Each fault is run again with a guarantee of the driver broken on purpose, and must be found out then.
"""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "faults")]
from fleet import Kind, seed_of_run, verdict_of
from server import Server

from visionbus.brokers.pubsub import VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(330)]

MESSAGES = 10_000
LEASE = 10.0  # seconds
LIMIT = 300.0  # seconds for a fault, the end included: several times what it takes
STREAMS = 8  # of a receiver, at most
PROJECT = "visionbus"


class Onlooker:
    """What the server knows of a subscription."""

    def __init__(self, server, topic, subscription):
        name = f"projects/{PROJECT}/subscriptions/{topic}.{subscription}"
        self._leasing = server.service.leasing[name]

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def finished(self, patience, _ledger):
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.until(lambda: not self.unacked())

    async def until(self, condition):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.05)

    def out(self):
        """Give the ack ids of what is handed out: each hand-out has one of its own."""
        return set(self._leasing._leases)

    def unacked(self):
        return self._leasing.unacked()

    async def left(self, _bus):
        return {one.data.decode() for one in self.unacked()}


async def kills(fleet, rounds=5, messages=MESSAGES):
    """Receivers are killed with SIGKILL, and others added; each round one of them has acked nothing of what it got."""
    for number in range(rounds):
        holder = await fleet.receiver("--hold", "--max-in-flight", "100")
        await fleet.fill(messages // rounds, doomed=10)
        await fleet.until(lambda holder=holder: holder.in_hand() or not fleet.ledger.unacked())
        holder.kill()
        while len(fleet.living()) < 2 + number % 2:
            await fleet.receiver()
        await fleet.progress(1, messages // rounds // 2)
        fleet.random.choice([one for one in fleet.living() if one.in_hand()] or fleet.living()).kill()
    await fleet.receiver()


async def freezes(fleet, rounds=2):
    """Receivers are frozen by SIGSTOP until the others have done all their work, and go on."""
    for _ in range(rounds):
        while len(fleet.living()) < 3:
            await fleet.receiver("--work", "0.2")
        await fleet.joined()
        await fleet.fill(MESSAGES // rounds)
        await fleet.progress(1, MESSAGES // rounds // 2)
        victim = await fleet.victim()
        victim.freeze()
        if not await fleet.until(lambda: not fleet.ledger.unacked(), 6 * LEASE):
            fleet.ledger.withheld |= fleet.ledger.unacked()
        victim.wake()


async def late_acks(fleet, count=200):
    """A receiver acks what it got before it was frozen, when it has got that again: that ack is void."""
    broker = fleet.kind.onlooker(fleet.url, fleet.topic, "workers")
    hold = ("--hold", "--max-in-flight", f"{STREAMS * count}")  # each stream may have all out: all of a key is on one
    first = await fleet.receiver(*hold)
    await fleet.fill(count)
    wanted = set(fleet.ledger.confirmed)
    await fleet.until(lambda: first.said["got"].keys() >= wanted)
    first.freeze()
    second = await fleet.receiver(*hold)
    await fleet.until(lambda: second.said["got"].keys() >= wanted)
    before = broker.out()
    first.wake()
    second.kill()
    await broker.until(lambda: len(broker.out() - before) == count)
    if not fleet.sabotage:  # who believes to hold them all the time is not told that they come again
        await fleet.until(lambda: all(first.said["got"][one] >= 2 for one in wanted))
    first.settle()
    await fleet.until(lambda: first.said["late"].keys() >= wanted)
    if fleet.sabotage:
        await broker.until(lambda: not broker.unacked())
    first.end()
    await fleet.receiver()


async def work(fleet, messages):
    """One receiver acks all; more messages than a stream may have outstanding would wait for acks to be heard."""
    await fleet.fill(messages)
    await fleet.receiver()
    await fleet.progress(messages - 1, messages)


RUNS = {  # faults, what guarantee is broken on purpose, and options
    "killed": (kills, None, {}),
    "frozen": (freezes, None, {}),
    "late": (late_acks, None, {}),
    "late acks taken": (late_acks, "take_late_acks", {}),
    "acked on receipt": (kills, "ack_on_receipt", {"rounds": 1, "messages": 500}),
    "never heard": (work, "ack_nothing", {"messages": 100}),
}


async def run_all():
    """Give the verdict of each, or what went wrong with it; all side by side, as most of their time is waiting."""
    seed = seed_of_run()
    async with Server(seed) as server:
        os.environ[VARIABLE] = server.host
        runs = [run(server, seed, *of_one) for of_one in RUNS.values()]
        return dict(zip(RUNS, await asyncio.gather(*runs, return_exceptions=True), strict=True))


async def run(server, seed, fault, sabotage, options):
    kind = Kind(
        Path(__file__).with_name("inside.py"),
        lambda _url, topic, subscription: Onlooker(server, topic, subscription),
        limit=LIMIT,
        settling=1.0 if sabotage else 6 * LEASE,
    )
    return await verdict_of(kind, fault, f"pubsub://{PROJECT}", seed, sabotage=sabotage, **options)


@pytest.fixture(scope="module")
def verdict():
    """Give the verdict of a run by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "is set when the server has a port")
        verdicts = asyncio.run(run_all())

    def of(name):
        if isinstance(verdicts[name], BaseException):
            raise verdicts[name]
        return verdicts[name]

    return of


def test_receivers_that_are_killed_and_added_lose_nothing(verdict):
    assert verdict("killed").holds, verdict("killed")


def test_receivers_frozen_past_their_leases_lose_nothing(verdict):
    assert verdict("frozen").holds, verdict("frozen")


def test_late_acks_of_woken_receivers_change_nothing(verdict):
    assert verdict("late").holds, verdict("late")


def test_late_acks_that_count_are_found_out(verdict):
    assert verdict("late acks taken").lost


def test_acks_on_receipt_are_found_out_by_kills(verdict):
    assert verdict("acked on receipt").lost


def test_acks_that_the_broker_never_hears_are_found_out(verdict):
    assert verdict("never heard").returned
