"""Fleet: processes that receive and send on a topic of their own while something is broken, and what they did."""

import asyncio
import os
import random
import secrets
import signal
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ledger import Ledger
from program import DOOMED, KEYS

from visionbus.lifetime import tied
from visionbus.messaging import Message, connect

SEED = "VISIONBUS_FAULTS_SEED"  # the environment variable that repeats a run
PROGRAM = str(Path(__file__).with_name("program.py"))
SETTLING = 30.0  # seconds within which all is settled when nothing is broken any more
LOOK = 0.1  # seconds between two looks at what is settled: nobody tells when it is


def seed_of_run():
    """Give the seed that the environment names, or a new one."""
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"{SEED}={seed} repeats the random choices of this run")  # noqa: T201 (pytest shows it with a failure)
    return seed


@dataclass(frozen=True)
class Kind:
    """What differs from broker to broker.

    `inside`: the file that programs read what is the driver's from, `SABOTAGES` and `held`. `onlooker(url, topic,
    subscription)`: what a subscription has settled, asked by other means than the bus, in `async with`; it has
    `finished(patience)`, and `left(bus)`, which receives the rest. `limit`: seconds for one fault, the end included.
    `patience`: seconds that a fleet with a broken guarantee waits for what may never come.
    """

    inside: Path
    onlooker: Callable
    limit: float = 80.0
    settling: float = SETTLING
    patience: float | None = None


def run_fault(*given, **options):
    """Run one fault as `verdict_of` does, on an event loop of its own."""
    return asyncio.run(verdict_of(*given, **options))


async def verdict_of(kind, fault, url, seed, *arguments, sabotage=None, **options):
    """Run one fault, a coroutine function that takes a fleet, and return the verdict."""
    async with asyncio.timeout(kind.limit), Fleet(kind, url, seed, sabotage) as fleet:
        await fault(fleet, *arguments, **options)
        return await fleet.verdict()


class Worker:
    """One process."""

    def __init__(self, process):
        self.process = process
        self.said = defaultdict(Counter)  # by the first word of its lines: how often each data came
        self.ending = False  # killed, or asked to end
        self.struck = False  # killed, frozen or blocked: the group may not have heard its acks

    @property
    def lives(self):
        return self.process.returncode is None and not self.ending

    def in_hand(self):
        """Give how many it has received and not settled yet, as far as it has said."""
        return self.said["got"].total() - self.said["acked"].total() - self.said["late"].total()

    def freeze(self):
        self.struck = True
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        """Let it go on, and know that it was frozen for too long."""
        self.process.send_signal(signal.SIGHUP)
        self.process.send_signal(signal.SIGCONT)

    def block(self):
        self.struck = True
        self.process.send_signal(signal.SIGUSR1)

    def unblock(self):
        self.process.send_signal(signal.SIGUSR2)

    def kill(self):
        self.struck = self.ending = True
        self.process.kill()

    def settle(self):
        self.process.stdin.write(b"settle\n")

    def end(self):
        self.ending = True
        self.process.stdin.close()


class Fleet:
    """Used in `async with`, at whose end no process is left."""

    def __init__(self, kind, url, seed, sabotage):
        self.kind = kind
        self.url = url
        self.random = random.Random(seed)
        self.sabotage = sabotage
        self.ledger = Ledger()
        self.topic = f"faults-{uuid.uuid4().hex}"
        self.workers = []
        self.may_repeat = False  # acks, for reasons that are no receiver's
        self._patience = kind.patience if sabotage else None
        self._spoken = asyncio.Event()
        self._bus = connect(url)
        self._listening = asyncio.TaskGroup()

    async def __aenter__(self):
        await self._bus.declare(self.topic, "workers")
        await self._listening.__aenter__()
        return self

    async def __aexit__(self, *error):
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.kill()
        try:
            for worker in self.workers:
                await worker.process.wait()
            await self._listening.__aexit__(None, None, None)  # listeners end with their processes
        finally:
            await self._bus.close()

    def living(self):
        return [worker for worker in self.workers if worker.lives]

    async def victim(self):
        """Pick one of those that live, with something in hand unless nothing is left to do."""

        def busy():
            return [one for one in self.living() if one.in_hand()]

        await self.until(lambda: busy() or not self.ledger.unacked(), self._patience)
        return self.random.choice(busy() or self.living())

    async def fill(self, good, doomed=0):
        """Send so many messages, some of them with keys."""
        first = len(self.ledger.offered)
        data = [f"{number}" for number in range(first, first + good)]
        data += [f"{DOOMED}{number}" for number in range(first + good, first + good + doomed)]
        self.random.shuffle(data)
        self.ledger.offered.update(data)
        self.ledger.doomed.update(one for one in data if one.startswith(DOOMED))
        await self._bus.send(self.topic, *(Message(one.encode(), self.random.choice(KEYS)) for one in data))
        self.ledger.confirmed.update(data)

    async def receiver(self, *options):
        """Start a receiver; it has joined when its line "joined" is there."""
        return await self._start("receive", *options)

    async def sender(self, *options):
        return await self._start("send", *options, "--prefix", f"{len(self.workers)}-")

    async def until(self, condition, patience=None):
        """Wait until something holds of what the workers have said; return whether it does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not condition():
                    self._spoken.clear()
                    await self._spoken.wait()
        return bool(condition())

    async def joined(self):
        """Wait until all that live have joined."""
        await self.until(lambda: all(worker.said["joined"] for worker in self.living()))

    async def progress(self, least, most):
        """Wait until a random number of messages more were acked, or there is nothing left to do."""
        left = len(self.ledger.unacked()) - self.random.randrange(least, most)
        await self.until(lambda: len(self.ledger.unacked()) <= max(left, 0), self._patience)

    async def verdict(self):
        """Have all settled, end all, see what is left, and judge."""
        looker = self.kind.onlooker
        async with (
            looker(self.url, self.topic, "workers") as workers,
            looker(self.url, f"{self.topic}.workers.dead", "dead-letters") as letters,
        ):
            await workers.finished(self.kind.settling, self.ledger)
            for worker in self.living():
                worker.end()
            for worker in self.workers:
                await worker.process.wait()
            self.ledger.left |= await workers.left(self._bus)
            self.ledger.dead |= await letters.left(self._bus)
        for worker in self.workers:
            if not (worker.struck or worker.said["out"]):
                self.ledger.sound_acks += worker.said["acked"]
        verdict = self.ledger.verdict(may_repeat=self.may_repeat)
        print(f"{len(self.ledger.confirmed)} confirmed, {len(self.ledger.dead)} dead letters; {verdict}")  # noqa: T201 (the same)
        return verdict

    async def _start(self, verb, *options):
        sabotage = ("--sabotage", self.sabotage) if self.sabotage else ()
        seed = str(self.random.randrange(2**32))
        process = await asyncio.create_subprocess_exec(
            *tied(
                sys.executable,
                "-P",
                PROGRAM,
                verb,
                self.url,
                self.topic,
                self.kind.inside,
                "--seed",
                seed,
                *sabotage,
                *options,
            ),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
            start_new_session=True,  # else the kernel wakes those that are frozen when the shell of the tests has ended
        )
        worker = Worker(process)
        self.workers.append(worker)
        self._listening.create_task(self._listen(worker))
        return worker

    async def _listen(self, worker):
        async for line in worker.process.stdout:
            if not line.endswith(b"\n"):
                break  # it was killed while it wrote
            word, *data = line.decode().split()
            worker.said[word].update(data)
            self._note(word, data)
            self._spoken.set()
        status = await worker.process.wait()
        assert worker.ending, f"a process ended by itself with exit status {status}"
        assert worker.struck or status == 0, f"a process ended with exit status {status}"

    def _note(self, word, data):
        ledger = self.ledger
        if word in ("offered", "confirmed"):
            getattr(ledger, word).update(data)
        elif word == "got":
            ledger.received.update(data)
        elif word == "acked":
            ledger.acked.update(data)
