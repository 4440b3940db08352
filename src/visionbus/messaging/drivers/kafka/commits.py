"""Commits: what the group remembers of the settled offsets, read and written by a receiver's consumer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, OFFSET_STORED, KafkaException, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from confluent_kafka import Consumer, KafkaError

    from visionbus.messaging.drivers.kafka.holding import Holding, Tracker
    from visionbus.messaging.drivers.kafka.tracker import Commit

log = logging.getLogger(__name__)

GATHER = 0.05  # seconds that acks are gathered at least
AGAIN = 0.5  # seconds after a commit that failed
TRIES = 3  # to read what is committed
ANSWER = 10.0  # seconds for each
PAUSE = 1.0  # seconds between them
LEAVE = 60.0  # seconds that leaving waits for the end of a rebalance, which may wait for a dead member's session
TOO_LARGE = "OFFSET_METADATA_TOO_LARGE"
REBALANCING = ("ILLEGAL_GENERATION", "REBALANCE_IN_PROGRESS", "STALE_MEMBER_EPOCH")


class Commits:
    """The commits of one receiver, used in the thread that owns its consumer."""

    def __init__(self, topic: str, holding: Holding) -> None:
        self._topic = topic
        self._holding = holding
        self._on_its_way: list[tuple[Tracker, Commit]] = []
        self._next_at = 0.0  # monotonic

    def read(self, client: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return where to begin with each partition; one without a commit was added to the topic later."""
        for _ in range(TRIES):
            try:
                answers = client.committed(partitions, timeout=ANSWER)
            except KafkaException as error:
                failure: object = error
            else:
                failure = next((one.error for one in answers if one.error), None)
            if failure is None:
                for one in answers:
                    if one.offset < 0:
                        one.offset = OFFSET_BEGINNING
                return answers
            log.warning("%s: cannot read what is committed: %s", self._topic, failure)
            self._holding.pause(PAUSE)
        log.warning("%s: what was acked out of order before may come again", self._topic)
        return [TopicPartition(one.topic, one.partition, OFFSET_STORED) for one in partitions]

    def send(self, client: Consumer) -> None:
        """Commit what is new, one commit at a time; the answer comes to `on_commit`."""
        if self._on_its_way or time.monotonic() < self._next_at:
            return
        commits = self._holding.commits()
        if not commits:
            return
        try:
            client.commit(offsets=self._offsets(commits), asynchronous=True)
        except KafkaException as error:
            log.warning("committing on %s: %s", self._topic, error)
            self._next_at = time.monotonic() + AGAIN
        else:
            self._on_its_way = commits

    def on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """Take the answer to `send`."""
        commits, self._on_its_way = self._on_its_way, []
        failed = (
            {tracker.number for tracker, _ in commits} if error else {one.partition for one in partitions if one.error}
        )
        _note(commits, failed, partitions)
        self._next_at = time.monotonic() + (AGAIN if failed else GATHER)
        if failed:
            reason = error or next(one.error for one in partitions if one.error)
            log.info("committing on %s, partitions %s, comes again: %s", self._topic, sorted(failed), reason)

    def send_and_wait(self, client: Consumer, commits: Callable[[], list[tuple[Tracker, Commit]]]) -> None:
        """Commit this, and wait for the answer; what fails may come again.

        While a classic group rebalances, its coordinator holds back commits behind the receiver's request to join, and
        refuses them when it has answered that: they are repeated until the rebalance is over. Polling here would have
        librdkafka join again, and again.
        """
        give_up = time.monotonic() + LEAVE
        while reason := self._try(client, commits()):
            if reason == TOO_LARGE and time.monotonic() < give_up:
                continue
            if reason not in REBALANCING or time.monotonic() > give_up:
                log.warning("what was acked last on %s may come again: %s", self._topic, reason)
                return
            time.sleep(GATHER)

    def finish(self, client: Consumer) -> None:
        """Commit all that is new before leaving."""
        give_up = time.monotonic() + LEAVE
        while self._on_its_way and time.monotonic() < give_up:  # librdkafka may send it again, after the last one
            client.poll(GATHER)
        self.send_and_wait(client, self._holding.commits)

    def _try(self, client: Consumer, commits: list[tuple[Tracker, Commit]]) -> str:
        """Commit, and wait for the answer; return the name of what went wrong, "" if nothing did."""
        if not commits:
            return ""
        try:
            answers = client.commit(offsets=self._offsets(commits), asynchronous=False)
        except KafkaException as error:
            return str(error.args[0].name())
        failed = {one.partition: one.error.name() for one in answers if one.error}
        _note(commits, failed, answers)
        return next(iter(failed.values()), "")

    def _offsets(self, commits: list[tuple[Tracker, Commit]]) -> list[TopicPartition]:
        return [
            TopicPartition(self._topic, tracker.number, commit.offset, commit.metadata) for tracker, commit in commits
        ]


def _note(commits: list[tuple[Tracker, Commit]], failed: Collection[int], answers: Sequence[TopicPartition]) -> None:
    too_large = {one.partition for one in answers if one.error and one.error.name() == TOO_LARGE}
    for tracker, commit in commits:
        if tracker.number in too_large:
            log.warning("the broker takes less metadata than %d characters with a commit", len(commit.metadata))
            tracker.refused()
        elif tracker.number not in failed:
            tracker.committed(commit)
