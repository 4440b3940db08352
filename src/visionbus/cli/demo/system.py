"""Runs the real system: workers, a results consumer and a client, each a process of its own."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visionbus.cli.demo.verdict import count_rows
from visionbus.cli.errors import Failure
from visionbus.cli.send import LEFT_OUT
from visionbus.messaging import connect
from visionbus.service.client import Client
from visionbus.service.topology import Topology

if TYPE_CHECKING:
    from pathlib import Path

    from visionbus.cli.demo.children import Child, Children
    from visionbus.cli.demo.progress import Counts
    from visionbus.cli.demo.subject import Subject

COMMAND = "visionbus"  # what `python -m` runs
STALLED = 60.0  # seconds without any progress after which it is given up
_LOOK = 0.05  # seconds between two looks into the database
_ALL_SENT = re.compile(r"sent \d+, left out \d+, skipped \d+")  # what `visionbus send` says at last


@dataclass(frozen=True, slots=True)
class System:
    """What is to run. `shrink`: files over the bus's size limit are made smaller; `store`: the results."""

    bus: str
    topic: str
    run: str
    model: Path
    processes: int
    subject: Subject
    encode: str
    shrink: bool
    store: Path


@dataclass(slots=True)
class Seen:
    """What was seen of it from outside.

    `sent`: ids that the client was confirmed. `left_out`: what it did not send, and why. `all_sent`: it came to its
    end. `answered_again`: how many answers came again.
    """

    sent: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    all_sent: bool = False
    answered: set[str] = field(default_factory=set)
    answered_again: int = 0


async def declare(system: System) -> int:
    """Declare the topics: raises what keeps the bus from being used, which services would wait out.

    Return the bus's limit of a message, in bytes.
    """
    async with connect(system.bus) as bus:
        await Topology(system.topic).declare(bus)
        return bus.max_message_bytes


async def start_services(system: System, children: Children) -> list[Child]:
    """Start the workers and the results consumer; give them once they are ready."""
    shared = ("--bus", system.bus, "--topic", system.topic)
    ready = asyncio.Semaphore(0)

    def hear(line: str) -> None:
        if line.startswith(("worker ", "results ")) and "ready" in line.split():
            ready.release()

    processes = str(system.processes)
    arguments = ("worker", *shared, "--model", str(system.model), "--processes", processes)
    workers = await children.start("worker", COMMAND, *arguments, hear=hear)
    results = await children.start("results", COMMAND, "results", *shared, "--store", str(system.store), hear=hear)
    async with asyncio.TaskGroup() as group:
        failing = group.create_task(children.fail_with(workers, results))
        for _ in range(system.processes + 1):
            await ready.acquire()
        failing.cancel()
    return [workers, results]


async def send_and_wait(system: System, children: Children, services: list[Child], counts: Counts) -> Seen:
    """Publish all images, and wait until each one has its row; raise `Failure` where a process ends or all stands."""
    seen = Seen()

    def hear(line: str) -> None:
        if line.startswith(f"{system.run}/"):
            seen.sent.append(line)
            counts.published += 1
        elif line.startswith(LEFT_OUT):
            seen.left_out.append(line.removeprefix(LEFT_OUT))
        elif _ALL_SENT.match(line):
            seen.all_sent = True

    async with connect(system.bus) as bus, Client(bus, topic=system.topic, run=system.run, answers="demo") as client:
        options = ["--bus", system.bus, "--topic", system.topic, "--run", system.run, "--encode", system.encode]
        options += ["--shrink"] if system.shrink else []
        sender = await children.start("send", COMMAND, "send", *options, "--", *system.subject.words, hear=hear)
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(children.fail_with(*services)),
                group.create_task(_count_answers(client, seen, counts)),
            ]
            await _until_stored(system, sender, seen, counts)
            for task in watching:
                task.cancel()
    return seen


async def _count_answers(client: Client, seen: Seen, counts: Counts) -> None:
    async for answer in client.answers():
        seen.answered_again += answer.id in seen.answered
        seen.answered.add(answer.id)
        counts.classified = max(counts.classified, len(seen.answered))


async def _until_stored(system: System, sender: Child, seen: Seen, counts: Counts) -> None:
    before = counts.all_stages
    moved = time.monotonic()
    while not (sender.listening.done() and counts.stored >= len(seen.sent)):
        counts.stored = count_rows(system.store, system.run)
        counts.classified = max(
            counts.classified, counts.stored
        )  # the demo's own receiver may be behind the database's
        if sender.listening.done() and not seen.all_sent:
            await sender.finished()
        if counts.all_stages != before:
            before, moved = counts.all_stages, time.monotonic()
        elif time.monotonic() - moved > STALLED:
            raise Failure(
                f"nothing has moved for {STALLED:g} s: {counts.published} published, {counts.classified} classified, "
                f"{counts.stored} stored of {counts.total}; what the processes said lies beside the bus, in *.log"
            )
        await asyncio.sleep(_LOOK)
