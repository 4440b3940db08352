"""Records go out: many in one hand-over to librdkafka, confirmed together."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from confluent_kafka import Producer as Client

from visionbus.messaging.drivers.kafka.errors import translated
from visionbus.messaging.drivers.kafka.records import headers_of, key_of
from visionbus.messaging.drivers.kafka.threads import in_thread
from visionbus.messaging.errors import ClosedError, TooLargeError, UnavailableError, send_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from confluent_kafka import KafkaError
    from confluent_kafka import Message as Record

    from visionbus.messaging.drivers.kafka.records import Headers
    from visionbus.messaging.drivers.kafka.settings import KafkaSettings
    from visionbus.messaging.errors import MessagingError
    from visionbus.messaging.message import Message

log = logging.getLogger(__name__)

POLL = 0.1  # seconds at a time that the thread waits for confirmations
IDLE = 1.0  # seconds between looks at what librdkafka has to say when nothing is on its way
AT_ONCE = 1_000_000  # bytes handed over before the event loop gets a turn
LEAVE = 3.0  # seconds that closing waits for what is on its way


class Producer:
    """One idempotent producer, used on one event loop; the first send starts it.

    Handing records over is a copy into librdkafka's queue, done on the event loop; a thread serves the confirmations.
    Where that queue is full, senders wait.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._starting = asyncio.Lock()
        self._client: Client | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work = threading.Condition()
        self._on_their_way: set[_Send] = set()  # guarded by `_work`
        self._closed = False  # guarded by `_work`
        self._ended = False  # guarded by `_work`: the thread has ended
        self._room = asyncio.Event()  # set by the thread when the queue may have got shorter

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Send, and return the ids once the brokers hold all; raises as `Driver.send` says."""
        ids, failures = await self._attempt(topic, messages)
        if len(messages) > 1:
            for index in [index for index, error in failures.items() if isinstance(error, TooLargeError)]:
                # brokers refuse a whole batch for one record: so each gets a batch of its own
                (ids[index],), failed = await self._attempt(topic, [messages[index]])
                if not failed:
                    del failures[index]
        if failures:
            raise send_error([(messages[index], error) for index, error in sorted(failures.items())], len(messages))
        return ids

    async def close(self) -> None:
        """Wait a little for what is on its way, give up the rest, and stop."""
        async with self._starting:
            with self._work:
                self._closed = True
                self._work.notify()
        if self._thread is not None:
            await in_thread(self._thread.join)
            self._client = None

    async def _attempt(self, topic: str, messages: Sequence[Message]) -> tuple[list[str], dict[int, MessagingError]]:
        headers = [headers_of(message.attributes) for message in messages]  # all, before any is handed over
        client = await self._started()
        send = _Send(topic, len(messages), self._finished)
        try:
            await self._hand_over(client, messages, headers, send)
            self._expect(send)
            await send.done.wait()
        except asyncio.CancelledError:
            send.expect_no_more()
            raise
        return send.ids, send.failures

    async def _hand_over(
        self, client: Client, messages: Sequence[Message], headers: Sequence[Headers], send: _Send
    ) -> None:
        copied = 0
        note = send.report
        for index, message in enumerate(messages):
            data = message.data
            report = partial(note, index)
            while True:
                try:
                    client.produce(send.topic, data, key_of(message), -1, report, None, 0, headers[index])
                except BufferError:
                    if not len(client):  # all that it may hold is less than this one
                        send.refuse(index, len(data))
                        break
                    self._expect(send)
                    self._room.clear()
                    if self._ended:
                        return
                    await self._room.wait()
                except KafkaException as error:
                    report(error.args[0], None)
                    break
                else:
                    break
            send.handed_over += 1
            copied += len(data)
            if copied > AT_ONCE:
                copied = 0
                await asyncio.sleep(0)

    async def _started(self) -> Client:
        async with self._starting:
            if self._closed:
                raise ClosedError("the bus is closed: connect again")
            if self._client is None:
                self._loop = asyncio.get_running_loop()
                client = await in_thread(_client, self._settings.producer())
                self._thread = threading.Thread(target=self._serve, args=(client,), name="kafka-producer", daemon=True)
                self._thread.start()
                self._client = client
        return self._client

    def _expect(self, send: _Send) -> None:
        """Have the thread look for the outcome; only when nothing more can be handed over: both contend for the GIL."""
        with self._work:
            if not send.is_complete():
                self._on_their_way.add(send)
                self._work.notify()
            ended = self._ended
        if ended:
            send.give_up()

    def _finished(self, send: _Send) -> None:
        """Have a sender go on; mostly in the thread."""
        with self._work:
            self._on_their_way.discard(send)
        self._call(send.done.set)

    def _call(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            if self._loop is not None:
                self._loop.call_soon_threadsafe(callback)

    def _serve(self, client: Client) -> None:
        """Serve confirmations until closed; the body of the thread."""
        try:
            self._poll(client)
            client.flush(LEAVE)
            client.purge()
            client.poll(0.0)
        except Exception:
            log.exception("the thread that hears of confirmations has failed: nothing more is sent on this bus")
        finally:
            with self._work:
                self._ended = True
                left = tuple(self._on_their_way)
            for send in left:
                send.give_up()
            self._call(self._room.set)

    def _poll(self, client: Client) -> None:
        while True:
            with self._work:
                if not self._on_their_way and not self._closed:
                    self._work.wait(IDLE)
                if self._closed:
                    return
                sends = len(self._on_their_way)
            if sends == 1 and not self._settings.linger:
                client.flush(POLL)  # nothing is to be waited for: it goes without lingering
            else:
                client.poll(POLL if sends else 0.0)
            if not self._room.is_set():  # whatever was served: all may have been just before a sender began to wait
                self._call(self._room.set)


def _client(configuration: dict[str, Any]) -> Client:
    """Make a client, which may take a second if it needs a token.

    Asking for anything makes librdkafka fetch the producer's id at once; otherwise it looks half a second later.
    """
    client = Client(configuration)
    with suppress(KafkaException):
        client.cluster_id(timeout=POLL)
    return client


class _Send:
    """The messages of one send, on their way."""

    def __init__(self, topic: str, count: int, finished: Callable[[_Send], None]) -> None:
        self.ids = [""] * count
        self.failures: dict[int, MessagingError] = {}
        self.handed_over = 0
        self.done = asyncio.Event()
        self.topic = topic
        self._doing = f"sending to {topic!r}"
        self._expected = count
        self._finished = finished
        self._reported: list[int] = []  # two threads append to it, which a plain count would not stand

    def report(self, index: int, error: KafkaError | None, record: Record | None) -> None:
        """Take the outcome of one message, mostly in the thread."""
        if error is not None:
            self.failures[index] = translated(error, self._doing)
        elif record is not None:
            self.ids[index] = f"{record.partition()}-{record.offset()}"
        self._reported.append(index)
        if len(self._reported) >= self._expected:
            self._finished(self)

    def refuse(self, index: int, size: int) -> None:
        """Take it that a message is too large for the producer."""
        cure = "raise rdkafka.queue.buffering.max.kbytes in the URL, or send less"
        self.failures[index] = TooLargeError(
            f"{self._doing} failed: {size:,} bytes are more than its queue holds: {cure}"
        )
        self.report(index, None, None)

    def is_complete(self) -> bool:
        """Return whether the outcome of every message is known."""
        return len(self._reported) >= self._expected

    def expect_no_more(self) -> None:
        """Take it that nothing more will be handed over: the sender was cancelled."""
        self._expected = self.handed_over
        if self.is_complete():
            self._finished(self)

    def give_up(self) -> None:
        """Take what is not reported as failed: the thread that would hear of it has ended."""
        for index in set(range(len(self.ids))).difference(self._reported):
            self.failures[index] = UnavailableError(f"{self._doing} failed: the producer has ended: connect again")
        self._finished(self)
