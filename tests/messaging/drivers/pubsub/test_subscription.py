"""One receiver on the tests' own server, which keeps leases, limits and keys as Google documents them."""

import asyncio
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from google.pubsub_v1.types import pubsub
from grpc import StatusCode

from visionbus.messaging import connect
from visionbus.messaging.dead_letters import original
from visionbus.messaging.drivers.pubsub import acks, connection, stream, streams, subscription
from visionbus.messaging.drivers.pubsub.driver import PubsubDriver
from visionbus.messaging.errors import AccessError, NotFoundError
from visionbus.messaging.message import received_message

sys.path.append(str(Path(__file__).parent))
from receiving import PATH, TOPIC, Bus, connected, contents, finish, publish, serving, take
from server import Fault, Storm

FASTER = 20  # a lease of ten seconds is over after half a one
LONGEST = 0.05  # seconds of a pause of this process that count: a busy machine is to end no lease


class Clock:
    """Passes faster than time does, and hardly while this process stands still."""

    def __init__(self):
        self._seen = time.monotonic()
        self._now = self._seen * FASTER

    def __call__(self):
        before, self._seen = self._seen, time.monotonic()
        self._now += min(self._seen - before, LONGEST) * FASTER
        return self._now

    def skip(self, seconds):
        self._now += seconds


@pytest.fixture
def clock(monkeypatch):
    """Let the time of the server and of receivers pass faster than it does."""
    clock = Clock()
    fast = SimpleNamespace(monotonic=clock)
    for module in (acks, stream, streams, subscription):
        monkeypatch.setattr(module, "time", fast)
    monkeypatch.setattr(stream, "SILENCE", 1e9)
    monkeypatch.setattr(subscription, "TURNS", 8 * FASTER)
    return clock


def out(bus):
    """Count what the server has leased."""
    return sum(bus.leasing.messages_out.values())


async def until(condition):
    while not condition():  # noqa: ASYNC110 (of a server, which has no event for everything)
        await asyncio.sleep(0.005)


async def test_acked_are_acked_at_the_server(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(50))
        async with bus.receiving() as receiver:
            assert sorted(map(int, contents(await finish(receiver, 50)))) == list(range(50))
        assert bus.leasing.unacked() == []
        assert bus.server.calls["Acknowledge"] < 10, "acks are gathered"


async def test_leases_of_all_that_is_held_are_extended_while_the_loop_turns(monkeypatch, clock):
    async with serving(monkeypatch, clock=clock) as bus:
        publish(bus.server, *range(10))
        async with bus.receiving() as receiver:
            taken = await take(receiver, 3)
            await receiver.nack([taken.pop().lease], 3600.0)
            begun = clock()
            asking = asyncio.ensure_future(receiver.fetch(1, 0.0))
            await asking
            await until(lambda: clock() > begun + 35.0)
            assert not bus.lost
            await receiver.ack([one.lease for one in taken])
            await until(lambda: len(bus.leasing.unacked()) == 8)


async def test_loop_that_stands_still_loses_what_it_holds_and_its_late_acks_are_dropped(monkeypatch, clock):
    async with serving(monkeypatch, clock=clock) as bus:
        publish(bus.server, "a", "b")
        async with bus.receiving() as receiver:
            first, second = await take(receiver, 2)
            clock.skip(12.0)  # as it is for the server, too
            await receiver.ack([first.lease])
            await receiver.nack([second.lease], 0.0)
            assert sorted(bus.lost) == sorted([first.lease, second.lease])
            again = await finish(receiver, 2)
            assert sorted(contents(again)) == ["a", "b"]
            assert {one.attempt for one in again} == {1}


async def test_extension_that_comes_too_late_is_none(monkeypatch, clock):
    async with serving(monkeypatch, clock=clock) as bus:
        publish(bus.server, "a")
        bus.server.faults.append(Fault("ModifyAckDeadline", StatusCode.UNAVAILABLE))
        async with bus.receiving() as receiver:
            await take(receiver, 1)
            await until(lambda: bus.lost)
            bus.server.faults.clear()
            assert contents(await finish(receiver, 1)) == ["a"]


async def test_nacked_is_held_and_comes_again_from_memory(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, "a")
        async with bus.receiving() as receiver:
            (first,) = await take(receiver, 1)
            await receiver.nack([first.lease], 0.01)
            (again,) = await take(receiver, 1)
            assert (again.id, again.attempt) == (first.id, 2)
            await receiver.ack([first.lease])
            assert len(bus.leasing.unacked()) == 1, "the lease of the first hand-out has no effect"
            assert bus.server.calls["ModifyAckDeadline"] == 0


async def test_no_more_is_asked_for_than_may_be_held(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(100))
        async with bus.receiving(prefetch=5) as receiver:
            taken = []
            while len(taken) < 100:
                some = await receiver.fetch(2, 30.0)
                assert out(bus) <= 5
                taken += some
                await receiver.ack([one.lease for one in some])
            assert len(set(contents(taken))) == 100


async def test_released_are_for_others_at_once_as_the_same_attempt(monkeypatch):
    long = {"ack_deadline": 600.0}  # seconds: nothing comes again by itself
    async with serving(monkeypatch) as bus, bus.receiving(**long) as receiver, bus.receiving(**long) as other:
        publish(bus.server, *range(4), key="key")
        taken = await receiver.fetch(2, 1.0) or await other.fetch(2, 1.0)
        holder, free = (receiver, other) if receiver._holding._deliveries else (other, receiver)
        await holder.release([one.lease for one in taken])
        again = await finish(free, 4)
        assert contents(again) == ["0", "1", "2", "3"], "what is behind them in their key goes with them"
        assert {one.attempt for one in again} == {1}


async def test_what_nobody_asks_for_goes_to_others(monkeypatch, clock):
    async with serving(monkeypatch, clock=clock) as bus, bus.receiving() as idle:
        publish(bus.server, *range(20))
        await until(lambda: len(idle._holding) == 20 or idle._away)  # else it could not go away
        async with bus.receiving() as other:
            assert len(await finish(other, 20)) == 20
        publish(bus.server, "for whoever asks again")
        assert len(await finish(idle, 1)) == 1


async def test_close_acks_and_gives_back_at_once(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(20))
        receiver = bus.receiver(ack_deadline=600.0)
        await receiver.opened()
        taken = await take(receiver, 10)
        await receiver.ack([one.lease for one in taken[:5]])
        await receiver.nack([one.lease for one in taken[5:7]], 3600.0)
        await receiver.close()
        assert out(bus) == 0
        assert len(bus.leasing.unacked()) == 15
        assert not bus.server.streams
        assert await receiver.fetch(1, None) == []


async def test_close_takes_seconds_at_most_when_the_server_is_away(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(20))
        receiver = bus.receiver()
        taken = await take(receiver, 10)
        await bus.server.stop()
        await receiver.ack([one.lease for one in taken])
        async with asyncio.timeout(15.0):
            await receiver.close()
        await bus.server.start()


async def test_what_comes_again_while_it_is_held_is_not_handed_out_twice(monkeypatch):
    async with serving(monkeypatch) as bus:
        bus.server.storm = Storm(copied=0.5, repeated=0.1, shuffled=True)
        publish(bus.server, *range(300))
        async with bus.receiving() as receiver:
            taken = await take(receiver, 300)
            assert len(set(contents(taken))) == 300
            bus.server.storm = Storm()
            await receiver.ack([one.lease for one in taken])
            await until(lambda: not bus.leasing.unacked())


async def test_redelivered_message_brings_back_nothing_of_its_key_that_was_acked(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(5), key="key")
        async with bus.receiving() as receiver:
            taken = await take(receiver, 5)
            await receiver.ack([one.lease for one in taken[1:4]])
            await until(lambda: bus.server.calls["Acknowledge"])
            bus.leasing.repeat(1.0, lambda: 0.0)
            bus.server.service._tell(PATH)
            assert await receiver.fetch(10, 0.3) == []
            assert len(receiver._holding) == 2
            await receiver.ack([taken[0].lease, taken[4].lease])
            await until(lambda: not bus.leasing.unacked())


async def test_acked_ones_of_a_key_come_to_another_process_behind_one_that_was_not(monkeypatch):
    """What no receiver can know of, the conformance suite allows for: `PubsubDriver.redelivers_acked`."""
    async with serving(monkeypatch) as bus, connected(monkeypatch, bus.server.host) as connection:
        publish(bus.server, *range(5), key="key")
        publish(bus.server, "loose")
        async with bus.receiving() as receiver:
            taken = await take(receiver, 6)
            await receiver.ack([one.lease for one in taken if one.message.data != b"0"])
            await until(lambda: len(bus.leasing.unacked()) == 1)
        async with Bus(bus.server, connection).receiving() as other:
            assert contents(await finish(other, 5)) == ["0", "1", "2", "3", "4"]
            assert await other.fetch(10, 0.3) == []
        assert bus.leasing.unacked() == []
    assert PubsubDriver.redelivers_acked


async def test_message_of_as_many_attributes_as_pubsub_takes_is_dead_lettered_whole(monkeypatch):
    attributes = {f"name-{number}": str(number) for number in range(100)}
    async with serving(monkeypatch) as bus, connect("pubsub://visionbus") as used:
        await used.declare("images", "workers")
        message = pubsub.PubsubMessage.pb()(data=b"data", attributes=attributes)
        bus.server.service.publish(pubsub.PublishRequest.pb()(topic=TOPIC, messages=[message]))
        async with used.subscribe("images", "workers") as receiver:
            await receiver.reject(*await receiver.receive(), reason="odd")
        assert bus.leasing.unacked() == []
        async with used.subscribe("images.workers.dead", "dead-letters") as letters:
            (letter,) = await letters.receive()
        assert letter.message.attributes["visionbus-reason"] == "odd"
        assert original(letter.message) == received_message(b"data", None, attributes)


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.INTERNAL])
async def test_streams_that_break_are_opened_again(monkeypatch, code):
    async with serving(monkeypatch) as bus:
        bus.server.storm = Storm(codes=(code,), life=(1, 3))
        publish(bus.server, *range(1500))
        async with bus.receiving() as receiver:
            assert set(map(int, contents(await finish(receiver, 1500)))) == set(range(1500))
        assert bus.server.calls["StreamingPull"] > 1
        assert bus.leasing.unacked() == []


async def test_stream_that_falls_silent_is_opened_again(monkeypatch):
    monkeypatch.setattr(connection, "EMULATED", 600.0)
    monkeypatch.setattr(connection, "RENEWED", 600.0)
    monkeypatch.setattr(stream, "LEAVE", 0.5)
    monkeypatch.setattr(subscription, "TURNS", 100)
    async with serving(monkeypatch) as bus, bus.receiving() as receiver:
        publish(bus.server, "before")
        await finish(receiver, 1)
        bus.server.storm = Storm(codes=(StatusCode.UNAVAILABLE,), silent=1.0)
        (broken,) = bus.server.streams
        bus.server.break_streams()
        await until(lambda: broken.silent)
        monkeypatch.setattr(stream, "SILENCE", 0.5)  # only now: a slow beginning is no silence
        bus.server.storm = Storm()
        publish(bus.server, "after")
        assert contents(await finish(receiver, 1)) == ["after"]
        assert broken not in bus.server.streams
        assert bus.server.calls["StreamingPull"] > 1


async def test_subscription_that_is_deleted_ends_the_receiver(monkeypatch):
    async with serving(monkeypatch) as bus, bus.receiving() as receiver:
        asking = asyncio.ensure_future(receiver.fetch(1, None))
        await asyncio.wait([asking], timeout=0.05)
        bus.server.service.delete_subscription(pubsub.DeleteSubscriptionRequest.pb()(subscription=PATH))
        with pytest.raises(NotFoundError, match="workers"):
            await asking


async def test_topic_that_is_deleted_ends_the_receiver_once_nothing_more_comes(monkeypatch):
    monkeypatch.setattr(subscription, "LOOK", 0.05)
    async with serving(monkeypatch) as bus, bus.receiving() as receiver:
        publish(bus.server, "before")
        await until(lambda: len(receiver._holding) == 1)  # a look may be on its way, and be answered sooner
        bus.server.service.delete_topic(pubsub.DeleteTopicRequest.pb()(topic=TOPIC))
        assert contents(await finish(receiver, 1)) == ["before"]
        async with asyncio.timeout(10.0):
            with pytest.raises(NotFoundError, match=r"topic of the subscription 'images[.]workers' was deleted"):
                await receiver.fetch(1, None)


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.PERMISSION_DENIED])
async def test_receiver_that_cannot_look_for_its_topic_goes_on(monkeypatch, code):
    monkeypatch.setattr(subscription, "LOOK", 0.05)
    async with serving(monkeypatch) as bus, bus.receiving() as receiver:
        bus.server.faults.append(Fault("GetSubscription", code))
        await until(lambda: bus.server.faults[0].answers >= 2)
        publish(bus.server, "after")
        assert contents(await finish(receiver, 1)) == ["after"]


async def test_receiver_that_may_not_receive_says_so(monkeypatch):
    async with serving(monkeypatch) as bus:
        bus.server.faults.append(Fault("StreamingPull", StatusCode.PERMISSION_DENIED))
        async with bus.receiving() as receiver:
            with pytest.raises(AccessError, match="IAM"):
                await receiver.fetch(1, None)


async def test_more_streams_are_opened_where_one_may_not_bring_all_that_is_wanted(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(1500))
        async with bus.receiving(prefetch=1000, streams=4) as receiver:
            assert len(bus.server.streams) <= 1
            taken = await take(receiver, 1000)
            assert len(set(contents(taken))) == 1000
            assert len(bus.server.streams) == 4


async def test_one_key_has_as_much_in_flight_as_one_stream_may_have(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(300), key="a")
        async with bus.receiving(prefetch=800, streams=8) as receiver:
            taken = await take(receiver, 100)
            assert not await receiver.fetch(700, 0.5)
            await receiver.ack([one.lease for one in taken])
            assert contents(await take(receiver, 100)) == [str(number) for number in range(100, 200)]


async def test_one_stream_is_enough_for_little(monkeypatch):
    async with serving(monkeypatch) as bus, bus.receiving(prefetch=1000, streams=4) as receiver:
        for number in range(70):  # fewer than make a stream busy, however fast they come
            publish(bus.server, number)
            await finish(receiver, 1)
        assert bus.server.calls["StreamingPull"] == 1


async def test_acks_that_fail_at_times_are_made_again(monkeypatch):
    async with serving(monkeypatch) as bus:
        bus.server.faults.append(Fault("Acknowledge", StatusCode.UNAVAILABLE, share=0.5, tries=3))
        bus.server.faults.append(Fault("Acknowledge", StatusCode.INTERNAL, share=0.5, effect=True, tries=3))
        publish(bus.server, *range(500))
        async with bus.receiving() as receiver:
            assert len(set(contents(await finish(receiver, 500)))) == 500
            await until(lambda: not bus.leasing.unacked())


async def test_cancelled_fetch_loses_nothing(monkeypatch):
    async with serving(monkeypatch) as bus, bus.receiving() as receiver:
        for number in range(30):
            asking = asyncio.ensure_future(receiver.fetch(1, None))
            publish(bus.server, number)
            for _ in range(number % 7):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled():
                await receiver.release([one.lease for one in asking.result()])
        assert set(map(int, contents(await finish(receiver, 30)))) == set(range(30))


async def test_stream_left_for_want_of_room_is_opened_again_with_back_off_while_the_server_is_away(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(50))
        async with bus.receiving(prefetch=10) as receiver:
            taken = await take(receiver, 10)
            await until(lambda: not bus.server.streams)  # there was no room for a second
            await bus.server.stop()
            opened = Counted(bus.connection.stream)
            monkeypatch.setattr(bus.connection, "stream", opened)
            await receiver.ack([one.lease for one in taken])
            await receiver.fetch(1, 2.0)
            assert 0 < opened.count < 20
            await bus.server.start()
            await take(receiver, 1)


class Counted:
    """A coroutine function whose calls are counted."""

    def __init__(self, function):
        self.function = function
        self.count = 0

    async def __call__(self, *arguments):
        self.count += 1
        return await self.function(*arguments)


async def test_server_that_takes_connections_and_says_nothing_ends_no_leases_later(monkeypatch):
    """The first stream is broken by its first request; what looks after streams and leases must outlast that."""
    monkeypatch.setattr(stream, "WRITE", 0.2)
    monkeypatch.setattr(stream, "SILENCE", 0.1)
    monkeypatch.setattr(subscription, "OPEN", 0.5)
    monkeypatch.setattr(subscription, "TURNS", 100)

    writers = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with silent, connected(monkeypatch, f"127.0.0.1:{silent.sockets[0].getsockname()[1]}") as connection:
        receiver = Bus(None, connection).receiver()
        await receiver.opened()
        await receiver.fetch(1, 1.0)
        assert not any(task.done() for task in receiver._keeping)
        await receiver.close()
    for writer in writers:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_close_that_was_cancelled_is_finished_by_another(monkeypatch):
    async with serving(monkeypatch) as bus:
        publish(bus.server, *range(10))
        async with bus.receiving() as receiver:
            await take(receiver, 1)
            bus.server.storm = Storm(silent=1.0)
            closing = asyncio.create_task(receiver.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            bus.server.storm = Storm()
            await receiver.close()
            assert not len(receiver._streams)


async def test_extensions_fit_into_requests_however_long_the_ack_ids_are(monkeypatch):
    asked = []

    async def extend(ack_ids, _):
        asked.append(sum(map(len, ack_ids)))
        return True

    async with serving(monkeypatch) as bus, bus.receiving() as receiver:
        monkeypatch.setattr(receiver._holding, "due", lambda _: dict.fromkeys(range(2500), "x" * 300))
        monkeypatch.setattr(receiver._holding, "extended", lambda leases, _: asked.append(len(leases)))
        monkeypatch.setattr(receiver._acks, "extend", extend)
        await receiver._extend()
    assert max(asked) <= acks.A_CALL_BYTES
    assert sum(asked[1::2]) == 2500
