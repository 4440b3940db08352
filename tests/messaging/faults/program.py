"""A receiver or a sender in a process of its own, to be killed, frozen and blocked; it says what it does, line by line.

    program.py receive URL TOPIC INSIDE    -> "joined", "got DATA...", "acked DATA...",
                                              "late DATA..." (acked, but it was not its own any more),
                                              "out" (the driver says that it was silent for too long)
    program.py send URL TOPIC INSIDE       -> "offered DATA...", "confirmed DATA..."

INSIDE is a file with what is the driver's own: `held`, which gives what a receiver still holds, `SABOTAGES`, and maybe
`OUT`, texts of warnings that a receiver was silent for too long, as one is whose machine lets it starve: its last acks
may not have been heard.

It closes and ends when standard input ends. A receiver with `--hold` keeps what it gets; the line "settle" has it ack
what it had in hand before it was marked. SIGUSR1 blocks its event loop until SIGUSR2. SIGHUP marks it, as does the end
of such a block: its leases are over, so acks of what it has in hand are late.
"""

import argparse
import asyncio
import logging
import os
import random
import runpy
import signal
import sys
from contextlib import suppress
from itertools import count

from visionbus.messaging import ClosedError, Message, MessagingError, Retry, SendError, connect

DOOMED = "bad-"  # how the data begins at which every handler fails
KEYS = (*[None] * 50, *(f"key-{number}" for number in range(50)))
TOGETHER = 3  # sends at a time


def say(word, data):
    """Write a line at once: whoever reads has it whatever happens to this process."""
    if data:
        os.write(1, f"{word} {' '.join(data)}\n".encode())


async def standard_input():
    reader = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def data_of(deliveries):
    return [one.message.data.decode() for one in deliveries]


class Warnings(logging.StreamHandler):
    """Shows warnings, and has it said where one tells that the receiver was out; from whatever thread."""

    def __init__(self, texts, loop):
        super().__init__()
        self.setLevel(logging.WARNING)
        self.texts, self.loop = texts, loop

    def emit(self, record):
        super().emit(record)
        if any(text in record.getMessage() for text in self.texts):
            with suppress(RuntimeError):  # the loop is closed, and all is said
                self.loop.call_soon_threadsafe(say, "out", ["now"])


def is_doomed(one):
    return one.message.data.startswith(DOOMED.encode())


class Receiver:
    """Receives batches, and settles each in random order and in parts."""

    def __init__(self, options, held, out=()):
        self.options = options
        self.held = held
        self.out = out
        self.marks = 0
        self.in_hand = []  # with --hold: (marks at the time, batch)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})  # before there are other threads
        signal.signal(signal.SIGHUP, self.mark)

    def mark(self, *_):
        self.marks += 1

    def block(self):
        """Stand still, as a callback of the event loop: a signal handler of the process would run anywhere, also where
        a driver holds a lock, which no event loop that is merely busy ever does.
        """
        say("blocked", ["now"])
        signal.sigwait({signal.SIGUSR2})
        self.mark()

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.block)
        logging.getLogger("visionbus").addHandler(Warnings(self.out, loop))
        control = await standard_input()
        options = self.options
        async with connect(options.url) as bus:
            receiver = bus.subscribe(
                options.topic,
                "workers",
                ack_deadline=options.ack_deadline,
                max_in_flight=options.max_in_flight,
                retry=Retry(max_attempts=3, delay=0.05, factor=1.0),
            )
            async with receiver:
                say("joined", [str(receiver.ack_deadline)])
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.receive(receiver))
                    while await control.readline():
                        await self.settle_what_is_late(receiver)
                    await receiver.close()  # in the middle of a batch, mostly

    async def receive(self, receiver):
        with suppress(ClosedError):
            while True:
                batch = await receiver.receive(self.options.batch)
                marks = self.marks
                say("got", data_of(batch))
                if self.options.hold:
                    self.in_hand.append((marks, batch))
                else:
                    await self.handle(receiver, batch, marks)

    async def handle(self, receiver, batch, marks):
        left = random.sample(batch, len(batch))
        while left:
            size = random.randint(1, len(left))
            some, left = left[:size], left[size:]
            await asyncio.sleep(random.random() * self.options.work * size / len(batch))
            await receiver.nack(*(one for one in some if is_doomed(one)))
            await self.ack(receiver, [one for one in some if not is_doomed(one)], marks)

    async def ack(self, receiver, deliveries, marks):
        held = self.held(receiver, deliveries) if marks == self.marks else []
        leases = {one.lease for one in held}
        late = [one for one in deliveries if one.lease not in leases]
        await receiver.ack(*deliveries)
        say("acked", data_of(held))
        say("late", data_of(late))

    async def settle_what_is_late(self, receiver):
        for marks, batch in self.in_hand:
            if marks < self.marks:
                await self.ack(receiver, batch, marks)


async def send(options):
    control = await standard_input()
    async with connect(options.url) as bus:
        ending = asyncio.create_task(control.read())
        numbers = count()
        async with asyncio.TaskGroup() as group:
            for _ in range(TOGETHER):
                group.create_task(keep_sending(bus, options, numbers, ending))


async def keep_sending(bus, options, numbers, ending):
    while not ending.done():
        data = [f"{options.prefix}{next(numbers)}" for _ in range(options.batch)]
        say("offered", data)
        try:
            await bus.send(options.topic, *(Message(one.encode(), random.choice(KEYS)) for one in data))
            unconfirmed = set()
        except SendError as error:
            unconfirmed = {message.data.decode() for message, _ in error.unconfirmed}
        except MessagingError:
            unconfirmed = set(data)
        say("confirmed", [one for one in data if one not in unconfirmed])
        await asyncio.wait([ending], timeout=options.work)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["receive", "send"])
    parser.add_argument("url")
    parser.add_argument("topic")
    parser.add_argument("inside")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--work", type=float, default=0.05)  # seconds: a batch takes up to this
    parser.add_argument("--ack-deadline", type=float, default=1.0)
    parser.add_argument("--max-in-flight", type=int, default=1000)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--sabotage")
    options = parser.parse_args()
    random.seed(options.seed)
    inside = runpy.run_path(options.inside)
    if options.sabotage:
        inside["SABOTAGES"][options.sabotage]()
    if options.verb == "send":
        asyncio.run(send(options))
    else:
        asyncio.run(Receiver(options, inside["held"], inside.get("OUT", ())).run())


if __name__ == "__main__":
    main()
