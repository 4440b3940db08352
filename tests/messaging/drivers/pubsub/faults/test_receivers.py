"""Receivers that are killed and added, and receivers that stand still: every message is settled by somebody.

On the tests' own server. Google's emulator cannot show it: it feeds the streams of killed clients for good, so that a
plain loop with one stream a process, five of them killed, got 4,300 of 5,000 messages in 80 seconds, and no more.
Each fault is run again with a guarantee of the driver broken on purpose, and must be found out then.
"""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "faults")]
from fleet import Kind, seed_of_run, verdict_of
from server import Server

pytestmark = pytest.mark.slow

MESSAGES = 10_000
LEASE = 10.0  # seconds
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
        ends = asyncio.get_running_loop().time() + patience
        while self._leasing.unacked() and asyncio.get_running_loop().time() < ends:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.1)

    async def left(self, _bus):
        return {one.data.decode() for one in self._leasing.unacked()}


def run(monkeypatch, fault, *, sabotage=None, **options):
    """Run one fault, and give its verdict."""
    (verdict,) = run_together(monkeypatch, fault, [sabotage], **options)
    return verdict


def run_together(monkeypatch, fault, sabotages, *, settling=3 * LEASE, **options):
    """Run one fault with each sabotage, all at a time: give the verdicts."""

    async def served():
        seed = seed_of_run()
        async with Server(seed) as server:
            monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
            kind = Kind(
                Path(__file__).with_name("inside.py"),
                lambda _url, topic, subscription: Onlooker(server, topic, subscription),
                limit=100.0,
                settling=settling,
            )
            url = f"pubsub://{PROJECT}"
            return await asyncio.gather(
                *(verdict_of(kind, fault, url, seed, sabotage=sabotage, **options) for sabotage in sabotages)
            )

    return asyncio.run(served())


async def kills(fleet, rounds=5):
    """Receivers are killed with SIGKILL, and others added."""
    for number in range(rounds):
        await fleet.fill(MESSAGES // rounds, doomed=10)
        while len(fleet.living()) < 2 + number % 2:
            await fleet.receiver()
        await fleet.progress(1, MESSAGES // rounds)
        (await fleet.victim()).kill()
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
        if not await fleet.until(lambda: not fleet.ledger.unacked(), 2.5 * LEASE):
            fleet.ledger.withheld |= fleet.ledger.unacked()
        victim.wake()


async def late_acks(fleet, count=200):
    """A receiver acks what it got before it was frozen, when it has got that again: that ack is void."""
    hold = ("--hold", "--max-in-flight", f"{3 * count}")
    first = await fleet.receiver(*hold)
    await fleet.fill(count)
    wanted = set(fleet.ledger.confirmed)
    await fleet.until(lambda: first.said["got"].keys() >= wanted)
    first.freeze()
    second = await fleet.receiver(*hold)
    await fleet.until(lambda: second.said["got"].keys() >= wanted)
    first.wake()
    second.kill()
    await fleet.until(lambda: all(first.said["got"][one] >= 2 for one in wanted), 1.5 * LEASE)
    first.settle()
    await fleet.until(lambda: first.said["late"].keys() >= wanted)
    first.end()
    await fleet.receiver()


async def work(fleet, messages):
    """One receiver acks all; more messages than a stream may have outstanding would wait for acks to be heard."""
    await fleet.fill(messages)
    await fleet.receiver()
    await fleet.progress(messages - 1, messages)


def test_receivers_that_are_killed_and_added_lose_nothing(monkeypatch):
    verdict = run(monkeypatch, kills)
    assert verdict.holds, verdict


def test_receivers_frozen_past_their_leases_lose_nothing(monkeypatch):
    verdict = run(monkeypatch, freezes)
    assert verdict.holds, verdict


def test_late_acks_of_woken_receivers_change_nothing_and_are_found_out_where_they_do(monkeypatch):
    honest, sabotaged = run_together(monkeypatch, late_acks, [None, "take_late_acks"])
    assert honest.holds, honest
    assert sabotaged.lost, sabotaged


def test_acks_on_receipt_are_found_out_by_kills(monkeypatch):
    assert run(monkeypatch, kills, rounds=2, sabotage="ack_on_receipt", settling=1.0).lost


def test_acks_that_the_broker_never_hears_are_found_out(monkeypatch):
    assert run(monkeypatch, work, messages=100, sabotage="ack_nothing", settling=1.0).returned
