"""Messages go out: many in one request, confirmed together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from grpc import StatusCode

from visionbus.messaging.drivers.pubsub.backoff import backoff
from visionbus.messaging.drivers.pubsub.batcher import MAX_BYTES, Batch, Batcher, Lane
from visionbus.messaging.drivers.pubsub.errors import RETRIED_PUBLISH, fails_with, translated
from visionbus.messaging.drivers.pubsub.records import check_carried, encoded
from visionbus.messaging.drivers.pubsub.sends import Item, Send
from visionbus.messaging.errors import (
    ClosedError,
    MessagingError,
    NotFoundError,
    TooLargeError,
    UnavailableError,
    send_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from visionbus.messaging.drivers.pubsub.connection import Connection
    from visionbus.messaging.drivers.pubsub.settings import PubsubSettings
    from visionbus.messaging.message import Message

MAX_CALLS = 64  # requests on their way at once
# Bytes queued or on their way, but for the last message's: more of them wait with their senders.
MAX_HELD = 64 * 1024 * 1024
AT_ONCE = 500  # messages made ready before the event loop gets a turn
CALL = 10.0  # seconds for one request; the next try gets twice as long
SHORTEST = 1.0  # seconds that a request gets at least, so that it may succeed: giving up may come that much later
LEAVE = 3.0  # seconds that closing waits for what is on its way

_REFUSED = frozenset({StatusCode.INVALID_ARGUMENT})
_UNKNOWN = frozenset({StatusCode.NOT_FOUND})


class Publisher:
    """Sends for one connection, on one event loop: bounded in what it holds and has on its way.

    Messages that wait while others are on their way go together. Those of a key go one request after the other; when
    one is given up, so are those behind it, and what is sent afterwards goes on.
    """

    def __init__(self, connection: Connection, settings: PubsubSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._least = min(SHORTEST, settings.send_timeout / 4)
        self._batcher: Batcher[Item] = Batcher(settings.linger)
        self._calls: set[asyncio.Task[None]] = set()
        self._held = 0  # bytes
        self._waiting: deque[asyncio.Future[None]] = deque()  # senders that wait for room
        self._pump_at: asyncio.Handle | None = None  # requests are started when the event loop gets to it ...
        self._timer: asyncio.TimerHandle | None = None  # ... and when something will have lingered
        self._closed = False

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Send, and return the ids once Pub/Sub holds all; raises as `Driver.send` says."""
        self._settings.topic_path(topic)  # raises for what cannot be one: of a request, Pub/Sub would not tell so much
        for message in messages:
            check_carried(message)
        send = Send(topic, messages)
        try:
            queued = 0
            while queued < len(messages):
                if queued:
                    await asyncio.sleep(0)
                await self._room()
                queued = self._queue(send, queued)
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

    def _queue(self, send: Send, start: int) -> int:
        """Queue the next messages of a send, by their keys, while there is room; return where to go on."""
        now = time.monotonic()
        ends = now + self._settings.send_timeout
        lanes: dict[str | None, list[tuple[Item, int]]] = {}
        index = start
        while index < min(start + AT_ONCE, len(send.ids)) and self._held < MAX_HELD:
            message = send.messages[index]
            if failure := send.hopeless(message.key):
                send.fail(index, failure)
            elif len(data := encoded(message)) > MAX_BYTES:
                send.fail(index, TooLargeError(f"{len(data):,} bytes are over Pub/Sub's limit of 10 MB: send less"))
            else:
                self._held += len(data)
                lanes.setdefault(message.key, []).append((Item(send, index, data, ends), len(data)))
            index += 1
        for key, items in lanes.items():
            self._batcher.add(Lane(send.topic, key), items, now)
        self._pump_soon()
        return index

    def _pump_soon(self) -> None:
        """Start requests when the event loop gets to it: what is queued until then goes together."""
        if self._pump_at is None:
            self._pump_at = asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        while len(self._calls) < MAX_CALLS and (batch := self._batcher.take(now)):
            call = asyncio.get_running_loop().create_task(self._deliver(batch))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        due = self._batcher.next_due()
        if due is not None and len(self._calls) < MAX_CALLS:
            self._timer = asyncio.get_running_loop().call_later(due - now, self._pump)

    async def _deliver(self, batch: Batch[Item]) -> None:
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

    async def _publish(self, lane: Lane, items: Sequence[Item]) -> MessagingError | None:
        """Publish, again and again if that may help, until each is confirmed or given up; return the last failure told.

        What Pub/Sub refuses is halved, to find what it refuses.
        """
        failure, told = _failure(TimeoutError(), lane.topic), None  # that of whatever has waited too long for its turn
        failures, wait, patience = 0, 0.0, CALL
        while True:
            left = self._give_up(lane, items, time.monotonic() + wait, failure)
            told = told if len(left) == len(items) else failure
            if not left:
                return told
            items = left
            if wait:
                await asyncio.sleep(wait)
            try:
                ids = await self._call(lane.topic, items, patience)
            except Exception as error:  # noqa: BLE001 (whatever it is: senders wait to hear of it)
                if fails_with(error, _REFUSED) and len(items) > 1:
                    return await self._publish_halves(lane, items) or told
                failure = _failure(error, lane.topic)
                failures, patience = failures + 1, patience * 2
                wait = backoff(failures) if fails_with(error, RETRIED_PUBLISH) else float("inf")
            else:
                for item, name in zip(items, ids, strict=True):
                    item.send.confirm(item.at, name)
                return told

    async def _publish_halves(self, lane: Lane, items: Sequence[Item]) -> MessagingError | None:
        half = len(items) // 2
        failure = await self._publish(lane, items[:half])
        if failure is None or lane.key is None:
            return await self._publish(lane, items[half:]) or failure
        behind = MessagingError(f"not sent, as one before it with the key {lane.key!r} failed: {failure}")
        self._fail(items[half:], behind, lane.key)
        return failure

    async def _call(self, topic: str, items: Sequence[Item], patience: float) -> Sequence[str]:
        """Make one request, which gets so many seconds at most, and return the ids."""
        left = items[0].ends - time.monotonic()
        answer = await self._connection.publish(
            self._settings.topic_path(topic),
            b"".join([item.data for item in items]),
            min(max(left, self._least), patience),
        )
        ids: Sequence[str] = answer.message_ids
        if len(ids) != len(items):
            raise MessagingError(
                f"sending to {topic!r} failed: Pub/Sub named {len(ids)} of {len(items)} messages, and nobody knows "
                "which: send them again"
            )
        return ids

    def _give_up(self, lane: Lane, items: Sequence[Item], by: float, failure: MessagingError) -> Sequence[Item]:
        """Fail what is over by then, with what has the same key and is behind it; return the others."""
        left = [item for item in items if item.ends > by]
        if len(left) == len(items):
            return items
        if lane.key is not None:
            left = []
        over = items[: len(items) - len(left)]
        if by < float("inf"):
            for item in over:
                item.send.given_up = failure
        self._fail(over, failure, lane.key)
        return left

    def _dropped(self, lane: Lane) -> list[tuple[Item, int]]:
        dropped = self._batcher.drop(lane)
        self._free(sum(size for _, size in dropped))
        return dropped

    def _fail(self, items: Iterable[Item], error: MessagingError, key: str | None = None) -> None:
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


def _failure(error: Exception, topic: str) -> MessagingError:
    if fails_with(error, _UNKNOWN):
        return NotFoundError.undeclared(topic)
    return translated(error, f"sending to {topic!r}")
