"""Processes that are forked from one that uses Kafka: they are told to connect anew, and end."""

import subprocess
import sys

PROGRAM = """
import asyncio
import os
import sys
import warnings
from visionbus.messaging import ClosedError, Message, connect, connect_blocking

URL, TOPIC = sys.argv[1:]
warnings.simplefilter("ignore")  # of os.fork, that there are threads

def outcome(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def told(call):
    try:
        call()
    except ClosedError as error:
        return "forked" in str(error)
    return False

def blocking():
    with connect_blocking(URL) as bus:
        bus.declare(TOPIC, "workers")
        bus.send(TOPIC, Message(b"of the parent"))
        with bus.subscribe(TOPIC, "workers") as receiver:
            receiver.receive(timeout=30)
            if (child := os.fork()) == 0:
                were_told = told(lambda: bus.send(TOPIC, Message(b"by the parent's"))) and told(receiver.receive)
                with connect_blocking(URL) as own:
                    own.send(TOPIC, Message(b"of a child"))
                sys.exit(7 if were_told else 1)  # and leaves the parent's bus on its way
            return outcome(child)

def with_a_loop():
    loop = asyncio.new_event_loop()
    bus = connect(URL)
    loop.run_until_complete(bus.send(TOPIC, Message(b"of the parent")))
    receiver = bus.subscribe(TOPIC, "workers")
    loop.run_until_complete(receiver.__aenter__())
    if (child := os.fork()) == 0:
        calls = (
            lambda: bus.declare(TOPIC),
            lambda: bus.send(TOPIC, Message(b"by the parent's")),
            lambda: receiver.receive(timeout=5),
            lambda: bus.subscribe(TOPIC, "workers").__aenter__(),
        )
        were_told = all(told(lambda: asyncio.run(call())) for call in calls)
        asyncio.run(bus.close())
        sys.exit(7 if were_told else 1)
    told_of_child = outcome(child)
    loop.run_until_complete(bus.send(TOPIC, Message(b"of the parent")))
    loop.run_until_complete(bus.close())
    return told_of_child

print(blocking(), with_a_loop())
"""


def test_forked_process_is_told_to_connect_anew_sends_by_its_own_bus_and_ends(kafka, foreign, topic):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, kafka.url, topic], capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.stdout == "7 7\n", ended.stderr
    assert sorted(record.value() for record in foreign.read(topic)) == [b"of a child"] + 3 * [b"of the parent"]
