"""What is asked of the cluster besides records: its topics, and settings of brokers and groups."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its __init__ has no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from visionbus.messaging.drivers.kafka.errors import cause, translated
from visionbus.messaging.drivers.kafka.questions import LOOK_AGAIN, NEWS, PATIENCE, SPREAD, Questions
from visionbus.messaging.errors import MessagingError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from confluent_kafka.admin import ListOffsetsResultInfo, TopicDescription  # type: ignore[attr-defined]  # the same

    from visionbus.messaging.drivers.kafka.settings import KafkaSettings

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
        """Create a topic unless it is there, and return whether this call did; afterwards some broker knows of it."""
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

    async def ends(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offset of each partition that its next message will get."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = [TopicPartition(topic, number) for number in partitions]
        doing = f"looking up the end of {topic!r}"
        found = await asyncio.gather(
            *(self._questions.ask(doing, partial(_end_of, one, latest), _check_end, known=True) for one in asked)
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


def _check_end(end: ListOffsetsResultInfo) -> None:
    """Raise for what librdkafka gives, without an error, where the connection to a leader broke."""
    if end.offset < 0:
        error = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
        raise translated(error, "looking up the end of a partition") from KafkaException(error)
