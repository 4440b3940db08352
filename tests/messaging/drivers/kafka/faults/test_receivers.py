"""Receivers that die, stand still, come and go: every message is settled by somebody, 20,000 and more of them.

Each fault is run again with a guarantee of the driver broken on purpose, and must be found out then.
"""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from kafka_fleet import run

from visionbus.brokers.kafka import KafkaCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]  # for machines with other work, too

MESSAGES = 20_000


@pytest.fixture
def quick(kafka):
    """The session's broker, which allows sessions of a second."""
    if not isinstance(kafka, KafkaCluster):
        pytest.skip("a broker of your own may not allow sessions of a second, which the time limits here rest on")
    return kafka.url


@pytest.fixture(params=["consumer", "classic"])
def url(quick, request):
    return f"{quick}?group_protocol={request.param}"


@pytest.fixture
def quickest_url(quick):
    """By KIP-848, whose rebalances are the quicker ones; what is sabotaged is the same for both protocols."""
    return f"{quick}?group_protocol=consumer"


async def kills(fleet, rounds=10):
    """Receivers are killed with SIGKILL, and others added."""
    for number in range(rounds):
        await fleet.fill(MESSAGES // rounds, doomed=10)
        while len(fleet.living()) < 2 + number % 2:
            await fleet.receiver()
        await fleet.progress(1, MESSAGES // rounds)
        (await fleet.victim()).kill()
    await fleet.receiver()


async def freezes(fleet, rounds=3, *, late=True, patience=60.0):
    """Receivers are frozen by SIGSTOP until the others have done all their work, and go on."""
    for _ in range(rounds):
        await _stand_still(fleet, MESSAGES // rounds + 1, patience, lambda one: one.freeze(), lambda one: one.wake())
    if late:
        for worker in fleet.living():
            worker.end()
        await _ack_late(fleet)


async def blocks(fleet, rounds=3, *, patience=60.0):
    """The event loops of receivers are blocked until the others have done all their work, and go on."""
    for _ in range(rounds):
        await _stand_still(fleet, MESSAGES // rounds + 1, patience, lambda one: one.block(), lambda one: one.unblock())


async def _stand_still(fleet, count, patience, stop, go_on):
    while len(fleet.living()) < 3:
        await fleet.receiver("--work", "0.2")
    await fleet.joined()
    await fleet.fill(count)
    await fleet.progress(1, count // 2)
    victim = await fleet.victim()
    stop(victim)
    if not await fleet.until(lambda: not fleet.ledger.unacked(), patience):
        fleet.ledger.withheld |= fleet.ledger.unacked()
    go_on(victim)


async def _ack_late(fleet, count=1000):
    """Have a receiver ack what it got before it was frozen, when it has got that again: that ack is void."""
    first = await fleet.receiver("--hold", "--max-in-flight", f"{3 * count}")
    before = set(fleet.ledger.confirmed)
    await fleet.fill(count)
    wanted = fleet.ledger.confirmed - before
    await fleet.until(lambda: first.said["got"].keys() >= wanted)
    first.freeze()
    second = await fleet.receiver("--hold", "--max-in-flight", f"{3 * count}")
    await fleet.until(lambda: second.said["got"].keys() >= wanted)
    first.wake()
    second.kill()
    await fleet.until(lambda: all(first.said["got"][one] >= 2 for one in wanted))
    first.settle()
    await fleet.until(lambda: first.said["late"].keys() >= wanted)
    first.end()
    await fleet.receiver()


async def rebalances(fleet, changes=10):
    """Receivers come and go while batches take longer than a rebalance waits for them."""
    slow = ("--work", "1.2", "--batch", "1000", "--max-in-flight", "3000", "--ack-deadline", "10")
    await fleet.receiver(*slow)
    await fleet.receiver(*slow)
    await fleet.joined()
    for _ in range(changes):
        await fleet.fill(MESSAGES // changes, doomed=10)
        if len(fleet.living()) < 3 or (len(fleet.living()) < 5 and fleet.random.random() < 0.5):
            await fleet.receiver(*slow)
        else:
            (await fleet.victim()).end()
        await fleet.progress(1, MESSAGES // changes)


def test_receivers_that_are_killed_and_added_lose_nothing(url):
    verdict = run(kills, url)
    assert verdict.holds, verdict


def test_receivers_frozen_past_the_session_lose_nothing_and_their_late_acks_change_nothing(url):
    verdict = run(freezes, url)
    assert verdict.holds, verdict


def test_blocked_event_loop_loses_its_messages_to_the_others(quick):
    verdict = run(blocks, quick)  # by either protocol: it leaves by the same call
    assert verdict.holds, verdict


def test_rebalances_during_slow_batches_lose_nothing_and_repeat_no_ack(url):
    verdict = run(rebalances, url)
    assert verdict.holds, verdict


def test_commits_of_the_position_are_found_out_by_kills(quickest_url):
    assert run(kills, quickest_url, rounds=4, sabotage="commit_position").lost


def test_late_acks_that_count_are_found_out(quickest_url):
    assert run(freezes, quickest_url, rounds=0, sabotage="take_late_acks").lost


def test_long_session_is_found_out_by_a_frozen_receiver(quickest_url):
    assert run(freezes, quickest_url, rounds=1, late=False, patience=4.0, sabotage="ignore_ack_deadline").withheld


def test_receiver_that_stays_in_its_group_is_found_out_by_a_blocked_loop(quickest_url):
    verdict = run(blocks, quickest_url, rounds=1, patience=4.0, sabotage="stay_when_the_loop_stands_still")
    assert verdict.withheld


def test_commits_of_the_position_when_revoked_are_found_out_by_rebalances(quickest_url):
    assert run(rebalances, quickest_url, changes=4, sabotage="commit_position_when_revoked").lost


def test_acks_that_are_forgotten_when_revoked_are_found_out_by_rebalances(quickest_url):
    assert run(rebalances, quickest_url, changes=4, sabotage="commit_nothing_when_revoked").repeated
