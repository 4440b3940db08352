"""Records come in: the thread that owns the consumer of one receiver."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaException, TopicPartition

from visionbus.messaging.drivers.kafka.commits import LEAVE, Commits
from visionbus.messaging.drivers.kafka.errors import translated
from visionbus.messaging.drivers.kafka.liveness import Liveness
from visionbus.messaging.drivers.kafka.logs import ClientLog
from visionbus.messaging.drivers.kafka.pauses import Pauses
from visionbus.messaging.errors import AccessError, MessagingError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from confluent_kafka import KafkaError

    from visionbus.messaging.drivers.kafka.holding import Holding
    from visionbus.messaging.drivers.kafka.records import Record

log = logging.getLogger(__name__)

POLL = 0.05  # seconds at a time that the thread waits for records, and acks for their commit
MOST = 500  # records at a time
DRAIN = 0.5  # seconds that a rebalance waits for what is handed out to be settled
ANSWER = 10.0  # seconds for a question to the brokers
AGAIN = 1.0  # seconds after a question to the brokers that failed


class ConsumerThread(threading.Thread):
    """Reads, commits, joins and leaves the group; heartbeats are librdkafka's, and go on whatever happens here.

    It calls `joined` when it is assigned partitions or has failed, `arrived` when there is something new for `fetch`,
    and `lost` with the leases of partitions that were taken away; all in this thread.
    """

    def __init__(
        self,
        configuration: dict[str, Any],
        topic: str,
        holding: Holding,
        *,
        arrived: Callable[[], None],
        lost: Callable[[Collection[Hashable]], None],
        joined: Callable[[], None],
    ) -> None:
        super().__init__(name=f"kafka-consumer-{topic}", daemon=True)
        self.alive_until = time.monotonic() + 3600.0  # the event loop moves it on for as long as it turns
        self.wanted_until = float("inf")  # the monotonic time from which what lies here idle is for other receivers
        self.failure: MessagingError | None = None  # that ends this receiver
        self.doubts_topic = False  # a broker does not know the topic: it may be deleted, or not known there yet
        self.has_ended = False  # it holds nothing any more, and another one is to take its place
        self.liveness = Liveness()
        self._pauses = Pauses(topic, holding, self.liveness)
        self._configuration = configuration
        self._topic = topic
        self._holding = holding
        self._arrived = arrived
        self._lost = lost
        self._joined = joined
        self._log = ClientLog()
        self.away = False  # left the group for now
        self._is_abandoned = False
        self._is_closing = False

    def abandon(self, failure: MessagingError) -> None:
        """Have the thread leave and end without a commit, as its topic is another by now; from any thread."""
        self.failure = failure
        self._is_abandoned = True
        self.stop()

    def stop(self) -> None:
        """Have the thread commit, leave and end; from any thread."""
        with self._holding.changed:
            self._holding.hurry = True
            self._holding.changed.notify_all()

    def run(self) -> None:
        try:
            while not self._holding.hurry:
                self._receive()
        except KafkaException as error:
            self._fail(translated(error.args[0], f"receiving from {self._topic!r}"))
        except Exception as error:  # a thread has nobody to raise to
            log.exception("the receiver of %s has failed", self._topic)
            self._fail(MessagingError(f"receiving from {self._topic!r} failed: {error}"))

    def _receive(self) -> None:
        """Receive by one client, until closed or until the client is beyond help."""
        self._commits = Commits(self._topic, self._holding)
        self._was_assigned = self._is_broken = self._is_closing = False
        self.liveness.begin()
        client = Client(self._configuration | {"on_commit": self._commits.on_commit, "error_cb": self._on_error})
        try:
            self._join(client)
            while not (self._holding.hurry or self._is_broken):
                self._turn(client)
        finally:
            self._leave_for_good(client)

    def _turn(self, client: Client) -> None:
        """Do one round, which takes at most `POLL` seconds if brokers need not be asked for offsets."""
        if self._should_be_away() != self.away and self.liveness.answers(client):
            (self._join if self.away else self._leave)(client)
        room = self._holding.room()
        starved = self._pauses.starved(room)
        if not self._pauses.bring_about(client, everything=starved):
            self._holding.pause(POLL)
        elif room > 0 or starved or self.away:
            self._read(client, max(min(room, self._holding.at_once()), 1))
        else:
            self._wait_for_room()
        self._look_after(client)
        if not (self.away or self._is_abandoned):
            self._commits.send(client)

    def _should_be_away(self) -> bool:
        now = time.monotonic()
        return now > self.alive_until or (now > self.wanted_until and (self.away or self._holding.lies_idle()))

    def _read(self, client: Client, room: int) -> None:
        first = client.poll(POLL)
        if first is None:
            return
        records = [first, *client.consume(min(room, MOST) - 1, 0.0)] if room > 1 else [first]
        errors = [(error, record.partition()) for record in records if (error := record.error())]
        if errors:
            records = [record for record in records if not record.error()]
        if self._holding.add(cast("list[Record]", records)):
            self._arrived()
        for error, number in errors:  # heeded last: after a reset come no records of what was before it
            self._heed(client, error, number)

    def _wait_for_room(self) -> None:
        with self._holding.changed:
            self._holding.changed.wait_for(lambda: self._holding.hurry or self._holding.room() > 0, POLL)

    def _heed(self, client: Client, error: KafkaError, number: int | None) -> None:
        """Take what librdkafka reports in the place of a record."""
        if error.name() == "_AUTO_OFFSET_RESET" and number is not None:
            self._resume_at_earliest(client, TopicPartition(self._topic, number), error)
            return
        problem = translated(error, f"receiving from {self._topic!r}")
        if isinstance(problem, NotFoundError):
            self.doubts_topic = True
            self._arrived()
        elif isinstance(problem, AccessError):
            self._fail(problem)
        elif error.fatal() or error.name() == "_FATAL":  # in the place of a record its code alone says so
            self._end(problem)
        else:
            log.warning("%s", problem)

    def _resume_at_earliest(self, client: Client, partition: TopicPartition, error: KafkaError) -> None:
        """Go on with a partition whose next record is gone, as by retention; asking until a broker answers."""
        number = partition.partition
        while not self._holding.hurry and number in self._holding.numbers():  # it may be taken away meanwhile
            try:
                low, high = client.get_watermark_offsets(partition, timeout=ANSWER)
            except KafkaException as failure:
                log.warning("%s-%d: cannot ask for the earliest offset yet: %s", self._topic, number, failure)
                self._holding.pause(AGAIN)
                self._look_after(client)
                continue
            self._lost(self._holding.begin_again(number, low))
            self._wait_for_answers(client)
            client.incremental_unassign([partition])  # librdkafka has stopped it, and seeks in no stopped one
            client.incremental_assign([TopicPartition(self._topic, number, low)])
            text = "%s-%d: what was to be read next is gone (%s); going on at %d, the earliest of up to %d"
            log.warning(text, self._topic, number, error.str(), low, high)
            return

    # the group

    def _join(self, client: Client) -> None:
        self._is_joining = True
        client.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        self.away = False

    def _leave(self, client: Client) -> None:
        """Leave the group, and stay away for now."""
        log.warning(
            "the receiver of %s leaves its group for now: %s",
            self._topic,
            "its event loop stands still" if time.monotonic() > self.alive_until else "nobody receives from it",
        )
        client.unsubscribe()
        self.away = True
        self._is_joining = False

    def _leave_for_good(self, client: Client) -> None:
        try:
            if not (self._is_broken or self._is_abandoned):
                self._commits.finish(client)
            if not self._is_broken and self._configuration["group.protocol"] == "classic":
                self._wait_to_be_heard(client)
        except KafkaException as error:
            log.warning("leaving the group of %s: %s", self._topic, error)
        self._is_closing = True
        client.close()
        self._give_up(self._holding.numbers())

    def _wait_to_be_heard(self, client: Client) -> None:
        """Wait until the group's coordinator has answered a request to join, if one is on its way.

        A request to leave would be held back behind it, time out, and leave a member that is dead, for whom the others
        wait in the next rebalance. Joining takes several requests; later ones are seen by asking anything else.
        """
        give_up = time.monotonic() + LEAVE
        while self._is_joining and not self.failure and time.monotonic() < give_up:
            client.poll(POLL)
        client.committed([TopicPartition(self._topic, 0)], timeout=LEAVE)

    def _on_assign(self, client: Client, partitions: list[TopicPartition]) -> None:
        self._was_assigned = True
        self._is_joining = False
        if self._holding.hurry:  # closing: who comes next shall have them, and brokers would not be heard now
            self._wait_for_answers(client)
            client.incremental_assign([])
            return
        committed = self._commits.read(client, partitions)
        self._wait_for_answers(client)
        for one in committed:
            known = one.offset >= 0
            self._holding.assign(one.partition, one.offset if known else None, one.metadata if known else None)
        numbers = {one.partition for one in partitions}
        log.debug("%s: assigned %s", self._topic, sorted(numbers))
        self._pauses.forget(numbers)
        client.incremental_assign([TopicPartition(one.topic, one.partition, one.offset) for one in committed])
        client.resume(
            [TopicPartition(self._topic, number) for number in sorted(numbers)]
        )  # librdkafka keeps one paused over its loss and its return
        if self._holding.numbers():
            self._joined()
        else:  # others have them all, or there are none any more
            self.doubts_topic = True
            self._arrived()

    def _on_revoke(self, client: Client, partitions: list[TopicPartition]) -> None:
        numbers = {one.partition for one in partitions}
        stands_still = time.monotonic() > self.alive_until
        self._holding.drain(numbers, 0.0 if stands_still else DRAIN)
        with self._holding.changed:  # no ack comes in between
            commits = [] if self._is_abandoned else self._holding.commits(numbers)
            self._give_up(numbers)
        self._wait_for_answers(client)
        self._commits.send_and_wait(client, lambda: commits)
        self._wait_for_answers(client)
        client.incremental_unassign(partitions)

    def _on_lost(self, client: Client, partitions: list[TopicPartition]) -> None:
        """Others have these already: committing now would undo their work."""
        numbers = {one.partition for one in partitions}
        text = "%s: partitions %s went to others, as the group heard nothing of this receiver for too long: %s"
        log.warning(text, self._topic, sorted(numbers), "what it acked last may come again")
        self._give_up(numbers)
        self._wait_for_answers(client)
        client.incremental_unassign(partitions)

    def _wait_for_answers(self, client: Client) -> None:
        """Wait, in a rebalance, until librdkafka serves calls; one that is being closed does, but does not tell."""
        while not (self._is_closing or self.liveness.answers(client)):
            self._look_after(client)
            time.sleep(POLL)

    def _look_after(self, client: Client) -> None:
        """End this thread, which may get stuck on its way, if librdkafka has stopped serving its client."""
        if self.has_ended or not self.liveness.has_ended(client):
            return
        text = "the receiver of %s begins anew: its Kafka client has stopped answering, while brokers answer others"
        log.warning(text, self._topic)
        self.has_ended = True
        self._give_up(self._holding.numbers())
        self.stop()
        self._arrived()

    def _give_up(self, numbers: set[int]) -> None:
        log.debug("%s: gives up %s", self._topic, sorted(numbers))
        self._pauses.forget(numbers)
        self._lost(self._holding.forget(numbers))

    def _on_error(self, error: KafkaError) -> None:
        """Take what concerns no partition: brokers that are away, which librdkafka goes on looking for."""
        problem = translated(error, f"receiving from {self._topic!r}")
        if error.fatal():
            self._end(problem)
        else:
            level = logging.WARNING if error.name() == "_ALL_BROKERS_DOWN" else logging.INFO
            self._log.log(level, "%s", problem)

    def _end(self, problem: MessagingError) -> None:
        """Take what a client does not recover from.

        One that was a member before gets a successor: librdkafka 2.16 has been seen to send, when it joined a KIP-848
        group once more, a heartbeat that the broker takes for invalid.
        """
        if self._was_assigned:
            log.warning("%s; joining anew", problem)
            self._is_broken = True
        else:
            self._fail(problem)

    def _fail(self, failure: MessagingError) -> None:
        self.failure = failure
        self._joined()
        self._arrived()
