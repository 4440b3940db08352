"""Questions to the cluster: each has an end."""

import asyncio
from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ListOffsetsResultInfo

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK
from visionbus.messaging import MessagingError, UnavailableError
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.kafka import admin as admin_of_kafka
from visionbus.messaging.drivers.kafka import groups, questions
from visionbus.messaging.drivers.kafka.admin import Admin
from visionbus.messaging.drivers.kafka.errors import translated
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    with KafkaCluster(properties=QUICK) as cluster:
        yield cluster


def settings_of(cluster):
    return KafkaSettings.parse(Address.parse(cluster.url))


def test_coordinator_that_is_away_is_told_after_the_time_for_a_question_and_asked_again_when_it_is_back(
    cluster, monkeypatch
):
    async def asked():
        admin, ours = Admin(settings_of(cluster)), groups.Groups(settings_of(cluster))
        await admin.create("images")
        await ours.begin("workers", "images", {0: 0})
        cluster.kill(1)
        monkeypatch.setattr(groups, "PATIENCE", 0.5)
        with pytest.raises(UnavailableError, match="looking up the group 'workers'"):
            await ours.committed("workers", "images", [0])
        monkeypatch.undo()
        await asyncio.to_thread(cluster.start, 1)
        assert await ours.committed("workers", "images", [0]) == {0: 0}
        await admin.close()

    asyncio.run(asked())


def test_questions_that_are_open_end_when_the_bus_is_closed(cluster):
    async def asked():
        admin, ours = Admin(settings_of(cluster)), groups.Groups(settings_of(cluster))
        await admin.create("images")
        cluster.freeze(1)
        await asyncio.sleep(0.5)  # the signal stops one thread after the other
        open_ones = admin.topic("images"), ours.committed("workers", "images", [0]), ours.begin("w", "images", {0: 0})
        asking = [asyncio.create_task(one) for one in open_ones]
        await asyncio.wait(asking, timeout=0.3)
        ours.close()
        await admin.close()
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        cluster.thaw(1)
        return [type(one).__name__ for one in outcomes]

    assert asyncio.run(asked()) == ["ClosedError"] * 3


def test_end_of_a_partition_that_librdkafka_does_not_know_is_asked_for_again(monkeypatch):
    """It gives -1, without an error, where the connection to the leader breaks."""
    given = iter([-1, 7])

    def end_of(*_):
        answer = Future()
        answer.set_result(ListOffsetsResultInfo(next(given), 0, 0))
        return answer

    monkeypatch.setattr(admin_of_kafka, "_end_of", end_of)

    async def asked():
        admin = Admin(KafkaSettings("127.0.0.1:9"))
        try:
            return await admin.ends("images", [0])
        finally:
            await admin.close()

    assert asyncio.run(asked()) == {0: 7}


def test_patience_begins_with_the_first_failure_which_may_have_taken_long(monkeypatch):
    monkeypatch.setattr(questions, "SPREAD", 0.05)
    taking = iter([0.1, 0.0])

    async def ask():
        await asyncio.sleep(seconds := next(taking))
        if seconds:
            error = KafkaError(KafkaError.NOT_COORDINATOR)
            raise translated(error, "asking") from KafkaException(error)
        return "answer"

    assert asyncio.run(questions.patiently(ask)) == "answer"


def test_what_patience_does_not_cure_is_raised_at_once():
    async def ask():
        error = KafkaError(KafkaError.INVALID_REQUEST)
        raise translated(error, "asking") from KafkaException(error)

    with pytest.raises(MessagingError, match="INVALID_REQUEST"):
        asyncio.run(asyncio.wait_for(questions.patiently(ask), 5))
