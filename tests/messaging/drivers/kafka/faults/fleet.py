"""Fleet: processes that receive and send on a topic of their own while something is broken, and what they did."""

import asyncio
import os
import random
import secrets
import signal
import sys
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from ledger import Ledger
from program import DOOMED, KEYS

from visionbus.lifetime import tied
from visionbus.messaging import Message, connect

SEED = "VISIONBUS_FAULTS_SEED"  # the environment variable that repeats a run
PROGRAM = str(Path(__file__).with_name("program.py"))
LIMIT = 80.0  # seconds for one fault, the end included
SETTLING = 30.0  # seconds within which all is settled when nothing is broken any more
LOOK = 0.1  # seconds between two looks at what the group has committed: nobody tells when it does


def run(fault, url, *arguments, sabotage=None, **options):
    """Run one fault, a coroutine function that takes a fleet, and return the verdict.

    Where the URL does not name the group protocol, it is chosen by the seed.
    """
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"{SEED}={seed} repeats the random choices of this run")  # noqa: T201 (pytest shows it with a failure)
    if "group_protocol" not in url:
        protocol = random.Random(seed).choice(["consumer", "classic"])
        url = f"{url}{'&' if '?' in url else '?'}group_protocol={protocol}"

    async def limited():
        async with asyncio.timeout(LIMIT), Fleet(url, seed, sabotage) as fleet:
            await fault(fleet, *arguments, **options)
            return await fleet.verdict()

    return asyncio.run(limited())


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

    def __init__(self, url, seed, sabotage):
        self.url = url
        self.random = random.Random(seed)
        self.sabotage = sabotage
        self.ledger = Ledger()
        self.topic = f"faults-{uuid.uuid4().hex}"
        self.workers = []
        self.may_repeat = False  # acks, for reasons that are no receiver's
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

        await self.until(lambda: busy() or not self.ledger.unacked())
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
        await self.until(lambda: len(self.ledger.unacked()) <= max(left, 0))

    async def verdict(self):
        """Have all settled, end all, see what is left, and judge."""
        workers, letters = Group(self.url, self.topic, "workers"), Group(self.url, f"{self.topic}.workers.dead")
        with workers, letters:
            await workers.finished(SETTLING)
            for worker in self.living():
                worker.end()
            for worker in self.workers:
                await worker.process.wait()
            self.ledger.left |= await self._read(workers)
            self.ledger.dead |= await self._read(letters)
        for worker in self.workers:
            if not worker.struck:
                self.ledger.sound_acks += worker.said["acked"]
        verdict = self.ledger.verdict(may_repeat=self.may_repeat)
        print(f"{len(self.ledger.confirmed)} confirmed, {len(self.ledger.dead)} dead letters; {verdict}")  # noqa: T201 (the same)
        return verdict

    async def _read(self, group):
        """Receive what a group has not acked yet."""
        read = set()
        if await group.finished(0.0):
            return read
        async with self._bus.subscribe(group.topic, group.subscription) as receiver:
            while not await group.finished(0.0):
                batch = await receiver.receive(1000, timeout=LOOK)
                read.update(one.message.data.decode() for one in batch)
                await receiver.ack(*batch)
        return read

    async def _start(self, verb, *options):
        sabotage = ("--sabotage", self.sabotage) if self.sabotage else ()
        seed = str(self.random.randrange(2**32))
        process = await asyncio.create_subprocess_exec(
            *tied(sys.executable, "-P", PROGRAM, verb, self.url, self.topic, "--seed", seed, *sabotage, *options),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
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


class Group:
    """What a consumer group has committed, asked by a plain client; used in `with`."""

    def __init__(self, url, topic, subscription="dead-letters"):
        self.topic, self.subscription = topic, subscription
        bootstrap = url.removeprefix("kafka://").partition("?")[0]
        self._client = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}.{subscription}"})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._client.close()

    async def finished(self, patience):
        """Return whether all was committed, or comes to be so in that many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience or None):
                while not await asyncio.to_thread(self._finished):
                    if not patience:
                        return False
                    await asyncio.sleep(LOOK)
                return True
        return False

    def _finished(self):
        numbers = self._client.list_topics(self.topic, timeout=10.0).topics[self.topic].partitions
        partitions = [TopicPartition(self.topic, number) for number in numbers]
        return all(
            one.offset == self._client.get_watermark_offsets(one, timeout=10.0)[1]
            for one in self._client.committed(partitions, timeout=10.0)
        )
