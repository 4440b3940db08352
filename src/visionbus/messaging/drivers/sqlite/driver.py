"""Driver and subscription over the SQLite store, for asyncio."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from visionbus.messaging.driver import Address, Driver, DriverSubscription
from visionbus.messaging.drivers.sqlite.store import TOPIC_SPAN
from visionbus.messaging.drivers.sqlite.watch import Watch
from visionbus.messaging.drivers.sqlite.writer import CLOSING_TIME, PATIENCE, Writer
from visionbus.messaging.errors import MessagingError
from visionbus.messaging.message import Delivery, delivery, received_message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

    from visionbus.messaging.drivers.sqlite.store import Receiver, Row, Store
    from visionbus.messaging.message import Message

log = logging.getLogger(__name__)

GATHERING_TIME = 0.05  # seconds that acks wait for company
CLAIMED_AT_ONCE = 10_000  # messages, at most: others want their turn


class _Lease(NamedTuple):
    receiver: int
    message: int
    hand_out: int  # the same receiver may get the same message again: acks of its earlier hand-out are not for this one


class _Claimed(NamedTuple):
    """What a claim brought."""

    receiver: Receiver
    rows: list[Row]
    next_change: float | None  # monotonic time


class SQLiteDriver(Driver):
    """The bus in one file, `sqlite:///relative.db` or `sqlite:////absolute.db`.

    What `send` confirmed survives SIGKILL; with `?synchronous=full` a power cut, too. Messages are kept until every
    subscription has acked them; a topic without subscriptions keeps none.
    """

    parameters = frozenset({"synchronous"})

    def __init__(self, address: Address) -> None:
        synchronous = address.parameters.get("synchronous", "normal")
        if synchronous not in ("normal", "full"):
            raise ValueError(f"synchronous={synchronous!r} in the sqlite URL; known: normal, full")
        path = _path(address)
        self._writer = Writer(path, synchronous=synchronous)
        self._watch = Watch(path)

    async def declare(self, topic: str, subscriptions: Mapping[str, str | None], *, create: bool) -> None:
        await self._writer.run(lambda store: store.declare(topic, subscriptions, create=create))

    async def send(self, topic: str, messages: Sequence[Message]) -> list[str]:
        ids = await self._writer.run(lambda store: store.send(topic, messages))
        self._watch.tell()
        return ids

    async def attach(
        self,
        topic: str,
        subscription: str,
        *,
        ack_deadline: float,
        prefetch: int,  # noqa: ARG002 (nothing is read ahead)
        lost: Callable[[Collection[Hashable]], None],
    ) -> SQLiteSubscription:
        receiver = await self._writer.run(
            lambda store: store.attach(topic, subscription, time.monotonic() + ack_deadline)
        )
        return SQLiteSubscription(self._writer, self._watch, receiver, ack_deadline, lost)

    async def close(self) -> None:
        self._watch.close()
        await self._writer.close()


def _path(address: Address) -> Path:
    if address.host or not address.path.strip("/"):
        raise ValueError("a sqlite URL names a file: sqlite:///relative.db or sqlite:////absolute.db")
    path = address.path[1:]
    if path == ":memory:":
        raise ValueError("sqlite:///:memory: would be shared with nobody: use memory://")
    if "\0" in path:
        raise ValueError("the path in the sqlite URL has a NUL character")
    return Path(path).absolute()


class SQLiteSubscription(DriverSubscription):
    """One receiver. One row holds its lease, whatever it has in hand; a timer on the loop extends it."""

    def __init__(
        self,
        writer: Writer,
        watch: Watch,
        receiver: Receiver,
        ack_deadline: float,
        lost: Callable[[Collection[Hashable]], None],
    ) -> None:
        self.ack_deadline = ack_deadline
        self._writer = writer
        self._watch = watch
        self._receiver = receiver  # changed by jobs alone, in the writer's thread
        self._generation = receiver.generation  # as the loop knows it
        self._lost = lost
        self._closed = False
        self._changed = asyncio.Event()
        self._fetching = False
        self._claiming: asyncio.Future[object] | None = None  # outlives a cancelled fetch
        self._kept: deque[Delivery] = deque()  # claimed, and more than the fetch had room for
        self._held: set[_Lease] = set()
        self._hand_outs = count()
        self._acks: list[_Lease] = []  # gathered
        self._flushing: asyncio.Task[None] | None = None
        self._heart = asyncio.get_running_loop().create_task(self._beat())

    async def fetch(self, room: int, timeout: float | None) -> Sequence[Delivery]:
        ends = None if timeout is None else time.monotonic() + timeout
        self._fetching = True
        try:
            return await self._wait_and_claim(room, ends)
        finally:
            self._fetching = False

    async def _wait_and_claim(self, room: int, ends: float | None) -> Sequence[Delivery]:
        with self._watch.watching(self._changed):
            while not self._closed:
                self._changed.clear()
                next_change = None if self._kept else await self._claim(min(room, CLAIMED_AT_ONCE))
                if self._kept:
                    return [self._kept.popleft() for _ in range(min(room, len(self._kept)))]
                now = time.monotonic()
                if ends is not None and now >= ends:
                    break
                first = min((when for when in (ends, next_change) if when is not None), default=None)
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if first is None else max(first - now, 0.001)):
                        await self._changed.wait()
        return []

    async def ack(self, leases: Collection[Hashable]) -> None:
        self._gather(self._taken(leases))

    async def nack(self, leases: Collection[Hashable], delay: float) -> None:
        await self._give_back(leases, delay, attempts=1)

    async def release(self, leases: Collection[Hashable]) -> None:
        await self._give_back(leases, 0.0, attempts=0)

    async def close(self) -> None:
        self._closed = True
        self._changed.set()
        self._heart.cancel()
        if self._flushing:
            self._flushing.cancel()
        acks, self._acks = self._acks, []

        def leave(store: Store) -> None:
            self._ack_job(store, acks)
            store.leave(self._receiver)

        try:
            async with asyncio.timeout(CLOSING_TIME):
                await self._writer.run(leave)
        except MessagingError:
            self._acks += acks  # for another try to close
            raise
        except TimeoutError:
            log.warning(
                "the bus file is held by another process: what this receiver had comes again when its lease ends"
            )
        self._watch.tell()

    async def _claim(self, room: int) -> float | None:
        """Put what can be had into `_kept`; return when messages may become free without anybody's doing."""
        if self._claiming is None:
            acks, self._acks = self._acks, []
            self._claiming = self._writer.submit(
                partial(self._claim_job, room=room, acks=acks), partial(self._look, acks=acks)
            )
            self._claiming.add_done_callback(lambda claiming: self._gather(acks if claiming.exception() else []))
        claiming = self._claiming
        try:
            claimed = cast("_Claimed", await asyncio.shield(claiming))
        except asyncio.CancelledError:
            claiming.add_done_callback(self._abandon)
            raise
        except Exception:
            self._claiming = None
            raise
        self._claiming = None
        return self._take_in(claimed)

    def _take_in(self, claimed: _Claimed) -> float | None:
        self._notice(claimed.receiver)
        if claimed.receiver.generation == self._generation:
            leases = [_Lease(claimed.receiver.id, row[0], next(self._hand_outs)) for row in claimed.rows]
            self._held.update(leases)
            self._kept += map(_delivery, claimed.rows, leases)
        return claimed.next_change

    def _abandon(self, claiming: asyncio.Future[object]) -> None:
        """Give back what a cancelled fetch had claimed, unless another fetch has asked for it."""
        if self._claiming is not claiming or self._fetching or self._closed:
            return
        self._claiming = None
        if not claiming.exception():
            self._take_in(cast("_Claimed", claiming.result()))
            leases = [one.lease for one in self._kept]
            self._kept.clear()
            self._submit_return(self._taken(leases), 0.0, attempts=0)

    def _look(self, store: Store, acks: list[_Lease]) -> _Claimed | None:
        """Spare a transaction where there is nothing to write."""
        if acks or store.has_work(self._receiver):
            return None
        return _Claimed(self._receiver, [], store.next_change(self._receiver))

    def _claim_job(self, store: Store, room: int, acks: list[_Lease]) -> _Claimed:
        if not store.is_member(self._receiver):
            self._receiver = store.join(self._receiver.next(), time.monotonic() + self.ack_deadline)
        self._ack_job(store, acks)
        rows = store.claim(self._receiver, room)
        return _Claimed(self._receiver, rows, None if rows else store.next_change(self._receiver))

    def _ack_job(self, store: Store, acks: list[_Lease]) -> None:
        if mine := [lease.message for lease in acks if lease.receiver == self._receiver.id]:
            store.ack(self._receiver, mine)

    def _gather(self, acks: list[_Lease]) -> None:
        """Have acks written soon, by the next claim or else by a task."""
        self._acks += acks
        if self._acks and self._flushing is None and not self._closed:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        """Write the acks that no claim took along."""
        await asyncio.sleep(GATHERING_TIME)
        while self._acks:
            acks, self._acks = self._acks, []
            try:
                await self._writer.run(partial(self._ack_job, acks=acks))
            except MessagingError as error:
                self._acks += acks
                log.warning("acks wait: %s", error)
                await asyncio.sleep(1.0)
        self._flushing = None

    async def _give_back(self, leases: Collection[Hashable], delay: float, attempts: int) -> None:
        await asyncio.shield(self._submit_return(self._taken(leases), delay, attempts))

    def _submit_return(self, mine: list[_Lease], delay: float, attempts: int) -> asyncio.Future[object]:
        def give_back(store: Store) -> None:
            messages = [lease.message for lease in mine if lease.receiver == self._receiver.id]
            store.give_back(self._receiver, messages, time.monotonic() + delay, attempts)

        def returned(future: asyncio.Future[object]) -> None:
            if future.exception():
                self._held.update(mine)  # for another try
            self._watch.tell()

        returning = self._writer.submit(give_back)
        returning.add_done_callback(returned)
        return returning

    def _taken(self, leases: Collection[Hashable]) -> list[_Lease]:
        mine = [lease for lease in cast("Collection[_Lease]", leases) if lease in self._held]
        self._held.difference_update(mine)
        return mine

    async def _beat(self) -> None:
        """Extend the lease for as long as the loop turns."""
        pause = self.ack_deadline / 3
        while True:
            await asyncio.sleep(pause)
            try:
                self._notice(await self._writer.run(self._renew_job))
                pause = self.ack_deadline / 3
            except MessagingError as error:
                log.warning("the lease cannot be extended now: %s", error)
                pause = min(self.ack_deadline / 3, PATIENCE / 2)

    def _renew_job(self, store: Store) -> Receiver:
        self._receiver = store.renew(self._receiver, time.monotonic() + self.ack_deadline)
        return self._receiver

    def _notice(self, receiver: Receiver) -> None:
        """Say what is lost where others took over what this receiver held, so that it was entered anew."""
        if receiver.generation > self._generation:
            self._generation = receiver.generation
            gone, self._held = self._held, set()
            self._kept.clear()
            self._lost(gone)


def _delivery(row: Row, lease: _Lease) -> Delivery:
    message, key, attributes, data, published, attempt = row
    return delivery(
        received_message(
            data,
            None if key is None else key.decode("utf-8", "surrogateescape"),
            {} if attributes is None else loads(attributes),
        ),
        str(message % TOPIC_SPAN),
        datetime.fromtimestamp(published, UTC),
        attempt,
        lease,
    )
