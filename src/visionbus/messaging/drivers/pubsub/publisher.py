"""Messages go out: many in one request, confirmed together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from grpc import StatusCode

from visionbus.messaging.drivers.pubsub.backoff import backoff
from visionbus.messaging.drivers.pubsub.batcher import MAX_BYTES, Batch, Batcher, Lane
from visionbus.messaging.drivers.pubsub.errors import CALL_ERRORS, RETRIED_PUBLISH, send_error, status_of, translated
from visionbus.messaging.drivers.pubsub.records import check_carried, encoded
from visionbus.messaging.errors import (
    ClosedError,
    MessagingError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from visionbus.messaging.drivers.pubsub.connection import Connection
    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings
    from visionbus.messaging.message import Message

MAX_CALLS = 64  # requests on their way at once
MAX_HELD = 64 * 1024 * 1024  # bytes queued or on their way: more of them wait with their senders
AT_ONCE = 500  # messages made ready before the event loop gets a turn
CALL = 10.0  # seconds for one request; the next try gets twice as long
LEAVE = 3.0  # seconds that closing waits for what is on its way


class _Item(NamedTuple):
    """One message on its way."""

    send: _Send
    at: int  # its place in the send
    data: bytes  # a request with this message alone: several of them, one after the other, are a request with all
    ends: float  # monotonic seconds when it is given up


class Publisher:
    """Sends for one connection, on one event loop: bounded in what it holds and has on its way.

    Messages that wait while others are on their way go together. Those of a key go one request after the other; when
    one is given up, so are those behind it, and what is sent afterwards goes on.
    """

    def __init__(self, connection: Connection, settings: PubsubSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._batcher: Batcher[_Item] = Batcher(settings.linger)
        self._calls: set[asyncio.Task[None]] = set()
        self._held = 0  # bytes
        self._waiting: deque[asyncio.Future[None]] = deque()  # senders that wait for room
        self._pump_at: asyncio.Handle | None = None
        self._closed = False

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Send, and return the ids once Pub/Sub holds all; raises as `Driver.send` says."""
        self._settings.topic_path(topic)  # raises for what cannot be one: of a request, Pub/Sub would not tell so much
        for message in messages:
            check_carried(message)
        send = _Send(topic, messages)
        try:
            for start in range(0, len(messages), AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                await self._room()
                self._queue(send, start)
                self._wake()
            await send.done
        finally:
            send.done.cancel()  # what is still queued is not sent if the sender was cancelled
        if send.failures:
            raise send_error([(messages[at], error) for at, error in sorted(send.failures.items())], len(messages))
        return send.ids

    async def close(self) -> None:
        """Wait a little for what is on its way, give up the rest, and stop."""
        self._closed = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=LEAVE)
        gone = UnavailableError("sending failed: the bus was closed before Pub/Sub confirmed: connect and send again")
        for lane in self._batcher.lanes():
            self._fail((item for item, _ in self._dropped(lane)), gone)
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
        while self._waiting:
            self._wake()

    async def _room(self) -> None:
        while self._held >= MAX_HELD and not self._closed:
            room = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            try:
                await room
            except asyncio.CancelledError:
                self._wake()  # it may have been woken: then it is the next one's turn
                raise
        if self._closed:
            raise ClosedError("the bus is closed: connect again")

    def _queue(self, send: _Send, start: int) -> None:
        """Queue the next messages of a send, by their keys."""
        now = time.monotonic()
        ends = now + self._settings.send_timeout
        lanes: dict[str | None, list[tuple[_Item, int]]] = {}
        for index in range(start, min(start + AT_ONCE, len(send.ids))):
            message = send.messages[index]
            if message.key in send.broken:
                send.fail(index, send.broken[message.key])
                continue
            data = encoded(message)
            if len(data) > MAX_BYTES:
                send.fail(index, TooLargeError(f"{len(data):,} bytes are over Pub/Sub's limit of 10 MB: send less"))
                continue
            self._held += len(data)
            lanes.setdefault(message.key, []).append((_Item(send, index, data, ends), len(data)))
        for key, items in lanes.items():
            self._batcher.add(Lane(send.topic, key), items, now)
        self._pump_soon()

    def _pump_soon(self) -> None:
        """Start requests when the event loop gets to it: what is queued until then goes together."""
        if self._pump_at is None:
            self._pump_at = asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_at = None
        now = time.monotonic()
        while len(self._calls) < MAX_CALLS and (batch := self._batcher.take(now)):
            call = asyncio.get_running_loop().create_task(self._deliver(batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        due = self._batcher.next_due()
        if due is not None and len(self._calls) < MAX_CALLS:
            self._pump_at = asyncio.get_running_loop().call_later(due - now, self._pump)

    async def _deliver(self, batch: Batch[_Item]) -> None:
        """Bring one batch to Pub/Sub, or tell its senders why not; the body of a task."""
        items = [item for item in batch.items if not item.send.done.cancelled()]
        try:
            failure = await self._publish(batch.lane, items) if items else None
            if failure and batch.lane.key is not None:
                behind = MessagingError(f"not sent, as one before it with the key {batch.lane.key!r} failed: {failure}")
                self._fail((item for item, _ in self._dropped(batch.lane)), behind, batch.lane.key)
        except asyncio.CancelledError:  # by `close`
            gone = UnavailableError("sending failed: the bus was closed before Pub/Sub confirmed: send again")
            self._fail(items, gone)
            raise
        finally:
            self._batcher.done(batch.lane)
            self._calls.discard(asyncio.current_task())  # so that the next may start
            self._free(batch.size)
            self._pump_soon()

    async def _publish(self, lane: Lane, items: Sequence[_Item]) -> MessagingError | None:
        """Publish, halving what Pub/Sub refuses, to find what it refuses; return the last failure that was told."""
        try:
            ids = await self._call(lane.topic, items)
        except Exception as error:  # noqa: BLE001 (whatever it is: senders wait to hear of it)
            if isinstance(error, CALL_ERRORS) and status_of(error) is StatusCode.INVALID_ARGUMENT and len(items) > 1:
                return await self._publish_halves(lane, items)
            failure = _failure(error, lane.topic)
            self._fail(items, failure, lane.key)
            return failure
        for item, name in zip(items, ids, strict=True):
            item.send.confirm(item.at, name)
        return None

    async def _publish_halves(self, lane: Lane, items: Sequence[_Item]) -> MessagingError | None:
        half = len(items) // 2
        failure = await self._publish(lane, items[:half])
        if failure is None or lane.key is None:
            return await self._publish(lane, items[half:]) or failure
        behind = MessagingError(f"not sent, as one before it with the key {lane.key!r} failed: {failure}")
        self._fail(items[half:], behind, lane.key)
        return failure

    async def _call(self, topic: str, items: Sequence[_Item]) -> Sequence[str]:
        """Publish, again and again if that may help, until the first message is to be given up; return the ids."""
        body = b"".join([item.data for item in items])
        ends = items[0].ends
        failures = 0
        patience = CALL
        while True:
            left = ends - time.monotonic()
            try:
                answer = await self._connection.publish(
                    self._settings.topic_path(topic), body, max(min(left, patience), 0.001)
                )
            except CALL_ERRORS as error:
                failures += 1
                wait = backoff(failures)
                if status_of(error) not in RETRIED_PUBLISH or time.monotonic() + wait >= ends:
                    raise
                patience *= 2
            else:
                return _ids(answer, topic, len(items))
            await asyncio.sleep(wait)

    def _dropped(self, lane: Lane) -> list[tuple[_Item, int]]:
        dropped = self._batcher.drop(lane)
        self._free(sum(size for _, size in dropped))
        return dropped

    def _fail(self, items: Iterable[_Item], error: MessagingError, key: str | None = None) -> None:
        for item in items:
            if key is not None:
                item.send.broken[key] = error
            item.send.fail(item.at, error)

    def _free(self, size: int) -> None:
        self._held -= size
        self._wake()

    def _wake(self) -> None:
        """Have the next sender that waits for room go on, if there is room."""
        while self._waiting and (self._held < MAX_HELD or self._closed):
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                break


class _Send:
    """The messages of one send, on their way."""

    def __init__(self, topic: str, messages: Sequence[Message]) -> None:
        self.topic = topic
        self.messages = messages
        self.ids = [""] * len(messages)
        self.failures: dict[int, MessagingError] = {}
        self.broken: dict[str | None, MessagingError] = {}  # by key: why what is queued later fails, too
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = len(messages)

    def confirm(self, index: int, name: str) -> None:
        """Note the id of a message that Pub/Sub holds."""
        if not self._is_settled(index):
            self.ids[index] = name
            self._settled()

    def fail(self, index: int, error: MessagingError) -> None:
        """Note why a message is not confirmed."""
        if not self._is_settled(index):
            self.failures[index] = error
            self._settled()

    def _is_settled(self, index: int) -> bool:
        return bool(self.ids[index]) or index in self.failures

    def _settled(self) -> None:
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)


def _ids(answer: Any, topic: str, count: int) -> Sequence[str]:  # noqa: ANN401 (protobuf)
    """Return the ids of an answer; `MessagingError` if they are not those of all messages."""
    ids: Sequence[str] = answer.message_ids
    if len(ids) != count:
        raise MessagingError(
            f"sending to {topic!r} failed: Pub/Sub named {len(ids)} of {count} messages, and nobody knows which: "
            "send them again"
        )
    return ids


def _failure(error: Exception, topic: str) -> MessagingError:
    if isinstance(error, CALL_ERRORS) and status_of(error) is StatusCode.NOT_FOUND:
        return NotFoundError.undeclared(topic)
    return translated(error, f"sending to {topic!r}")
