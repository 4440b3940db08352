"""What is asked of Pub/Sub besides messages: topics and subscriptions, and whether they keep the promises."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from google.pubsub_v1 import types
from grpc import StatusCode

from visionbus.messaging.drivers.pubsub.backoff import backoff
from visionbus.messaging.drivers.pubsub.errors import CALL_ERRORS, RETRIED_ADMIN, status_of, translated
from visionbus.messaging.drivers.pubsub.grants import Grants
from visionbus.messaging.errors import AccessError, MessagingError, NotFoundError
from visionbus.messaging.names import is_dead_letter_topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from visionbus.messaging.drivers.pubsub.connection import Connection
    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings

log = logging.getLogger(__name__)

CALL = 10.0  # seconds for one call
UNREACHED = 10.0  # seconds until it is told that nothing ever answered: as long as a broker takes to start
BACKSTOP = 100  # attempts after which Pub/Sub itself gives a message up: the most that it offers; ours come first
ACK_DEADLINE = 10  # seconds, of a subscription: its receivers' streams bring their own
DELETED = "_deleted-topic_"  # what Pub/Sub calls the topic of a subscription that outlived it


class Admin:
    """Questions to one project, asked from one event loop."""

    def __init__(self, connection: Connection, settings: PubsubSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._grants = Grants(connection, settings)

    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> list[str]:
        """Create what is missing, as `Driver.declare` says, and return the subscriptions that were.

        `MessagingError` for what is there and breaks a promise.
        """
        await self._declare_topic(topic, create=create)
        made = await asyncio.gather(
            *(self._declare_subscription(topic, name, dead) for name, dead in subscriptions.items())
        )
        await self._grants.check(topic, subscriptions)
        return [name for name, is_new in zip(subscriptions, made, strict=True) if is_new]

    async def look_up(self, topic: str, subscription: str) -> None:
        """Raise `NotFoundError` if there is no such subscription, `MessagingError` if it breaks a promise.

        Who may receive need not be allowed to look: nothing is raised then.
        """
        try:
            found = await self._subscription(topic, subscription)
        except AccessError as error:
            log.info("cannot look whether the subscription keeps the promises: %s", error)
        else:
            self._check(found, topic, subscription)

    async def look_for_topic(self, topic: str, subscription: str) -> None:
        """Raise `NotFoundError` if a subscription is gone, or has outlived its topic, as far as one may look."""
        with suppress(AccessError):
            _check_topic(await self._subscription(topic, subscription))

    async def _declare_topic(self, topic: str, *, create: bool) -> None:
        path = self._settings.topic_path(topic)
        doing = f"looking up the topic {topic!r}"
        try:
            await self._ask("GetTopic", types.GetTopicRequest.pb()(topic=path), doing)
        except NotFoundError:
            if not create:
                raise NotFoundError.undeclared(topic) from None
            await self._create("CreateTopic", types.Topic.pb()(name=path), f"creating the topic {topic!r}")

    async def _declare_subscription(self, topic: str, subscription: str, dead: str | None) -> bool:
        """Create a subscription; return False if it was there."""
        try:
            found = await self._subscription(topic, subscription)
        except NotFoundError:
            wanted = self._wanted(topic, subscription, dead)
            if await self._create("CreateSubscription", wanted, f"creating the subscription {subscription!r}"):
                return True
            found = await self._subscription(topic, subscription)  # somebody else was faster
        self._check(found, topic, subscription)
        return False

    def _wanted(self, topic: str, subscription: str, dead: str | None) -> Any:  # noqa: ANN401 (protobuf)
        settings = self._settings
        wanted = types.Subscription.pb()(
            name=settings.subscription_path(topic, subscription),
            topic=settings.topic_path(topic),
            ack_deadline_seconds=ACK_DEADLINE,
            enable_message_ordering=True,
            filter=self._filter(topic),
        )
        wanted.message_retention_duration.seconds = round(settings.retention)
        wanted.expiration_policy.SetInParent()  # without a time: never; without a policy it would be 31 days
        if settings.expiration:
            wanted.expiration_policy.ttl.seconds = round(settings.expiration)
        if dead is not None:
            wanted.dead_letter_policy.dead_letter_topic = settings.topic_path(dead)
            wanted.dead_letter_policy.max_delivery_attempts = BACKSTOP
        return wanted

    def _check(self, found: Any, topic: str, subscription: str) -> None:  # noqa: ANN401 (protobuf)
        """Raise what a subscription breaks."""
        _check_topic(found)
        name = found.name.rpartition("/")[2]
        if fault := self._fault(found, topic):
            raise MessagingError(
                f"the subscription {name!r} {fault}; it cannot be changed: use another, or delete it "
                f"(gcloud pubsub subscriptions delete {name}) and declare it"
            )
        if (found.HasField("push_config") and found.push_config.push_endpoint) or _exports(found):
            raise MessagingError(
                f"the subscription {name!r} is no pull subscription: use another, or make it one "
                f"(gcloud pubsub subscriptions modify-push-config {name} --push-endpoint=)"
            )
        if found.enable_exactly_once_delivery:
            raise MessagingError(
                f"the subscription {name!r} has exactly-once delivery, with which an ack that was in time may fail: "
                f"turn it off (gcloud pubsub subscriptions update {name} --no-enable-exactly-once-delivery)"
            )
        policy = found.dead_letter_policy
        if policy.dead_letter_topic and policy.max_delivery_attempts < BACKSTOP:
            log.warning(
                "the subscription %r gives messages up after %d attempts by itself, without a reason, and counts "
                "receivers that end as attempts: raise that to %d (gcloud pubsub subscriptions update %s "
                "--max-delivery-attempts=%d)",
                *(subscription, policy.max_delivery_attempts, BACKSTOP, name, BACKSTOP),
            )

    def _fault(self, found: Any, topic: str) -> str | None:  # noqa: ANN401 (protobuf)
        if found.topic != self._settings.topic_path(topic):
            return f"belongs to another topic, {found.topic}"
        if found.detached:
            return "is detached from its topic, and gets nothing any more"
        if not found.enable_message_ordering:
            return "was made without message ordering, so that messages of a key would come in any order"
        if found.filter != self._filter(topic):
            said = f"has the filter {found.filter!r}" if found.filter else "has no filter"
            cure = "write filter= into the URL if that is meant" if found.filter else "unlike filter= in the URL"
            return f"{said}, so that other messages come than are expected ({cure})"
        return None

    def _filter(self, topic: str) -> str:
        """Return the filter that subscriptions of a topic have; a dead letter that one held back would be lost."""
        return "" if is_dead_letter_topic(topic) else self._settings.filter

    async def _subscription(self, topic: str, subscription: str) -> Any:  # noqa: ANN401 (protobuf)
        path = self._settings.subscription_path(topic, subscription)
        request = types.GetSubscriptionRequest.pb()(subscription=path)
        try:
            return await self._ask("GetSubscription", request, f"looking up the subscription {subscription!r}")
        except NotFoundError:
            raise NotFoundError.undeclared(topic, subscription) from None

    async def _create(self, method: str, wanted: Message, doing: str) -> bool:
        """Create something; return False if it was there."""
        try:
            await self._ask(method, wanted, doing)
        except MessagingError as error:
            if isinstance(error.__cause__, CALL_ERRORS) and status_of(error.__cause__) is StatusCode.ALREADY_EXISTS:
                return False
            raise
        return True

    async def _ask(self, method: str, request: Message, doing: str) -> Any:  # noqa: ANN401 (of many types)
        """Ask patiently."""
        patience = self._settings.send_timeout
        ends = time.monotonic() + (patience if self._connection.reached else min(patience, UNREACHED))
        failures = 0
        while True:
            left = ends - time.monotonic()
            try:
                return await self._connection.call(method, request, max(min(left, CALL), 0.001))
            except CALL_ERRORS as error:
                failures += 1
                wait = backoff(failures)
                if status_of(error) not in RETRIED_ADMIN or time.monotonic() + wait >= ends:
                    raise translated(error, doing) from error
            await asyncio.sleep(wait)


def _exports(found: Any) -> bool:  # noqa: ANN401 (protobuf)
    """Tell whether a subscription writes what it gets to another service."""
    return any(found.HasField(name) for name in ("bigquery_config", "bigtable_config", "cloud_storage_config"))


def _check_topic(found: Any) -> None:  # noqa: ANN401 (protobuf)
    """Raise `NotFoundError` for a subscription whose topic was deleted, even if there is a new one of that name."""
    if found.topic == DELETED:
        name = found.name.rpartition("/")[2]
        raise NotFoundError(
            f"the topic of the subscription {name!r} was deleted, and it gets nothing any more: delete it, too "
            f"(gcloud pubsub subscriptions delete {name}), then declare both"
        )
