"""The commands over Google's emulator of Pub/Sub."""

import asyncio
import json
import re
import sqlite3
import subprocess
import uuid
from contextlib import closing

import pytest

from visionbus.brokers.ports import HOST, free_ports
from visionbus.brokers.pubsub import VARIABLE
from visionbus.messaging import Message, connect

VERDICT = re.compile(r"sent 2000 stored 2000 lost 0 duplicates 0 wrong 0 accuracy 0\.9\d{3}")


@pytest.fixture
def command(visionbus, pubsub, tmp_path):
    """Run a command to its end, and give its standard output."""

    def run(*arguments):
        finished = subprocess.run(
            [*visionbus, *arguments],
            cwd=tmp_path,
            env={"VISIONBUS_URL": pubsub.url, VARIABLE: pubsub.host},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


@pytest.fixture
def name():
    return f"cli-{uuid.uuid4().hex}"


def test_verdict_of_the_demo_holds(command):
    assert VERDICT.fullmatch(command("demo", "--images", "2000", "--processes", "2").splitlines()[-1])


def test_service_that_is_away_is_told_by_the_demo_and_waited_for_by_services_until_they_are_ended(
    visionbus, pubsub, tmp_path
):
    options = {
        "cwd": tmp_path,
        "env": {"VISIONBUS_URL": pubsub.url, VARIABLE: f"{HOST}:{free_ports(1)[0]}"},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    demo = subprocess.Popen([*visionbus, "demo"], **options)
    services = [
        subprocess.Popen([*visionbus, *service], **options)
        for service in (["results", "--store", "r.db"], ["worker", "--processes", "1"])
    ]
    assert "PUBSUB_EMULATOR_HOST" in demo.communicate()[1].splitlines()[-1]
    assert demo.returncode == 1
    for service in services:
        assert any("trying again until it succeeds" in line for line in service.stderr)  # it runs, and hears signals
        service.terminate()
        service.communicate(timeout=9)  # less than the grace after which a worker would be killed
        assert service.returncode == 0


def test_bus_commands_take_pubsub(command, name):
    command("bus", "declare", name, "readers")
    command("bus", "send", name, "hello", "--key", "k1", "--attribute", "language=en")
    (seen,) = json.loads(command("bus", "receive", name, "readers", "--count", "1", "--peek", "--json"))
    (one,) = json.loads(command("bus", "receive", name, "readers", "--count", "1", "--json"))
    assert (one["data"], one["key"], one["attributes"]) == ("hello", "k1", {"language": "en"})
    assert (one["id"], one["attempt"]) == (seen["id"], 1)


def test_dead_letters_are_listed_and_sent_again(command, name, pubsub):
    async def reject():
        async with connect(pubsub.url) as bus, bus.subscribe(name, "readers") as receiver:
            await bus.send(name, Message(b"odd"))
            await receiver.reject(*await receiver.receive(), reason="not an image")

    command("bus", "declare", name, "readers")
    asyncio.run(reject())
    assert command("bus", "dead-letters", name, "readers").splitlines()[0].endswith(": not an image")
    command("bus", "dead-letters", name, "readers", "--redrive")
    assert command("bus", "receive", name, "readers", "--count", "1") == "odd\n"


def test_images_sent_before_a_worker_runs_are_classified_and_stored(command, visionbus, name, pubsub, tmp_path, images):
    store = tmp_path / "answers.db"
    sent = set(command("send", str(images), "--topic", name).split())
    worker = subprocess.Popen([*visionbus, "worker", "--processes", "1", "--topic", name, "--bus", pubsub.url])
    try:
        command("results", "--store", str(store), "--count", str(len(sent)), "--topic", name)
    finally:
        worker.terminate()
        assert worker.wait(30.0) == 0
    with closing(sqlite3.connect(store)) as database:
        assert {name for (name,) in database.execute("select id from results where label is not null")} == sent
