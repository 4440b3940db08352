"""The commands over a real Kafka, on one node and on three."""

import json
import re
import sqlite3
import subprocess
import uuid
from contextlib import closing

import pytest

from visionbus.brokers.kafka import KafkaCluster
from visionbus.brokers.ports import free_ports
from visionbus.brokers.properties import QUICK

VERDICT = re.compile(r"sent 2000 stored 2000 lost 0 duplicates 0 wrong 0 accuracy 0\.9\d{3}")


@pytest.fixture
def command(visionbus, kafka, tmp_path):
    """Run a command to its end, and give its standard output."""

    def run(*arguments, url=kafka.url):
        finished = subprocess.run(
            [*visionbus, *arguments],
            cwd=tmp_path,
            env={"VISIONBUS_URL": url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


def demo(command, url):
    return command("demo", "--images", "2000", "--processes", "2", url=url).splitlines()[-1]


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_verdict_of_the_demo_holds_on_one_node(command, kafka, protocol):
    assert VERDICT.fullmatch(demo(command, f"{kafka.url}?group_protocol={protocol}"))


@pytest.mark.slow
def test_verdict_of_the_demo_holds_on_three_nodes(command):
    with KafkaCluster(nodes=3, properties=QUICK) as cluster:
        assert VERDICT.fullmatch(demo(command, cluster.url))


@pytest.mark.slow
def test_broker_that_is_away_is_told_by_the_demo_and_waited_for_by_services_until_they_are_ended(visionbus, tmp_path):
    nobody = f"kafka://127.0.0.1:{free_ports(1)[0]}"
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    demo = subprocess.Popen([*visionbus, "demo", "--bus", nobody], **options)
    services = [
        subprocess.Popen([*visionbus, *service, "--bus", nobody], **options)
        for service in (["results", "--store", "r.db"], ["worker", "--processes", "1"])
    ]
    assert "check that the brokers run" in demo.communicate()[1].splitlines()[-1]
    assert demo.returncode == 1
    for service in services:
        assert any("trying again until it succeeds" in line for line in service.stderr)  # it runs, and hears signals
        service.terminate()
        service.communicate(timeout=9)  # less than the grace after which a worker would be killed
        assert service.returncode == 0


def test_bus_commands_take_kafka(command):
    topic = f"cli-{uuid.uuid4().hex}"
    command("bus", "declare", topic, "readers")
    command("bus", "send", topic, "hello", "--key", "k1", "--attribute", "language=en")
    (one,) = json.loads(command("bus", "receive", topic, "readers", "--count", "1", "--json"))
    assert (one["data"], one["key"], one["attributes"]) == ("hello", "k1", {"language": "en"})


def test_images_sent_before_a_worker_runs_are_classified_and_stored(command, visionbus, kafka, tmp_path, images):
    prefix = f"cli-{uuid.uuid4().hex}"
    store = tmp_path / "answers.db"
    sent = set(command("send", str(images), "--topic", prefix).split())
    worker = subprocess.Popen([*visionbus, "worker", "--processes", "1", "--topic", prefix, "--bus", kafka.url])
    try:
        command("results", "--store", str(store), "--count", str(len(sent)), "--topic", prefix)
    finally:
        worker.terminate()
        assert worker.wait(30.0) == 0
    with closing(sqlite3.connect(store)) as database:
        assert {name for (name,) in database.execute("select id from results where label is not null")} == sent
