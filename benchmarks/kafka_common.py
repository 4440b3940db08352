"""What the Kafka benchmarks share: a broker with topics, contestants in processes of their own, tables of both.

KAFKA_URL names a broker to use; without it, one of our own is started. A contestant's clock runs from its first call
to the end of its last one, and its processor time is that of its own process, all threads together.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from confluent_kafka import OFFSET_INVALID, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from visionbus.brokers.kafka import KafkaCluster
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from confluent_kafka import KafkaError, Message

PARTITIONS = 4
DATA = os.urandom(1000)
KEYS = [f"camera-{number}" for number in range(1000)]
PATIENCE = 60.0  # seconds for the broker to answer or confirm

P = ParamSpec("P")
T = TypeVar("T")


def attributes(number: int) -> dict[str, str]:
    """The three headers of a message: an event's name differs from message to message."""
    return {"ce-id": f"run/{number}", "ce-type": "benchmark", "content-type": "application/octet-stream"}


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


def in_own_process(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns, called in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *args, **kwargs).result()


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


@dataclass(frozen=True, slots=True)
class Cost:
    """What a contestant took for so many messages: seconds, processor seconds, and seconds until the first message."""

    messages: int
    seconds: float
    processor: float
    first: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def share(self) -> float:
        """Processor seconds for 100,000 messages."""
        return self.processor / self.messages * 1e5


class Clock:
    """Measures this process, from when it is made."""

    def __init__(self) -> None:
        self._processor = processor()
        self._start = time.perf_counter()
        self._first: float | None = None

    def first(self) -> None:
        """Note the first message; later ones change nothing."""
        if self._first is None:
            self._first = time.perf_counter() - self._start

    def cost(self, messages: int) -> Cost:
        seconds = time.perf_counter() - self._start
        return Cost(messages, seconds, processor() - self._processor, self._first or 0.0)


def processor() -> float:
    """Processor seconds that this process has taken, in all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def spread(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}}-{max(values):{form}}"


def head(work: str, runs: int) -> None:
    """Print what a table is about, and its head."""
    where = "the broker of KAFKA_URL" if os.environ.get("KAFKA_URL") else "one broker on the same cores"
    print(f"\n{work}\n{os.cpu_count()} cores, {where}, 4 partitions; 1 kB messages with key and 3 headers; ", end="")
    print(f"medians of {runs} with their spread; ratios are visionbus to the other, run by run")
    print(
        f"{'client':<27} {'messages':>9} {'messages/s':>10} {'':<17} {'CPU-s/100k':>10} {'':<11} {'first':>6}"
        f" {'rate':>5} {'':<11} {'CPU':>5} {'':<11} goal"
    )


def rows(costs: Mapping[str, Sequence[Cost]], goals: Mapping[str, str]) -> None:
    """Print a row for each client, the first one's ratios to it behind the others."""
    ours = next(iter(costs.values()))
    for client, runs in costs.items():
        rates, shares = [run.rate for run in runs], [run.share for run in runs]
        print(
            f"{client:<27} {runs[0].messages:>9,} {statistics.median(rates):>10,.0f} {spread(rates, ',.0f'):<17}"
            f" {statistics.median(shares):>10.2f} {spread(shares, '.2f'):<11}"
            f" {statistics.median(run.first for run in runs):>5.2f}s",
            end="",
        )
        if runs is not ours:
            rate = [one.rate / other.rate for one, other in zip(ours, runs, strict=True)]
            share = [one.share / other.share for one, other in zip(ours, runs, strict=True)]
            print(
                f" {statistics.median(rate):>5.2f} {spread(rate, '.2f'):<11}"
                f" {statistics.median(share):>5.2f} {spread(share, '.2f'):<11} {goals.get(client, '')}",
                end="",
            )
        print(flush=True)
