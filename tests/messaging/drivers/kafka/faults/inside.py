"""What a fleet's programs do inside the Kafka driver: see what is held, and break a guarantee on purpose."""

from visionbus.messaging.drivers.kafka.consumer import ConsumerThread
from visionbus.messaging.drivers.kafka.driver import KafkaDriver
from visionbus.messaging.drivers.kafka.holding import Holding
from visionbus.messaging.drivers.kafka.settings import KafkaSettings
from visionbus.messaging.drivers.kafka.tracker import Commit, OffsetTracker

OUT = ("heard nothing of this receiver", "may come again: UNKNOWN_MEMBER_ID")


def held(receiver, deliveries):
    """Give those that are still this receiver's, as its driver knows it."""
    holding = receiver._attached._holding
    return [one for one in deliveries if any(holding._held([one.lease]))]


def position(tracker):
    """Give a commit of all that was received, as a consumer makes it that commits its position."""
    return None if tracker._next is None else Commit(tracker._next, "")


def commit_position():
    OffsetTracker._commit = position


def commit_position_when_revoked():
    def commits(self, numbers=None):
        if numbers is None:
            return honest(self)
        return [(one, position(one)) for number, one in self._trackers.items() if number in numbers and position(one)]

    honest, Holding.commits = Holding.commits, commits


def commit_nothing_when_revoked():
    honest = Holding.commits
    Holding.commits = lambda self, numbers=None: honest(self) if numbers is None else []


def take_late_acks():
    """Give all hand-outs of a record the same lease, whatever the assignment."""

    def tracker(self, number, offset=None, metadata=None, epoch=0):
        honest(self, number, offset, metadata, number)

    honest, OffsetTracker.__init__ = OffsetTracker.__init__, tracker


def ignore_ack_deadline():
    async def attach(self, topic, subscription, *, ack_deadline, prefetch, lost):
        return await honest(self, topic, subscription, ack_deadline=60.0, prefetch=prefetch, lost=lost)

    honest, KafkaDriver.attach = KafkaDriver.attach, attach


def stay_when_the_loop_stands_still():
    ConsumerThread._should_be_away = lambda self: False


def send_with(acks):
    honest = KafkaSettings.producer
    KafkaSettings.producer = lambda self: honest(self) | {"enable.idempotence": False, "acks": acks}


def confirm_what_is_on_its_way():
    send_with("0")


def confirm_before_it_is_copied():
    send_with("1")


SABOTAGES = {
    act.__name__: act
    for act in (
        commit_nothing_when_revoked,
        commit_position,
        commit_position_when_revoked,
        confirm_before_it_is_copied,
        confirm_what_is_on_its_way,
        ignore_ack_deadline,
        stay_when_the_loop_stands_still,
        take_late_acks,
    )
}
