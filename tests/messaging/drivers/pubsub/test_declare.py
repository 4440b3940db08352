"""What `declare` makes, what it finds, and what it says of things that break a promise."""

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import grpc
import pytest
from google.iam.v1 import policy_pb2
from google.pubsub_v1 import types
from server import Fault, Server
from service import Service

from visionbus.brokers.ports import free_ports
from visionbus.messaging import AccessError, ClosedError, Message, NotFoundError, UnavailableError, connect
from visionbus.messaging.drivers.pubsub import admin
from visionbus.messaging.errors import MessagingError

PROJECT = "projects/visionbus"
TOPIC = f"{PROJECT}/topics/images"
WORKERS = f"{PROJECT}/subscriptions/images.workers"
DEAD = f"{PROJECT}/topics/images.workers.dead"
Topic, Subscription = types.Topic.pb(), types.Subscription.pb()


@asynccontextmanager
async def served(monkeypatch, parameters="", service=None):
    """A bus, and the service that it talks to."""
    async with Server(service=service) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        async with connect(f"pubsub://visionbus{parameters}") as bus:
            yield bus, server


def make(server, **options):
    """Have another program make the subscription."""
    server.service.create_topic(Topic(name=TOPIC))
    server.service.create_subscription(
        Subscription(**{"name": WORKERS, "topic": TOPIC, "enable_message_ordering": True} | options)
    )


async def enter(bus):
    async with bus.subscribe("images", "workers"):
        pass


async def test_subscription_is_ordered_stays_and_has_a_backstop(monkeypatch):
    async with served(monkeypatch) as (bus, server):
        await bus.declare("images", "workers")
        made = server.service.subscriptions[WORKERS]
        assert (made.topic, made.enable_message_ordering, made.filter) == (TOPIC, True, "")
        assert made.HasField("expiration_policy")
        assert not made.expiration_policy.HasField("ttl")
        assert made.message_retention_duration.seconds == 7 * 86_400
        assert made.dead_letter_policy.dead_letter_topic == DEAD
        assert made.dead_letter_policy.max_delivery_attempts == 100
        letters = server.service.subscriptions[f"{PROJECT}/subscriptions/images.workers.dead.dead-letters"]
        assert not letters.HasField("dead_letter_policy")


async def test_url_says_retention_expiration_filter_and_names(monkeypatch):
    parameters = "?retention=3600&expiration=100000&filter=attributes:kind&names=verbatim"
    async with served(monkeypatch, parameters) as (bus, server):
        await bus.declare("images", "workers")
        made = server.service.subscriptions[f"{PROJECT}/subscriptions/workers"]
        assert made.message_retention_duration.seconds == 3600
        assert made.expiration_policy.ttl.seconds == 100_000
        assert made.filter == "attributes:kind"
        await enter(bus)


async def test_dead_letters_are_not_filtered(monkeypatch):
    async with served(monkeypatch, "?filter=attributes:kind") as (bus, server):
        await bus.declare("images", "workers")
        letters = server.service.subscriptions[f"{PROJECT}/subscriptions/images.workers.dead.dead-letters"]
        assert letters.filter == ""
        async with bus.subscribe("images.workers.dead", "dead-letters"):
            pass


async def test_declaring_twice_and_by_several_at_once_is_as_once(monkeypatch):
    async with served(monkeypatch) as (bus, server), connect("pubsub://visionbus") as other:
        await asyncio.gather(*(one.declare("images", "workers") for one in (bus, other) * 5))
        await bus.declare("images", "workers")
        assert set(server.service.topics) == {TOPIC, DEAD}


async def test_what_another_makes_between_look_and_creation_is_taken(monkeypatch):
    class Late(Service):
        """Says once of each thing that it is not there."""

        def __init__(self):
            super().__init__()
            self.denied_once = set()

        def _late(self, name):
            if name not in self.denied_once:
                self.denied_once.add(name)
                return "nothing"
            return name

        def get_topic(self, request):
            request.topic = self._late(request.topic)
            return super().get_topic(request)

        def get_subscription(self, request):
            request.subscription = self._late(request.subscription)
            return super().get_subscription(request)

    async with served(monkeypatch, service=Late()) as (bus, server):
        make(server)
        await bus.declare("images", "workers")


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED"])
async def test_what_fails_for_now_is_asked_again(monkeypatch, code):
    methods = ("GetTopic", "CreateTopic", "GetSubscription", "CreateSubscription")
    async with served(monkeypatch) as (bus, server):
        server.faults = [Fault(method, grpc.StatusCode[code], times=1) for method in methods]
        await bus.declare("images", "workers")
        assert [fault.answers for fault in server.faults] == [1, 1, 1, 1]


async def test_creation_whose_answer_was_lost_is_no_error(monkeypatch):
    async with served(monkeypatch) as (bus, server):
        server.faults = [
            Fault(method, grpc.StatusCode.UNAVAILABLE, times=1, effect=True)
            for method in ("CreateTopic", "CreateSubscription")
        ]
        await bus.declare("images", "workers")


async def test_server_that_is_away_is_told_after_send_timeout(monkeypatch):
    async with served(monkeypatch, "?send_timeout=2") as (bus, server):
        await bus.declare("images")
        monkeypatch.setattr(admin, "UNREACHED", 0.0)  # which is for servers that never answered
        monkeypatch.setattr(admin, "backoff", lambda _: 0.1)
        await server.stop()
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="check the network"):
            await bus.declare("images")
        assert time.monotonic() > began + 1.5  # it was asked again
        await server.start()


async def test_server_that_never_was_there_is_told_sooner(monkeypatch):
    monkeypatch.setattr(admin, "UNREACHED", 0.3)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_ports(1)[0]}")
    async with connect("pubsub://visionbus?send_timeout=600") as bus:
        with pytest.raises(UnavailableError, match="PUBSUB_EMULATOR_HOST"):
            await bus.declare("images")


async def test_declaration_that_is_open_when_the_bus_is_closed_says_so(monkeypatch):
    connected = asyncio.get_running_loop().create_future()

    def say_nothing(_, writer):
        connected.set_result(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        host, port = silent.sockets[0].getsockname()
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"{host}:{port}")
        async with connect("pubsub://visionbus") as bus:
            asking = asyncio.create_task(bus.declare("images"))
            writer = await connected
        writer.transport.abort()
        with pytest.raises(ClosedError):
            await asking


async def test_missing_permission_is_told_with_the_cure(monkeypatch):
    async with served(monkeypatch) as (bus, server):
        server.faults = [Fault("CreateTopic", grpc.StatusCode.PERMISSION_DENIED)]
        with pytest.raises(AccessError, match="IAM roles"):
            await bus.declare("images")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"enable_message_ordering": False}, r"without message ordering.*\(gcloud pubsub subscriptions delete"),
        ({"push_config": {"push_endpoint": "https://example.com/"}}, "no pull subscription.* modify-push-config"),
        ({"bigquery_config": {"table": "a.b.c"}}, "no pull subscription"),
        ({"filter": "attributes:kind"}, r"has the filter 'attributes:kind'.*filter= into the URL"),
        ({"detached": True}, "is detached"),
        ({"enable_exactly_once_delivery": True}, r"exactly-once.*--no-enable-exactly-once-delivery"),
        ({"topic": f"{PROJECT}/topics/other"}, "belongs to another topic, .*topics/other"),
    ],
)
async def test_what_breaks_a_promise_is_told_by_declare_and_by_receivers(monkeypatch, options, complaint):
    async with served(monkeypatch) as (bus, server):
        server.service.create_topic(Topic(name=f"{PROJECT}/topics/other"))
        make(server, **options)
        with pytest.raises(MessagingError, match=complaint):
            await bus.declare("images", "workers")
        with pytest.raises(MessagingError, match=complaint):
            await enter(bus)


async def test_filter_of_the_url_that_a_subscription_lacks_is_told(monkeypatch):
    async with served(monkeypatch, "?filter=attributes:kind") as (bus, server):
        make(server)
        with pytest.raises(MessagingError, match="has no filter"):
            await enter(bus)


async def test_early_dead_letter_policy_of_others_is_a_warning(monkeypatch, caplog):
    async with served(monkeypatch) as (bus, server):
        make(server, dead_letter_policy={"dead_letter_topic": DEAD, "max_delivery_attempts": 5})
        await enter(bus)
        (record,) = (one for one in caplog.records if one.levelno == logging.WARNING)
        assert "gives messages up after 5 attempts" in record.getMessage()


async def test_subscription_of_a_topic_that_was_deleted_is_not_found(monkeypatch):
    async with served(monkeypatch) as (bus, server):
        await bus.declare("images", "workers")
        server.service.delete_topic(types.DeleteTopicRequest.pb()(topic=TOPIC))
        with pytest.raises(NotFoundError, match=r"gcloud pubsub subscriptions delete images\.workers"):
            await enter(bus)
        with pytest.raises(NotFoundError, match="declare it first"):
            await bus.send("images", Message(b"data"))
        with pytest.raises(NotFoundError, match="was deleted"):
            await bus.declare("images", "workers")


async def test_who_may_not_look_may_receive(monkeypatch):
    async with served(monkeypatch) as (bus, server):
        await bus.declare("images", "workers")
        server.faults = [Fault("GetSubscription", grpc.StatusCode.PERMISSION_DENIED)]
        await enter(bus)


async def test_who_may_not_create_finds_what_is_there(monkeypatch):
    async with served(monkeypatch) as (bus, server):
        make(server)
        server.service.create_topic(Topic(name=DEAD))
        await bus.declare("images.workers.dead", "dead-letters")
        server.faults = [
            Fault(f"Create{what}", grpc.StatusCode.PERMISSION_DENIED) for what in ("Topic", "Subscription")
        ]
        await bus.declare("images", "workers")


@pytest.mark.parametrize("permission", ["pubsub.topics.publish", "pubsub.subscriptions.consume"])
async def test_permission_that_the_credentials_lack_is_a_warning(monkeypatch, caplog, permission):
    async with served(monkeypatch) as (bus, server):
        server.service.denied.add(permission)
        await bus.declare("images", "workers")
        said = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
        assert said
        assert all(f"lack {permission} on projects/visionbus/" in one for one in said)


async def test_permissions_that_are_there_are_no_warning(monkeypatch, caplog):
    async with served(monkeypatch) as (bus, _):
        await bus.declare("images", "workers")
        assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("granted", [True, False])
async def test_grants_of_pubsubs_own_account_are_looked_for(monkeypatch, caplog, granted):
    members = ["serviceAccount:service-1@gcp-sa-pubsub.iam.gserviceaccount.com"] if granted else []
    caplog.set_level(logging.INFO)
    async with served(monkeypatch) as (bus, server):
        for resource, role in ((DEAD, "roles/pubsub.publisher"), (WORKERS, "roles/pubsub.subscriber")):
            bindings = [policy_pb2.Binding(role=role, members=members)]
            server.service.policies[resource] = policy_pb2.Policy(bindings=bindings)
        await bus.declare("images", "workers")
        said = [one.getMessage() for one in caplog.records if "own account" in one.getMessage()]
        assert bool(said) is not granted
        assert granted or {DEAD, WORKERS} == {one.split(" on ")[1].rstrip(", or") for one in said}


def test_emulator_takes_what_is_declared(pubsub, topic):
    async def declare_and_send():
        async with connect(pubsub.url) as bus:
            with pytest.raises(NotFoundError):
                await bus.send(topic, Message(b"data"))
            await bus.declare(topic, "workers", "others")
            await bus.declare(topic, "workers", "others")
            await bus.send(topic, Message(b"data"))

    asyncio.run(declare_and_send())


@pytest.mark.parametrize("name", ["ab", "a b", "a/b", "ungültig", "googly", "x" * 256])
def test_name_that_no_topic_has_is_not_found(pubsub, name):
    async def send():
        async with connect(pubsub.url) as bus:
            await bus.send(name, Message(b"data"))

    with pytest.raises(NotFoundError, match="declare it first"):
        asyncio.run(send())


@pytest.mark.parametrize("made_by_us", [True, False])
async def test_subscription_that_is_made_again_may_bring_what_its_predecessor_had_acked(monkeypatch, made_by_us):
    async with served(monkeypatch) as (bus, server):
        await bus.declare("images", "workers")
        await bus.send("images", Message(b"data"))
        async with bus.subscribe("images", "workers") as subscription:
            (first,) = await subscription.receive()
            await subscription.ack(first)
        server.service.delete_subscription(types.DeleteSubscriptionRequest.pb()(subscription=WORKERS))
        if made_by_us:
            await bus.declare("images", "workers")
        else:
            with pytest.raises(NotFoundError):
                await enter(bus)
            server.service.create_subscription(Subscription(name=WORKERS, topic=TOPIC, enable_message_ordering=True))
        replayed = types.PubsubMessage.pb()(data=b"data", message_id=first.id)
        replayed.publish_time.FromDatetime(first.published)
        server.service.leasing[WORKERS].publish(replayed, server.service.clock())  # as a seek into the topic would
        async with bus.subscribe("images", "workers") as subscription:
            (again,) = await subscription.receive(timeout=10)
            assert (again.id, again.published) == (first.id, first.published)
            await subscription.ack(again)
