"""Acks: what the broker is to hear of ack ids, gathered, in batches, and said again until it has heard it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from google.pubsub_v1 import types

from visionbus.messaging.drivers.pubsub.backoff import backoff
from visionbus.messaging.drivers.pubsub.errors import CALL_ERRORS, RETRIED_ACK, status_of, translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = logging.getLogger(__name__)

AcknowledgeRequest: Any = types.AcknowledgeRequest.pb()
ModifyAckDeadlineRequest: Any = types.ModifyAckDeadlineRequest.pb()

GATHER = 0.1  # seconds that acks wait for others, as long as they may: calls are what is dear
GATHER_KEYED = 0.05  # the same where messages have keys, of which the next may wait for the ack
A_CALL = 2500  # ack ids in one call, at most ...
A_CALL_BYTES = 500_000  # ... and so many bytes of them: Pub/Sub refuses requests of 512 KiB
ANSWER = 10.0  # seconds for a call
PENDING = 20_000  # ack ids that may wait for a broker that does not take them, before no more messages are read


class Acks:
    """Sends acks and gives messages back, for one subscription.

    All go by unary calls: their answer says that the broker has heard them, which a stream never does; in batches they
    cost next to nothing.
    """

    def __init__(
        self, call: Callable[[str, Any, float], Awaitable[Any]], path: str, *, full: int, patience: float
    ) -> None:
        """Gather so many acks at most; `patience` is for how many seconds calls are made again."""
        self._call = call
        self._path = path
        self._full = full
        self._patience = patience
        self._gathered: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._pending = 0  # ack ids in `_sending`

    @property
    def overdue(self) -> bool:
        """Whether so much waits for the broker that no more should be read."""
        return self._pending > PENDING

    def ack(self, ack_ids: Sequence[str], *, keyed: bool = False) -> None:
        """Ack these, within `GATHER` seconds, or `GATHER_KEYED`."""
        if not ack_ids:
            return
        self._gathered.extend(ack_ids)
        if len(self._gathered) >= self._full:
            self.send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_KEYED if keyed else GATHER, self.send)

    def give_back(self, ack_ids: Sequence[str]) -> None:
        """Have the broker deliver these again at once, to whomever."""
        for part in parts(ack_ids):
            request = ModifyAckDeadlineRequest(subscription=self._path, ack_ids=part, ack_deadline_seconds=0)
            self._start("ModifyAckDeadline", request, len(part))

    async def extend(self, ack_ids: Sequence[str], seconds: float) -> bool:
        """Have leases last for so many seconds from now on; return whether the broker has heard it.

        There is one try, as the caller comes again soon. Give no more than one of the `parts`.
        """
        request = ModifyAckDeadlineRequest(subscription=self._path, ack_ids=ack_ids, ack_deadline_seconds=int(seconds))
        try:
            await self._call("ModifyAckDeadline", request, min(ANSWER, seconds / 4))
        except CALL_ERRORS as error:
            level = logging.INFO if status_of(error) in RETRIED_ACK else logging.WARNING
            log.log(level, "extending %d leases of %s failed: %s", len(ack_ids), self._path, status_of(error).name)
            return False
        return True

    async def flush(self, timeout: float) -> None:
        """Send what is gathered, and wait until the broker has heard all that was said, for so many seconds at most."""
        self.send()
        if not self._sending:
            return
        _, late = await asyncio.wait(self._sending, timeout=timeout)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if late:
            log.warning("the broker did not answer within %g s: some of %s may come again", timeout, self._path)

    def send(self) -> None:
        """Send what is gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ack_ids, self._gathered = self._gathered, []
        for part in parts(ack_ids):
            self._start("Acknowledge", AcknowledgeRequest(subscription=self._path, ack_ids=part), len(part))

    def _start(self, method: str, request: Any, size: int) -> None:  # noqa: ANN401 (a protobuf message)
        task = asyncio.create_task(self._say(method, request))
        self._sending.add(task)
        self._pending += size

        def done(task: asyncio.Task[None]) -> None:
            self._sending.discard(task)
            self._pending -= size
            if not task.cancelled() and (error := task.exception()):
                log.warning("%d messages may come again: %s of %r: %r", size, method, self._path, error)

        task.add_done_callback(done)

    async def _say(self, method: str, request: Any) -> None:  # noqa: ANN401 (a protobuf message)
        """Call until the broker has heard it, or it is given up."""
        failures = 0
        ends = time.monotonic() + self._patience
        while True:
            try:
                await self._call(method, request, ANSWER)
            except CALL_ERRORS as error:
                failures += 1
                if status_of(error) not in RETRIED_ACK or time.monotonic() > ends:
                    level = logging.WARNING if method == "Acknowledge" else logging.INFO  # else they come by themselves
                    said = translated(error, f"{method} of {self._path!r}")
                    log.log(level, "%d messages may come again: %s", len(request.ack_ids), said)
                    return
            else:
                return
            await asyncio.sleep(backoff(failures))


def parts(ack_ids: Sequence[str]) -> list[Sequence[str]]:
    """Cut ack ids into lists that fit into one call."""
    if not ack_ids:
        return []
    longest = max(map(len, ack_ids)) + 4
    each = max(1, min(A_CALL, A_CALL_BYTES // longest))
    return [ack_ids[start : start + each] for start in range(0, len(ack_ids), each)]
