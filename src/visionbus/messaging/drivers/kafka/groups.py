"""What groups have committed, asked and told by consumers that do not join them.

librdkafka's administration client could do the same, but what it asks of a group's coordinator can abort the process
when that takes too long or a connection breaks, and be waited for in vain (2.16: `rd_kafka_admin_coord_request`).
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from visionbus.messaging.drivers.kafka.errors import Connection, translated
from visionbus.messaging.drivers.kafka.questions import PATIENCE, patiently
from visionbus.messaging.drivers.kafka.threads import in_thread
from visionbus.messaging.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from visionbus.messaging.drivers.kafka.settings import KafkaSettings

    Answer = list[TopicPartition]

ANSWER = 10.0  # seconds for one try: closing a consumer waits for a commit that is on its way
WAITS = (0.25, 3.0)  # seconds for an answer before a look at what else there is to hear: doubled each time
UNANSWERED = ("_TIMED_OUT", "_WAIT_COORD")
POLL = 0.1  # seconds at a time that the answer to a commit is waited for


class Groups:
    """Questions to the coordinators of groups, each by a connection of its own."""

    def __init__(self, settings: KafkaSettings) -> None:
        # by the classic protocol, in which one who has not joined has no name that the coordinator would look for
        self._settings = replace(settings, group_protocol="classic")
        self._closed = threading.Event()

    def close(self) -> None:
        """Have questions that are open end with `ClosedError`, within seconds."""
        self._closed.set()

    async def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offsets that a group has committed, for those partitions that have one."""
        asked = [TopicPartition(topic, number) for number in partitions]
        answers = await self._ask(group, partial(_committed, asked, self._closed), f"looking up the group {group!r}")
        return {one.partition: one.offset for one in answers if one.offset >= 0}

    async def begin(self, group: str, topic: str, offsets: Mapping[int, int]) -> bool:
        """Commit first offsets for a group; return False if it has members, whose right alone that is then."""
        asked = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        question = partial(_commit, asked, self._closed)
        answers = await self._ask(group, question, f"declaring the group {group!r}", but="UNKNOWN_MEMBER_ID")
        return not any(one.error for one in answers)

    async def _ask(
        self, group: str, question: Callable[[dict[str, Any]], Answer], doing: str, *, but: str = ""
    ) -> Answer:
        async def ask() -> Answer:
            connection = Connection()
            configuration = self._settings.consumer(group, ANSWER) | {
                "error_cb": connection.error_cb,
                "socket.timeout.ms": round(ANSWER * 1000),
            }
            try:
                answer = await in_thread(question, configuration)
            except KafkaException as error:
                if self._closed.is_set():
                    raise ClosedError(f"{doing} ended: the bus was closed") from error
                raise connection.refused(doing, PATIENCE) or translated(error.args[0], doing) from error
            for one in answer:  # errors come for single partitions: the call as a whole succeeds with them
                if one.error is not None and one.error.name() != but:
                    raise translated(one.error, f"{doing}, partition {one.partition},") from KafkaException(one.error)
            return answer

        return await patiently(ask, known=True)


def _committed(asked: Answer, closed: threading.Event, configuration: dict[str, Any]) -> Answer:
    consumer = Consumer(configuration)
    give_up = time.monotonic() + PATIENCE
    wait, longest = WAITS
    try:
        while True:
            try:
                return consumer.committed(asked, timeout=wait)
            except KafkaException as error:
                if error.args[0].name() not in UNANSWERED or closed.is_set() or time.monotonic() > give_up:
                    raise
            _listen(consumer, 0.0)
            wait = min(2 * wait, longest)
    finally:
        consumer.close()


def _commit(asked: Answer, closed: threading.Event, configuration: dict[str, Any]) -> Answer:
    outcome: list[tuple[KafkaError | None, Answer]] = []
    consumer = Consumer(configuration | {"on_commit": lambda *told: outcome.append(told)})
    give_up = time.monotonic() + PATIENCE
    try:
        consumer.commit(offsets=asked, asynchronous=True)
        while not outcome:
            if closed.is_set() or time.monotonic() > give_up:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 (as the library calls it)
            _listen(consumer, POLL)
    finally:
        consumer.close()
    error, answer = outcome[0]
    if error is not None and not any(one.error for one in answer):
        raise KafkaException(error)
    return answer


def _listen(consumer: Consumer, timeout: float) -> None:
    """Raise what librdkafka has to say: who may not ask for a group's coordinator would wait for it in vain."""
    told = consumer.poll(timeout)
    if told is not None and (error := told.error()):
        raise KafkaException(error)
