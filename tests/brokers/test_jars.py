"""Kafka's jars come once. Maven, which puts them where it is told, is a script of ours here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from visionbus.brokers.errors import InstallError
from visionbus.brokers.jars import VERSION, kafka_jars

JAVA = Path("/nowhere/bin/java")
MAVEN = f"""#!/bin/sh
echo once >> "$CALLS"
for word in "$@"; do case $word in -DoutputDirectory=*) folder=${{word#*=}};; esac; done
mkdir -p "$folder"
echo jar > "$folder/kafka_2.13-{VERSION}.jar"
echo jar > "$folder/other-1.jar"
"""
FETCH = """
import sys
sys.modules["jgo"] = None
from pathlib import Path
from visionbus.brokers.jars import kafka_jars
print(kafka_jars(Path("/nowhere/bin/java")))
"""


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, on a machine without jgo."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "jgo", None)
    return tmp_path / "cache" / "visionbus"


@pytest.fixture
def maven(monkeypatch, tmp_path):
    """Put a Maven on the PATH; give the function that tells how often it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mvn").write_text(MAVEN)
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return lambda: (tmp_path / "calls").read_text().count("once")


def test_jars_are_fetched_once_and_found_after_that(cache, maven):
    said = []
    first = kafka_jars(JAVA, said.append)
    assert sorted(path.name for path in first.iterdir()) == [f"kafka_2.13-{VERSION}.jar", "other-1.jar"]
    assert kafka_jars(JAVA, said.append) == first
    assert maven() == 1
    assert len(said) == 1


def test_two_processes_at_once_fetch_once(cache, maven):
    command = [sys.executable, "-c", FETCH]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0] for process in both}
    assert folders == {f"{cache}/kafka-{VERSION}\n"}
    assert maven() == 1


def test_what_a_killed_process_left_is_not_taken_for_the_jars(cache, maven):
    part = cache / f"kafka-{VERSION}.part"
    (part / "jgo").mkdir(parents=True)
    (part / "jgo" / "half.jar").touch()
    assert "half.jar" not in [path.name for path in kafka_jars(JAVA).iterdir()]
    assert not part.exists()


def test_complete_cache_needs_neither_network_nor_tools(cache, monkeypatch):
    (cache / f"kafka-{VERSION}").mkdir(parents=True)
    monkeypatch.setenv("PATH", "")
    assert kafka_jars(JAVA) == cache / f"kafka-{VERSION}"


def test_without_jgo_and_maven_the_error_names_both_and_the_cure(cache, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InstallError) as caught:
        kafka_jars(JAVA)
    assert "jgo is not installed (pip install 'visionbus[brokers]')" in str(caught.value)
    assert "Maven (mvn) is not on the PATH" in str(caught.value)
    assert not (cache / f"kafka-{VERSION}").exists()


@pytest.mark.slow
def test_without_network_the_error_says_what_failed(cache, monkeypatch):
    monkeypatch.delitem(sys.modules, "jgo")
    pytest.importorskip("jgo")
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")  # nobody is there
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        InstallError, match=r"jgo ended with status 1: .*kafka-clients.* Maven Central: check the network"
    ):
        kafka_jars(JAVA)


def test_maven_that_fails_is_quoted(cache, monkeypatch, tmp_path):
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho '[ERROR] no such host'\nexit 3\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(InstallError, match=r"mvn ended with status 3: \[ERROR\] no such host"):
        kafka_jars(JAVA)
