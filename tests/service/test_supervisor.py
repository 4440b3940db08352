import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from fake_models import HANGING, KILLER, offline

from visionbus.messaging import connect
from visionbus.service.client import Client
from visionbus.service.process import Specification
from visionbus.service.results import collect
from visionbus.service.stores import SQLiteStore
from visionbus.service.supervisor import StartError, Supervisor
from visionbus.service.watch import POISON
from visionbus.service.wire import ANSWERS, REQUESTS, RESULTS, WORKERS, Answer

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parent
LONG = {"ack_deadline": 600.0}  # a lease that nobody renews meanwhile, which takes a turn at the file
IMAGES = np.random.default_rng(0).integers(0, 200, (500, 2, 2), np.uint8)


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FOLDER), prepend=os.pathsep)


@pytest.fixture
def bus_url(tmp_path):
    return f"sqlite:///{tmp_path}/bus.db"


class Reports(list):
    """What a supervisor said."""

    def __init__(self):
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, fact):
        self.append(fact)
        self._more.set()

    async def wait_for(self, pattern, count=1):
        async with asyncio.timeout(60):
            while len(found := re.findall(pattern, "\n".join(self))) < count:
                self._more.clear()
                await self._more.wait()
        return found


def specification(url, model="Brightness", **options):
    return Specification(url, f"fake_models:{model}", code=True, **({"ack_deadline": 1.0} | options))


@asynccontextmanager
async def supervising(*arguments, **options):
    reports = Reports()
    supervisor = Supervisor(*arguments, report=reports, **options)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        await supervisor.ready.wait()
        yield reports
        stop.set()


@asynccontextmanager
async def program(model, url, processes=2, ack_deadline=1.0):
    """A supervisor in a process of its own; gives it, and what it said."""
    reports = Reports()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(FOLDER / "supervise.py"), f"fake_models:{model}", url, "visionbus"),
        *(str(processes), str(ack_deadline)),
        stdout=asyncio.subprocess.PIPE,
    )

    async def listen():
        async for line in process.stdout:
            reports(line.decode().strip())

    listening = asyncio.create_task(listen())
    try:
        await reports.wait_for("ready", processes)
        yield process, reports
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await listening


async def submit(bus, images):
    async with Client(bus, run="r") as client:
        return [name async for name in client.submit(images)]


async def receive(bus, topic, subscription, count):
    async with bus.subscribe(topic, subscription) as receiver:
        got = {}
        while len(got) < count:
            batch = await receiver.receive(1000, timeout=60)
            assert batch, f"{len(got)} of {count} came"
            got |= {one.message.attributes["ce-id"]: one for one in batch}
            await receiver.ack(*batch)
    return got


async def answers(bus, count):
    got = await receive(bus, f"visionbus.{ANSWERS}", RESULTS, count)
    return {one.id: one for one in (Answer.from_message(delivery.message) for delivery in got.values())}


async def dead_letter(bus):
    ((_, letter),) = (await receive(bus, f"visionbus.{REQUESTS}.{WORKERS}.dead", "dead-letters", 1)).items()
    return letter.message.attributes


async def test_killed_worker_is_replaced_and_nothing_is_lost(bus_url):
    async with connect(bus_url) as bus, supervising(specification(bus_url, "Slow", batch=32), 2) as reports:
        await submit(bus, IMAGES)
        (number,) = await reports.wait_for(r"worker 1 ready \(process (\d+)\)")
        os.kill(int(number), signal.SIGKILL)
        got = await answers(bus, len(IMAGES))
        await reports.wait_for("worker 1 was killed by SIGKILL; starting again in 0.1 s")
        await reports.wait_for("worker 1 ready", 2)
    assert [got[f"r/{index}"].label for index in range(len(IMAGES))] == offline(IMAGES)


async def test_image_that_kills_is_dead_lettered_and_its_neighbours_are_answered(bus_url):
    images = IMAGES.copy()
    images[77, 0, 0] = KILLER
    async with connect(bus_url) as bus, supervising(specification(bus_url, "Deadly"), 2):
        await submit(bus, images)
        got = await answers(bus, len(IMAGES) - 1)
        letter = await dead_letter(bus)
    assert letter["ce-id"] == "r/77"
    assert letter["visionbus-reason"] == POISON
    assert "r/77" not in got
    expected = offline(images)
    assert all(got[f"r/{index}"].label == label for index, label in enumerate(expected) if index != 77)


async def test_image_on_which_workers_hang_is_dead_lettered_too(bus_url):
    images = IMAGES[:50].copy()
    images[7, 0, 0] = HANGING
    async with connect(bus_url) as bus, supervising(specification(bus_url, "Deadly"), 2, stuck=0.5) as reports:
        await submit(bus, images)
        assert len(await answers(bus, 49)) == 49
        assert (await dead_letter(bus))["ce-id"] == "r/7"
    assert "no progress for 0.5 s: killed" in "\n".join(reports)


async def keep_frozen(process, progress):
    """Freeze a process; inside a write to SQLite it holds up all others: then it goes on, and is frozen again."""
    while True:
        os.kill(process, signal.SIGSTOP)
        progress.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):  # longer than its leases
                await progress.wait()  # perhaps of what was claimed before
                progress.clear()
                await progress.wait()  # this was claimed since: the file is free
                return
        os.kill(process, signal.SIGCONT)
        await asyncio.sleep(0.01)


async def test_frozen_worker_that_wakes_after_its_lease_does_no_harm(bus_url, tmp_path):
    async with connect(bus_url) as bus, supervising(specification(bus_url, "Slow", batch=32), 2) as reports:
        (number,) = await reports.wait_for(r"worker 1 ready \(process (\d+)\)")
        await submit(bus, IMAGES)
        store = SQLiteStore(tmp_path / "results.db")
        stored, progress, freezing = 0, asyncio.Event(), None

        def enough(new):
            nonlocal stored, freezing
            freezing = freezing or asyncio.create_task(keep_frozen(int(number), progress))  # at work: answers are here
            progress.set()
            stored += new
            return stored == len(IMAGES)

        async with store:
            await collect(bus, store, stored=enough)  # what it held came to the other one
            freezing.cancel()
            os.kill(int(number), signal.SIGCONT)
            more = Reports()
            async with asyncio.TaskGroup() as group:
                stop = asyncio.Event()
                group.create_task(collect(bus, store, stored=lambda new: more(f"{new} new"), stop=stop))
                await submit(bus, [("one more", IMAGES[0])])
                await more.wait_for("1 new")
                stop.set()
    said = "".join(more).replace("1 new", "").replace("0 new", "")
    assert said == ""
    assert "killed" not in "\n".join(reports)


async def test_workers_end_soon_after_their_supervisors_death(bus_url, tmp_path, monkeypatch):
    busy = tmp_path / "busy"
    monkeypatch.setenv("BUSY_FILE", str(busy))
    async with connect(bus_url) as bus, program("Stubborn", bus_url, **LONG, processes=3) as (process, _reports):
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 3
        assert {os.getpgid(one.pid) for one in workers} == {os.getpgid(process.pid)}
        workers[0].suspend()
        await submit(bus, IMAGES[100:101])
        async with asyncio.timeout(30):
            while not busy.exists():  # noqa: ASYNC110 (a file wakes nobody)
                await asyncio.sleep(0.01)
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=15.0)  # 2 s, and what a busy machine adds; else never
        assert not alive


async def test_sigterm_finishes_what_is_in_process_and_gives_back_the_rest(bus_url):
    async with connect(bus_url) as bus, program("Slower", bus_url, **LONG) as (process, _reports):
        ids = await submit(bus, IMAGES)
        async with bus.subscribe(f"visionbus.{ANSWERS}", RESULTS) as receiver:
            assert await receiver.receive(timeout=60)  # they are at work
        workers = psutil.Process(process.pid).children()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert not any(one.is_running() for one in workers)
        # With leases of ten minutes, what comes now was given back.
        async with bus.subscribe(f"visionbus.{REQUESTS}", WORKERS) as receiver:
            rest = []
            while batch := await receiver.receive(1000, timeout=0):
                rest += batch
        done = await answers(bus, len(ids) - len(rest))
    assert rest
    assert set(done) | {one.message.attributes["ce-id"] for one in rest} == set(ids)
    assert len(done) + len(rest) == len(ids)


async def test_signals_reach_the_supervisor_after_its_workers_are_started(bus_url):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    async with supervising(specification(bus_url), 3):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


async def test_worker_that_is_asked_to_end_is_replaced_without_suspicion(bus_url):
    async with connect(bus_url), supervising(specification(bus_url), 1) as reports:
        (number,) = await reports.wait_for(r"worker 1 ready \(process (\d+)\)")
        os.kill(int(number), signal.SIGTERM)
        await reports.wait_for("worker 1 ended with status 0; starting again")
        await reports.wait_for("worker 1 ready", 2)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("failing", "no such model: train one first"),
        ("leaving", "ended with status 7, 3 times in a row"),
    ],
)
async def test_model_that_cannot_be_loaded_ends_the_supervisor_with_its_reason(bus_url, model, reason):
    with pytest.raises(StartError, match=reason):
        await Supervisor(specification(bus_url, model), 2).run(asyncio.Event())


async def test_bus_that_cannot_be_had_ends_the_supervisor(tmp_path):
    with pytest.raises(StartError, match="missing"):
        await Supervisor(specification(f"sqlite:///{tmp_path}/missing/bus.db"), 1).run(asyncio.Event())


async def test_what_a_library_prints_is_no_word_to_the_supervisor(bus_url):
    async with supervising(specification(bus_url, "printing"), 1) as reports:
        assert re.fullmatch(r"worker 1 ready \(process \d+\)", reports[0])
