import asyncio
import contextlib
import sqlite3

import pytest
import stamina

from visionbus.messaging import Message, connect
from visionbus.service import results
from visionbus.service.results import collect
from visionbus.service.stores import ConsoleStore, StoreError, StoreUnavailableError, open_store, sqlite
from visionbus.service.topology import Topology
from visionbus.service.wire import ANSWERS, RESULTS, Answer


def answer(number):
    return Answer(f"r/{number}", "cat", (("cat", 1.0),), "pets", "v1", 1.0, 2.0, 3.0).to_message()


def stored_ids(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [name for (name,) in database.execute("SELECT id FROM results ORDER BY length(id), id")]


async def send(bus, topic, *messages):
    await Topology(topic).declare(bus)
    await bus.send(f"{topic}.{ANSWERS}", *messages)


async def collected(bus, topic, store, count):
    """Store answers until so many new ones are, or a batch brings none; give how many there were in each batch."""
    new = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            await collect(
                bus, store, topic=topic, stored=lambda some: new.append(some) or sum(new) >= count or not some
            )
            return new
    pytest.fail(f"of {count} answers only {new} were stored")


async def test_answers_are_stored_many_at_a_time(url, topic, tmp_path):
    async with connect(url) as bus, open_store(str(tmp_path / "r.db")) as store:
        await send(bus, topic, *map(answer, range(600)))
        assert await collected(bus, topic, store, 600) == [512, 88]
    assert stored_ids(tmp_path / "r.db") == [f"r/{number}" for number in range(600)]


async def test_answers_that_come_twice_are_stored_once(url, topic, tmp_path):
    async with connect(url) as bus, open_store(str(tmp_path / "r.db")) as store:
        await send(bus, topic, answer(1), answer(1), answer(2))
        await collected(bus, topic, store, 2)
    assert stored_ids(tmp_path / "r.db") == ["r/1", "r/2"]


async def test_what_is_no_answer_is_a_dead_letter(topic, tmp_path):
    async with connect("memory://") as bus, open_store(str(tmp_path / "r.db")) as store:
        await send(bus, topic, Message(b"hello"), answer(1))
        await collected(bus, topic, store, 1)
        async with bus.subscribe(f"{topic}.{ANSWERS}.{RESULTS}.dead", "dead-letters") as dead:
            (letter,) = await dead.receive(10, timeout=10)
    assert letter.message.data == b"hello"


async def test_answer_that_cannot_be_stored_is_a_dead_letter_and_its_neighbours_are_rows(topic, tmp_path):
    async with connect("memory://") as bus, open_store(str(tmp_path / "r.db")) as store:
        really_add = store.add

        async def add(answers):
            if any(one.id == "r/1" for one in answers):
                raise ZeroDivisionError("this one is too much")
            return await really_add(answers)

        store.add = add
        await send(bus, topic, *map(answer, range(3)))
        assert await collected(bus, topic, store, 2) == [2]
        async with bus.subscribe(f"{topic}.{ANSWERS}.{RESULTS}.dead", "dead-letters") as dead:
            (letter,) = await dead.receive(10, timeout=10)
    assert stored_ids(tmp_path / "r.db") == ["r/0", "r/2"]
    assert letter.message.data == answer(1).data
    assert letter.message.attributes["visionbus-reason"] == "cannot be stored: ZeroDivisionError: this one is too much"


async def test_committed_before_acked(topic):
    class Broken:
        async def add(self, answers):
            raise StoreError("the database is damaged")

    async with connect("memory://") as bus:
        await send(bus, topic, answer(1))
        with pytest.raises(StoreError):
            await collect(bus, Broken(), topic=topic)
        async with bus.subscribe(f"{topic}.{ANSWERS}", RESULTS) as receiver:
            assert await receiver.receive(timeout=10)


async def test_store_that_is_down_means_lag_and_no_loss(topic, tmp_path, caplog):
    outage = [StoreUnavailableError("database is locked")] * 50
    async with connect("memory://") as bus, open_store(str(tmp_path / "r.db")) as store:
        really_add = store.add

        async def add(answers):
            if outage:
                raise outage.pop()
            return await really_add(answers)

        store.add = add
        await send(bus, topic, *map(answer, range(100)))
        with stamina.set_testing(testing=True, attempts=1000, cap=True):
            assert await collected(bus, topic, store, 1) == [100]  # all of the first batch, none rejected
    assert len(stored_ids(tmp_path / "r.db")) == 100
    assert "storing answers: database is locked; trying again" in caplog.text
    assert "storing answers: succeeds again" in caplog.text


async def test_answers_wait_on_the_bus_while_the_database_is_locked(url, topic, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "_BUSY", 0.01)
    path = tmp_path / "r.db"
    tries = []
    locked = asyncio.Event()
    async with connect(url) as bus, open_store(str(path)) as store:
        really_add = store.add

        async def add(answers):
            tries.append(len(answers))
            if len(tries) == 3:
                locked.set()
            return await really_add(answers)

        store.add = add
        await send(bus, topic, *map(answer, range(600)))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            collecting = asyncio.create_task(collected(bus, topic, store, 600))
            await asyncio.wait({collecting, asyncio.create_task(locked.wait())}, return_when=asyncio.FIRST_COMPLETED)
            other.execute("COMMIT")
        assert await collecting == [512, 88]
    assert set(tries) == {512, 88}  # all of a batch again, and none alone
    assert stored_ids(path) == [f"r/{number}" for number in range(600)]


async def test_stop_ends_it_though_nothing_comes(topic, tmp_path):
    stop = asyncio.Event()
    async with connect("memory://") as bus, open_store(str(tmp_path / "r.db")) as store, asyncio.TaskGroup() as group:
        group.create_task(collect(bus, store, topic=topic, stop=stop))
        await asyncio.sleep(0)
        stop.set()


async def test_batch_in_hand_is_still_stored_after_the_stop(topic, tmp_path):
    stop = asyncio.Event()
    async with connect("memory://") as bus, open_store(str(tmp_path / "r.db")) as store:
        really_add = store.add

        async def add(answers):
            stop.set()
            for _ in range(10):  # turns in which an end in a hurry would come first
                await asyncio.sleep(0)
            return await really_add(answers)

        store.add = add
        await send(bus, topic, answer(1))
        await asyncio.wait_for(collect(bus, store, topic=topic, stop=stop), 10)
        async with bus.subscribe(f"{topic}.{ANSWERS}", RESULTS) as receiver:
            assert not await receiver.receive(timeout=0)
    assert stored_ids(tmp_path / "r.db") == ["r/1"]


async def test_stop_ends_it_though_the_store_takes_nothing(topic, monkeypatch):
    monkeypatch.setattr(results, "GRACE", 0.1)
    tried = asyncio.Event()

    class Full(ConsoleStore):
        async def add(self, answers):
            tried.set()
            raise StoreUnavailableError("no space left")

    stop = asyncio.Event()
    async with connect("memory://") as bus, Full() as store:
        await send(bus, topic, answer(1))
        collecting = asyncio.create_task(collect(bus, store, topic=topic, stop=stop))
        await tried.wait()
        stop.set()
        await asyncio.wait_for(collecting, 10)
        async with bus.subscribe(f"{topic}.{ANSWERS}", RESULTS) as receiver:
            (again,) = await receiver.receive(timeout=10)
    assert again.attempt == 1
