import asyncio
import os
import signal

import numpy as np
from fake_models import offline

from visionbus.messaging import Bus, connect
from visionbus.service.client import Client
from visionbus.service.process import Specification, _serve
from visionbus.service.watch import Unwatched

IMAGES = np.random.default_rng(0).integers(0, 200, (20, 2, 2), np.uint8)


class Noting(Unwatched):
    """Remembers how many were taken at a time."""

    def __init__(self):
        self.sizes = []

    def begin(self, deliveries, *, alone):
        self.sizes.append(len(deliveries))


async def test_worker_serves_what_its_specification_says_until_sigterm(topic, monkeypatch):
    deadlines = []
    really_subscribe = Bus.subscribe

    def subscribe(self, where, subscription, **options):
        deadlines.append((where, options.get("ack_deadline")))
        return really_subscribe(self, where, subscription, **options)

    monkeypatch.setattr(Bus, "subscribe", subscribe)
    watch = Noting()
    async with connect("memory://") as bus, Client(bus, topic=topic, run="r", answers="mine") as client:
        ids = [name async for name in client.submit(IMAGES)]
        specification = Specification("memory://", "fake_models:Brightness", topic, 2.5, 3, code=True)
        serving = asyncio.create_task(_serve(specification, watch))
        answers = {}
        async with asyncio.timeout(10):
            async for answer in client.answers():
                answers[answer.id] = answer.label
                if len(answers) == len(ids):
                    break
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(serving, 10)
    assert [answers[name] for name in ids] == offline(IMAGES)
    assert (f"{topic}.requests", 2.5) in deadlines
    assert max(watch.sizes) == 3
