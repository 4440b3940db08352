"""What we write other programs read, and the other way round: keys, headers, times, partitions are plain Kafka's."""

import asyncio
import json
import logging
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import TIMESTAMP_CREATE_TIME
from jgo.config import GlobalSettings
from jgo.maven import MavenContext

from visionbus.brokers.jars import VERSION, kafka_jars
from visionbus.brokers.java import find_java
from visionbus.cache import cache_folder
from visionbus.messaging import Message, connect
from visionbus.service.wire import REQUEST_TYPE, request

DAY = timedelta(days=1)
KEYS = [f"key-{number}" for number in range(60)] + ["ключ", "鍵", "🔑", " ", "a key\twith a tab"]


@pytest.fixture(scope="session")
def tool(kafka):
    """Give what runs one of Kafka's own command line tools, and returns what it prints.

    They are in a jar that no broker needs; what it stands on, the broker's jars have.
    """
    java = find_java()
    logging.getLogger("jgo").setLevel(logging.WARNING)
    context = MavenContext(
        repo_cache=cache_folder("repository"), remote_repos=GlobalSettings.load().repositories or None
    )
    jar = context.project("org.apache.kafka", "kafka-tools").at_version(VERSION).artifact().resolve()
    path = f"{jar}:{kafka_jars(java)}/*"

    def run(name, *arguments, given=""):
        done = subprocess.run(
            [
                *(java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", path),
                *(f"org.apache.kafka.tools.{name}", "--bootstrap-server", kafka.bootstrap, *arguments),
            ],
            input=given,
            capture_output=True,
            check=True,
            encoding="utf-8",
            timeout=60,
        )
        return done.stdout

    return run


async def declare(url, topic):
    async with connect(url) as bus:
        await bus.declare(topic, "workers")


async def send(url, topic, *messages):
    async with connect(url) as bus:
        return await bus.send(topic, *messages)


async def receive(url, topic, count):
    """Receive and ack so many messages, and see that no more come."""
    deliveries = []
    async with connect(url) as bus, bus.subscribe(topic, "workers") as subscription:
        while len(deliveries) < count:
            batch = await subscription.receive(count)
            await subscription.ack(*batch)
            deliveries += batch
        assert await subscription.receive(timeout=0.2) == []
    return sorted(deliveries, key=lambda one: [int(part) for part in one.id.split("-")])


def test_request_is_a_cloud_event_to_its_own_sdk(kafka, foreign, topic):
    image = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    asyncio.run(declare(kafka.url, topic))
    asyncio.run(send(kafka.url, topic, request("run/Ünïcode", image, run="run", model="model", key="a key")))
    (record,) = foreign.read(topic)
    event = from_binary(KafkaMessage(dict(record.headers()), record.key(), record.value()), JSONFormat())
    assert (event.get_id(), event.get_type(), event.get_source()) == (
        "run/Ünïcode",
        REQUEST_TYPE,
        "/visionbus/runs/run",
    )
    assert (event.get_datacontenttype(), event.get_data()) == ("image/png", image)
    assert (event.get_extension("correlationid"), event.get_extension("partitionkey")) == ("run", "a key")
    assert event.get_time().tzinfo is not None
    assert abs(event.get_time() - datetime.now(UTC)) < DAY
    assert ("model", b"model") in record.headers()


def test_console_consumer_shows_what_we_send(kafka, tool, topic):
    asyncio.run(declare(kafka.url, topic))
    message = Message("data, größer".encode(), "schlüssel", {"name": "wert ö", "empty": "", "ce-id": "1"})
    (name,) = asyncio.run(send(kafka.url, topic, message))
    shown = {f"print.{what}": "true" for what in ("partition", "offset", "key", "headers", "timestamp", "value")} | {
        "key.separator": "|"
    }
    printed = tool(
        "consumer.ConsoleConsumer",
        *("--topic", topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "30000"),
        *(word for name, value in shown.items() for word in ("--formatter-property", f"{name}={value}")),
    )
    stamp, partition, offset, headers, key, value = printed.rstrip("\n").split("|")
    assert (key, value) == ("schlüssel", "data, größer")
    assert headers == "name:wert ö,empty:,ce_id:1"
    assert name == f"{partition.removeprefix('Partition:')}-{offset.removeprefix('Offset:')}"
    kind, _, milliseconds = stamp.partition(":")
    assert kind == "CreateTime"
    assert abs(int(milliseconds) / 1000 - time.time()) < DAY.total_seconds()


def test_console_producer_puts_keys_on_the_partitions_where_we_put_them(kafka, foreign, tool, topic):
    foreign.create(topic, 13)
    asyncio.run(declare(kafka.url, topic))
    ours = asyncio.run(send(kafka.url, topic, *(Message(b"ours", key) for key in KEYS)))
    tool(
        "ConsoleProducer",
        *("--topic", topic, "--reader-property", "parse.key=true", "--reader-property", "key.separator=|"),
        given="".join(f"{key}|theirs\n" for key in KEYS),
    )
    theirs = {one.key().decode(): one.partition() for one in foreign.read(topic) if one.value() == b"theirs"}
    assert theirs == {key: int(name.partition("-")[0]) for key, name in zip(KEYS, ours, strict=True)}
    assert len(set(theirs.values())) == 13


def test_messages_without_a_key_are_spread(kafka, foreign, topic):
    """Those that leave together stay together, as with other clients."""
    foreign.create(topic, 4)

    async def send_until_spread():
        used = set()
        async with connect(kafka.url) as bus:
            while len(used) < 4:
                used |= {name.partition("-")[0] for name in await bus.send(topic, *[Message(b"")] * 100)}

    asyncio.run(send_until_spread())
    assert {record.partition() for record in foreign.read(topic)} == {0, 1, 2, 3}


def test_times_of_records_are_when_they_were_sent(kafka, foreign, topic):
    asyncio.run(declare(kafka.url, topic))
    asyncio.run(send(kafka.url, topic, Message(b"data")))
    (record,) = foreign.read(topic)
    (delivery,) = asyncio.run(receive(kafka.url, topic, 1))
    kind, milliseconds = record.timestamp()
    assert kind == TIMESTAMP_CREATE_TIME
    assert delivery.published == datetime.fromtimestamp(milliseconds / 1000, UTC)


FOREIGN = [  # a record of another program, and the message that it is to us
    ({"value": None, "key": b"key"}, (b"", "key", {})),
    ({"value": None, "key": None}, (b"", None, {})),
    ({"value": b"", "key": b""}, (b"", None, {})),
    ({"value": b"\xff\x00", "key": b"\xff\xfe binary \x80"}, (b"\xff\x00", "\udcff\udcfe binary \udc80", {})),
    (
        {"value": b"1", "headers": [("name", b"first"), ("other", b"o"), ("name", b"last")]},
        (b"1", None, {"name": "last", "other": "o"}),
    ),
    ({"value": b"2", "headers": [("null", None), ("empty", b"")]}, (b"2", None, {"null": "", "empty": ""})),
    ({"value": b"3", "headers": [("binary", b"\x00\xc3\x28")]}, (b"3", None, {"binary": "\x00\udcc3("})),
    ({"value": b"4", "headers": [("", b"no name")]}, (b"4", None, {"": "no name"})),
    (
        {"value": b"5", "headers": [(" a b\n", b"1"), ("Größe", b"2"), ("goog", b"3"), ("x" * 5000, b"y" * 5000)]},
        (b"5", None, {" a b\n": "1", "Größe": "2", "goog": "3", "x" * 5000: "y" * 5000}),
    ),
    ({"value": b"6", "headers": [("ce_id", b"7"), ("ce-type", b"t")]}, (b"6", None, {"ce-id": "7", "ce-type": "t"})),
    ({"value": b"7", "headers": [("visionbus-attributes", b"nothing of ours")]}, (b"7", None, {})),
    ({"value": b"8", "headers": [(f"name-{number}", b"v") for number in range(500)]}, None),
]


def test_whatever_other_programs_wrote_is_received(kafka, foreign, topic):
    foreign.create(topic)
    asyncio.run(declare(kafka.url, topic))
    foreign.produce(topic, *(record for record, _ in FOREIGN))
    received = [one.message for one in asyncio.run(receive(kafka.url, topic, len(FOREIGN)))]
    expected = [message for _, message in FOREIGN[:-1]]
    assert [(one.data, one.key, dict(one.attributes)) for one in received[:-1]] == expected
    assert len(received[-1].attributes) == 500


def test_what_other_programs_wrote_can_be_sent_on(kafka, foreign, topic):
    foreign.create(topic)
    asyncio.run(declare(kafka.url, topic))
    foreign.produce(topic, *(record for record, _ in FOREIGN))
    received = [one.message for one in asyncio.run(receive(kafka.url, topic, len(FOREIGN)))]
    further = f"{topic}-further"
    foreign.create(further)
    asyncio.run(declare(kafka.url, further))
    asyncio.run(send(kafka.url, further, *received))
    records = foreign.read(further)
    assert [one.key() for one in records] == [record.get("key") or None for record, _ in FOREIGN]
    assert [dict(one.headers() or ()) for one in records[4:9]] == [
        {name: value or b"" for name, value in record["headers"]} for record, _ in FOREIGN[4:9]
    ]
    assert [one.message for one in asyncio.run(receive(kafka.url, further, len(FOREIGN)))] == received


def test_dead_letter_of_a_foreign_record_keeps_its_bytes(kafka, foreign, topic):
    foreign.create(topic)
    asyncio.run(declare(kafka.url, topic))
    foreign.produce(topic, {"value": b"\xff", "key": b"\xfe", "headers": [("name", b"\xfd")]})

    async def reject():
        async with connect(kafka.url) as bus, bus.subscribe(topic, "workers") as subscription:
            await subscription.reject(*await subscription.receive(), reason="not ours")

    asyncio.run(reject())
    (record,) = foreign.read(f"{topic}.workers.dead")
    assert (record.value(), record.key(), dict(record.headers())["name"]) == (b"\xff", b"\xfe", b"\xfd")
    assert dict(record.headers())["visionbus-reason"] == b"not ours"


def test_dead_letter_of_a_record_larger_than_the_broker_takes_there_goes_without_its_data(kafka, foreign, topic):
    foreign.create(topic, max_message_bytes="3000000")
    asyncio.run(declare(kafka.url, topic))
    producer = foreign.producer(message_max_bytes=3_000_000)
    producer.produce(topic, b"x" * 2_000_000)
    assert producer.flush(30) == 0

    async def reject():
        async with connect(kafka.url) as bus, bus.subscribe(topic, "workers") as subscription:
            await subscription.reject(*await subscription.receive(), reason="not ours")

    asyncio.run(reject())
    (record,) = foreign.read(f"{topic}.workers.dead")
    assert (record.value() or b"", dict(record.headers())["visionbus-data-left-out"]) == (b"", b"2000000")
    assert foreign.committed(f"{topic}.workers", topic) == {0: 1}


@pytest.mark.parametrize(
    ("milliseconds", "published"),
    [
        (-1, datetime(1970, 1, 1, tzinfo=UTC)),
        (1, datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)),
        (569_000_000_000_000, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),  # in the year 20000
    ],
)
def test_absurd_times_are_brought_into_range(kafka, foreign, topic, milliseconds, published):
    foreign.create(topic, message_timestamp_after_max_ms=str(2**63 - 1))
    asyncio.run(declare(kafka.url, topic))
    foreign.produce(topic, {"value": b"data", "timestamp": milliseconds})
    (delivery,) = asyncio.run(receive(kafka.url, topic, 1))
    assert delivery.published == published


def test_time_of_a_topic_that_the_broker_stamps_is_the_brokers(kafka, foreign, topic):
    foreign.create(topic, message_timestamp_type="LogAppendTime")
    asyncio.run(declare(kafka.url, topic))
    foreign.produce(topic, {"value": b"data", "timestamp": 1})
    (delivery,) = asyncio.run(receive(kafka.url, topic, 1))
    assert abs(delivery.published - datetime.now(UTC)) < DAY


def test_compressed_records_are_received(kafka, foreign, topic):
    foreign.create(topic)
    asyncio.run(declare(kafka.url, topic))
    codecs = ["gzip", "snappy", "lz4", "zstd"]
    for codec in codecs:
        producer = foreign.producer(compression_type=codec)
        producer.produce(topic, codec.encode() * 100)
        assert producer.flush(30) == 0
    received = asyncio.run(receive(kafka.url, topic, len(codecs)))
    assert [one.message.data for one in received] == [codec.encode() * 100 for codec in codecs]


def test_attributes_that_kafka_cannot_carry_as_headers_are_one_header_of_json(kafka, foreign, topic):
    asyncio.run(declare(kafka.url, topic))
    message = Message(b"", None, {"a\0b": "c\0d", "plain": "\0"})
    asyncio.run(send(kafka.url, topic, message))
    (record,) = foreign.read(topic)
    headers = dict(record.headers())
    assert headers["plain"] == b"\0"
    assert json.loads(headers["visionbus-attributes"]) == {"a\0b": "c\0d"}
    assert [one.message for one in asyncio.run(receive(kafka.url, topic, 1))] == [message]
