"""What the Kafka benchmarks share: a broker with topics.

KAFKA_URL names a broker to use; without it, one of our own is started.
"""

from __future__ import annotations

import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_INVALID, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from contest import DATA, KEYS, attributes, in_own_process

from visionbus.brokers.kafka import KafkaCluster
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import KafkaError, Message

PARTITIONS = 4
PATIENCE = 60.0  # seconds for the broker to answer or confirm
_BROKER = "the broker of KAFKA_URL" if os.environ.get("KAFKA_URL") else "one broker on the same cores"
WHERE = f"{_BROKER}, 4 partitions, keys"


def settings(url: str) -> KafkaSettings:
    """The driver's settings: bare loops run with the same ones."""
    return KafkaSettings.parse(Address.parse(url))


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker's topics and groups, as one who looks on sees them."""

    url: str
    admin: AdminClient

    @contextmanager
    def topic(self, filled: int = 0) -> Iterator[str]:
        """A new topic of 4 partitions, with so many messages in it."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self.admin.create_topics([NewTopic(name, PARTITIONS, -1)])[name].result(PATIENCE)
        try:
            if filled:
                in_own_process(_fill, self.url, name, filled)
            yield name
        finally:
            self.admin.delete_topics([name])[name].result(PATIENCE)

    def group(self, topic: str) -> str:
        """A new subscription of a topic, from its beginning; its group is called `<topic>.<subscription>`."""
        name = f"workers-{uuid.uuid4().hex[:8]}"
        asked = ConsumerGroupTopicPartitions(f"{topic}.{name}", _partitions(topic, 0))
        give_up = time.monotonic() + PATIENCE
        while True:
            answer = self.admin.alter_consumer_group_offsets([asked])[asked.group_id].result(PATIENCE)
            errors = [one.error for one in answer.topic_partitions if one.error]
            if not errors:
                return name
            if time.monotonic() > give_up:
                raise RuntimeError(f"the broker does not take a new group: {errors[0]}")
            time.sleep(0.1)  # a broker's first groups wait for the topic that keeps their offsets

    def check_held(self, topic: str, count: int) -> None:
        """Raise unless a topic has exactly so many messages."""
        ends = self.admin.list_offsets(dict.fromkeys(_partitions(topic), OffsetSpec.latest()))
        held = sum(future.result(PATIENCE).offset for future in ends.values())
        if held != count:
            raise RuntimeError(f"the topic has {held:,} messages instead of {count:,}")

    def check_settled(self, topic: str, subscription: str, count: int) -> None:
        """Raise unless a subscription has committed exactly so many messages as done."""
        asked = ConsumerGroupTopicPartitions(f"{topic}.{subscription}", _partitions(topic))
        answer = self.admin.list_consumer_group_offsets([asked])[asked.group_id].result(PATIENCE)
        done = sum(one.offset for one in answer.topic_partitions)
        if done != count:
            raise RuntimeError(f"{done:,} messages are committed as done instead of {count:,}")


def _partitions(topic: str, offset: int = OFFSET_INVALID) -> list[TopicPartition]:
    return [TopicPartition(topic, number, offset) for number in range(PARTITIONS)]


@contextmanager
def broker() -> Iterator[Broker]:
    """The broker that KAFKA_URL names, or one of our own on this machine, ended after."""
    if url := os.environ.get("KAFKA_URL"):
        yield Broker(url, AdminClient(settings(url).client()))
        return
    with KafkaCluster(properties={"log.segment.delete.delay.ms": "1000"}) as cluster:  # a minute holds many runs
        ours = Broker(cluster.url, AdminClient(settings(cluster.url).client()))
        with ours.topic(filled=20_000):  # a broker's first producer waits for its coordinator
            pass
        yield ours


class Reports:
    """Counts delivery reports; raises the first failure when asked how many were confirmed."""

    def __init__(self) -> None:
        self._confirmed = 0
        self._failure: KafkaError | None = None

    def __call__(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failure = error
        self._confirmed += 1

    @property
    def confirmed(self) -> int:
        if self._failure is not None:
            raise RuntimeError(f"a message was not confirmed: {self._failure}")
        return self._confirmed


def _fill(url: str, topic: str, count: int) -> None:
    producer = Producer(settings(url).producer() | {"linger.ms": 5, "log_level": 3})  # errors only
    reports = Reports()
    for number in range(count):
        producer.produce(topic, DATA, KEYS[number % 1000], on_delivery=reports, headers=attributes(number))
        while number - reports.confirmed > 20_000:
            producer.poll(1.0)
    producer.flush(PATIENCE)
    if reports.confirmed < count:
        raise RuntimeError(f"{reports.confirmed:,} of {count:,} messages were confirmed")
