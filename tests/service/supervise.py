"""A supervisor as a program of its own: `python supervise.py MODEL URL TOPIC PROCESSES ACK_DEADLINE`."""

import asyncio
import signal
import sys

from visionbus.service.process import Specification
from visionbus.service.supervisor import Supervisor


def say(fact):
    sys.stdout.write(f"{fact}\n")
    sys.stdout.flush()


async def main(model, url, topic, processes, ack_deadline):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    specification = Specification(url, model, topic, float(ack_deadline), batch=32, code=True)
    await Supervisor(specification, int(processes), report=say).run(stop)


asyncio.run(main(*sys.argv[1:]))
