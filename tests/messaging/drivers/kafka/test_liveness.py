"""librdkafka's own thread may stop for good: nothing may wait for it with the interpreter's lock held."""

import asyncio
import time
import uuid

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from visionbus.brokers.ports import free_ports
from visionbus.messaging import Message, connect
from visionbus.messaging.drivers.kafka import liveness
from visionbus.messaging.drivers.kafka.consumer import ConsumerThread
from visionbus.messaging.drivers.kafka.holding import Holding
from visionbus.messaging.drivers.kafka.liveness import GIVE_UP, LOOK, Liveness
from visionbus.messaging.drivers.kafka.pauses import Pauses


class Client:
    """A consumer whose librdkafka answers (!), or is silent (.), and notes the calls that would wait for it."""

    def __init__(self, answers=""):
        self.answers = list(answers)
        self.calls = []

    def committed(self, partitions, timeout):
        assert partitions == [], "no broker is asked"
        assert timeout <= 1.0
        if not self.answers or self.answers.pop(0) == ".":
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return partitions

    def __getattr__(self, name):
        def call(*_):
            assert not self.answers, "it was asked before"
            self.calls.append(name)

        return call


class NoCommits:
    """Commits nothing."""

    def send(self, client):
        pass

    def send_and_wait(self, client, commits):
        pass


def thread_of(holding):
    nothing = lambda *_: None  # noqa: E731
    return ConsumerThread({}, "images", holding, arrived=nothing, lost=nothing, joined=nothing)


def test_silent_client_is_told_to_pause_nothing():
    holding = Holding(1)
    holding.assign(0, 0, "")
    pauses = Pauses("images", holding, Liveness())
    client = Client(".")
    assert not pauses.bring_about(client, everything=True)
    assert client.calls == []
    client.answers = ["!"]
    assert pauses.bring_about(client, everything=True)
    assert client.calls == ["pause", "resume"]
    assert pauses.bring_about(Client(), everything=True), "nothing is to be changed"


def test_silent_client_is_not_read_where_it_should_pause():
    thread = thread_of(Holding(1))
    thread._commits = NoCommits()
    thread.alive_until = 0.0  # the receiver would leave its group, too
    thread._pauses.bring_about = lambda *_, **__: False
    client = Client()
    thread._turn(client)
    assert client.calls == []


@pytest.mark.parametrize("event", ["_on_lost", "_on_revoke", "_on_assign"])
def test_rebalance_waits_for_a_silent_client(event):
    holding = Holding(1)
    holding.assign(0, 0, "")
    holding.hurry = event == "_on_assign"
    thread = thread_of(holding)
    thread._commits = NoCommits()
    client = Client("..!!" if event == "_on_revoke" else "..!")
    getattr(thread, event)(client, [TopicPartition("images", 0)])
    assert client.calls == ["incremental_assign" if event == "_on_assign" else "incremental_unassign"]


def test_client_that_is_being_closed_is_not_waited_for():
    thread = thread_of(Holding(1))
    thread._is_closing = True  # librdkafka answers no such question any more
    thread._wait_for_answers(Client())


def test_client_has_ended_when_it_is_silent_while_brokers_answer_others(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    one = Liveness()

    def ended_at(second, answers=""):
        now[0] = second
        return one.has_ended(Client(answers))

    assert not ended_at(LOOK / 2), "it is not looked at every time"
    assert not ended_at(1000.0), "no broker answers anybody"
    one.brokers_answer(others=True)
    assert not ended_at(1000.0 + GIVE_UP), "brokers have answered only just as long"
    assert not ended_at(1001.0 + GIVE_UP + LOOK), "nobody knows whether brokers answered since"
    one.brokers_answer(others=True)
    assert ended_at(1002.0 + GIVE_UP + 2 * LOOK)
    one.brokers_answer(others=False)
    one.brokers_answer(others=True)
    assert not ended_at(1013.0 + GIVE_UP + 3 * LOOK), "brokers were away since"
    assert not ended_at(3000.0, "!")
    assert not ended_at(3000.0 + LOOK), "it has answered since"


def test_receiver_whose_client_has_ended_goes_on_with_another_one(kafka):
    async def receive_before_and_after():
        topic = f"liveness-{uuid.uuid4().hex}"
        async with asyncio.timeout(60), connect(kafka.url) as bus:
            await bus.declare(topic, "workers")
            async with bus.subscribe(topic, "workers", ack_deadline=2.0) as receiver:
                await bus.send(topic, Message(b"acked"), Message(b"held"))
                before = {one.message.data: one for one in await receiver.receive(2, linger=2.0)}
                await receiver.ack(before[b"acked"])
                first = receiver._attached._thread
                first.liveness.has_ended = lambda _: True
                await bus.send(topic, Message(b"later"))
                after = set()
                while not after >= {b"held", b"later"}:
                    batch = await receiver.receive(3)
                    after |= {one.message.data for one in batch}
                    await receiver.ack(before[b"held"], *batch)  # the first: of a lease that is none any more
                assert first.has_ended
                assert receiver._attached._thread is not first

    asyncio.run(receive_before_and_after())


def test_client_answers_without_a_broker_once_it_knows_its_coordinator(kafka):
    topic = f"liveness-{uuid.uuid4().hex}"
    administration = AdminClient({"bootstrap.servers": kafka.bootstrap})
    administration.create_topics([NewTopic(topic, 1)])[topic].result()
    client = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": topic})
    try:
        deadline = time.monotonic() + 30.0
        while not Liveness().answers(client):
            assert time.monotonic() < deadline
    finally:
        client.close()


def test_client_without_brokers_is_silent_for_a_moment_only():
    (port,) = free_ports(1)
    client = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "g", "log_level": 0})
    try:
        begun = time.monotonic()
        assert not Liveness().answers(client)
        assert time.monotonic() - begun < 30.0
    finally:
        client.close()
