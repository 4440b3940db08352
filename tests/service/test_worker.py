import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
import stamina
from fake_models import FAILING, Brightness, Slow, offline

from visionbus.messaging import Message, UnavailableError, connect
from visionbus.messaging.message import received_message
from visionbus.service.client import Client
from visionbus.service.topology import Topology
from visionbus.service.watch import POISON, Unwatched, Verdicts
from visionbus.service.wire import ANSWERS, RAW_PIXELS, REQUESTS, RESULTS, WORKERS, Answer
from visionbus.service.worker import serve

IMAGES = np.random.default_rng(0).integers(0, 200, (300, 2, 2), np.uint8)


class Noting(Unwatched):
    """Remembers what it is told."""

    def __init__(self, suspects=(), poison=()):
        self.begun = []
        self.done = []
        self.at_work = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._verdicts = Verdicts(frozenset(suspects), frozenset(poison))

    def verdicts(self):
        return self._verdicts

    def begin(self, deliveries, *, alone):
        self.begun.append((alone, tuple(deliveries), len(self.done)))
        self._loop.call_soon_threadsafe(self.at_work.set)

    def settled(self, deliveries):
        self.done += deliveries


@asynccontextmanager
async def serving(bus, topic, model=None, **options):
    """Serve in a task; drain at the end."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(serve(bus, model or Brightness(), topic=topic, stop=stop, **options))
        yield task
        stop.set()


async def receive(bus, topic, subscription, count):
    async with bus.subscribe(topic, subscription) as receiver:
        got = []
        while len(got) < count:
            batch = await receiver.receive(1000, timeout=20)
            assert batch, f"{len(got)} of {count} came"
            got += batch
        await receiver.ack(*got)
        assert not await receiver.receive(timeout=0)
    return got


async def answers(bus, topic, count):
    got = await receive(bus, f"{topic}.{ANSWERS}", RESULTS, count)
    return {one.id: one for one in (Answer.from_message(delivery.message) for delivery in got)}


async def submitted(bus, topic, images):
    async with Client(bus, topic=topic, run="r") as client:
        return [name async for name in client.submit(images)]


async def test_all_that_is_requested_is_answered_as_offline(url, topic):
    async with connect(url) as bus:
        ids = await submitted(bus, topic, IMAGES)
        async with serving(bus, topic, batch=32):
            got = await answers(bus, topic, len(IMAGES))
    assert [got[name].label for name in ids] == offline(IMAGES)
    one = got[ids[0]]
    assert (one.model, one.version, one.run, one.error) == ("brightness", "0123456789ab", "r", None)
    assert 0 < one.published <= one.received <= one.done


async def test_acked_only_after_the_answer(topic, monkeypatch):
    async with connect("memory://") as bus:
        await submitted(bus, topic, IMAGES[:1])
        sending = asyncio.Event()
        really_send = bus.send

        async def send(where, *messages):
            sending.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(bus, "send", send)
        worker = asyncio.create_task(serve(bus, Brightness(), topic=topic))
        await sending.wait()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        monkeypatch.setattr(bus, "send", really_send)
        assert await receive(bus, f"{topic}.{REQUESTS}", WORKERS, 1)


async def test_hostile_images_get_error_answers_and_their_neighbours_labels(topic, png):
    good = png([[0, 0], [0, 255]])
    hostile = [b"", b"no image", good[:40], good[:-12], bytes([FAILING, 0, 0, 0]), np.zeros((9, 9), np.uint8)]
    hostile[4] = np.frombuffer(hostile[4], np.uint8).reshape(2, 2)
    async with connect("memory://") as bus:
        images = [item for bad in hostile for item in (good, bad)]
        await submitted(bus, topic, images)
        async with serving(bus, topic):
            got = await answers(bus, topic, len(images))
    for number in range(0, len(images), 2):
        assert got[f"r/{number}"].label == "bright"
        assert got[f"r/{number + 1}"].label is None
        assert got[f"r/{number + 1}"].error


async def test_request_without_attributes_is_rejected_with_a_reason(url, topic):
    async with connect(url) as bus:
        await submitted(bus, topic, [("before", IMAGES[0])])
        await bus.send(f"{topic}.{REQUESTS}", Message(b"what is this?"))
        await submitted(bus, topic, [("after", IMAGES[1])])
        async with serving(bus, topic):
            assert len(await answers(bus, topic, 2)) == 2
            (dead,) = await receive(bus, f"{topic}.{REQUESTS}.{WORKERS}.dead", "dead-letters", 1)
    assert dead.message.data == b"what is this?"
    assert "no attribute ce-id" in dead.message.attributes["visionbus-reason"]


HALF = "\udcff"  # half of a surrogate pair: how drivers pass on what is not UTF-8


@pytest.mark.parametrize(
    "value", [HALF, "9" * 2000, HALF * 2000, "\0", "ü" * 2000], ids=lambda value: ascii(value)[1:7]
)
@pytest.mark.parametrize("name", ["ce-correlationid", "ce-time", "ce-source", "content-type", "model", "shape"])
async def test_whatever_a_foreign_request_says_it_is_answered_like_its_neighbours(topic, name, value):
    def foreign(number, **attributes):
        attributes = {"content-type": RAW_PIXELS, "shape": "2,2,1", "ce-id": f"r/{number}", **attributes}
        return received_message(IMAGES[number].tobytes(), None, attributes)

    async with connect("memory://") as bus, serving(bus, topic):
        await Topology(topic).declare(bus)
        await bus.send(f"{topic}.{REQUESTS}", foreign(0), foreign(1, **{name: value}), foreign(2))
        got = await answers(bus, topic, 3)
    assert {number for number in range(3) if got[f"r/{number}"].label} >= {0, 2}
    assert (got["r/1"].error is None) == name.startswith("ce-")


async def test_worker_waits_out_a_broker_that_is_unavailable(topic, monkeypatch, caplog):
    failures = []

    def flaky(call):
        async def wrapped(*arguments, **options):
            if len(failures) % 3 != 2:
                failures.append(call.__name__)
                raise UnavailableError("the disk is full")
            failures.append("")
            return await call(*arguments, **options)

        return wrapped

    async with connect("memory://") as bus:
        await submitted(bus, topic, IMAGES)
        really_subscribe = bus.subscribe

        def subscribe(*arguments, **options):
            receiver = really_subscribe(*arguments, **options)
            for verb in ("receive", "ack"):
                monkeypatch.setattr(receiver, verb, flaky(getattr(receiver, verb)))
            return receiver

        stop = asyncio.Event()
        with stamina.set_testing(testing=True, attempts=100):
            monkeypatch.setattr(bus, "subscribe", subscribe)
            monkeypatch.setattr(bus, "send", flaky(bus.send))
            worker = asyncio.create_task(serve(bus, Brightness(), topic=topic, batch=50, stop=stop))
            async with connect("memory://") as other:
                assert len(await answers(other, topic, len(IMAGES))) == len(IMAGES)
            stop.set()
            await worker
    assert {"receive", "ack", "send"} <= set(failures)
    assert "trying again until it succeeds" in caplog.text


async def test_stop_finishes_what_is_in_process_and_gives_back_the_rest(topic):
    async with connect("memory://") as bus:
        await submitted(bus, topic, IMAGES)
        watch = Noting()
        async with serving(bus, topic, Slow(), batch=20, watch=watch):
            await watch.at_work.wait()
        done = len(watch.done)
        assert 0 < done <= 20  # the batch that was in process, and no other
        assert len(await answers(bus, topic, done)) == done
        rest = await receive(bus, f"{topic}.{REQUESTS}", WORKERS, len(IMAGES) - done)
        assert {one.attempt for one in rest} == {1}


async def test_suspects_are_taken_alone_after_the_others_are_safe(topic, monkeypatch):
    async with connect("memory://") as bus:
        really_send = bus.send

        async def send_slowly(where, *messages):
            for _ in range(50 * where.endswith(ANSWERS)):  # turns in which a worker in a hurry would go on
                await asyncio.sleep(0.001)
            return await really_send(where, *messages)

        monkeypatch.setattr(bus, "send", send_slowly)
        await submitted(bus, topic, IMAGES[:5])
        async with bus.subscribe(f"{topic}.{REQUESTS}", WORKERS) as receiver:
            names = [one.id for one in await receiver.receive(5, timeout=10)]
        watch = Noting(suspects=[names[1], names[3]])
        async with serving(bus, topic, watch=watch):
            await answers(bus, topic, 5)
    assert watch.begun[0] == (False, (names[0], names[2], names[4]), 0)
    assert watch.begun[1:] == [(True, (names[1],), 3), (True, (names[3],), 4)]


async def test_poison_request_is_rejected_unseen(topic):
    async with connect("memory://") as bus:
        await submitted(bus, topic, IMAGES[:3])
        async with bus.subscribe(f"{topic}.{REQUESTS}", WORKERS) as receiver:
            names = [one.id for one in await receiver.receive(3, timeout=10)]
        watch = Noting(poison=[names[1]])
        async with serving(bus, topic, watch=watch):
            assert set(await answers(bus, topic, 2)) == {"r/0", "r/2"}
            (dead,) = await receive(bus, f"{topic}.{REQUESTS}.{WORKERS}.dead", "dead-letters", 1)
    assert dead.message.attributes["visionbus-reason"] == POISON
    assert all(names[1] not in begun for _, begun, _ in watch.begun)


async def test_answer_over_the_limit_of_the_bus_becomes_an_error_answer(topic):
    class Wordy(Brightness):
        classes = ("dark", "grey", "b" + "right" * 500)

    async with connect("memory://?max_message_bytes=2000") as bus:
        await submitted(bus, topic, IMAGES[:2])
        async with serving(bus, topic, Wordy()):
            got = await answers(bus, topic, 2)
    assert "over the bus's 2000" in got["r/0"].error
    assert got["r/1"].label is None


async def test_order_of_start_does_not_matter(url, topic):
    async with connect(url) as bus, serving(bus, topic):
        await submitted(bus, topic, IMAGES[:10])
        assert len(await answers(bus, topic, 10)) == 10


async def test_two_systems_on_one_bus_do_not_meet(url, topic):
    class Contrary(Brightness):
        name = "contrary"

        def logits(self, batch):
            return -super().logits(batch)

    async with connect(url) as bus:
        first, second = f"{topic}-a", f"{topic}-b"
        async with serving(bus, first), serving(bus, second, Contrary()):
            await submitted(bus, first, IMAGES[:50])
            await submitted(bus, second, IMAGES[:30])
            assert {one.model for one in (await answers(bus, first, 50)).values()} == {"brightness"}
            assert {one.model for one in (await answers(bus, second, 30)).values()} == {"contrary"}


async def test_batch_out_of_range_is_refused(topic):
    async with connect("memory://") as bus:
        with pytest.raises(ValueError, match="1 to 1024"):
            await serve(bus, Brightness(), topic=topic, batch=2000)
