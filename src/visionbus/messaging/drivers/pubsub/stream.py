"""Stream: one streaming pull, which is opened again when it breaks."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.pubsub_v1 import types
from grpc import aio

from visionbus.messaging.drivers.pubsub.age import Age
from visionbus.messaging.drivers.pubsub.backoff import backoff
from visionbus.messaging.drivers.pubsub.errors import RETRIED_STREAM, Unauthorized, status_of, translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from visionbus.messaging.drivers.pubsub.connection import Connection

log = logging.getLogger(__name__)

StreamingPullRequest: Any = types.StreamingPullRequest.pb()

PAUSE = 1.0  # seconds without room after which a stream is ended: what was pushed into it is for other receivers
EMPTY = 0.005  # seconds that a read waits if there is nothing to read
LOOK = 0.5  # seconds after which it is noted again that there is nothing
HEARTBEAT = 25.0  # seconds; the broker ends streams after 60 without a request
SILENCE = 60.0  # seconds: a broker that lives sends heartbeats after 30; the emulator sends none, and bears reopening
LEAVE = 5.0  # seconds that a broker may take to end a stream whose request side has ended
WRITE = 5.0  # seconds that a broker may take to take a request
# What a stream raises that has ended by itself, or takes nothing: `run` sees that, too, and opens another.
_BROKEN = (aio.AioRpcError, aio.InternalError, asyncio.InvalidStateError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Pull:
    """What a stream asks for, and whom it serves.

    `received` gets messages with the monotonic time before which they cannot have been sent, so that their leases end
    no earlier than `ack_deadline` after it; `unwanted` gets those which are to be given back.
    """

    path: str
    ack_deadline: float  # seconds
    most: int  # messages outstanding
    most_bytes: int  # of them
    received: Callable[[Any, float], None]
    unwanted: Callable[[Any], None]
    room: asyncio.Event = field(default_factory=asyncio.Event)  # set while more may be read
    plenty: asyncio.Event = field(default_factory=asyncio.Event)  # set while a stream is worth opening again
    opened: asyncio.Event = field(default_factory=asyncio.Event)  # set when a stream has been asked for

    def request(self, client_id: str) -> Any:  # noqa: ANN401 (a protobuf message)
        """Return the first request of a stream."""
        return StreamingPullRequest(
            subscription=self.path,
            stream_ack_deadline_seconds=int(self.ack_deadline),
            client_id=client_id,
            max_outstanding_messages=self.most,
            max_outstanding_bytes=self.most_bytes,
            protocol_version=1,  # the broker sends heartbeats
        )


class Stream:
    """Reads for as long as `run` runs.

    What may be too old to be held (`Age`) is given back, as is everything that comes once the stream is ending.
    """

    def __init__(self, connection: Connection, pull: Pull) -> None:
        self._connection = connection
        self._pull = pull
        self._client_id = str(uuid.uuid4())
        self._call: Any = None
        self._ending = False  # for good
        self._leaving = False  # this call, whose request side is ended ...
        self._renewing = False  # ... though what it still brings is wanted
        self._opened = 0.0
        self._failures = 0  # since something came
        self._written = self._heard = self._left = 0.0
        self._age = Age(pull.most)
        self._look: asyncio.Handle | None = None

    async def run(self) -> None:
        """Read until `finish`; raises the `MessagingError` that reopening does not cure."""
        while not self._ending:
            try:
                await self._pull_once()
            except (*_BROKEN, Unauthorized) as error:
                if status_of(error) not in RETRIED_STREAM:
                    raise translated(error, f"receiving from {self._pull.path!r}") from error
                log.info("a stream of %s ended, and is opened again: %s", self._pull.path, status_of(error).name)
            await self._back_off()

    async def finish(self) -> None:
        """End the request side: the stream ends once what the broker had sent is read."""
        self._ending = True
        self._pull.plenty.set()  # whoever waits looks again
        self._pull.room.set()
        if self._call is not None:
            await self._leave(self._call)

    async def keep_alive(self, now: float) -> None:
        """Send a heartbeat when one is due; break a stream from which nothing was heard for too long."""
        call = self._call
        if call is None:
            return
        if self._leaving:
            if now - self._left > LEAVE:
                call.cancel()
        elif now - self._opened > self._connection.renewed:
            await self._leave(call, renewing=True)
        elif self._pull.room.is_set() and now - self._heard > SILENCE:
            log.debug("a stream of %s brings nothing: opening another", self._pull.path)
            await self._leave(call)
        elif now - self._written > HEARTBEAT:
            self._written = now
            with suppress(*_BROKEN):
                await self._write(call, StreamingPullRequest())

    async def _pull_once(self) -> None:
        if not self._ending:
            await (self._pull.plenty if self._age.paused else self._pull.room).wait()
        if self._ending:
            return
        self._leaving = False
        call = await self._connection.stream(self._pull.path)
        self._written = self._heard = self._opened = time.monotonic()
        self._call = call
        try:
            await self._write(call, self._pull.request(self._client_id))
            self._pull.opened.set()
            self._written = self._heard = self._opened = time.monotonic()
            self._age.emptied(self._opened)
            if self._ending:
                await self._leave(call)
            await self._read_on(call)
        finally:
            self._call = None
            call.cancel()

    async def _read_on(self, call: Any) -> None:  # noqa: ANN401 (gRPC's own)
        while True:
            if not self._leaving and (not await self._wait_for_room() or self._is_stale()):
                await self._leave(call)
            response = await self._read(call)
            if response is aio.EOF:
                return
            self._failures = 0
            self._heard = time.monotonic()
            if received := response.received_messages:
                self._pass_on(received)

    def _pass_on(self, received: Any) -> None:  # noqa: ANN401 (a protobuf list)
        since = self._age.read(len(received), self._heard)
        wanted = not self._leaving or (self._renewing and self._pull.room.is_set())
        if not wanted or self._heard - since > self._pull.ack_deadline / 2:
            self._pull.unwanted(received)
        else:
            self._pull.received(received, since)

    async def _wait_for_room(self) -> bool:
        """Return whether there is room, soon enough."""
        if self._pull.room.is_set():
            return True
        self._age.paused = True
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await self._pull.room.wait()
                return True
        return False

    def _is_stale(self) -> bool:
        """Return whether what is not read yet may have lain there for too long."""
        return time.monotonic() - self._age.since > (PAUSE if self._age.paused else self._pull.ack_deadline / 2)

    async def _read(self, call: Any) -> Any:  # noqa: ANN401 (gRPC's own)
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(EMPTY, self._look_again, time.monotonic())
        try:
            return await _of_call(call.read())
        except asyncio.InvalidStateError:
            return aio.EOF
        finally:
            self._look.cancel()

    def _look_again(self, previous: float) -> None:
        """Note, if the read still waits after all else that is ready, that nothing was there at the last look.

        That of now does not count: after the process was frozen, what came meanwhile may be on its way through gRPC.
        """
        loop = asyncio.get_running_loop()
        now = time.monotonic()

        def waits() -> None:
            self._age.emptied(previous)
            self._look = loop.call_later(LOOK, self._look_again, now)

        self._look = loop.call_soon(waits)

    async def _leave(self, call: Any, *, renewing: bool = False) -> None:  # noqa: ANN401 (gRPC's own)
        self._leaving = True
        self._renewing = renewing
        self._left = time.monotonic()
        with suppress(*_BROKEN):
            async with asyncio.timeout(WRITE):
                await _of_call(call.done_writing())

    async def _write(self, call: Any, request: Any) -> None:  # noqa: ANN401 (gRPC's own)
        """Write; a stream that takes nothing is broken by that, and `run` sees it."""
        async with asyncio.timeout(WRITE):
            await _of_call(call.write(request))

    async def _back_off(self) -> None:
        """Wait before the next try, unless it was our own wish that the stream ended."""
        if not (self._ending or self._leaving):
            self._failures += 1
            await asyncio.sleep(backoff(self._failures))


async def _of_call(operation: Awaitable[Any]) -> Any:  # noqa: ANN401 (gRPC's own)
    """Await an operation of a call; raises `asyncio.InvalidStateError` where the call was cancelled, not the task."""
    try:
        return await operation
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        raise asyncio.InvalidStateError("the call was cancelled") from None
