import asyncio
import time

import pytest
import stamina

from visionbus.messaging import Message, NotFoundError, SendError, UnavailableError, connect
from visionbus.service.patience import before, send_all, until_available


@pytest.fixture(autouse=True)
def _in_no_time():
    with stamina.set_testing(testing=True, attempts=10_000, cap=True):  # neither waits nor time-outs
        yield


class Outage:
    """Fails so often, then succeeds; each failure takes an hour by the clock."""

    def __init__(self, failures, error, monkeypatch):
        self.calls = 0
        self._failures = failures
        self._error = error
        really = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: really() + 3600 * self.calls)

    async def call(self):
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "done"


@pytest.mark.parametrize("failures", [0, 1, 200])
async def test_call_is_tried_until_it_succeeds_however_often_that_is(monkeypatch, failures):
    outage = Outage(failures, UnavailableError("away"), monkeypatch)
    assert await until_available("calling", outage.call) == "done"
    assert outage.calls == failures + 1


async def test_call_is_tried_again_after_hours(monkeypatch):
    outage = Outage(3, UnavailableError("away"), monkeypatch)
    with stamina.set_testing(testing=False):
        assert await until_available("calling", outage.call) == "done"


async def test_waiting_and_the_end_of_it_are_logged_once_each(monkeypatch, caplog):
    await until_available("calling", Outage(5, UnavailableError("away"), monkeypatch).call)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("visionbus")] == [
        "calling: away; trying again until it succeeds",
        "calling: succeeds again",
    ]


async def test_other_errors_pass_at_once(monkeypatch):
    outage = Outage(5, NotFoundError("no such topic"), monkeypatch)
    with pytest.raises(NotFoundError):
        await until_available("calling", outage.call)
    assert outage.calls == 1


async def test_other_error_during_an_outage_passes(monkeypatch):
    errors = [NotFoundError("no such topic"), UnavailableError("away"), UnavailableError("away")]

    async def call():
        raise errors.pop()

    with pytest.raises(NotFoundError):
        await until_available("calling", call)


async def test_work_that_ends_before_the_stop_gives_its_result():
    assert await before(asyncio.Event(), asyncio.sleep(0, "done")) == "done"


async def test_stop_cancels_work():
    stop, begun, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(before(stop, work()))
    await begun.wait()
    stop.set()
    assert await waiting is None
    assert cancelled.is_set()


async def test_work_in_hand_gets_its_grace():
    stop = asyncio.Event()
    stop.set()
    assert await before(stop, asyncio.sleep(0.01, "done"), grace=30) == "done"


async def test_what_was_confirmed_is_not_sent_twice(topic, monkeypatch):
    async with connect("memory://") as bus:
        await bus.declare(topic, "all")
        really_send = bus.send
        tries = []

        async def send(where, *messages):
            tries.append(len(messages))
            if len(tries) == 1:
                await really_send(where, messages[0])
                raise SendError([(one, UnavailableError("away")) for one in messages[1:]])
            return await really_send(where, *messages)

        monkeypatch.setattr(bus, "send", send)
        await send_all(bus, topic, [Message(b"0"), Message(b"1"), Message(b"2")])
        async with bus.subscribe(topic, "all") as receiver:
            assert [one.message.data for one in await receiver.receive(10, timeout=10)] == [b"0", b"1", b"2"]
    assert tries == [3, 2]


async def test_reason_that_waiting_does_not_cure_is_raised(topic, monkeypatch):
    async with connect("memory://") as bus:

        async def send(where, *messages):
            raise SendError([(messages[0], UnavailableError("away")), (messages[1], NotFoundError("no such topic"))])

        monkeypatch.setattr(bus, "send", send)
        with pytest.raises(NotFoundError):
            await send_all(bus, topic, [Message(b"0"), Message(b"1")])
