"""Topics and groups as `declare` makes them, and as others have made them."""

import asyncio
import subprocess
import sys
import threading

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from visionbus.messaging import Message, MessagingError, NotFoundError, UnavailableError, connect
from visionbus.messaging.drivers.kafka import driver, subscription
from visionbus.messaging.drivers.kafka.driver import KafkaDriver
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

pytestmark = pytest.mark.slow
CLASSIC = "?group_protocol=classic"
DECLARER = """
import asyncio, sys
from visionbus.messaging import Message, connect

async def main(url, topic, name):
    async with connect(url) as bus:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(20):
            await bus.declare(f"{topic}-{number}", "workers")
            await bus.send(f"{topic}-{number}", *(Message(f"{name}-{one}".encode()) for one in range(500)))

asyncio.run(main(*sys.argv[1:]))
"""


async def declare(url, topic, *subscriptions):
    async with connect(url) as bus:
        await bus.declare(topic, *subscriptions)


async def send(url, topic, *messages):
    async with connect(url) as bus:
        return await bus.send(topic, *messages)


async def drain(url, topic, subscription="workers", *, timeout=1.0):
    """Receive and ack until nothing has come for `timeout` seconds."""
    contents = []
    async with connect(url) as bus, bus.subscribe(topic, subscription) as receiver:
        while batch := await receiver.receive(1000, timeout=timeout):
            contents += [one.message.data for one in batch]
            await receiver.ack(*batch)
    return contents


def test_new_topics_have_the_partitions_that_the_url_says(kafka, foreign, topic):
    asyncio.run(declare(f"{kafka.url}?partitions=7&replication_factor=1", topic, "workers"))
    assert foreign.partitions(topic) == list(range(7))
    assert foreign.partitions(f"{topic}.workers.dead") == list(range(7))
    assert foreign.committed(f"{topic}.workers", topic) == dict.fromkeys(range(7), 0)


def test_new_topics_have_the_brokers_partitions_where_the_url_says_nothing(kafka, foreign, topic):
    asyncio.run(declare(kafka.url, topic, "workers"))
    assert foreign.partitions(topic) == [0, 1, 2, 3]


def test_partitions_of_an_existing_topic_stay_which_is_told(kafka, foreign, topic, caplog):
    foreign.create(topic, 2)
    asyncio.run(declare(f"{kafka.url}?partitions=7", topic, "workers"))
    assert foreign.partitions(topic) == [0, 1]
    assert "has 2 partitions" in caplog.text


def test_declaring_again_after_partitions_were_added_passes_nothing_over(kafka, foreign, topic):
    messages = [Message(b"%d" % number, f"key-{number}") for number in range(100)]

    async def use():
        async with connect(kafka.url + "?partitions=1") as bus:
            await bus.declare(topic, "workers")
        foreign.grow(topic, 4)
        async with connect(kafka.url) as bus:
            await bus.send(topic, *messages)
            await bus.declare(topic, "workers")
        return await drain(kafka.url, topic, timeout=5.0)

    assert sorted(asyncio.run(use())) == sorted(message.data for message in messages)


@pytest.mark.parametrize("protocol", ["", CLASSIC])
def test_topic_made_anew_is_declared_once_receivers_of_the_deleted_one_have_left(
    kafka, foreign, topic, protocol, monkeypatch
):
    monkeypatch.setattr(subscription, "LOOK", 2.0)
    monkeypatch.setattr(subscription, "LOOK_AGAIN", 0.2)
    url = kafka.url + protocol

    async def use():
        async with connect(url) as bus, connect(url) as other:
            await bus.declare(topic, "workers")
            async with bus.subscribe(topic, "workers") as receiver:
                foreign.delete(topic)
                while topic in foreign.topics():  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.05)
                waiting = asyncio.create_task(receiver.receive())
                await other.declare(topic, "workers")
                await other.send(topic, *(Message(b"%d" % number, f"key-{number}") for number in range(50)))
                with pytest.raises(NotFoundError, match="deleted under its receiver"):
                    await waiting
            return await drain(url, topic, timeout=5.0)

    assert sorted(asyncio.run(use())) == sorted(b"%d" % number for number in range(50))


def test_group_whose_receivers_are_of_another_topic_cannot_be_declared_for_a_second(kafka, topic, monkeypatch):
    monkeypatch.setattr(driver, "TAKEN", 1.0)

    async def use():
        async with connect(f"{kafka.url}?names=verbatim") as bus:
            await bus.declare(f"{topic}.a", topic)
            async with bus.subscribe(f"{topic}.a", topic):
                with pytest.raises(UnavailableError, match="receivers of another topic"):
                    await bus.declare(f"{topic}.b", topic)

    asyncio.run(use())


def test_closing_waits_for_no_work_that_the_program_has_in_threads(kafka, topic):
    async def use():
        done = threading.Event()
        async with connect(kafka.url) as bus:
            await bus.declare(topic, "workers")
            async with bus.subscribe(topic, "workers"):
                work = [asyncio.create_task(asyncio.to_thread(done.wait)) for _ in range(100)]
                await asyncio.sleep(0.1)
            await bus.send(topic, Message(b"data"))
        done.set()
        await asyncio.gather(*work)

    async def in_time():
        async with asyncio.timeout(60):
            await use()

    asyncio.run(in_time())


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [("replication_factor=3", "INVALID_REPLICATION_FACTOR"), ("partitions=20000", "partitions")],
)
def test_topic_that_the_cluster_cannot_have_is_refused_with_the_reason(kafka, foreign, topic, parameters, reason):
    with pytest.raises(MessagingError, match=f"(?s)creating the topic '{topic}' failed.*{reason}"):
        asyncio.run(declare(f"{kafka.url}?{parameters}", topic, "workers"))
    assert topic not in foreign.topics()


@pytest.mark.parametrize("protocol", ["", CLASSIC])
def test_topics_of_other_programs_are_used_whatever_they_are_called(kafka, foreign, topic, protocol):
    url = kafka.url + protocol
    names = [form.format(topic) for form in ("9-{}", "_{}", "google.{}", "{}.dead", "-{}", "UPPER_{}")] + ["x"]

    async def use(name):
        await declare(url, name, topic)
        await send(url, name, Message(b"after"))
        return await drain(url, name, topic)

    async def use_all():
        return await asyncio.gather(*map(use, names))

    for name in set(names) - foreign.topics():
        foreign.create(name, 2)
    for name in names:
        foreign.produce(name, {"value": b"before"})
    assert asyncio.run(use_all()) == [[b"after"]] * len(names)


def test_topic_that_differs_in_a_dot_and_an_underscore_is_refused_with_the_reason(kafka, topic):
    asyncio.run(declare(kafka.url, f"{topic}.a"))
    with pytest.raises(MessagingError, match="collides"):
        asyncio.run(declare(kafka.url, f"{topic}_a"))


def test_verbatim_names_are_those_of_other_programs_groups(kafka, foreign, topic):
    foreign.create(topic)
    foreign.produce(topic, *({"value": b"%d" % number} for number in range(5)))
    group = f"theirs-{topic}"
    begun = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3)])
    foreign.admin.alter_consumer_group_offsets([begun])[group].result(30)
    with pytest.raises(NotFoundError):
        asyncio.run(drain(kafka.url, topic, group))
    url = f"{kafka.url}?names=verbatim"
    assert asyncio.run(drain(url, topic, group)) == [b"3", b"4"]
    assert foreign.committed(group, topic) == {0: 5}
    asyncio.run(declare(url, topic, f"ours-{topic}"))
    assert foreign.committed(f"ours-{topic}", topic) == {0: 5}


def test_subscription_of_deleted_offsets_is_not_found(kafka, foreign, topic):
    asyncio.run(declare(kafka.url, topic, "workers"))
    asyncio.run(send(kafka.url, topic, Message(b"data")))
    group = f"{topic}.workers"
    foreign.admin.delete_consumer_groups([group])[group].result(30)
    for url in (kafka.url, kafka.url + CLASSIC):
        with pytest.raises(NotFoundError, match=r"'workers' of topic .* is not declared"):
            asyncio.run(drain(url, topic))


def test_two_processes_declare_and_send_at_once_and_nothing_is_missed(kafka, topic):
    command = [sys.executable, "-c", DECLARER, kafka.url, topic]
    both = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    expected = sorted(f"{name}-{one}".encode() for name in ("one", "other") for one in range(500))

    async def drained():
        return await asyncio.gather(*(drain(kafka.url, f"{topic}-{number}") for number in range(20)))

    assert [sorted(contents) for contents in asyncio.run(drained())] == [expected] * 20


def test_broker_that_creates_topics_is_not_made_to(loose_kafka, loose_foreign, topic):
    url = loose_kafka.url

    async def use():
        async with connect(url) as bus:
            for _ in range(2):
                with pytest.raises(NotFoundError, match=f"'{topic}' is not declared"):
                    await bus.send(topic, Message(b"data"))
            with pytest.raises(NotFoundError, match=f"'{topic}' is not declared"):
                async with bus.subscribe(topic, "workers"):
                    pass
            with pytest.raises(ValueError, match="not a valid name"):
                await bus.declare("-" + topic)

    asyncio.run(use())
    assert not {name for name in loose_foreign.topics() if topic in name}


def test_sender_that_asks_nobody_is_found_out_by_a_broker_that_creates_topics(
    loose_kafka, loose_foreign, topic, monkeypatch
):
    honest = KafkaSettings.producer
    monkeypatch.setattr(KafkaSettings, "producer", lambda self: honest(self) | {"allow.auto.create.topics": True})
    monkeypatch.setattr(KafkaDriver, "send", lambda self, *given: self._producer.send(*given))
    asyncio.run(send(loose_kafka.url, topic, Message(b"data")))
    assert topic in loose_foreign.topics()


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_topic_deleted_under_its_users_is_not_created_again_by_them(loose_kafka, loose_foreign, topic, protocol):
    """A broker that creates topics would hide that the first one is gone, its messages and groups with it."""
    quick = "send_timeout=2&rdkafka.topic.metadata.refresh.interval.ms=1000"
    url = f"{loose_kafka.url}?group_protocol={protocol}&{quick}"

    async def use():
        async with connect(url) as bus:
            await bus.declare(topic, "workers")
            await bus.send(topic, Message(b"data"))
            async with bus.subscribe(topic, "workers") as receiver:
                await receiver.ack(*await receiver.receive())
                await asyncio.to_thread(loose_foreign.delete, topic)
                with pytest.raises(NotFoundError):
                    await receiver.receive()
            with pytest.raises((NotFoundError, UnavailableError)):
                await bus.send(topic, Message(b"more"))
            with pytest.raises(NotFoundError):
                await bus.send(topic, Message(b"more"))

    asyncio.run(use())
    assert topic not in loose_foreign.topics()


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_topic_deleted_and_made_anew_under_a_receiver_ends_it(kafka, foreign, topic, protocol, monkeypatch):
    """It would go on at its old offsets, and pass over what was sent to the new one first."""
    monkeypatch.setattr(subscription, "LOOK", 0.2)

    async def use():
        async with connect(f"{kafka.url}?group_protocol={protocol}") as bus:
            await bus.declare(topic, "workers")
            await bus.send(topic, *(Message(b"old") for _ in range(20)))
            async with bus.subscribe(topic, "workers") as receiver:
                await receiver.ack(*await receiver.receive(20, linger=1.0))
                await asyncio.to_thread(foreign.delete, topic)
                await bus.declare(topic)
                with pytest.raises(NotFoundError, match="deleted under its receiver"):
                    await receiver.receive()

    asyncio.run(use())
