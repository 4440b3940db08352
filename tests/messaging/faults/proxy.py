"""Proxy: a TCP proxy that delays, cuts and half-closes connections, by a seed."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

from visionbus.brokers.ports import HOST

CHUNK = 16_384  # bytes


@dataclass(frozen=True)
class Weather:
    """How probable each is for one chunk of bytes, 0 to 1; `delay` is the longest, in seconds."""

    delayed: float = 0.05
    delay: float = 0.15
    cut: float = 0.02
    half_closed: float = 0.02


CALM = Weather(delayed=0.0, cut=0.0, half_closed=0.0)


class Proxy:
    """Listens on one port and passes on to another, in `async with`; the weather may be changed at any time."""

    def __init__(self, port, target, seed):
        self.weather = CALM
        self.done = dict.fromkeys(("delayed", "cut", "half_closed"), 0)
        self._port = port
        self._target = target
        self._random = random.Random(seed)
        self._tasks = set()  # one a connection
        self._writers = set()
        self._frozen = set()  # of the writers

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, HOST, self._port, limit=CHUNK)
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    def freeze(self):
        """Pass nothing on any more over the connections that stand, and end none of them."""
        self._frozen |= self._writers

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        writers = {writer}
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target, limit=CHUNK)
            writers.add(far_writer)
            self._writers |= writers
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        for one in writers:
            one.transport.abort()
        self._writers -= writers

    async def _pass(self, reader, writer):
        """Pass bytes on in one direction; `ConnectionAbortedError` ends both."""
        while data := await reader.read(CHUNK):
            if writer in self._frozen:
                continue
            weather, chance = self.weather, self._random.random()
            if self._happens("delayed", self._random.random() < weather.delayed):
                await asyncio.sleep(self._random.uniform(0.0, weather.delay))
            if self._happens("cut", chance < weather.cut):
                writer.write(data[: self._random.randrange(len(data))])
                raise ConnectionAbortedError
            if self._happens("half_closed", chance > 1 - weather.half_closed):
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    def _happens(self, what, does):
        self.done[what] += does
        return does
