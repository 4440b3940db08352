"""Questions to the cluster: asked of one client, patiently, each with an end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from visionbus.messaging.drivers.kafka.errors import Connection, cause, translated
from visionbus.messaging.drivers.kafka.threads import in_thread
from visionbus.messaging.errors import AccessError, ClosedError, MessagingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from visionbus.messaging.drivers.kafka.settings import KafkaSettings

PATIENCE = 30.0  # seconds for one question, the search for a broker included
LOOK_AGAIN = 0.05  # seconds: news of a topic or of a setting spread from broker to broker
NEWS = 2.0  # seconds that news of a topic take from one broker to the others
SPREAD = 10.0  # seconds until leaders and coordinators are found, and brokers know of a new topic, at the latest
LISTEN = 10.0  # seconds between looks at what librdkafka has to say
_SOON = frozenset(
    {  # what brokers say while leaders and coordinators are being found
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "LEADER_NOT_AVAILABLE",
        "NOT_CONTROLLER",
        "NOT_COORDINATOR",
        "NOT_LEADER_FOR_PARTITION",
        "UNKNOWN_LEADER_EPOCH",  # a broker that has not heard yet of the election
        "_DESTROY_BROKER",  # a connection that broke while its answer was awaited, as is the next
        "_TRANSPORT",
    }
)
_NO_NEWS = "UNKNOWN_TOPIC_OR_PART"  # what brokers say of a topic that they have not heard of yet
T = TypeVar("T")


class Questions:
    """Asks from one event loop; the first question connects."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._connection = Connection()
        self._connecting = asyncio.Lock()
        self._client: AdminClient | None = None
        self._closed = False

    async def ask(
        self,
        doing: str,
        question: Callable[[AdminClient], Future[Any]],
        check: Callable[[Any], None] = lambda _: None,
        *,
        known: bool = False,
    ) -> Any:  # noqa: ANN401 (of many types)
        """Ask patiently; `known`: some broker knows the topic."""

        async def once() -> Any:  # noqa: ANN401 (the same)
            answer = await self._answer(question(await self._connected()), doing)
            check(answer)
            return answer

        return await patiently(once, known=known)

    async def close(self) -> None:
        """Let go of the connection, which librdkafka may take a moment for; questions end with `ClosedError`."""
        async with self._connecting:
            self._closed = True
            if self._client is not None:
                client, self._client = self._client, None
                self._listening.cancel()
                await in_thread(client.__exit__, None, None, None)

    async def _connected(self) -> AdminClient:
        async with self._connecting:
            if self._closed:
                raise ClosedError("the bus is closed: connect again")
            if self._client is None:
                configuration = self._settings.client() | {"error_cb": self._connection.error_cb}
                self._client = await in_thread(AdminClient, configuration)  # a first token may take a second
                self._listen()
        return self._client

    def _listen(self) -> None:
        """Take what librdkafka has to say, which piles up otherwise, as while brokers are away."""
        if self._client is not None:
            self._client.poll(0)
            self._listening = asyncio.get_running_loop().call_later(LISTEN, self._listen)

    async def _answer(self, future: Future[T], doing: str) -> T:
        """Wait for an answer, and for news of a refused connection, which librdkafka tells only to those who poll."""
        awaited = asyncio.wrap_future(future)
        begun = time.monotonic()
        try:
            while not (await asyncio.wait([awaited], timeout=0.1))[0]:
                self._look_after(time.monotonic() - begun, doing)
            answer = awaited.result()
        except KafkaException as error:
            if self._closed:
                raise ClosedError(f"{doing} ended: the bus was closed") from error
            raise self._connection.refused(doing) or translated(error.args[0], doing) from error
        finally:
            awaited.cancel()  # nobody looks at it any more
        self._connection.established = True
        return answer

    def _look_after(self, waited: float, doing: str) -> None:
        """Raise what ends a question that has waited so many seconds, if anything does."""
        if self._client is None:  # it was closed, and leaves its questions open
            raise ClosedError(f"{doing} ended: the bus was closed")
        self._client.poll(0)
        if refusal := self._connection.refused(doing, waited):
            raise refusal


async def patiently(ask: Callable[[], Awaitable[T]], *, known: bool = False) -> T:
    """Ask again while leaders and coordinators are being found, and while news spread of a topic that is `known`.

    Patience is counted from the first failure: that one may have taken long, as where a broker was away.
    """
    failed: float | None = None
    while True:
        try:
            return await ask()
        except MessagingError as error:
            now = time.monotonic()
            failed = now if failed is None else failed
            patience = SPREAD if cause(error) in _SOON else NEWS if known and cause(error) == _NO_NEWS else 0.0
            if isinstance(error, AccessError | ClosedError) or now >= failed + patience:
                raise
        await asyncio.sleep(LOOK_AGAIN)
