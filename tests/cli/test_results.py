import asyncio
import contextlib
import itertools
import signal
import sqlite3
import subprocess

import pytest

from visionbus.cli import results
from visionbus.messaging import connect_blocking
from visionbus.service import Answer

pytestmark = pytest.mark.timeout(30)  # a --count that is not heeded, or another topic, would have it wait for ever
URL = "memory://"
prefixes = (f"results-{number}" for number in itertools.count())


@pytest.fixture
def topic():
    """A prefix on whose answers there are three, one of them twice."""
    name = next(prefixes)
    with connect_blocking(URL) as bus:
        bus.declare(f"{name}.answers", "results")
        for number in (1, 2, 2, 3):
            answer = Answer(f"r/{number}", "cat", (("cat", 0.9), ("dog", 0.1)), "pets", "v1", 1.0, 2.0, 3.0)
            bus.send(f"{name}.answers", answer.to_message())
    return name


def test_answers_are_stored_once_each(run, topic, tmp_path):
    path = tmp_path / "answers.db"
    shown = run("results", "--store", path, "--count", "3", "--topic", topic, "--bus", URL)
    assert shown.status == 0
    ready, *said = shown.err.splitlines()
    assert (ready, set(said)) == ("results ready", {"stored 3"})  # a slow end says it once more
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT id, label FROM results").fetchall() == [
            (f"r/{number}", "cat") for number in (1, 2, 3)
        ]


def test_dash_prints_the_answers(run, topic):
    shown = run("results", "--store", "-", "--count", "4", "--topic", topic, "--bus", URL)
    assert shown.lines == ["r/1\tcat\t0.900", "r/2\tcat\t0.900", "r/2\tcat\t0.900", "r/3\tcat\t0.900"]


def test_json_says_how_many_were_stored(run, topic, tmp_path):
    store = f"sqlite:///{tmp_path}/answers.db"
    shown = run("results", "--store", store, "--count", "3", "--topic", topic, "--bus", URL, "--json")
    assert shown.document == {"stored": 3, "store": store}


@pytest.mark.parametrize(
    ("store", "status", "said"),
    [("mysql://x", 1, "unknown scheme 'mysql'"), ("/missing/answers.db", 1, "name a SQLite file that can be written")],
)
def test_store_that_will_not_do_is_told_in_one_line(run, topic, store, status, said):
    shown = run("results", "--store", store, "--topic", topic, "--bus", URL)
    assert shown.status == status
    assert said in shown.err
    assert "Traceback" not in shown.err


def test_store_that_is_the_bus_is_refused_and_the_bus_stays_one(run, tmp_path):
    url = f"sqlite:///{tmp_path}/one.db"
    for store in (url, tmp_path / "one.db", tmp_path / "." / "one.db"):
        shown = run("results", "--store", store, "--bus", url)
        assert (shown.status, shown.out) == (1, "")
        assert (
            shown.err == f"visionbus: error: {tmp_path}/one.db holds a message bus: name another file for the results\n"
        )
    assert run("bus", "send", "visionbus.answers", "x", "--bus", url).status == 0


def test_count_is_said_when_no_more_answers_come(capsys, monkeypatch):
    monkeypatch.setattr(results, "_SHOW_EVERY", 0.01)

    async def two_bursts():
        progress = results._Progress(None)
        said = []
        async with asyncio.timeout(10):
            for new in ((2, 1), (4,)):
                for some in new:
                    assert not progress(some)
                while not (line := capsys.readouterr().err):  # noqa: ASYNC110 (what is captured wakes nobody)
                    await asyncio.sleep(0.001)
                said.append(line)
        return said

    assert asyncio.run(two_bursts()) == ["stored 3\n", "stored 7\n"]


def test_json_and_printing_exclude_each_other(run, topic):
    assert run("results", "--store", "-", "--json", "--topic", topic, "--bus", URL).status == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_well(visionbus, tmp_path, number):
    command = [*visionbus, "results", "--store", tmp_path / "r.db", "--bus", f"sqlite:///{tmp_path}/bus.db"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "results ready\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "stored 0\n")
