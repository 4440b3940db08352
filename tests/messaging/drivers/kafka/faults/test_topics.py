"""What happens to a topic under its users, at 20,000 messages: records removed that nobody had read, transactions,
partitions added, declarations at once.

Each is run again with a guarantee of the driver broken on purpose, and must be found out then.
"""

import asyncio
import logging
import sys
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_END, TopicPartition

from visionbus.messaging import connect
from visionbus.messaging.drivers.kafka import commits
from visionbus.messaging.drivers.kafka.admin import Admin
from visionbus.messaging.drivers.kafka.consumer import ConsumerThread
from visionbus.messaging.drivers.kafka.driver import KafkaDriver
from visionbus.messaging.drivers.kafka.groups import Groups
from visionbus.messaging.drivers.kafka.settings import KafkaSettings
from visionbus.messaging.drivers.kafka.tracker import Commit, OffsetTracker

sys.path.append(str(Path(__file__).parents[3] / "faults"))
from fleet import seed_of_run
from traffic import Traffic

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]  # for machines with other work, too

MESSAGES = 20_000
LIMIT = 240.0  # seconds
BYTES = b"x" * 1000


@pytest.fixture
def seed():
    return seed_of_run()


@pytest.fixture(params=["consumer", "classic"])
def protocol(request):
    return request.param


def url_of(cluster, protocol="consumer", **more):
    """Give a URL by which clients read little ahead and soon learn of new partitions."""
    given = {"prefetch_bytes": 1024, "rdkafka.topic.metadata.refresh.interval.ms": 300} | more
    return f"{cluster.url}?group_protocol={protocol}" + "".join(f"&{name}={value}" for name, value in given.items())


def run(scenario):
    async def limited():
        async with asyncio.timeout(LIMIT):
            return await scenario

    verdict = asyncio.run(limited())
    print(verdict)  # noqa: T201 (pytest shows it with a failure)
    return verdict


async def until(condition):
    """Wait for what nobody tells us of."""
    while not condition():  # noqa: ASYNC110 (neither brokers nor receivers say when they have done something)
        await asyncio.sleep(0.02)


async def declare(traffic):
    async with connect(traffic.url) as bus:
        await bus.declare(traffic.topic, "workers")


async def settle(traffic, receivers=2):
    await traffic.settle_all(*[asyncio.create_task(traffic.receive()) for _ in range(receivers)])


# records that are removed before anybody has read them


def names_in(records):
    return {record.value().split()[0].decode() for record in records}


async def deleted_under_a_receiver(traffic, foreign):
    """Half of each partition goes while a receiver is somewhere in its first tenth."""
    foreign.create(traffic.topic, 4)
    await declare(traffic)
    await traffic.send(*range(MESSAGES))
    traffic.pause_after = 500
    receiver = asyncio.create_task(traffic.receive())
    await until(lambda: len(traffic.ledger.received) >= traffic.pause_after)
    ends = await asyncio.to_thread(foreign.ends, traffic.topic)
    await asyncio.to_thread(foreign.delete_before, traffic.topic, {one: end // 2 for one, end in ends.items()})
    traffic.go_on.set()
    await traffic.settle_all(receiver)
    return await _judge_what_is_there(traffic, foreign)


async def removed_by_retention(traffic, foreign):
    """The broker keeps two megabytes of each partition's five."""
    foreign.create(traffic.topic, 4, retention_bytes="1000000", segment_bytes="1048576")
    await declare(traffic)
    await traffic.receive_after(traffic.send(*range(MESSAGES // 10)), 1000)
    await traffic.send(*range(MESSAGES // 10, MESSAGES))
    await until(lambda: len(foreign.read(traffic.topic)) <= MESSAGES * 3 // 4)
    await settle(traffic)
    return await _judge_what_is_there(traffic, foreign)


async def removed_by_compaction(traffic, foreign):
    """Of each of 50 keys the broker keeps what came last, in all segments but the newest."""
    foreign.create(
        traffic.topic, 4, cleanup_policy="compact", segment_bytes="1048576", min_cleanable_dirty_ratio="0.01"
    )
    await declare(traffic)
    await traffic.receive_after(traffic.send(*range(MESSAGES // 10)), 1000)
    await traffic.send(*range(MESSAGES // 10, MESSAGES))
    await until(lambda: len(foreign.read(traffic.topic)) <= MESSAGES // 2)
    await settle(traffic)
    return await _judge_what_is_there(traffic, foreign)


async def _judge_what_is_there(traffic, foreign):
    there = names_in(await asyncio.to_thread(foreign.read, traffic.topic))
    gone = traffic.ledger.confirmed - there
    assert gone, "nothing was removed"
    assert gone - traffic.ledger.received, "all that was removed had been read"
    return await traffic.verdict(gone=gone)


def test_what_is_removed_under_a_receiver_takes_nothing_else_with_it(kafka, foreign, topic, seed, protocol, caplog):
    traffic = Traffic(url_of(kafka, protocol), topic, seed, filling=BYTES)
    with caplog.at_level(logging.WARNING):
        verdict = run(deleted_under_a_receiver(traffic, foreign))
    assert verdict.holds, verdict
    assert "going on at" in caplog.text


def test_retention_takes_nothing_else_with_it(loose_kafka, loose_foreign, topic, seed):
    verdict = run(removed_by_retention(Traffic(url_of(loose_kafka), topic, seed, filling=BYTES), loose_foreign))
    assert verdict.holds, verdict


def test_compaction_takes_nothing_else_with_it(loose_kafka, loose_foreign, topic, seed):
    verdict = run(removed_by_compaction(Traffic(url_of(loose_kafka), topic, seed, filling=BYTES), loose_foreign))
    assert verdict.holds, verdict


def resume_at_the_end(self, client, partition, _error):
    _, high = client.get_watermark_offsets(partition, timeout=10)
    self._lost(self._holding.begin_again(partition.partition, high))
    client.incremental_unassign([partition])
    client.incremental_assign([TopicPartition(partition.topic, partition.partition, high)])


def test_jump_to_the_end_is_found_out(kafka, foreign, topic, seed, monkeypatch):
    monkeypatch.setattr(ConsumerThread, "_resume_at_earliest", resume_at_the_end)
    verdict = run(deleted_under_a_receiver(Traffic(url_of(kafka), topic, seed, filling=BYTES), foreign))
    assert verdict.lost


def wait_for_every_offset(monkeypatch):
    """Have commits stop at the first offset that never comes."""
    receive, commit = OffsetTracker.receive, OffsetTracker._commit
    missing = {}  # by the tracker's epoch

    def received(self, offset):
        if self._next is not None and offset > self._next:
            missing.setdefault(self.epoch, self._next)
        return receive(self, offset)

    def stopped(self):
        honest = commit(self)
        first = missing.get(self.epoch)
        return Commit(first, "") if honest and first is not None and honest.offset > first else honest

    monkeypatch.setattr(OffsetTracker, "receive", received)
    monkeypatch.setattr(OffsetTracker, "_commit", stopped)


def test_waiting_for_offsets_that_are_compacted_is_found_out(loose_kafka, loose_foreign, topic, seed, monkeypatch):
    wait_for_every_offset(monkeypatch)
    verdict = run(removed_by_compaction(Traffic(url_of(loose_kafka), topic, seed, filling=BYTES), loose_foreign))
    assert verdict.returned


# transactions


async def transactions(traffic, foreign, size=200):
    """Our own messages, those of transactions, and those of aborted ones, which are never to be seen."""
    foreign.create(traffic.topic, 4)
    await declare(traffic)
    receivers = [asyncio.create_task(traffic.receive()) for _ in range(2)]
    numbers = range(MESSAGES * 3 // 2)
    ours = [number for number in numbers if number // size % 3 == 2]
    producer = foreign.producer(transactional_id=traffic.topic)
    await asyncio.gather(traffic.send(*ours), asyncio.to_thread(_commit_and_abort, traffic, producer, numbers, size))
    await traffic.settle_all(*receivers)
    return await traffic.verdict()


def _commit_and_abort(traffic, producer, numbers, size):
    producer.init_transactions(30)
    for first in range(0, len(numbers), size):
        kind = first // size % 3
        if kind == 2:
            continue
        messages = [traffic.message(number) for number in numbers[first : first + size]]
        names = {message.data.split()[0].decode() for message in messages}
        producer.begin_transaction()
        for message in messages:
            producer.produce(traffic.topic, message.data, message.key)
        if kind == 1:
            assert producer.flush(30) == 0  # they are there, and then they do not count
            producer.abort_transaction(30)
            continue
        traffic.ledger.offered |= names
        traffic.ledger.doomed |= {name for name in names if int(name) % 97 == 0}
        producer.commit_transaction(30)
        traffic.ledger.confirmed |= names


def test_aborted_records_are_never_received_and_commits_go_past_them(kafka, foreign, topic, seed, protocol):
    traffic = Traffic(url_of(kafka, protocol), topic, seed)
    verdict = run(transactions(traffic, foreign))
    assert verdict.holds, verdict
    assert len(traffic.ledger.confirmed) == MESSAGES
    last = {record.partition(): record.offset() for record in foreign.read(topic)}
    committed = foreign.committed(f"{topic}.workers", topic)
    assert all(committed[number] > offset for number, offset in last.items())


def test_reading_what_is_not_committed_is_found_out(kafka, foreign, topic, seed, monkeypatch):
    honest = KafkaSettings.consumer
    monkeypatch.setattr(
        KafkaSettings, "consumer", lambda *given: honest(*given) | {"isolation.level": "read_uncommitted"}
    )
    assert run(transactions(Traffic(url_of(kafka), topic, seed), foreign)).unknown


# partitions that are added


async def growth(traffic, foreign):
    """A topic of one partition gets seven more while it is in use."""
    foreign.create(traffic.topic, 1)
    await declare(traffic)
    receivers = [asyncio.create_task(traffic.receive()) for _ in range(2)]
    sending = asyncio.create_task(traffic.send(*range(MESSAGES // 2)))
    for partitions in (2, 4, 8):
        wanted = MESSAGES // 40 * partitions
        await until(lambda wanted=wanted: len(traffic.ledger.confirmed) >= wanted or sending.done())
        await asyncio.to_thread(foreign.grow, traffic.topic, partitions)
    await sending
    await traffic.send(*range(MESSAGES // 2, MESSAGES))  # by one who knows all partitions from the start
    await traffic.settle_all(*receivers)
    return await traffic.verdict(may_repeat=True)  # a commit may be under way when its partition is taken away


def test_first_messages_of_added_partitions_arrive(kafka, foreign, topic, seed, protocol):
    verdict = run(growth(Traffic(url_of(kafka, protocol), topic, seed), foreign))
    assert verdict.holds, verdict
    assert all(foreign.ends(topic).values())


def test_added_partitions_begun_at_their_end_are_found_out(kafka, foreign, topic, seed, monkeypatch):
    monkeypatch.setattr(commits, "OFFSET_BEGINNING", OFFSET_END)
    assert run(growth(Traffic(url_of(kafka), topic, seed), foreign)).lost


# two who declare at once


async def declared_by_another_meanwhile(traffic, foreign, monkeypatch):
    """Between the two questions of one declaration, another one is made, and all messages are sent."""
    foreign.create(traffic.topic, 4)
    meanwhile = [lambda: declare(traffic), lambda: traffic.send(*range(MESSAGES))]

    def interrupted(question):
        async def ask(self, *arguments):
            answer = await question(self, *arguments)
            if traffic.topic in arguments:
                while meanwhile:
                    await meanwhile.pop(0)()
            return answer

        return ask

    with monkeypatch.context() as patch:
        patch.setattr(Admin, "ends", interrupted(Admin.ends))
        patch.setattr(Groups, "committed", interrupted(Groups.committed))
        await declare(traffic)
    assert not meanwhile
    await settle(traffic)
    return await traffic.verdict()


def test_declaration_passes_over_nothing_that_another_one_made_receivable(kafka, foreign, topic, seed, monkeypatch):
    verdict = run(declared_by_another_meanwhile(Traffic(url_of(kafka), topic, seed), foreign, monkeypatch))
    assert verdict.holds, verdict


async def declare_by_the_ends_of_later(self, topic, subscriptions, *, create):
    partitions = [partition.id for partition in (await self._found(topic)).partitions]
    for name in subscriptions:
        group = self._group(topic, name)
        committed = await self._groups.committed(group, topic, partitions)
        ends = await self._admin.ends(topic, partitions)
        if missing := {one: end for one, end in ends.items() if one not in committed}:
            await self._groups.begin(group, topic, missing)


def test_declaration_that_looks_at_the_ends_last_is_found_out(kafka, foreign, topic, seed, monkeypatch):
    foreign.create(f"{topic}.workers.dead", 4)
    monkeypatch.setattr(KafkaDriver, "declare", declare_by_the_ends_of_later)
    assert run(declared_by_another_meanwhile(Traffic(url_of(kafka), topic, seed), foreign, monkeypatch)).lost
