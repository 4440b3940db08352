"""Connections that are delayed, cut and half-closed lose nothing: 20,000 messages through a proxy."""

import asyncio
import sys
import uuid
from collections import Counter
from pathlib import Path

import pytest

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.ports import HOST, free_ports
from visionbus.brokers.properties import QUICK
from visionbus.messaging import connect
from visionbus.messaging.drivers.kafka.settings import KafkaSettings

sys.path.append(str(Path(__file__).parents[3] / "faults"))
from fleet import seed_of_run
from proxy import CALM, Proxy, Weather
from traffic import Traffic, name_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]  # for machines with other work, too

MESSAGES = 20_000
ENOUGH = 8_000  # to find out what is broken ...
LARGE = b"x" * 300  # ... if each is of so many bytes that there are chunks enough to be cut
SENDERS = 4
SESSION = 2.0  # seconds


@pytest.fixture(scope="module")
def ports():
    """Give the port of a broker, and the one that it tells its clients to use, on which nothing listens yet."""
    broker, advertised = free_ports(2)
    shown = {"advertised.listeners": f"PLAINTEXT://{HOST}:{advertised}"}
    with KafkaCluster(port=broker, properties=QUICK | shown):
        yield broker, advertised


@pytest.fixture
def seed():
    return seed_of_run()


async def traffic_in_storm(ports, seed, protocol, weather, messages=MESSAGES, filling=b""):
    """Send and receive in bad weather, settle all in calm; give what was done, and how often each is in the topic."""
    broker, advertised = ports
    url = f"kafka://{HOST}:{advertised}?group_protocol={protocol}&send_timeout=20"
    traffic = Traffic(url, f"images-{uuid.uuid4().hex}", seed, filling=filling)
    async with asyncio.timeout(240), Proxy(advertised, broker, seed) as proxy:
        async with connect(url) as bus:
            await bus.declare(traffic.topic, "workers", "auditors")
        receivers = [asyncio.create_task(traffic.receive(ack_deadline=SESSION)) for _ in range(2)]
        proxy.weather = weather
        await asyncio.gather(*(traffic.send(*range(first, messages, SENDERS)) for first in range(SENDERS)))
        proxy.weather = CALM
        await traffic.settle_all(*receivers, rest=2 * SESSION)  # what nobody could commit in time comes again
        verdict = await traffic.verdict(may_repeat=True)  # commits fail, too
        copies = Counter()
        async with connect(url) as bus, bus.subscribe(traffic.topic, "auditors") as auditor:
            while batch := await auditor.receive(
                1000, timeout=1.5 if traffic.ledger.confirmed <= copies.keys() else 10.0
            ):
                copies.update(name_of(one.message) for one in batch)
                await auditor.ack(*batch)
        print(proxy.done, len(traffic.sent_again), verdict)  # noqa: T201 (pytest shows it with a failure)
    copied = {name for name, times in copies.items() if times > 1} - traffic.sent_again
    return traffic, proxy, verdict, copied


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_bad_connections_lose_nothing_and_copy_nothing(ports, seed, protocol):
    traffic, proxy, verdict, copied = asyncio.run(traffic_in_storm(ports, seed, protocol, Weather()))
    assert all(proxy.done.values())
    assert verdict.holds, verdict
    assert traffic.ledger.confirmed == traffic.ledger.offered == {str(number) for number in range(MESSAGES)}
    assert traffic.ledger.acked | traffic.ledger.dead == traffic.ledger.offered
    assert not copied


def sending_with(monkeypatch, **config):
    honest = KafkaSettings.producer
    given = {name.replace("_", "."): value for name, value in config.items()}
    monkeypatch.setattr(KafkaSettings, "producer", lambda self: honest(self) | given)


def test_messages_that_are_confirmed_before_the_broker_has_them_are_found_lost(ports, seed, monkeypatch):
    sending_with(monkeypatch, enable_idempotence=False, acks=0)
    *_, verdict, _ = asyncio.run(traffic_in_storm(ports, seed, "consumer", Weather(cut=0.08), ENOUGH, LARGE))
    assert verdict.lost


def test_messages_that_are_sent_again_by_themselves_are_found_copied(ports, seed, monkeypatch):
    sending_with(monkeypatch, enable_idempotence=False)
    *_, copied = asyncio.run(traffic_in_storm(ports, seed, "consumer", Weather(half_closed=0.1), 12_000))
    assert copied
