"""`pubsub://`: topics are Pub/Sub topics, subscriptions are Pub/Sub subscriptions."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from visionbus.messaging.driver import Address, Driver
from visionbus.messaging.drivers.pubsub.acked import AckedIds
from visionbus.messaging.drivers.pubsub.admin import Admin
from visionbus.messaging.drivers.pubsub.connection import Connection, check_process
from visionbus.messaging.drivers.pubsub.publisher import Publisher
from visionbus.messaging.drivers.pubsub.records import MAX_ATTRIBUTES
from visionbus.messaging.drivers.pubsub.settings import PARAMETERS, SECRETS, PubsubSettings
from visionbus.messaging.drivers.pubsub.subscription import Limits, PubsubSubscription
from visionbus.messaging.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

    from visionbus.messaging.message import Message


class PubsubDriver(Driver):
    """One project."""

    parameters = PARAMETERS
    secrets = SECRETS
    max_attributes = MAX_ATTRIBUTES
    redelivers_acked = True

    def __init__(self, address: Address) -> None:
        self._settings = PubsubSettings.parse(address)
        self._connection = Connection(self._settings)
        self._admin = Admin(self._connection, self._settings)
        self._publisher = Publisher(self._connection, self._settings)
        self._acked: defaultdict[str, AckedIds] = defaultdict(AckedIds)  # by the subscription's path

    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> None:
        check_process()
        for name in await self._admin.declare(topic, subscriptions, create=create):
            self._acked[self._settings.subscription_path(topic, name)].clear()  # a new one may bring what is older

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        check_process()
        return await self._publisher.send(topic, messages)

    async def attach(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float,
        prefetch: int,
        lost: Callable[[Collection[Hashable]], None],
    ) -> PubsubSubscription:
        check_process()
        path = self._settings.subscription_path(topic, subscription)
        try:
            await self._admin.look_up(topic, subscription)
        except NotFoundError:
            self._acked.pop(path, None)
            raise
        attached = PubsubSubscription(
            self._connection,
            path,
            ack_deadline=ack_deadline,
            limits=Limits(prefetch, self._settings.prefetch_bytes, self._settings.streams),
            lost=lost,
            acked=self._acked[path],
            look=partial(self._admin.look_for_topic, topic, subscription),
        )
        try:
            await attached.opened()
        except BaseException:
            await attached.close()
            raise
        return attached

    async def close(self) -> None:
        await self._publisher.close()
        await self._connection.close()
