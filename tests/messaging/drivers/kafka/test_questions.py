import asyncio
import time

import pytest

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK
from visionbus.messaging import UnavailableError
from visionbus.messaging.driver import Address
from visionbus.messaging.drivers.kafka import questions
from visionbus.messaging.drivers.kafka.admin import Admin
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    with KafkaCluster(properties=QUICK) as cluster:
        yield cluster


def test_question_to_the_coordinator_of_a_group_is_ended_by_our_clock_and_asked_anew(cluster, monkeypatch):
    """librdkafka's clock must not: it would crash the process when the coordinator is back."""

    async def asked():
        admin = Admin(KafkaSettings.parse(Address.parse(cluster.url)))
        await admin.create("images")
        await admin.begin("workers", "images", {0: 0})
        cluster.kill(1)
        monkeypatch.setattr(questions, "PATIENCE", 0.5)
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=r"looking up the group 'workers' failed: no answer within 0\.5 s"):
            await admin.committed("workers", "images", [0])
        assert time.monotonic() - began < questions.NEVER / 100
        monkeypatch.undo()
        await asyncio.to_thread(cluster.start, 1)
        assert await admin.committed("workers", "images", [0]) == {0: 0}
        await admin.close()

    asyncio.run(asked())


def test_questions_that_are_open_end_when_the_bus_is_closed(cluster):
    async def asked():
        admin = Admin(KafkaSettings.parse(Address.parse(cluster.url)))
        await admin.create("images")
        cluster.freeze(1)
        asking = [
            asyncio.create_task(one) for one in (admin.topic("images"), admin.committed("workers", "images", [0]))
        ]
        await asyncio.wait(asking, timeout=0.3)
        await admin.close()
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
        cluster.thaw(1)
        return [type(one).__name__ for one in outcomes]

    assert asyncio.run(asked()) == ["ClosedError", "ClosedError"]
