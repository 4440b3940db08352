"""Brokers that die in the middle of sends: what was confirmed is there, and is settled, 20,000 messages and more.

Each fault is run again with a guarantee of the driver broken on purpose, and must be found out then.
"""

import asyncio
import sys
from pathlib import Path

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK

sys.path.append(str(Path(__file__).parent))
from kafka_fleet import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]  # for machines with other work, too

MESSAGES = 20_000
GRACE = 0.5  # seconds in which a frozen broker, or one that is cut off from the others, may be sent something to


@pytest.fixture(scope="module")
def alone():
    with KafkaCluster(properties=QUICK) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def trio():
    with KafkaCluster(3, properties=QUICK) as cluster:
        yield cluster


async def kills_of_the_broker(fleet, cluster, kills=2):
    """The only broker is killed with SIGKILL in the middle of sending and receiving, and started again."""
    sender = await _send_and_receive(fleet)
    for _ in range(kills):
        await _confirm_more(fleet, MESSAGES // (kills + 1))
        cluster.freeze(1)
        await _confirm_more(fleet, 1, GRACE)  # it must not: the broker takes nothing any more
        cluster.kill(1)
        await asyncio.to_thread(cluster.start, 1)
    await fleet.until(lambda: len(fleet.ledger.confirmed) >= MESSAGES)
    sender.end()


async def kill_of_the_leader(fleet, cluster):
    """The leader is killed with SIGKILL, when the others have no copy yet of what it is being sent."""
    sender = await _send_and_receive(fleet)
    await _confirm_more(fleet, MESSAGES // 2)
    leader = await asyncio.to_thread(_leader, cluster, fleet.topic)
    others = [number for number in cluster.numbers if number != leader]
    for number in others:
        cluster.freeze(number)
    await _confirm_more(fleet, 5000, GRACE)  # it must not: one copy is none
    cluster.kill(leader)
    for number in others:
        cluster.thaw(number)
    await fleet.until(lambda: len(fleet.ledger.confirmed) >= MESSAGES)  # by those that are left
    sender.end()
    await asyncio.to_thread(cluster.start, leader)


async def _send_and_receive(fleet):
    fleet.may_repeat = True  # what was acked last is not committed if the broker dies
    for _ in range(2):
        await fleet.receiver("--ack-deadline", "3")
    return await fleet.sender("--batch", "50", "--work", "0.01")


async def _confirm_more(fleet, most, patience=None):
    """Wait until so many more are confirmed, or a random number that is less; or for so many seconds."""
    enough = len(fleet.ledger.confirmed) + fleet.random.randrange(1, most + 1)
    await fleet.until(lambda: len(fleet.ledger.confirmed) >= enough, patience)


def _leader(cluster, topic):
    """Give the number of the node that leads the topic's only partition."""
    with AdminClient({"bootstrap.servers": cluster.bootstrap}) as admin:
        described = admin.describe_topics(TopicCollection([topic]))[topic].result()
    return described.partitions[0].leader.id


def test_broker_that_is_killed_and_restarted_loses_nothing_that_was_confirmed(alone):
    verdict = run(kills_of_the_broker, alone.url, alone)
    assert verdict.holds, verdict


def test_leader_that_is_killed_takes_nothing_with_it_that_was_confirmed(trio):
    verdict = run(kill_of_the_leader, f"{trio.url}?partitions=1", trio)
    assert verdict.holds, verdict


def test_confirming_what_is_on_its_way_is_found_out_by_a_dying_broker(alone):
    assert run(kills_of_the_broker, alone.url, alone, kills=1, sabotage="confirm_what_is_on_its_way").lost


def test_confirming_before_there_are_copies_is_found_out_by_a_dying_leader(trio):
    assert run(kill_of_the_leader, f"{trio.url}?partitions=1", trio, sabotage="confirm_before_it_is_copied").lost
