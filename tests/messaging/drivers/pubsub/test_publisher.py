"""What `send` confirms, what it does not, and why; on the tests' own server, which fails when told to."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from server import Fault, Server
from service import Refused, Service

from visionbus.messaging import (
    AccessError,
    ClosedError,
    Message,
    MessagingError,
    NotFoundError,
    SendError,
    UnavailableError,
    connect,
)
from visionbus.messaging.drivers.pubsub import publisher
from visionbus.messaging.drivers.pubsub.backoff import backoff
from visionbus.messaging.errors import TooLargeError

TOPIC = "projects/visionbus/topics/images"
RETRIED = ("ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNKNOWN")


class Picky(Service):
    """Notes what is published, in order, and refuses and delays what it is told to."""

    def __init__(self):
        super().__init__()
        self.batches = []  # data of what was published, a list for each request
        self.keys = []  # of those, in the same order
        self.sizes = []
        self.poison = None  # data whose request is refused
        self.unnamed = 0  # so many ids are lacking in each answer
        self.gate = None  # an event that answers wait for
        self.waiting = 0
        self.most_waiting = 0
        self._came = asyncio.Condition()

    async def come(self, count=1):
        """Wait until so many requests wait for the gate."""
        async with self._came:
            await self._came.wait_for(lambda: self.waiting >= count)

    async def publish(self, request):
        if self.gate is not None:
            self.waiting += 1
            self.most_waiting = max(self.waiting, self.most_waiting)
            async with self._came:
                self._came.notify_all()
            await self.gate.wait()
            self.waiting -= 1
        if any(one.data == self.poison for one in request.messages):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "one of them does not fit the topic's schema")
        self.batches.append([one.data for one in request.messages])
        self.keys.append({one.ordering_key for one in request.messages})
        self.sizes.append(request.ByteSize())
        answer = super().publish(request)
        del answer.message_ids[len(answer.message_ids) - self.unnamed :]
        return answer

    @property
    def data(self):
        return [data for batch in self.batches for data in batch]


@asynccontextmanager
async def served(monkeypatch, parameters=""):
    """A bus, a server that has the topic, and what it is asked to publish."""
    async with Server(service=Picky()) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        async with connect(f"pubsub://visionbus{parameters}") as bus:
            await bus.declare("images")
            yield bus, server, server.service


def numbered(count, key=None, size=1):
    return [Message(b"%d" % number * size, key) for number in range(count)]


def data_of(messages):
    return [message.data for message in messages]


async def test_ids_are_those_of_the_server_in_the_order_given(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        messages = [Message(b"%d" % number, f"key-{number % 3}" if number % 4 else None) for number in range(50)]
        ids = await bus.send("images", *messages)
        there = dict(zip((str(number) for number in range(1, 51)), service.data, strict=True))
        assert [there[one] for one in ids] == data_of(messages)


async def test_request_has_messages_of_one_key_or_of_none(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        messages = [Message(b"%d" % number, (None, "a", "b")[number % 3]) for number in range(300)]
        await bus.send("images", *messages)
        assert sorted(map(sorted, service.keys)) == [[""], ["a"], ["b"]]


async def test_sends_of_many_tasks_go_together(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        await asyncio.gather(*(bus.send("images", message) for message in numbered(900)))
        assert len(service.data) == 900
        assert len(service.batches) <= 2


async def test_lingering_brings_more_together(monkeypatch):
    async with served(monkeypatch, "?linger=20") as (bus, _, service):
        messages = numbered(1000)
        sending = start(*(bus.send("images", message) for message in messages[:3]))
        await asyncio.sleep(0.01)
        sending += start(bus.send("images", *messages[3:]))  # now the batch is full
        await asyncio.gather(*sending)
        assert service.batches == [data_of(messages)]
    async with served(monkeypatch, "?linger=0.05") as (bus, _, service):
        await bus.send("images", Message(b"alone"))
        assert service.batches == [[b"alone"]], "it goes by itself"


async def test_what_lingers_does_not_hold_back_full_batches_of_others(monkeypatch):
    async with served(monkeypatch, "?linger=20") as (bus, _, service):
        await bus.declare("others")
        (lingering,) = start(bus.send("images", Message(b"lingers")))
        await asyncio.sleep(0.01)
        for _ in range(2):
            await asyncio.wait_for(bus.send("others", *numbered(1000)), 10)
        assert not lingering.done()
        assert set(map(len, service.batches)) == {1000}
        lingering.cancel()


async def test_requests_keep_the_limits(monkeypatch):
    async with served(monkeypatch, "?max_message_bytes=10000000") as (bus, _, service):
        await asyncio.gather(*(bus.send("images", *numbered(500)) for _ in range(5)))
        await bus.send("images", *(Message(bytes(3_000_000)) for _ in range(7)))
        assert max(map(len, service.batches)) == 1000
        assert max(service.sizes) <= 10_000_000
        assert len(service.data) == 2507


async def test_message_over_the_limit_of_a_request_is_named_and_the_others_arrive(monkeypatch):
    async with served(monkeypatch, "?max_message_bytes=20000000") as (bus, _, service):
        large = Message(bytes(9_950_000), "key")
        with pytest.raises(SendError) as caught:
            await bus.send("images", Message(b"before", "key"), large, Message(b"beside"))
        ((message, reason),) = caught.value.unconfirmed
        assert (message, type(reason)) == (large, TooLargeError)
        assert sorted(service.data) == [b"before", b"beside"]


@pytest.mark.parametrize("code", RETRIED)
async def test_what_may_succeed_later_is_tried_again(monkeypatch, code):
    async with served(monkeypatch) as (bus, server, service):
        server.faults = [Fault("Publish", grpc.StatusCode[code], times=3)]
        await bus.send("images", *numbered(5, "key"))
        assert service.batches == [[b"0", b"1", b"2", b"3", b"4"]]
        assert server.calls["Publish"] == 4


@pytest.mark.parametrize(
    ("code", "error"),
    [("PERMISSION_DENIED", AccessError), ("UNAUTHENTICATED", AccessError), ("NOT_FOUND", NotFoundError)],
)
async def test_what_would_fail_again_is_told_at_once(monkeypatch, code, error):
    async with served(monkeypatch) as (bus, server, _):
        server.faults = [Fault("Publish", grpc.StatusCode[code])]
        with pytest.raises(error):
            await bus.send("images", *numbered(3))
        assert server.calls["Publish"] == 1


async def test_quota_that_is_used_up_is_told_as_that(monkeypatch):
    async with served(monkeypatch, "?send_timeout=0.5") as (bus, server, _):
        server.faults = [Fault("Publish", grpc.StatusCode.RESOURCE_EXHAUSTED)]
        with pytest.raises(UnavailableError, match="a quota of the project is used up"):
            await bus.send("images", Message(b"data"))


@pytest.mark.parametrize("key", [None, "key"])
async def test_answer_that_lacks_ids_is_told(monkeypatch, key):
    async with served(monkeypatch) as (bus, _, service):
        service.unnamed = 1
        with pytest.raises(MessagingError, match="named 2 of 3 messages"):
            await bus.send("images", *numbered(3, key))
        service.unnamed = 0
        await bus.send("images", *numbered(3, key))


@pytest.mark.parametrize("error", [ClosedError("the bus is closed"), PermissionError("secret.json"), KeyError("odd")])
async def test_whatever_a_call_raises_is_told(monkeypatch, error):
    async with served(monkeypatch) as (bus, _, _):

        async def publish(*_):
            raise error

        monkeypatch.setattr(bus._driver._connection, "publish", publish)
        with pytest.raises(MessagingError, match=str(error)):
            await bus.send("images", *numbered(3), *numbered(3, "key"))


async def test_trying_ends_with_send_timeout(monkeypatch):
    async with served(monkeypatch, "?send_timeout=0.5") as (bus, server, _):
        server.faults = [Fault("Publish", grpc.StatusCode.UNAVAILABLE)]
        with pytest.raises(UnavailableError, match="sending to 'images' failed"):
            await bus.send("images", *numbered(3))
        assert server.calls["Publish"] > 1


async def test_call_that_is_not_answered_is_given_up(monkeypatch):
    async with served(monkeypatch, "?send_timeout=0.5") as (bus, _, service):
        service.gate = asyncio.Event()
        with pytest.raises(UnavailableError, match="DEADLINE_EXCEEDED"):
            await bus.send("images", Message(b"data"))
        service.gate.set()


async def test_call_that_is_not_answered_is_made_again(monkeypatch):
    monkeypatch.setattr(publisher, "CALL", 0.3)
    async with served(monkeypatch) as (bus, _, service):
        service.gate = asyncio.Event()
        sending = asyncio.create_task(bus.send("images", Message(b"data")))
        await service.come(2)
        service.gate.set()
        await sending


async def send_with(bus, send_timeout, *messages):
    """Send what is given up after so many seconds, whatever the URL says."""
    inside = bus._driver._publisher
    inside._settings = replace(inside._settings, send_timeout=send_timeout)
    return await bus.send("images", *messages)


def start(*sends):
    """Let sends begin at the same moment: what they send goes together."""
    return [asyncio.create_task(send) for send in sends]


async def test_message_that_is_given_up_does_not_take_later_ones_with_it(monkeypatch):
    async with served(monkeypatch) as (bus, server, service):
        server.faults = [Fault("Publish", grpc.StatusCode.UNAVAILABLE)]
        first, later = start(send_with(bus, 0.5, Message(b"first")), send_with(bus, 30.0, Message(b"later")))
        with pytest.raises(UnavailableError, match="UNAVAILABLE"):
            await first
        server.faults.clear()
        await later
        assert service.batches == [[b"later"]]


async def test_message_that_is_given_up_takes_those_of_its_key_with_it(monkeypatch):
    async with served(monkeypatch) as (bus, server, service):
        server.faults = [Fault("Publish", grpc.StatusCode.UNAVAILABLE)]
        sends = start(send_with(bus, 0.5, Message(b"first", "key")), send_with(bus, 30.0, Message(b"later", "key")))
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        assert all(isinstance(outcome, UnavailableError) for outcome in outcomes)
        assert service.batches == []


async def test_request_gets_time_to_succeed_however_old_its_messages_are(monkeypatch):
    async with served(monkeypatch) as (bus, _, _):
        honest, times = bus._driver._connection.publish, []

        async def publish(topic, messages, timeout):
            times.append(timeout)
            return await honest(topic, messages, timeout)

        monkeypatch.setattr(bus._driver._connection, "publish", publish)
        await send_with(bus, 0.3, Message(b"data"))
        assert times == [publisher.SHORTEST]


async def test_what_is_over_before_its_turn_is_told_and_not_sent(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        with pytest.raises(UnavailableError, match=r"sending to 'images' failed: .*check the network"):
            await send_with(bus, 0.0, Message(b"data"))
        assert service.batches == []


async def test_server_that_comes_back_gets_what_was_sent_meanwhile(monkeypatch):
    async with served(monkeypatch) as (bus, server, service):
        await server.stop()
        failed = asyncio.Event()

        def noted(failures):
            failed.set()
            return backoff(failures)

        monkeypatch.setattr(publisher, "backoff", noted)
        sending = start(*(bus.send("images", message) for message in numbered(20, "key")))
        await failed.wait()
        await server.start()
        await asyncio.gather(*sending)
        assert service.data == data_of(numbered(20))


async def test_failed_message_of_a_key_fails_those_behind_it_and_no_others(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        service.poison = b"3"
        with pytest.raises(SendError) as caught:
            await bus.send("images", *numbered(8, "a"), Message(b"other", "b"), Message(b"free"))
        unconfirmed = caught.value.unconfirmed
        assert [message.data for message, _ in unconfirmed] == [b"3", b"4", b"5", b"6", b"7"]
        assert "does not fit the topic's schema" in str(unconfirmed[0][1])
        assert "not sent, as one before it with the key 'a' failed" in str(unconfirmed[1][1])
        assert sorted(service.data) == [b"0", b"1", b"2", b"free", b"other"]


async def test_failed_key_fails_what_other_sends_have_queued_for_it_and_goes_on_afterwards(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        service.poison, service.gate = b"bad", asyncio.Event()
        first = asyncio.create_task(bus.send("images", Message(b"bad", "a")))
        await service.come()
        behind = asyncio.create_task(bus.send("images", Message(b"behind", "a")))
        beside = asyncio.create_task(bus.send("images", Message(b"beside", "b")))
        await service.come(2)
        service.gate.set()
        outcomes = await asyncio.gather(first, behind, beside, return_exceptions=True)
        assert "schema" in str(outcomes[0])
        assert "not sent, as one before it with the key 'a' failed" in str(outcomes[1])
        await bus.send("images", Message(b"afterwards", "a"))
        assert service.data == [b"beside", b"afterwards"]


async def test_message_that_is_refused_does_not_fail_its_neighbours(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        service.poison = b"17"
        with pytest.raises(SendError) as caught:
            await bus.send("images", *numbered(50))
        assert [message.data for message, _ in caught.value.unconfirmed] == [b"17"]
        assert sorted(service.data) == sorted(set(data_of(numbered(50))) - {b"17"})


async def test_long_send_whose_key_fails_in_its_beginning_sends_nothing_of_that_key_afterwards(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        service.poison = b"0"
        monkeypatch.setattr(publisher, "MAX_HELD", 1)  # the rest is queued only when the beginning has failed
        with pytest.raises(SendError) as caught:
            await bus.send("images", *numbered(2000, "a"), Message(b"other", "b"))
        assert len(caught.value.unconfirmed) == 2000
        assert service.data == [b"other"]


async def test_messages_of_a_key_keep_their_order_while_calls_fail(monkeypatch):
    async with served(monkeypatch) as (bus, server, service):
        server.faults = [Fault("Publish", grpc.StatusCode.UNAVAILABLE, share=0.3)]
        messages = [Message(b"%d" % number, f"key-{number % 7}") for number in range(3000)]
        sends = [bus.send("images", *messages[start : start + 50]) for start in range(0, 3000, 50)]
        await asyncio.gather(*sends)
        for key in range(7):
            there = [int(data) for data in service.data if int(data) % 7 == key]
            assert there == list(range(key, 3000, 7))


async def test_what_is_on_its_way_is_bounded(monkeypatch):
    monkeypatch.setattr(publisher, "MAX_CALLS", 6)
    monkeypatch.setattr(publisher, "MAX_HELD", 100_000)
    async with served(monkeypatch) as (bus, _, service):
        service.gate = asyncio.Event()
        messages = [Message(bytes(1000), f"key-{number}") for number in range(2000)]
        sends = [asyncio.create_task(bus.send("images", *messages[at : at + 20])) for at in range(0, 2000, 20)]
        await service.come(6)
        inside = bus._driver._publisher
        assert len(inside._calls) == 6
        assert 100_000 <= inside._held < 130_000
        service.gate.set()
        await asyncio.gather(*sends)
        assert service.most_waiting == 6
        assert len(service.data) == 2000
        assert inside._held == 0


async def test_one_send_is_bounded_as_many_are(monkeypatch):
    monkeypatch.setattr(publisher, "MAX_HELD", 100_000)
    async with served(monkeypatch) as (bus, _, service):
        service.gate = asyncio.Event()
        messages = [Message(b"%d" % number * 2500, f"key-{number % 3}") for number in range(100)]
        (sending,) = start(bus.send("images", *messages))
        await service.come(3)
        assert 100_000 <= bus._driver._publisher._held < 106_000
        service.gate.set()
        ids = await sending
        assert len(set(ids)) == 100
        assert sorted(service.data) == sorted(data_of(messages))
        assert bus._driver._publisher._held == 0


async def test_send_whose_beginning_is_given_up_does_not_wait_as_long_again_for_the_rest(monkeypatch):
    monkeypatch.setattr(publisher, "MAX_HELD", 1)
    async with served(monkeypatch, "?send_timeout=0.5") as (bus, server, service):
        server.faults = [Fault("Publish", grpc.StatusCode.UNAVAILABLE)]
        honest, tried = bus._driver._connection.publish, []

        async def publish(topic, messages, timeout):
            tried.append(messages)
            return await honest(topic, messages, timeout)

        monkeypatch.setattr(bus._driver._connection, "publish", publish)
        with pytest.raises(UnavailableError):
            await bus.send("images", *numbered(1000))
        assert len(set(tried)) == 1
        assert service.batches == []


async def test_cancelled_send_frees_what_it_held_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(publisher, "MAX_HELD", 10_000)
    async with served(monkeypatch) as (bus, _, service):
        service.gate = asyncio.Event()
        sends = [asyncio.create_task(bus.send("images", *numbered(20, "key", 500))) for _ in range(10)]
        await service.come()
        for one in sends[:9]:
            one.cancel()
        await asyncio.wait(sends[:9])
        service.gate.set()
        await sends[9]
        assert bus._driver._publisher._held == 0
        counts = Counter(service.data)
        assert all(counts[message.data] in (1, 2) for message in numbered(20, size=500))  # the first was on its way


async def test_closing_tells_senders_what_was_not_confirmed(monkeypatch):
    monkeypatch.setattr(publisher, "LEAVE", 0.2)
    async with served(monkeypatch) as (bus, _, service):
        service.gate = asyncio.Event()
        sends = [asyncio.create_task(bus.send("images", *numbered(5, key))) for key in ("a", "a", None)]
        await service.come(2)
        await bus.close()
        for one in sends:
            with pytest.raises(UnavailableError, match="the bus was closed"):
                await one
        with pytest.raises(ClosedError):
            await bus.send("images", Message(b"data"))


async def test_what_is_answered_while_closing_is_confirmed(monkeypatch):
    async with served(monkeypatch) as (bus, _, service):
        service.gate = asyncio.Event()
        sending = asyncio.create_task(bus.send("images", Message(b"data")))
        await service.come()
        closing = asyncio.create_task(bus.close())
        await asyncio.sleep(0)
        service.gate.set()
        await closing
        assert len(await sending) == 1
