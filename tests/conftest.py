"""What tests of all folders share: a real Kafka."""

import logging
import os
from dataclasses import dataclass

import pytest

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK


@dataclass(frozen=True)
class ForeignKafka:
    """The broker that KAFKA_URL names; it is not ours to kill."""

    url: str

    @property
    def bootstrap(self):
        return self.url.removeprefix("kafka://").partition("?")[0].rstrip("/")


@pytest.hookimpl(trylast=True)  # when all are marked slow that are
def pytest_collection_modifyitems(items):
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if any(word in item.nodeid for word in ("broker", "kafka")) and item.get_closest_marker("slow"):
            # Open: close to a rebalance, classic groups have repeated acks, once in some hundred tests. What fails is
            # run again, which the summary tells (R); what is broken fails three times.
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Undo what a command that runs in this process sets: other tests read what is logged."""
    logger = logging.getLogger("visionbus")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def kafka():
    """One node for the whole session, started by the first test that asks; or the broker that KAFKA_URL names."""
    if url := os.environ.get("KAFKA_URL"):
        yield ForeignKafka(url)
        return
    with KafkaCluster(properties=QUICK) as cluster:
        yield cluster
