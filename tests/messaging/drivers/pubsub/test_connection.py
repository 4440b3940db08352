"""The connection, and processes that are forked from one that has it."""

import asyncio
import sys
from pathlib import Path

from visionbus.messaging import connect

sys.path.append(str(Path(__file__).parent))
from server import Server

URL = "pubsub://visionbus"
FORKING = """
import asyncio
import os
import sys
import warnings
from visionbus.messaging import Message, MessagingError, connect

async def send():
    async with connect("pubsub://visionbus") as bus:
        await bus.send(sys.argv[1], Message(b"of a child"))

def forked(work):
    if (child := os.fork()) == 0:
        try:
            asyncio.run(work())
        except MessagingError as error:
            os._exit(7 if "forked" in str(error) else 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def main():
    async with connect("pubsub://visionbus") as bus:
        await bus.send(sys.argv[1], Message(b"before"))
        async def send_by_that_of_the_parent():
            await bus.send(sys.argv[1], Message(b"of a child"))
        warnings.simplefilter("ignore")  # of os.fork, that there are threads
        told = forked(send), forked(send_by_that_of_the_parent)
        await bus.send(sys.argv[1], Message(b"after"))
    return told

early = forked(send)
assert (early, *asyncio.run(main()), forked(send)) == (0, 7, 7, 7)
"""


async def test_process_forked_from_one_that_used_a_bus_is_told_so_and_one_forked_before_sends(monkeypatch):
    async with Server() as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        async with connect(URL) as bus:
            await bus.declare("images", "workers")
        program = await asyncio.create_subprocess_exec(sys.executable, "-c", FORKING, "images")
        async with asyncio.timeout(30.0):
            assert await program.wait() == 0
        sent = server.service.leasing["projects/visionbus/subscriptions/images.workers"].unacked()
        assert [one.data for one in sent] == [b"of a child", b"before", b"after"]
