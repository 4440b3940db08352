"""Another program on the same Kafka, by the client library alone."""

import time
import uuid

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK

PATIENCE = 30.0  # seconds for any answer of the broker
LOOSE = QUICK | {
    "auto.create.topics.enable": "true",
    "log.cleaner.backoff.ms": "100",
    "log.initial.task.delay.ms": "100",
    "log.retention.check.interval.ms": "200",
    "log.segment.delete.delay.ms": "0",
}


class Foreign:
    """What other programs do: topics with settings of theirs, records that the bus would not write."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create(self, topic, partitions=1, **config):
        new = NewTopic(topic, partitions, 1, config={name.replace("_", "."): value for name, value in config.items()})
        self.admin.create_topics([new])[topic].result(PATIENCE)
        while topic not in self.topics():  # the broker may hear of it later than the controller that answered
            time.sleep(0.05)

    def grow(self, topic, partitions):
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(PATIENCE)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(PATIENCE)

    def topics(self):
        return set(self.admin.list_topics(timeout=PATIENCE).topics)

    def partitions(self, topic):
        return sorted(self.admin.list_topics(topic, timeout=PATIENCE).topics[topic].partitions)

    def delete_before(self, topic, offsets):
        """Remove the records of each partition below an offset, as retention does."""
        asked = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        for done in self.admin.delete_records(asked).values():
            done.result(PATIENCE)

    def producer(self, **config):
        given = {name.replace("_", "."): value for name, value in config.items()}
        return Producer({"bootstrap.servers": self.bootstrap, "log_level": 0} | given)

    def produce(self, topic, *records):
        """Write records, each a dictionary of arguments of `Producer.produce`, and wait until the broker has them."""
        producer = self.producer()
        failures = []
        for record in records:
            producer.produce(topic, on_delivery=lambda error, _: failures.append(error), **record)
        assert producer.flush(PATIENCE) == 0
        assert failures == [None] * len(records)

    def read(self, topic, isolation="read_committed"):
        """Give all records of a topic, partition by partition, as far as it is written now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "foreign",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
                "log_level": 0,
            }
        )
        partitions = self.partitions(topic)
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        records, ended = [], 0
        while ended < len(partitions):
            first = consumer.poll(PATIENCE)
            assert first is not None, "the broker is silent"
            got = [first, *consumer.consume(1000, 0.0)]
            records += [record for record in got if record.error() is None]
            ended += sum(record.error() is not None for record in got)
        consumer.close()
        return sorted(records, key=lambda record: (record.partition(), record.offset()))

    def committed(self, group, topic):
        """Give what a group has committed, by partition."""
        asked = ConsumerGroupTopicPartitions(
            group, [TopicPartition(topic, number) for number in self.partitions(topic)]
        )
        answer = self.admin.list_consumer_group_offsets([asked])[group].result(PATIENCE)
        return {one.partition: one.offset for one in answer.topic_partitions}

    def ends(self, topic):
        """Give the offsets that each partition's next record will have."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "foreign", "log_level": 0})
        asked = {number: TopicPartition(topic, number) for number in self.partitions(topic)}
        ends = {number: consumer.get_watermark_offsets(one, PATIENCE)[1] for number, one in asked.items()}
        consumer.close()
        return ends


@pytest.fixture(scope="session")
def foreign(kafka):
    return Foreign(kafka.bootstrap)


@pytest.fixture(scope="session")
def loose_kafka():
    """A broker that creates every topic it hears of, and removes at once what retention and compaction allow it to."""
    with KafkaCluster(properties=LOOSE) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def loose_foreign(loose_kafka):
    return Foreign(loose_kafka.bootstrap)


@pytest.fixture
def topic():
    """A name that nobody else uses."""
    return f"images-{uuid.uuid4().hex}"
