"""The tests' own server speaks Pub/Sub to Google's clients, keeps a stream's limits, and fails as it is told to."""

import asyncio
import random
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest
from google.api_core.exceptions import AlreadyExists, InvalidArgument, NotFound
from google.cloud import pubsub_v1
from google.iam.v1 import iam_policy_pb2
from google.pubsub_v1.types import pubsub

sys.path.append(str(Path(__file__).parent))
from server import Fault, Server, Storm, shuffled

TOPIC = "projects/p/topics/images"
NAME = "projects/p/subscriptions/images.workers"
SUBSCRIBER = "/google.pubsub.v1.Subscriber/"
PUBLISHER = "/google.pubsub.v1.Publisher/"


class Client:
    """Raw calls, as they come on the wire."""

    def __init__(self, channel):
        self._channel = channel

    async def call(self, method, request, answer=None):
        call = self._channel.unary_unary(
            method,
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=answer.FromString if answer else None,
        )
        return await call(request)

    async def publish(self, *data, key=""):
        messages = [pubsub.PubsubMessage.pb()(data=one.encode(), ordering_key=key) for one in data]
        request = pubsub.PublishRequest.pb()(topic=TOPIC, messages=messages)
        return (await self.call(f"{PUBLISHER}Publish", request, pubsub.PublishResponse.pb())).message_ids

    async def acknowledge(self, *ack_ids):
        await self.call(f"{SUBSCRIBER}Acknowledge", pubsub.AcknowledgeRequest.pb()(subscription=NAME, ack_ids=ack_ids))

    async def stream(self, **options):
        stream = self._channel.stream_stream(
            f"{SUBSCRIBER}StreamingPull",
            request_serializer=lambda one: one.SerializeToString(),
            response_deserializer=pubsub.StreamingPullResponse.pb().FromString,
        )()
        asked = {"subscription": NAME, "stream_ack_deadline_seconds": 10} | options
        await stream.write(pubsub.StreamingPullRequest.pb()(**asked))
        return stream


@asynccontextmanager
async def served(seed=0, **subscription):
    async with Server(seed) as server, grpc.aio.insecure_channel(server.host) as channel:
        client = Client(channel)
        await client.call(f"{PUBLISHER}CreateTopic", pubsub.Topic.pb()(name=TOPIC))
        options = {"name": NAME, "topic": TOPIC, "enable_message_ordering": True} | subscription
        await client.call(f"{SUBSCRIBER}CreateSubscription", pubsub.Subscription.pb()(**options))
        yield server, client


async def read(stream, count):
    """Give as many messages of a stream, by their data."""
    found = {}
    while len(found) < count:
        found |= {one.message.data.decode(): one for one in (await stream.read()).received_messages}
    return found


def test_google_clients_work_with_it(monkeypatch):
    async def work():
        async with Server() as server:
            monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
            return await asyncio.to_thread(converse)

    def converse():
        with pubsub_v1.SubscriberClient() as subscriber:
            publisher = pubsub_v1.PublisherClient()
            publisher.create_topic(name=TOPIC)
            subscriber.create_subscription(name=NAME, topic=TOPIC)
            with pytest.raises(AlreadyExists):
                publisher.create_topic(name=TOPIC)
            with pytest.raises(NotFound):
                subscriber.get_subscription(subscription=f"{NAME}s")
            with pytest.raises(InvalidArgument):
                publisher.publish(TOPIC, b"").result(10)
            update = {"subscription": {"name": NAME, "ack_deadline_seconds": 30}}
            subscriber.update_subscription(update | {"update_mask": {"paths": ["ack_deadline_seconds"]}})
            assert subscriber.get_subscription(subscription=NAME).ack_deadline_seconds == 30
            publisher.publish(TOPIC, b"one", camera="4").result(10)
            (received,) = subscriber.pull(subscription=NAME, max_messages=10).received_messages
            subscriber.acknowledge(subscription=NAME, ack_ids=[received.ack_id])
            publisher.publish(TOPIC, b"two").result(10)
            (again,) = subscriber.pull(subscription=NAME, max_messages=10).received_messages
            publisher.delete_topic(topic=TOPIC)
            assert subscriber.get_subscription(subscription=NAME).topic == "_deleted-topic_"
            publisher.stop()
            publisher.transport.close()
            return received.message, again.message

    first, second = asyncio.run(work())
    assert (first.data, dict(first.attributes), first.message_id) == (b"one", {"camera": "4"}, "1")
    assert second.data == b"two"


def test_stream_gets_no_more_than_its_limit_until_something_is_acked():
    async def work():
        async with served() as (server, client):
            stream = await client.stream(max_outstanding_messages=3)
            await client.publish("1", "2", "3", "4")
            first = await read(stream, 3)
            request = pubsub.StreamingPullRequest.pb()(ack_ids=[first["1"].ack_id])
            await stream.write(request)
            second = await read(stream, 1)
            left = {one.data for one in server.service.leasing[NAME].unacked()}
            stream.cancel()
            return first.keys(), second.keys(), left

    assert asyncio.run(work()) == ({"1", "2", "3"}, {"4"}, {b"2", b"3", b"4"})


def test_stream_gets_no_more_bytes_than_its_limit():
    async def work():
        async with served() as (_, client):
            stream = await client.stream(max_outstanding_bytes=2500)
            await client.publish(*(f"{number}" * 1000 for number in range(4)))
            first = await read(stream, 2)
            await client.acknowledge(*(one.ack_id for one in first.values()))
            second = await read(stream, 2)
            stream.cancel()
            return {data[0] for data in first}, {data[0] for data in second}

    assert asyncio.run(work()) == ({"0", "1"}, {"2", "3"})


def test_stream_opened_again_under_its_client_id_has_the_keys_and_the_limits_of_the_one_before():
    async def work():
        async with served() as (server, client):
            await client.publish("1", "2", "3", key="a")
            before = await client.stream(client_id="one", max_outstanding_messages=2)
            first = await read(before, 2)
            again = await client.stream(client_id="one", max_outstanding_messages=2)
            while server.calls["StreamingPull"] < 2:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
            other = await client.stream(client_id="another")
            await client.publish("4")
            found = await read(other, 1)
            await client.acknowledge(first["1"].ack_id)
            found_again = await read(again, 1)
            for stream in (before, again, other):
                stream.cancel()
            return found.keys(), found_again.keys()

    assert asyncio.run(work()) == ({"4"}, {"3"})


def test_stream_ends_when_the_client_asks_for_nothing_more_and_its_messages_are_pulled_later():
    async def work():
        async with served() as (server, client):
            server.service.clock = lambda: clock
            clock = 0.0
            await client.publish("1", "2")
            stream = await client.stream()
            found = await read(stream, 2)
            await stream.write(pubsub.StreamingPullRequest.pb()(ack_ids=[found["1"].ack_id]))
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK
            assert not server.streams
            clock = 10.0
            again = await read(other := await client.stream(), 1)
            other.cancel()
            return again.keys()

    assert asyncio.run(work()) == {"2"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"subscription": "projects/p/subscriptions/none"}, grpc.StatusCode.NOT_FOUND),
        ({"stream_ack_deadline_seconds": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"ack_ids": ["x"] * 2501}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_stream_that_asks_for_the_impossible_is_refused(options, code):
    async def work():
        async with served() as (_, client):
            stream = await client.stream(**options)
            return await stream.code()

    assert asyncio.run(work()) is code


def test_heartbeats_come_to_those_who_know_them():
    async def work(**options):
        async with served() as (server, client):
            server.heartbeat = 0.1
            stream = await client.stream(**options)
            first = asyncio.create_task(stream.read())
            done, _ = await asyncio.wait([first], timeout=30.0 if options else 0.4)
            await client.publish("1")
            messages = (await first).received_messages
            stream.cancel()
            return len(done), len(messages)

    assert asyncio.run(work(protocol_version=1)) == (1, 0)
    assert asyncio.run(work()) == (0, 1)


def test_restarted_server_has_what_it_had():
    async def work():
        async with served() as (server, client):
            server.service.clock = lambda: clock
            clock = 0.0
            await client.publish("1")
            first = await read(stream := await client.stream(), 1)
            await server.stop()
            with pytest.raises(grpc.aio.AioRpcError) as broken:
                await stream.read()
            await server.start()
            clock = 10.0
            async with grpc.aio.insecure_channel(server.host) as channel:
                found = await read(again := await Client(channel).stream(), 1)
                again.cancel()
            return broken.value.code(), first.keys(), found.keys()

    assert asyncio.run(work()) == (grpc.StatusCode.UNAVAILABLE, {"1"}, {"1"})


def test_some_calls_fail_and_others_succeed_the_same_ones_by_the_same_seed():
    async def outcomes():
        async with served(seed=7) as (server, client):
            server.faults.append(Fault("Publish", grpc.StatusCode.UNAVAILABLE, share=0.5))
            done = []
            for number in range(20):
                with suppress(grpc.aio.AioRpcError):
                    await client.publish(f"{number}")
                    done.append(number)
            assert {int(one.data) for one in server.service.leasing[NAME].unacked()} == set(done)
            return done

    first = asyncio.run(outcomes())
    assert 0 < len(first) < 20
    assert asyncio.run(outcomes()) == first


def test_call_may_be_done_and_fail_all_the_same_as_often_as_asked():
    async def work():
        async with served() as (server, client):
            server.faults.append(Fault("Publish", grpc.StatusCode.DEADLINE_EXCEEDED, times=1, effect=True))
            with pytest.raises(grpc.aio.AioRpcError):
                await client.publish("1")
            await client.publish("2")
            return [one.data for one in server.service.leasing[NAME].unacked()]

    assert asyncio.run(work()) == [b"1", b"2"]


def test_streams_end_with_the_status_asked_for_after_so_many_responses():
    async def work():
        async with served() as (server, client):
            server.storm = Storm(codes=(grpc.StatusCode.INTERNAL,), life=(2, 2))
            stream = await client.stream(max_outstanding_messages=1)
            await client.publish("1", "2", "3")
            await client.acknowledge((await read(stream, 1))["1"].ack_id)
            await client.acknowledge((await read(stream, 1))["2"].ack_id)
            return await stream.code(), [one.data for one in server.service.leasing[NAME].unacked()]

    assert asyncio.run(work()) == (grpc.StatusCode.INTERNAL, [b"3"])


def test_silent_stream_neither_reads_nor_writes_nor_ends():
    async def work():
        async with served() as (server, client):
            server.storm = Storm(silent=1.0, life=(1, 1))
            stream = await client.stream()
            await client.publish("1")
            ack_id = (await read(stream, 1))["1"].ack_id
            await stream.write(pubsub.StreamingPullRequest.pb()(ack_ids=[ack_id]))
            await client.publish("2")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.read(), 0.3)
            return [one.data for one in server.service.leasing[NAME].unacked()]

    assert sorted(asyncio.run(work())) == [b"1", b"2"]


def test_copies_and_repeats_come():
    async def work():
        async with served() as (server, client):
            await client.publish("1", "2", key="a")
            server.storm = Storm(copied=1.0)
            stream = await client.stream()
            copies = [one.message.data for one in (await stream.read()).received_messages]
            server.storm = Storm(repeated=1.0)
            await client.publish("3", key="a")
            again = []
            while b"3" not in again:  # those before it may come once more without it
                again = [one.message.data for one in (await stream.read()).received_messages]
            stream.cancel()
            return copies, again

    assert asyncio.run(work()) == ([b"1", b"1", b"2", b"2"], [b"1", b"2", b"3"])


def test_shuffled_messages_keep_the_order_of_their_key():
    def received(data, key):
        return pubsub.ReceivedMessage.pb()(message={"data": data, "ordering_key": key})

    messages = [received(b"%d" % number, "k" if number % 2 else "") for number in range(40)]
    data = [int(one.message.data) for one in shuffled(messages, random.Random(0))]
    assert data != sorted(data)
    assert sorted(data) == list(range(40))
    assert [one for one in data if one % 2] == list(range(1, 40, 2))


def test_permissions_that_are_denied_are_not_in_the_answer():
    async def work():
        async with served() as (server, client):
            server.service.denied.add("pubsub.topics.publish")
            asked = ["pubsub.topics.publish", "pubsub.topics.get"]
            request = iam_policy_pb2.TestIamPermissionsRequest(resource=TOPIC, permissions=asked)
            method = "/google.iam.v1.IAMPolicy/TestIamPermissions"
            answer = await client.call(method, request, iam_policy_pb2.TestIamPermissionsResponse)
            return list(answer.permissions)

    assert asyncio.run(work()) == ["pubsub.topics.get"]
