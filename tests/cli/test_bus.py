import base64
import io
import itertools
import subprocess
import sys
from types import SimpleNamespace

import pytest

from visionbus.messaging import Message, Retry, TooLargeError, connect_blocking
from visionbus.messaging.drivers.memory import MemoryDriver

pytestmark = pytest.mark.timeout(30)  # a --count or --timeout that is not heeded would have it wait for ever
URL = "memory://"
names = (f"topic-{number}" for number in itertools.count())


@pytest.fixture
def topic(run):
    """A topic with the subscription `workers`."""
    name = next(names)
    assert run("bus", "declare", name, "workers", "--bus", URL).status == 0
    return name


@pytest.fixture
def stdin(monkeypatch):
    return lambda data: monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(data))))


def receive(run, topic, *options):
    return run("bus", "receive", topic, "workers", "--timeout", "0", "--bus", URL, *options)


def given_up(topic, *data):
    """Make dead letters."""
    with connect_blocking(URL) as bus:
        bus.send(topic, *(Message(one, "k", {"colour": "red"}) for one in data))
        with bus.subscribe(topic, "workers", retry=Retry(max_attempts=1)) as receiver:
            for one in receiver.receive(len(data)):
                receiver.reject(one, reason="no image\nat all")


def test_declare_says_what_there_is_now(run):
    name = next(names)
    shown = run("bus", "declare", name, "workers", "archive", "--bus", URL)
    assert shown.lines == [
        f"topic {name}",
        f"subscription {name} workers",
        f"subscription {name} archive",
        f"dead letters {name}.workers.dead",
        f"dead letters {name}.archive.dead",
    ]
    assert run("bus", "declare", name, "workers", "--bus", URL, "--json").document == {
        "topic": name,
        "subscriptions": ["workers"],
        "dead_letters": [f"{name}.workers.dead"],
    }


def test_bus_is_named_by_the_environment(run, monkeypatch, topic):
    monkeypatch.setenv("VISIONBUS_URL", URL)
    assert run("bus", "send", topic, "x").status == 0


def test_what_is_sent_is_received_and_acked(run, topic):
    sent = run("bus", "send", topic, "hello", "wörld", "--bus", URL)
    assert len(set(sent.lines)) == 2
    assert receive(run, topic).lines == ["hello", "wörld"]
    assert receive(run, topic).lines == []


def test_received_document_has_all_that_is_known(run, topic):
    (name,) = run("bus", "send", topic, "x", "--key", "k", "--attribute", "a=1=2", "--bus", URL, "--json").document[
        "ids"
    ]
    (one,) = receive(run, topic, "--json").document
    published = one.pop("published")
    assert one == {"id": name, "attempt": 1, "key": "k", "attributes": {"a": "1=2"}, "data": "x"}
    assert published.endswith("+00:00")
    assert receive(run, topic, "--json").document == []


def test_peek_gives_back(run, topic):
    run("bus", "send", topic, "x", "y", "--bus", URL)
    assert receive(run, topic, "--peek").lines == ["x", "y"]
    assert receive(run, topic, "--peek", "--json", "--count", "1").document[0]["attempt"] == 1
    assert receive(run, topic).lines == ["x", "y"]


def test_count_leaves_the_rest(run, topic):
    run("bus", "send", topic, "x", "y", "z", "--bus", URL)
    assert receive(run, topic, "--count", "2").lines == ["x", "y"]
    assert receive(run, topic).lines == ["z"]


def test_fewer_than_count_fails(run, topic):
    run("bus", "send", topic, "x", "--bus", URL)
    shown = receive(run, topic, "--count", "2")
    assert (shown.status, shown.lines) == (1, ["x"])
    assert "1 of 2 messages came" in shown.err


def test_stdin_is_one_message(run, topic, stdin):
    stdin(b"two\nlines\n")
    assert len(run("bus", "send", topic, "--bus", URL).lines) == 1
    assert receive(run, topic, "--json").document[0]["data"] == "two\nlines\n"


def test_lines_of_stdin_are_messages(run, topic, stdin):
    stdin(b"one\n\nthree")
    assert len(run("bus", "send", topic, "--lines", "--bus", URL).lines) == 3
    assert [one["data"] for one in receive(run, topic, "--json").document] == ["one", "", "three"]


def test_many_lines_lose_nothing_at_the_edges_of_reads(run, topic, stdin):
    lines = [f"{number:06} {'x' * (number % 97)}" for number in range(5000)]
    stdin("\n".join(lines).encode())
    run("bus", "send", topic, "--lines", "--bus", URL)
    assert receive(run, topic).lines == lines


@pytest.mark.slow
def test_lines_are_sent_as_they_come(visionbus, tmp_path):
    url = f"sqlite:///{tmp_path}/bus.db"
    subprocess.run([*visionbus, "bus", "declare", "lines", "workers", "--bus", url], check=True, capture_output=True)
    sending = [*visionbus, "bus", "send", "lines", "--lines", "--bus", url]
    with subprocess.Popen(sending, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sender:
        sender.stdin.write(b"first\n")
        sender.stdin.flush()
        assert sender.stdout.readline().strip()
        sender.stdin.close()
    assert sender.returncode == 0


def test_file_is_one_message_and_binary_is_shown_as_base64(run, topic, tmp_path):
    binary = bytes(range(256))
    (tmp_path / "a.bin").write_bytes(binary)
    run("bus", "send", topic, "--file", tmp_path / "a.bin", "--bus", URL)
    assert receive(run, topic, "--peek").lines == ["base64:" + base64.b64encode(binary).decode()]
    assert base64.b64decode(receive(run, topic, "--json").document[0]["base64"]) == binary


def test_escape_sequences_do_not_reach_the_terminal(run, topic):
    run("bus", "send", topic, "\x1b[31mred", "--bus", URL)
    assert "\x1b" not in receive(run, topic).out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["send", "TOPIC", "x", "--lines"], "DATA cannot go with --file or --lines"),
        (["send", "TOPIC", "x", "--attribute", "no-value"], "write NAME=VALUE"),
        (["receive", "TOPIC", "workers", "--count", "0"], "--count"),
        (["dead-letters", "TOPIC", "workers", "--purge", "--redrive"], "exclude each other"),
        (["dead-letters", "TOPIC.workers.dead", "workers"], "name the topic that they come from"),
    ],
)
def test_wrong_usage_is_said(run, topic, arguments, reason):
    shown = run("bus", *(one.replace("TOPIC", topic) for one in arguments), "--bus", URL)
    assert shown.status == 2
    assert reason in shown.err


@pytest.mark.parametrize("verb", [["send", "x"], ["receive", "workers"], ["dead-letters", "workers"]])
def test_undeclared_topic_is_one_line_with_the_cure(run, verb):
    shown = run("bus", verb[0], "never-declared", *verb[1:], "--bus", URL)
    assert shown.status == 1
    assert "declare" in shown.err
    assert shown.err.count("\n") == 1


def test_too_large_message_is_refused(run, topic, tmp_path):
    (tmp_path / "big").write_bytes(bytes(1_000_001))
    shown = run("bus", "send", topic, "--file", tmp_path / "big", "--bus", URL)
    assert shown.status == 1
    assert "1,000,001 bytes" in shown.err


def test_dead_letters_are_listed_with_reason_and_stay(run, topic):
    given_up(topic, b"x", b"y")
    for _ in range(2):
        shown = run("bus", "dead-letters", topic, "workers", "--timeout", "0", "--bus", URL)
        assert len(shown.lines) == 2
        assert shown.lines[0].endswith("no image at all")
        assert " attempts 1 " in shown.lines[0]


def test_dead_letters_document(run, topic):
    given_up(topic, b"x")
    (letter,) = run("bus", "dead-letters", topic, "workers", "--timeout", "0", "--bus", URL, "--json").document
    assert letter["reason"] == "no image\nat all"
    assert letter["source_topic"] == topic
    assert letter["source_subscription"] == "workers"
    assert letter["attempts"] == 1
    assert letter["data"] == "x"


def test_redriven_letters_are_the_originals_again(run, topic):
    given_up(topic, b"x", b"y")
    assert run("bus", "dead-letters", topic, "workers", "--redrive", "--timeout", "0", "--bus", URL).lines[-1] == (
        "sent again 2"
    )
    again = receive(run, topic, "--json").document
    assert [one["data"] for one in again] == ["x", "y"]
    assert {one["key"] for one in again} == {"k"}
    assert again[0]["attributes"] == {"colour": "red"}
    assert run("bus", "dead-letters", topic, "workers", "--timeout", "0", "--bus", URL).lines == []


def test_letters_without_their_data_are_not_sent_again(run, topic, monkeypatch):
    taking = MemoryDriver.send

    async def send(driver, name, messages):
        if name.endswith(".dead") and any(message.data == b"xxx" for message in messages):
            raise TooLargeError("the broker takes less")
        return await taking(driver, name, messages)

    monkeypatch.setattr(MemoryDriver, "send", send)
    monkeypatch.setattr(MemoryDriver, "keeps_acked", True)
    given_up(topic, b"xxx")
    given_up(topic, b"y")
    redriven = run("bus", "dead-letters", topic, "workers", "--redrive", "--timeout", "0", "--bus", URL)
    assert redriven.lines[-1] == "sent again 1"
    assert "1 stay" in redriven.err
    assert [one["data"] for one in receive(run, topic, "--json").document] == ["y"]
    assert len(run("bus", "dead-letters", topic, "workers", "--timeout", "0", "--bus", URL).lines) == 1


def test_purged_letters_are_gone(run, topic):
    given_up(topic, b"x", b"y", b"z")
    purging = ["bus", "dead-letters", topic, "workers", "--timeout", "0", "--bus", URL, "--purge"]
    assert run(*purging, "--count", "1").lines[-1] == "removed 1"
    assert run(*purging).lines[-1] == "removed 2"
    assert receive(run, topic).lines == []
