"""A long storm: receivers behind connections that are cut and half-closed, until something in the client gives way.

Usage: python tests/messaging/drivers/kafka/faults/storm.py [--seconds N] [--never-ask] [--seed N]

A process of its own receives, and says every second how far it is; one that says nothing for half a minute stands still
as a whole, is told so and is killed. `--never-ask` takes away what `visionbus.messaging.drivers.kafka.liveness` does.
"""

import argparse
import asyncio
import logging
import queue
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "faults"))
from fleet import seed_of_run
from proxy import Proxy, Weather

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.ports import HOST, free_ports
from visionbus.brokers.properties import QUICK
from visionbus.lifetime import tied
from visionbus.messaging import Message, MessagingError, connect
from visionbus.messaging.drivers.kafka.liveness import Liveness

TOPIC, WORKERS = "images", "workers"
RECEIVERS = 5
STAY = (5.0, 25.0)  # seconds that a receiver is open
SESSION = 2.0  # seconds
SILENCE = 30.0  # seconds


class Storm:
    """Traffic in bad weather, and what came of it."""

    def __init__(self, url, seconds, seed):
        self.url = url
        self.ends = time.monotonic() + seconds
        self.random = random.Random(seed)
        self.received = self.opened = 0
        self.longest = 0.0  # seconds that the event loop stood still

    def lasts(self):
        return time.monotonic() < self.ends

    async def send(self):
        while self.lasts():
            try:
                async with connect(self.url) as bus:
                    for _ in range(20):
                        await bus.send(TOPIC, *(Message(b"data", f"key-{number % 50}") for number in range(200)))
                        await asyncio.sleep(0.2)
            except MessagingError:
                pass

    async def receive(self):
        while self.lasts():
            self.opened += 1
            try:
                async with connect(self.url) as bus, bus.subscribe(TOPIC, WORKERS, ack_deadline=SESSION) as receiver:
                    leaves = min(time.monotonic() + self.random.uniform(*STAY), self.ends)
                    while time.monotonic() < leaves:
                        batch = await receiver.receive(200, timeout=0.2)
                        self.random.shuffle(batch)
                        await receiver.nack(*batch[:3])
                        await receiver.ack(*batch[3:])
                        self.received += len(batch)
            except MessagingError:
                pass

    async def watch(self, proxy):
        said = begun = time.monotonic()
        while self.lasts():
            before = time.monotonic()
            await asyncio.sleep(0.05)
            now = time.monotonic()
            self.longest = max(self.longest, now - before - 0.05)
            if now - said > 1.0:
                said = now
                weather = ", ".join(f"{count} {what}" for what, count in proxy.done.items())
                sys.stdout.write(
                    f"{now - begun:.0f} s: received {self.received}, opened {self.opened}, chunks {weather}, "
                    f"event loop stood still for {self.longest:.2f} s at most\n"
                )
                sys.stdout.flush()


async def storm(broker, advertised, seconds, seed):
    url = f"kafka://{HOST}:{advertised}?send_timeout=20"
    async with Proxy(advertised, broker, seed) as proxy:
        async with connect(url) as bus:
            await bus.declare(TOPIC, WORKERS)
        one = Storm(url, seconds, seed)
        proxy.weather = Weather(half_closed=0.1)
        await asyncio.gather(one.watch(proxy), one.send(), one.send(), *(one.receive() for _ in range(RECEIVERS)))


def suffer(arguments):
    """Be the process that receives."""
    if arguments.never_ask:
        Liveness.answers = lambda *_: True
    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: "begins anew" in record.getMessage())
    asyncio.run(storm(arguments.broker, arguments.advertised, arguments.seconds, arguments.seed))


def lines_of(process):
    """Give the lines of a process as they come; None where it says nothing for long."""
    lines = queue.Queue()

    def read():
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=SILENCE)
        except queue.Empty:
            yield None
            return
        if not line:
            return
        yield line


def main():
    parser = argparse.ArgumentParser(description="A storm of broken connections between Kafka and its receivers.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--never-ask", action="store_true", help="without what keeps the process from standing still")
    parser.add_argument("--broker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--advertised", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.broker:
        suffer(arguments)
        return 0
    seed = seed_of_run() if arguments.seed is None else arguments.seed
    broker, advertised = free_ports(2)
    shown = {"advertised.listeners": f"PLAINTEXT://{HOST}:{advertised}"}
    with KafkaCluster(port=broker, properties=QUICK | shown):
        ports = ["--broker", f"{broker}", "--advertised", f"{advertised}"]
        options = ["--seconds", f"{arguments.seconds}", "--seed", f"{seed}"] + ["--never-ask"] * arguments.never_ask
        command = tied(sys.executable, "-P", __file__, *options, *ports)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in lines_of(process):
                sys.stdout.write(line or f"the process has stood still for {SILENCE:g} s, and is killed\n")
                sys.stdout.flush()
                if line is None:
                    process.kill()
                    return 1
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
