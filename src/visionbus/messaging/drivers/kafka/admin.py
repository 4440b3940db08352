"""What is asked of the cluster besides records: its topics, groups and settings."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ has no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from visionbus.messaging.drivers.kafka.errors import Connection, cause, translated
from visionbus.messaging.drivers.kafka.questions import (
    LOOK_AGAIN,
    NEVER,
    NEWS,
    PATIENCE,
    SPREAD,
    Questions,
    patiently,
)
from visionbus.messaging.errors import MessagingError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]  # the same

    from visionbus.messaging.drivers.kafka.settings import KafkaSettings

CLASSIC_SESSION = 45.0  # seconds: any, for a consumer that does not join
_LEGAL = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}", re.ASCII)


class Admin:
    """What is known of one cluster, and what is changed in it, from one event loop."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._questions = Questions(settings)

    async def topic(self, topic: str) -> TopicDescription | None:
        """Return a topic's partitions and id, None if there is no such topic; creates nothing.

        In a cluster, not all brokers know of a topic that was just created: the look-up is repeated for a while.
        """
        give_up = time.monotonic() + NEWS
        while _LEGAL.fullmatch(topic):
            if found := await self._look_up(topic):
                return found
            if await self._nodes() == 1 or time.monotonic() > give_up:
                break
            await asyncio.sleep(LOOK_AGAIN)
        return None

    async def _look_up(self, topic: str) -> TopicDescription | None:
        try:
            found: TopicDescription = await self._questions.ask(
                f"looking up the topic {topic!r}",
                lambda client: client.describe_topics(TopicCollection([topic]), request_timeout=PATIENCE)[topic],
            )
        except NotFoundError:
            return None
        return found

    async def create(self, topic: str) -> bool:
        """Create a topic unless it is there, and return whether this call did; afterwards brokers know of it."""
        new = NewTopic(
            topic,
            num_partitions=self._settings.partitions or -1,
            replication_factor=self._settings.replication_factor or -1,
        )
        doing = f"creating the topic {topic!r}"
        created = True
        try:
            await self._questions.ask(
                doing, lambda client: client.create_topics([new], request_timeout=PATIENCE)[topic]
            )
        except MessagingError as error:
            if cause(error) != "TOPIC_ALREADY_EXISTS":
                raise
            created = False
        give_up = time.monotonic() + SPREAD
        while not await self._look_up(topic):
            if time.monotonic() > give_up:
                raise UnavailableError(f"{doing}: it exists, but brokers do not know of it yet: try again")
            await asyncio.sleep(LOOK_AGAIN)
        return created

    async def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offsets that a group has committed, for those partitions that have one.

        A consumer asks, which does not join: librdkafka's administration client crashes where the group's coordinator
        is being found or loaded (2.16, `rd_kafka_handle_OffsetFetch` without a group).
        """
        asked = [TopicPartition(topic, number) for number in partitions]
        doing = f"looking up the group {group!r}"
        with suppress(NotFoundError):  # a consumer that may not ask would wait in vain for the group's coordinator
            await self._questions.ask(
                doing, lambda client: client.describe_consumer_groups([group], request_timeout=NEVER)[group]
            )

        async def ask() -> list[TopicPartition]:
            connection = Connection()
            configuration = self._settings.consumer(group, CLASSIC_SESSION) | {"error_cb": connection.error_cb}
            try:
                answers = await asyncio.to_thread(_committed, configuration, asked)
            except KafkaException as error:
                raise connection.refused(doing) or translated(error.args[0], doing) from error
            _check_each(answers, doing=doing)
            return answers

        return {one.partition: one.offset for one in await patiently(ask) if one.offset >= 0}

    async def begin(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commit first offsets for a group; if it has members, it is theirs to do so."""
        doing = f"declaring the group {group!r}"
        asked = ConsumerGroupTopicPartitions(
            group, [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        )
        await self._questions.ask(
            doing,
            lambda client: client.alter_consumer_group_offsets([asked], request_timeout=NEVER)[group],
            lambda answer: _check_each(answer.topic_partitions, doing=doing, but="UNKNOWN_MEMBER_ID"),
            known=True,
        )

    async def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offset of each partition that its next message will get."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = [TopicPartition(topic, number) for number in partitions]
        doing = f"looking up the end of {topic!r}"
        found = await asyncio.gather(
            *(self._questions.ask(doing, partial(_end_of, one, latest), known=True) for one in asked)
        )
        return {one.partition: end.offset for one, end in zip(asked, found, strict=True)}

    async def broker_settings(self) -> dict[str, str]:
        """Return the settings of one broker."""
        doing = "looking up the settings of the brokers"
        cluster = await self._questions.ask(doing, _cluster)
        return await self._settings_of(ConfigResource(ResourceType.BROKER, str(cluster.nodes[0].id)), doing)

    async def _nodes(self) -> int:
        return len((await self._questions.ask("looking up the brokers", _cluster)).nodes)

    async def group_settings(self, group: str) -> dict[str, str]:
        """Return the settings in force for a group; brokers before 4.0 have none."""
        return await self._settings_of(
            ConfigResource(ResourceType.GROUP, group), f"looking up the settings of the group {group!r}"
        )

    async def set_group(self, group: str, settings: Mapping[str, str]) -> None:
        """Change settings of a group."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
        await self._questions.ask(
            f"changing the settings of the group {group!r}",
            lambda client: client.incremental_alter_configs([resource], request_timeout=PATIENCE)[resource],
        )

    async def _settings_of(self, resource: ConfigResource, doing: str) -> dict[str, str]:
        entries = await self._questions.ask(
            doing, lambda client: client.describe_configs([resource], request_timeout=PATIENCE)[resource]
        )
        return {entry.name: entry.value for entry in entries.values() if entry.value is not None}

    async def close(self) -> None:
        """Let go of the connection, which librdkafka may take a moment for; questions end with `ClosedError`."""
        await self._questions.close()


def _cluster(client: AdminClient) -> Future[Any]:
    return client.describe_cluster(request_timeout=PATIENCE)


def _end_of(partition: TopicPartition, latest: OffsetSpec, client: AdminClient) -> Future[Any]:
    return client.list_offsets({partition: latest}, request_timeout=PATIENCE)[partition]


def _committed(configuration: dict[str, Any], asked: list[TopicPartition]) -> list[TopicPartition]:
    consumer = Consumer(configuration)
    try:
        return consumer.committed(asked, timeout=PATIENCE)
    finally:
        consumer.close()


def _check_each(partitions: Iterable[TopicPartition] | None, *, doing: str, but: str = "") -> None:
    """Raise the first error among those of single partitions: the call as a whole succeeds with them."""
    for one in partitions or ():
        if one.error is not None and one.error.name() != but:
            raise translated(one.error, f"{doing}, partition {one.partition},") from KafkaException(one.error)
