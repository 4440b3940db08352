"""What tests of all folders share: a real Kafka, and Google's emulator of Pub/Sub."""

import logging
import os
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import settings

from visionbus.brokers.errors import InstallError
from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.properties import QUICK
from visionbus.brokers.pubsub import PROJECT, VARIABLE, PubsubEmulator

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is loaded: more processes than cores train at once
if "CI" not in os.environ:  # there Hypothesis does so by itself
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")


@dataclass(frozen=True)
class ForeignKafka:
    """The broker that KAFKA_URL names; it is not ours to kill."""

    url: str

    @property
    def bootstrap(self):
        return self.url.removeprefix("kafka://").partition("?")[0].rstrip("/")


@dataclass(frozen=True)
class ForeignEmulator:
    """The emulator that PUBSUB_EMULATOR_HOST names; it is not ours to kill."""

    host: str
    url: str = f"pubsub://{PROJECT}"


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    """Mark what needs brokers: as slow before `-m` looks, to be run again when all are marked slow that are."""
    real = {item for item in items if {"kafka", "pubsub"} & set(getattr(item, "fixturenames", ()))}
    for item in real:
        item.add_marker(pytest.mark.slow)
    yield
    for item in items:
        named = any(word in item.nodeid for word in ("broker", "kafka", "pubsub"))
        if (item in real or named) and item.get_closest_marker("slow"):
            # Real brokers on shared, noisy machines: what fails is run once more, which the summary tells (R).
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def decoded_images(tmp_path_factory):
    """Keep what tests decode, in this process and in others, away from the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISIONBUS_PIXELS", str(tmp_path_factory.mktemp("pixels")))
        yield


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


@pytest.fixture(scope="session")
def pubsub():
    """One emulator for the whole session, which PUBSUB_EMULATOR_HOST names; or the one that it names already.

    Where there is none to start, its tests are skipped with the sentence that says how to get it; in CI they fail.
    """
    if host := os.environ.get(VARIABLE):
        yield ForeignEmulator(host)
        return
    with ExitStack() as closing:
        try:
            emulator = closing.enter_context(PubsubEmulator())
        except InstallError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        closing.enter_context(pytest.MonkeyPatch.context()).setenv(VARIABLE, emulator.host)
        yield emulator
