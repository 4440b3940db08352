import asyncio
import itertools
from contextlib import aclosing

import numpy as np
import pytest
import stamina

from visionbus.messaging import SendError, UnavailableError, connect
from visionbus.service.client import Client
from visionbus.service.wire import ANSWERS, REQUESTS, WORKERS, Answer

FOUR = np.arange(16, dtype=np.uint8).reshape(4, 2, 2)


async def received(bus, topic, count):
    async with bus.subscribe(f"{topic}.{REQUESTS}", WORKERS) as receiver:
        got = []
        while len(got) < count:
            got += await receiver.receive(1000, timeout=10)
        await receiver.ack(*got)
        return [one.message for one in got]


def answer(name, run):
    return Answer(name, "cat", (("cat", 1.0),), "pets", "1", 1.0, 2.0, 3.0, None, run)


async def test_images_are_on_the_bus_when_their_ids_are_given(url, topic):
    async with connect(url) as bus, Client(bus, topic=topic, run="r") as client:
        ids = [name async for name in client.submit(FOUR)]
        assert ids == ["r/0", "r/1", "r/2", "r/3"]
        messages = await received(bus, topic, 4)
    assert [message.data for message in messages] == [image.tobytes() for image in FOUR]
    assert [message.attributes["ce-id"] for message in messages] == ids


async def test_submitting_again_gives_new_ids_and_a_replay_the_same(topic):
    async def source():
        yield b"in an async iterable"

    async def ids(bus):
        async with Client(bus, topic=topic, run="r") as client:
            batches = (FOUR, [b"a", ("b", b"b")], source())
            return [name for images in batches async for name in client.submit(images)]

    async with connect("memory://") as bus:
        first = await ids(bus)
        assert first == ["r/0", "r/1", "r/2", "r/3", "r/4", "r/b", "r/6"]
        assert await ids(bus) == first


async def test_many_images_of_an_endless_source_are_not_read_ahead_without_bound(topic):
    taken = itertools.count()
    source = (b"image" for _ in iter(lambda: next(taken), -1))
    async with connect("memory://") as bus, Client(bus, topic=topic) as client:
        async with aclosing(client.submit(source)) as ids:
            await anext(ids)
        assert next(taken) < 2000


async def test_async_source_is_sent_as_it_comes(topic):
    more = asyncio.Event()

    async def source():
        yield b"first"
        await more.wait()
        yield "missing.png"
        yield b"last"

    refused = []
    async with connect("memory://") as bus, Client(bus, topic=topic, run="r", refused=refused.append) as client:
        ids = client.submit(source())
        assert await anext(ids) == "r/0"
        more.set()
        assert [name async for name in ids] == ["r/2"]
    assert refused == ["missing.png: No such file or directory"]


async def test_refused_images_are_named_and_the_others_sent(topic, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(bytes(1_000_001))
    refused = []
    async with connect("memory://") as bus, Client(bus, topic=topic, run="r", refused=refused.append) as client:
        assert [name async for name in client.submit([b"a", large, b"c"])] == ["r/0", "r/2"]
    assert len(refused) == 1
    assert "large.png" in refused[0]


async def test_what_is_no_image_ends_the_submission(topic):
    async with connect("memory://") as bus, Client(bus, topic=topic, run="r") as client:
        with pytest.raises(TypeError, match="float is not an image"):
            [name async for name in client.submit([b"a", 1.5])]


@pytest.mark.parametrize("confirmed", [0, 2])
async def test_send_that_fails_is_tried_again_under_the_same_ids(topic, monkeypatch, confirmed):
    outage = [UnavailableError("the disk is full")] * 3
    monkeypatch.setattr("visionbus.service.client._PATIENCE", 60.0)  # all go in one batch, however slow the machine
    async with connect("memory://") as bus, Client(bus, topic=topic, run="r") as client:
        really_send = bus.send

        async def send(where, *messages):
            if outage:
                error = outage.pop()
                await really_send(where, *messages[:confirmed])
                raise SendError([(one, error) for one in messages[confirmed:]]) if confirmed else error
            return await really_send(where, *messages)

        monkeypatch.setattr(bus, "send", send)
        with stamina.set_testing(testing=True, attempts=100):
            ids = [name async for name in client.submit([b"0", b"1", b"2", b"3", b"4", b"5", b"6"])]
        assert ids == [f"r/{number}" for number in range(7)]
        assert [one.attributes["ce-id"] for one in await received(bus, topic, 7)] == ids


async def test_answers_of_the_own_run_come_and_others_are_passed_over(url, topic):
    async with connect(url) as bus, Client(bus, topic=topic, run="mine", answers="mine") as client:
        others = [answer("o/1", "other"), answer("mine/1", "mine"), answer("x", None), answer("mine/2", "mine")]
        await bus.send(f"{topic}.{ANSWERS}", *(one.to_message() for one in others))
        got = []
        async with aclosing(client.answers()) as stream:
            async for one in stream:
                got.append(one.id)
                if len(got) == 2:
                    break
    assert got == ["mine/1", "mine/2"]


async def test_answer_is_acked_when_the_next_is_asked_for(topic):
    async with connect("memory://") as bus:
        async with Client(bus, topic=topic, run="r", answers="mine") as client:
            await bus.send(f"{topic}.{ANSWERS}", *(answer(f"r/{number}", "r").to_message() for number in range(3)))
            async with aclosing(client.answers()) as stream:
                await anext(stream)
                await anext(stream)
        async with bus.subscribe(f"{topic}.{ANSWERS}", "mine") as receiver:
            left = await receiver.receive(10, timeout=10)
    assert [Answer.from_message(one.message).id for one in left] == ["r/1", "r/2"]


async def test_answers_without_a_subscription_are_a_mistake(topic):
    async with connect("memory://") as bus, Client(bus, topic=topic) as client:
        with pytest.raises(ValueError, match=r"answers=\"NAME\""):
            await anext(client.answers())


async def test_model_of_the_client_is_that_of_its_requests(topic):
    async with connect("memory://") as bus, Client(bus, topic=topic, model="pets") as client:
        assert len([name async for name in client.submit(FOUR)]) == 4
        assert {one.attributes["model"] for one in await received(bus, topic, 4)} == {"pets"}


def test_empty_name_of_a_model_is_refused():
    with pytest.raises(ValueError, match="leave it out where any model may answer"):
        Client(connect("memory://"), model="")


def test_two_runs_have_different_names(topic):
    bus = connect("memory://")
    assert Client(bus).run != Client(bus).run
