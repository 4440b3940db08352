"""A receiver whose broker does not answer, or is a stand-in that answers what a broker seldom does."""

import asyncio
import uuid
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError, TopicPartition

from visionbus.brokers.ports import free_ports
from visionbus.messaging import Message, MessagingError, NotFoundError, UnavailableError, connect
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.kafka.commits import Commits
from visionbus.messaging.drivers.kafka.consumer import ConsumerThread
from visionbus.messaging.drivers.kafka.holding import Holding
from visionbus.messaging.drivers.kafka.settings import KafkaSettings
from visionbus.messaging.drivers.kafka.subscription import KafkaSubscription


def configuration():
    (port,) = free_ports(1)
    return KafkaSettings.parse(Address.parse(f"kafka://127.0.0.1:{port}")).consumer("images.workers", 45.0)


def subscription(configuration, is_there):
    return KafkaSubscription(
        configuration,
        "images",
        ack_deadline=45.0,
        prefetch=10,
        prefetch_bytes=1,
        lost=lambda _: None,
        is_there=is_there,
    )


async def never():
    raise AssertionError("nobody doubts")


def test_consumer_that_cannot_be_made_is_told_on_entering():
    async def enter():
        receiver = subscription(configuration() | {"ssl.ca.location": "/no/such", "security.protocol": "ssl"}, never)
        try:
            await receiver.joined()
        finally:
            await receiver.close()

    with pytest.raises(MessagingError, match="ssl"):
        asyncio.run(enter())


@pytest.mark.slow
def test_doubt_whether_the_topic_is_there_outlasts_a_failed_look():
    looks = []

    async def is_there():
        looks.append(len(looks))
        if len(looks) == 1:
            raise UnavailableError("no broker answers")
        return False

    async def receive():
        receiver = subscription(configuration(), is_there)
        receiver._thread.doubts_topic = True
        assert await receiver.fetch(1, 0.0) == [], "a look does not hold up who does not wait"
        try:
            await receiver.fetch(1, 60.0)
        finally:
            await receiver.close()

    with pytest.raises(NotFoundError):
        asyncio.run(receive())
    assert looks == [0, 1]


async def confused():
    raise RuntimeError("a mistake")


@pytest.mark.slow
def test_look_that_fails_for_another_reason_ends_the_receiver():
    async def receive():
        receiver = subscription(configuration(), confused)
        receiver._thread.doubts_topic = True
        try:
            await receiver.fetch(1, 60.0)
        finally:
            await receiver.close()

    with pytest.raises(MessagingError, match="a mistake") as raised:
        asyncio.run(receive())
    assert isinstance(raised.value.__cause__, RuntimeError)


@pytest.mark.slow
def test_failure_that_is_told_again_and_again_does_not_grow():
    async def receive():
        receiver = subscription(configuration(), never)
        receiver._thread.failure = NotFoundError("gone")
        lengths = []
        for _ in range(3):
            with pytest.raises(NotFoundError) as raised:
                await receiver.fetch(1, 0.0)
            lengths.append(len(raised.traceback))
        await receiver.close()
        return lengths

    assert len(set(asyncio.run(receive()))) == 1


def test_commit_that_fails_as_a_whole_is_made_again_whatever_partitions_are_named():
    holding = Holding(10)
    holding.assign(0, 0, "")
    holding.add([Record(0)])
    holding.settle([one.lease for one in holding.take(1)])
    commits = Commits("images", holding)
    commits.send(TakesCommits())
    assert holding.commits()  # nobody has confirmed it
    commits.on_commit(KafkaError(KafkaError._TIMED_OUT), [])
    assert holding.commits()
    commits.send_and_wait(TakesCommits(), holding.commits)
    assert not holding.commits()


def test_broker_that_takes_less_metadata_is_told_less():
    holding = Holding(1000)
    holding.assign(0, 0, "")
    holding.add([Record(offset) for offset in range(400)])
    holding.settle([one.lease for one in holding.take(400) if int(one.id[2:]) % 2])
    client = TakesCommits(metadata=100)
    Commits("images", holding).send_and_wait(client, holding.commits)
    assert 25 < len(client.committed[0].metadata) <= 100
    assert not holding.commits()


class TakesCommits:
    """A client whose broker takes every commit that has so many characters of metadata, at most."""

    def __init__(self, metadata=4096):
        self._metadata = metadata
        self.committed = []

    def commit(self, *, offsets, asynchronous):
        if any(len(one.metadata) > self._metadata for one in offsets):
            return [Refused(one.partition) for one in offsets]
        self.committed = offsets
        return None if asynchronous else offsets


@dataclass
class Refused:
    partition: int
    error: KafkaError = KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)  # noqa: RUF009 (never changed)


class Gone:
    """librdkafka's word that the next record is gone."""

    def name(self):
        return "_AUTO_OFFSET_RESET"

    def str(self):
        return "offset out of range"


class Record:
    def __init__(self, offset, error=None):
        self._offset = offset
        self._error = error

    def error(self):
        return self._error

    def partition(self):
        return 0

    def offset(self):
        return self._offset

    def topic(self):
        return "images"

    def key(self):
        return None

    def value(self):
        return b"%d" % self._offset

    def headers(self):
        return None

    def timestamp(self):
        return (1, 0)


class Truncated:
    """A consumer whose partition was truncated after offset 903, and begins at 0 again."""

    def __init__(self):
        self.batches = [[Record(903), Record(-1001, Gone())], [Record(0), Record(1)]]
        self.assigned = []

    def poll(self, _):
        return self.batches[0].pop(0)

    def consume(self, *_):
        return self.batches.pop(0)

    def get_watermark_offsets(self, _, timeout):
        return (0, 2)

    def committed(self, partitions, timeout):
        return partitions

    def incremental_unassign(self, _):
        pass

    def incremental_assign(self, partitions):
        self.assigned += [one.offset for one in partitions]


def test_records_before_a_reset_do_not_hide_those_after_it():
    holding = Holding(10)
    holding.assign(0, 903, "")
    nothing = lambda *_: None  # noqa: E731
    thread = ConsumerThread(configuration(), "images", holding, arrived=nothing, lost=nothing, joined=nothing)
    client = Truncated()
    thread._read(client, 10)
    assert client.assigned == [0]
    thread._read(client, 10)
    assert [one.message.data for one in holding.take(10)] == [b"0", b"1"]


def test_receiver_that_is_put_out_of_its_group_loses_its_leases_and_says_so(caplog):
    holding = Holding(10)
    holding.assign(0, 0, "")
    holding.add([Record(0)])
    (one,) = holding.take(1)
    lost, nothing = [], lambda *_: None
    thread = ConsumerThread(configuration(), "images", holding, arrived=nothing, lost=lost.extend, joined=nothing)
    thread._on_lost(Truncated(), [TopicPartition("images", 0)])
    assert lost == [one.lease]
    assert "images: partitions [0] went to others, as the group heard nothing of this receiver" in caplog.text


class Fatal:
    """librdkafka's word that a client is of no use any more."""

    def name(self):
        return "_FATAL"

    def str(self):
        return "Broker: Invalid request"

    def __init__(self, *, flagged):
        self.flagged = flagged

    def fatal(self):
        return self.flagged

    def retriable(self):
        return False


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
@pytest.mark.parametrize("told", ["beside", "as a record"])
def test_client_that_fails_for_good_after_it_was_a_member_gets_a_successor(kafka, protocol, told):
    async def receive_before_and_after():
        topic = f"consumer-{uuid.uuid4().hex}"
        async with asyncio.timeout(60), connect(f"{kafka.url}?group_protocol={protocol}") as bus:
            await bus.declare(topic, "workers")
            async with bus.subscribe(topic, "workers") as receiver:
                await bus.send(topic, Message(b"acked"), Message(b"held"))
                batch = await receiver.receive(2, linger=2.0)
                await receiver.ack(*(one for one in batch if one.message.data == b"acked"))
                thread = receiver._attached._thread
                if told == "beside":
                    thread._on_error(Fatal(flagged=True))
                else:
                    thread._heed(None, Fatal(flagged=False), None)
                await bus.send(topic, Message(b"later"))
                again = await receiver.receive(3, linger=5.0)
                return {one.message.data for one in again}

    assert asyncio.run(receive_before_and_after()) >= {b"held", b"later"}


def test_client_that_fails_for_good_before_it_was_a_member_ends_its_receiver():
    async def receive():
        receiver = subscription(configuration(), never)
        try:
            receiver._thread._on_error(Fatal(flagged=True))
            await receiver.fetch(1, 60.0)
        finally:
            await receiver.close()

    with pytest.raises(MessagingError, match="Invalid request"):
        asyncio.run(receive())
