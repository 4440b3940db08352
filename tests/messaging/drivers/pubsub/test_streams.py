"""Streams: how old what they read may be, and that they end as they should."""

import asyncio
import sys
import time
from pathlib import Path

from visionbus.messaging.drivers.pubsub import connection, stream
from visionbus.messaging.drivers.pubsub.stream import Pull, Stream

sys.path.append(str(Path(__file__).parent))
from receiving import PATH, publish, serving

DEADLINE = 10.0


class Reader:
    """One stream, and what it passed on."""

    def __init__(self, bus, most=100, deadline=DEADLINE):
        self.received = []  # pairs of a message's number and the time before which it cannot have been sent
        self.unwanted = []
        self.room, self.plenty, self.opened = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.room.set()
        self.plenty.set()
        pull = Pull(
            PATH,
            deadline,
            most,
            1 << 24,
            self._receive,
            self._refuse,
            room=self.room,
            plenty=self.plenty,
            opened=self.opened,
        )
        self.stream = Stream(bus.connection, pull)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.stream.run())
        await self.opened.wait()
        return self

    async def __aexit__(self, *_):
        await self.stream.finish()
        async with asyncio.timeout(10.0):
            await self.task

    def _receive(self, messages, since):
        self.received += [(int(one.message.data), since) for one in messages]

    def _refuse(self, messages):
        self.unwanted += [int(one.message.data) for one in messages]

    async def until(self, count):
        while len(self.received) + len(self.unwanted) < count:  # noqa: ASYNC110 (the stream calls back)
            await asyncio.sleep(0.005)


async def test_messages_are_passed_on_with_a_time_before_they_were_sent(monkeypatch):
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        for number in range(5):
            sent = time.monotonic()
            publish(bus.server, number)
            await reader.until(number + 1)
            assert reader.received[-1][1] <= sent
        assert not reader.unwanted


async def test_stream_that_waits_long_still_knows_that_nothing_lay_there(monkeypatch):
    monkeypatch.setattr(stream, "LOOK", 0.05)
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        begun = time.monotonic()
        while reader.stream._age.since < begun + 0.3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        sent = time.monotonic()
        publish(bus.server, 1)
        await reader.until(1)
        assert begun < reader.received[0][1] <= sent


async def test_what_came_while_the_loop_stood_still_counts_from_before(monkeypatch):
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        before = time.monotonic()
        publish(bus.server, 1)
        await asyncio.sleep(0)  # the server, which is on the same loop, sends
        time.sleep(0.8)  # noqa: ASYNC251 (that is what is tried)
        await reader.until(1)
        assert reader.received[0][1] <= before


async def test_what_may_be_too_old_is_given_back(monkeypatch):
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        reader.room.clear()
        publish(bus.server, 1)
        await reader.until(1)  # it was being read already
        publish(bus.server, 2)
        await reader.until(2)
        assert [number for number, _ in reader.received] == [1]
        assert reader.unwanted == [2], "nobody had room for it"


async def test_stream_without_room_is_ended_and_opened_again_when_there_is_plenty(monkeypatch):
    monkeypatch.setattr(stream, "PAUSE", 0.05)
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        reader.room.clear()
        reader.plenty.clear()
        publish(bus.server, 1)
        await reader.until(1)
        while bus.server.streams:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        reader.room.set()
        reader.plenty.set()
        while not bus.server.streams:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_comes_after_the_request_side_has_ended_is_given_back(monkeypatch):
    async with serving(monkeypatch) as bus:
        async with Reader(bus) as reader:
            publish(bus.server, *range(50))  # the server, on the same loop, sends them once it gets its turn
            while not bus.leasing.messages_out:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert reader.unwanted == list(range(50))
        assert not reader.received


async def test_stream_is_kept_alive_by_requests(monkeypatch):
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        bus.connection.renewed = float("inf")
        await reader.stream.keep_alive(time.monotonic() + stream.HEARTBEAT + 1)
        publish(bus.server, 1)
        await reader.until(1)
        assert bus.server.calls["StreamingPull"] == 1


async def test_silent_stream_is_replaced(monkeypatch):
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        bus.connection.renewed = float("inf")
        await reader.stream.keep_alive(time.monotonic() + stream.SILENCE + 1)
        while bus.server.calls["StreamingPull"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        publish(bus.server, 1)
        await reader.until(1)
        assert not reader.unwanted


async def test_stream_to_an_emulator_is_opened_anew_before_its_deadline_and_loses_nothing(monkeypatch):
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        publish(bus.server, 1)
        await reader.until(1)
        await reader.stream.keep_alive(time.monotonic() + connection.RENEWED + 1)
        publish(bus.server, *range(2, 50))
        await reader.until(49)  # the old stream may still bring all of them, before the new one has begun
        while bus.server.calls["StreamingPull"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert bus.server.calls["StreamingPull"] == 2
        assert not reader.unwanted


async def test_stream_has_a_deadline_on_an_emulator_alone(monkeypatch):
    monkeypatch.setattr(connection, "EMULATED", 0.2)
    async with serving(monkeypatch) as bus, Reader(bus) as reader:
        while bus.server.calls["StreamingPull"] < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        publish(bus.server, 1)
        await reader.until(1)
