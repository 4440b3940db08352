"""`kafka://`: topics are Kafka topics, subscriptions are consumer groups."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

from visionbus.messaging.driver import Address, Driver
from visionbus.messaging.drivers.kafka import sessions
from visionbus.messaging.drivers.kafka.admin import Admin
from visionbus.messaging.drivers.kafka.errors import check_process
from visionbus.messaging.drivers.kafka.groups import Groups
from visionbus.messaging.drivers.kafka.producer import Producer
from visionbus.messaging.drivers.kafka.settings import PARAMETERS, PREFIX, SECRETS, KafkaSettings
from visionbus.messaging.drivers.kafka.subscription import KafkaSubscription
from visionbus.messaging.errors import MessagingError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

    from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]  # its __init__ has no __all__

    from visionbus.messaging.message import Message

log = logging.getLogger(__name__)

TAKEN = 20.0  # seconds until receivers of a topic that was deleted have noticed that, and left
LOOK_AGAIN = 0.5  # seconds


class KafkaDriver(Driver):
    """One cluster."""

    parameters = PARAMETERS
    parameter_prefixes = (PREFIX,)
    secrets = SECRETS
    keeps_acked = True

    def __init__(self, address: Address) -> None:
        self._settings = KafkaSettings.parse(address)
        self._settings.check()
        self._admin = Admin(self._settings)
        self._groups = Groups(self._settings)
        self._producer = Producer(self._settings)
        self._process = os.getpid()
        self._seen: set[str] = set()  # topics that exist: senders ask once, as producers may create what is missing

    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> None:
        check_process(self._process)
        created = await self._admin.create(topic) if create else False
        partitions = _numbers(await self._found(topic))
        if self._settings.partitions not in {None, len(partitions)}:
            log.warning("topic %r has %d partitions: ?partitions= is for new ones", topic, len(partitions))
        for name in subscriptions:
            group = self._group(topic, name)
            give_up = time.monotonic() + TAKEN
            while not await self._begun(group, topic, partitions, created=created):
                if time.monotonic() > give_up:
                    raise UnavailableError(
                        f"declaring the subscription {name!r} of {topic!r} failed: its group {group!r} has receivers "
                        "of another topic, or of a deleted one of that name: close them, and declare it again"
                    )
                await asyncio.sleep(LOOK_AGAIN)
        self._seen.add(topic)

    async def _begun(self, group: str, topic: str, partitions: list[int], *, created: bool) -> bool:
        """Have a group begin, unless it has begun; return whether it has.

        Partitions that were added later have no commit, and begin at their beginning: only where nothing is committed
        do all begin at their ends.
        """
        # The ends before the look at what is committed: in the other order, what another declaration made, and a
        # sender sent in between, would be passed over.
        ends = dict.fromkeys(partitions, 0) if created else await self._admin.ends(topic, partitions)
        return bool(await self._groups.committed(group, topic, partitions)) or await self._groups.begin(
            group, topic, ends
        )

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        check_process(self._process)
        patience = self._settings.send_timeout
        if topic not in self._seen:
            try:
                async with asyncio.timeout(patience):
                    await self._found(topic)
            except TimeoutError:
                raise UnavailableError(
                    f"sending to {topic!r} failed: no broker answered within {patience:g} s: "
                    "check that the brokers run and that the URL names them"
                ) from None
            self._seen.add(topic)
        try:
            return await self._producer.send(topic, messages)
        except MessagingError:
            self._seen.discard(topic)  # it may be deleted: of that a producer sees only that nothing is confirmed
            raise

    async def attach(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float,
        prefetch: int,
        lost: Callable[[Collection[Hashable]], None],
    ) -> KafkaSubscription:
        check_process(self._process)
        found = await self._found(topic)
        group = self._group(topic, subscription)
        if not await self._groups.committed(group, topic, _numbers(found)):
            raise NotFoundError.undeclared(topic, subscription)

        async def is_there() -> bool:
            now = await self._admin.topic(topic)
            return now is not None and str(now.topic_id) == str(found.topic_id)

        if self._settings.group_protocol == "classic":
            in_force = await sessions.classic(self._admin, ack_deadline)
        else:
            in_force = await sessions.of_group(self._admin, group, ack_deadline)
        attached = KafkaSubscription(
            self._settings.consumer(group, in_force),
            topic,
            ack_deadline=in_force,
            prefetch=prefetch,
            prefetch_bytes=self._settings.prefetch_bytes,
            lost=lost,
            is_there=is_there,
        )
        try:
            await attached.joined()
        except BaseException:
            await attached.close()
            raise
        return attached

    async def close(self) -> None:
        if self._process == os.getpid():
            self._groups.close()
            await asyncio.gather(self._producer.close(), self._admin.close())

    async def _found(self, topic: str) -> TopicDescription:
        """Look a topic up; `NotFoundError` if there is no such topic."""
        if found := await self._admin.topic(topic):
            return found
        raise NotFoundError.undeclared(topic)

    def _group(self, topic: str, subscription: str) -> str:
        return subscription if self._settings.verbatim_names else f"{topic}.{subscription}"


def _numbers(topic: TopicDescription) -> list[int]:
    return [partition.id for partition in topic.partitions]
