"""Traffic: senders and receivers in this process, on a topic of their own, while something happens to it."""

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from ledger import Ledger

from visionbus.messaging import Message, MessagingError, Retry, SendError, UnavailableError, connect

BATCH = 200
QUIET = 8.0  # seconds without any news after which what is still missing is lost: longer than any session
AGAIN = Retry(delay=0.05, max_delay=0.2)


class Traffic:
    """What was done on one topic by `workers`. Numbers are messages; each 97th is rejected, each 41st nacked once."""

    def __init__(self, url, topic, seed, *, filling=b"", quiet=QUIET):
        self.url = url
        self.topic = topic
        self.ledger = Ledger()
        self.random = random.Random(seed)
        self.rejected = set()
        self.sent_again = set()
        self.pause_after = float("inf")  # received ones: then receivers ask for nothing more, until told to go on
        self.go_on = asyncio.Event()
        self._filling = filling
        self._quiet = quiet
        self._news = 0

    def connect(self):
        return connect(self.url)

    def message(self, number):
        return Message(b"%d " % number + self._filling, f"key-{number % 50}")

    async def send(self, *numbers):
        """Send these, again and again until all are confirmed."""
        async with self.connect() as bus:
            for first in range(0, len(numbers), BATCH):
                await self._send(bus, [self.message(number) for number in numbers[first : first + BATCH]])

    async def _send(self, bus, messages):
        self.ledger.offered.update(map(name_of, messages))
        self.ledger.doomed.update(name for name in map(name_of, messages) if int(name) % 97 == 0)
        left = messages
        while left:
            unconfirmed = left
            try:
                await bus.send(self.topic, *left)
                unconfirmed = []
            except SendError as error:
                unconfirmed = [message for message, _ in error.unconfirmed]
            except MessagingError:
                pass
            self.sent_again.update(map(name_of, unconfirmed))
            self.ledger.confirmed.update({name_of(message) for message in left} - {name_of(one) for one in unconfirmed})
            left = unconfirmed

    async def receive(self, **options):
        """Receive and settle, in random order, until cancelled; where no receiver can be opened, try again."""
        while True:
            with suppress(UnavailableError):
                await self.receive_some(None, **options)

    async def receive_some(self, most, **options):
        """Receive and settle so many."""
        settled = 0
        async with (
            self.connect() as bus,
            bus.subscribe(self.topic, "workers", retry=AGAIN, **options) as receiver,
        ):
            while most is None or settled < most:
                if len(self.ledger.received) >= self.pause_after:
                    await self.go_on.wait()
                batch = await receiver.receive(BATCH, timeout=0.2)
                settled += len(batch)
                await self._settle(receiver, batch)

    async def receive_after(self, happening, most):
        """Receive so many once something has happened, and leave the rest as it is."""
        await happening
        await self.receive_some(most)

    async def _settle(self, receiver, batch):
        self._news += len(batch)
        self.random.shuffle(batch)
        numbers = {one.lease: int(name_of(one.message)) for one in batch}
        self.ledger.received.update(map(str, numbers.values()))
        doomed = [one for one in batch if numbers[one.lease] % 97 == 0]
        failing = [one for one in batch if numbers[one.lease] % 41 == 0 and one.attempt == 1 and one not in doomed]
        good = [one for one in batch if one not in doomed and one not in failing]
        await receiver.nack(*failing)
        for half in (good[::2], good[1::2]):
            held = {name_of(one.message) for one in half if one.lease in receiver._in_flight}
            await receiver.ack(*half)
            self.ledger.acked.update(held)
            self.ledger.sound_acks.update(held)
            await asyncio.sleep(0)
        await self._reject(receiver, doomed)

    async def _reject(self, receiver, doomed):
        held = {name_of(one.message) for one in doomed if one.lease in receiver._in_flight}
        try:
            await receiver.reject(*doomed, reason="doomed")
        except MessagingError:
            with suppress(MessagingError):  # what is nacked for the last time is sent, too
                await receiver.nack(*doomed)
        else:
            self.rejected |= held

    async def settle_all(self, *receivers, rest=0.0):
        """Wait until all is settled, and no more has come for `rest` seconds; or nothing for long; stop these tasks."""
        now = asyncio.get_running_loop().time
        news, since = self._news, now()
        while now() - since < (self._quiet if self._is_awaited() else rest):
            await asyncio.sleep(0.05)  # the receivers say nothing when they have done something
            if news != self._news:
                news, since = self._news, now()
            for receiver in receivers:
                if receiver.done():
                    await receiver
        for receiver in receivers:
            receiver.cancel()
        await asyncio.gather(*receivers, return_exceptions=True)

    def _is_awaited(self):
        return self.ledger.unacked() or self.ledger.doomed & self.ledger.confirmed - self.rejected

    async def verdict(self, *, may_repeat=False, gone=frozenset()):
        """Look at what is left and at the dead letters; `gone`: what the broker has removed by itself."""
        self.ledger.left, self.ledger.dead = await asyncio.gather(
            self.remaining(self.topic, "workers"), self.remaining(f"{self.topic}.workers.dead", "dead-letters")
        )
        self.ledger.confirmed -= gone
        return self.ledger.verdict(may_repeat=may_repeat)

    async def remaining(self, topic, subscription):
        found = set()
        async with self.connect() as bus, bus.subscribe(topic, subscription) as receiver:
            while batch := await receiver.receive(1000, timeout=1.5):
                found.update(name_of(one.message) for one in batch)
                await receiver.ack(*batch)
        return found


def name_of(message):
    return message.data.split()[0].decode()
