"""Google's emulator of Pub/Sub, started and ended by us."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from visionbus.brokers import pubsub as brokers_pubsub
from visionbus.brokers.errors import InstallError, PortError, StartError
from visionbus.brokers.ports import HOST, free_ports
from visionbus.brokers.pubsub import JAR, PubsubEmulator, find_jar

PARENT = """
import time
from visionbus.brokers.pubsub import PubsubEmulator
with PubsubEmulator() as emulator:
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without a Cloud SDK, and an empty folder, which is given, as its PATH."""
    monkeypatch.delenv(JAR, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def emulator():
    try:
        find_jar()
    except InstallError as error:
        pytest.skip(str(error))
    return PubsubEmulator()


def put_gcloud(folder, *commands):
    gcloud = folder / "gcloud"
    gcloud.write_text("\n".join(("#!/bin/sh", *commands, "")))
    gcloud.chmod(0o755)


def put_sdk(folder, *versions):
    put_gcloud(folder, f"echo '{folder}'")
    lib = folder / "platform/pubsub-emulator/lib"
    lib.mkdir(parents=True)
    jars = [lib / f"cloud-pubsub-emulator-{version}-all.jar" for version in versions]
    for jar in jars:
        jar.touch()
    return jars


def answers(emulator):
    host, _, port = emulator.host.partition(":")
    with socket.create_connection((host, int(port)), 5.0):
        return True


def test_jar_that_the_environment_names_is_taken(bare, monkeypatch):
    jar = bare / "emulator.jar"
    jar.touch()
    monkeypatch.setenv(JAR, str(jar))
    assert find_jar() == jar


def test_named_jar_that_is_not_there_is_told(bare, monkeypatch):
    monkeypatch.setenv(JAR, "/nowhere/emulator.jar")
    with pytest.raises(InstallError, match=r"/nowhere/emulator\.jar, which is no file"):
        find_jar()


def test_jar_of_the_cloud_sdk_is_found(bare):
    (jar,) = put_sdk(bare, "0.8.20")
    assert find_jar() == jar


def test_newest_jar_is_taken(bare):
    *_, newest = put_sdk(bare, "0.8.9", "0.8.14")
    assert find_jar() == newest


@pytest.mark.parametrize("command", ["echo", "echo broken >&2; exit 1"])
def test_gcloud_that_says_nothing_is_told_and_the_current_folder_is_not_searched(bare, monkeypatch, command):
    put_sdk(bare, "0.8.20")
    put_gcloud(bare, command)
    monkeypatch.chdir(bare)
    with pytest.raises(InstallError, match=r"gcloud does not say where the Cloud SDK is .*gcloud components install"):
        find_jar()


def test_gcloud_that_hangs_is_told(bare, monkeypatch):
    put_gcloud(bare, "while :; do :; done")
    monkeypatch.setattr(brokers_pubsub, "_ASKING", 0.2)
    with pytest.raises(InstallError, match=r"gcloud does not say within 0\.2 s where the Cloud SDK is"):
        find_jar()


def test_emulator_that_was_not_started_is_told():
    with pytest.raises(StartError, match="not started: use it in `with`"):
        PubsubEmulator().kill()


def test_sdk_without_the_component_is_told_with_the_cure(bare):
    put_sdk(bare)
    with pytest.raises(InstallError, match=r"has no Pub/Sub emulator: .*gcloud components install pubsub-emulator"):
        find_jar()


def test_no_sdk_is_told_with_the_cure(bare):
    with pytest.raises(InstallError, match=f"no Cloud SDK .*gcloud components install pubsub-emulator.*{JAR}"):
        find_jar()


@pytest.mark.slow
def test_session_has_an_emulator_that_serves(pubsub):
    assert answers(pubsub)


@pytest.mark.slow
def test_killed_emulator_comes_back_on_its_port(emulator):
    with emulator:
        host = emulator.host
        emulator.kill()
        with pytest.raises(ConnectionRefusedError):
            answers(emulator)
        emulator.start()
        assert answers(emulator)
        assert emulator.host == host


@pytest.mark.slow
def test_emulator_that_ends_by_itself_is_told(emulator):
    with emulator:
        port = emulator.host.replace(f"{HOST}:", "--port=")
        (process,) = (one for one in psutil.Process().children() if port in one.cmdline())
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(StartError, match="the Pub/Sub emulator was killed by SIGKILL"):
            emulator.check()


@pytest.mark.slow
def test_temporary_folder_is_removed(emulator, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with emulator:
        assert list(tmp_path.glob("visionbus-pubsub-*/log.txt"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_port_that_is_taken_is_an_error(emulator):
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortError, match=f"port {port} is taken"), PubsubEmulator(port=port):
            pass


@pytest.mark.slow
def test_chosen_port_that_somebody_takes_meanwhile_is_exchanged(emulator, monkeypatch):
    with socket.create_server((HOST, 0)) as listener:
        free = free_ports(1)
        choices = iter([[listener.getsockname()[1]], free])
        monkeypatch.setattr("visionbus.brokers.pubsub.free_ports", lambda _: next(choices))
        with emulator:
            assert emulator.host == f"{HOST}:{free[0]}"


@pytest.mark.slow
def test_two_that_start_at_once_do_not_both_take_the_usual_port(emulator):
    (usual,) = free_ports(1)
    two = [PubsubEmulator(usual=usual) for _ in range(2)]
    with ExitStack() as closing, ThreadPoolExecutor(2) as pool:
        for started in pool.map(PubsubEmulator.__enter__, two):
            closing.push(started)
        hosts = {started.host for started in two}
        assert len(hosts) == 2
        assert f"{HOST}:{usual}" in hosts
        for started in two:
            answers(started)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel tells no process of its parent's death")
def test_emulator_ends_when_its_process_is_killed(emulator):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        children = psutil.Process(parent.pid).children()
        parent.kill()
    assert len(children) == 1
    alive = psutil.wait_procs(children, timeout=20)[1]
    for one in alive:
        one.kill()
    assert alive == []
