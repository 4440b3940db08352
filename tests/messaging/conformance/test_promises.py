"""The suite itself: it backs every promise, says what it leaves out, and joins a stranger's tests in a few lines."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import visionbus.messaging
from visionbus.messaging.conformance import CLAIMS, PROMISES, Trial, content, promise, promises
from visionbus.messaging.conformance.promises import listing
from visionbus.messaging.drivers.memory import MemoryDriver
from visionbus.messaging.drivers.sqlite import SQLiteDriver

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/messaging.md").read_text(encoding="utf-8")


@pytest.fixture
def claims(monkeypatch):
    """Let a test make claims of its own, and forget them."""
    monkeypatch.setattr(promises, "CLAIMS", {})


@pytest.mark.parametrize("number", PROMISES)
def test_promise_is_backed_by_several_tests(number):
    assert len([claim for claim in CLAIMS.values() if number in claim.promises]) >= 3


@pytest.mark.parametrize("number", PROMISES)
def test_guide_has_the_promise(number):
    assert f"| {number} | {PROMISES[number]} |\n" in GUIDE


def test_page_of_promises_lists_their_tests():
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    assert page == listing(), "renew it: python -m visionbus.messaging.conformance > docs/promises.md"


@pytest.mark.parametrize("name", visionbus.messaging.__all__)
def test_public_name_is_in_the_guide(name):
    assert re.search(rf"\b{name}\b", GUIDE)


@pytest.mark.parametrize("page", ["messaging.md", "drivers.md"])
def test_tests_named_in_the_docs_exist(page):
    names = re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert set(names) <= set(CLAIMS)


def test_promises_that_a_driver_lacks_are_skipped_with_the_reason(claims, monkeypatch):
    monkeypatch.setattr(MemoryDriver, "flags", frozenset({"8"}))
    ran = []

    @promise(3, 8)
    async def test_of_two(trial):
        ran.append("two")

    @promise(3)
    async def test_of_another(trial):
        ran.append("another")

    with pytest.raises(pytest.skip.Exception, match=r"memory:// lacks promise 8: Messages of one key"):
        test_of_two("memory://")
    test_of_another("memory://")
    assert ran == ["another"]


def test_tests_of_several_processes_are_skipped_where_messages_stay_in_one(claims):
    @promise(7, processes=True)
    async def test_of_processes(trial):
        raise AssertionError

    with pytest.raises(pytest.skip.Exception, match="memory:// lives in one process"):
        test_of_processes("memory://")


def test_none_of_our_drivers_lacks_a_promise():
    assert not MemoryDriver.flags
    assert not SQLiteDriver.flags
    assert SQLiteDriver.across_processes


def test_failure_names_the_seed_that_repeats_it(claims, monkeypatch):
    drawn = []

    @promise(1)
    async def test_of_chance(trial):
        drawn.append(trial.random.random())
        assert not drawn

    with pytest.raises(AssertionError) as caught:
        test_of_chance("memory://")
    (note,) = caught.value.__notes__
    name, seed = re.match(r"(\w+)=(\d+) ", note).groups()
    monkeypatch.setenv(name, seed)
    with pytest.raises(AssertionError):
        test_of_chance("memory://")
    assert drawn[0] == drawn[1]


def test_test_that_takes_too_long_fails(claims):
    @promise(1, patience=0.05)
    async def test_of_patience(trial):
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="time limit"):
        test_of_patience("memory://")


def test_time_limit_grows_with_the_leases_that_are_waited_for():
    async def limits():
        async with Trial("memory://", 1, 5.0) as trial:
            before = trial._limit.when()
            topic = await trial.topic()
            await trial.receiver(topic)
            assert trial._limit.when() == before
            receiver = await trial.receiver(topic, ack_deadline=1.0)
            return before, trial._limit.when(), receiver.ack_deadline

    before, after, lease = asyncio.run(limits())
    assert after == pytest.approx(before + 10 * lease)


def test_what_a_trial_opened_is_closed():
    async def opened():
        async with Trial("memory://", 1, 5.0) as trial:
            return await trial.receiver(await trial.topic())

    assert asyncio.run(opened())._closed


def test_two_tests_of_one_name_are_refused(claims):
    @promise(1)
    async def test_of_a_name(trial):
        pass

    with pytest.raises(ValueError, match="two conformance tests"):
        promise(2)(test_of_a_name)


STRANGER = """
import pytest
from visionbus.messaging.conformance import *

@pytest.fixture
def bus_url():
    return "theirs://"
"""


@pytest.mark.slow
def test_stranger_gets_the_suite_by_an_entry_point_and_one_fixture(tmp_path):
    """With a bare pytest: no plugin, no configuration, no marks of ours."""
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    (tmp_path / "theirs-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (tmp_path / "theirs-1.0.dist-info/entry_points.txt").write_text(
        "[visionbus.messaging.drivers]\ntheirs = their_driver:Theirs\n"
    )
    (tmp_path / "their_driver.py").write_text(
        "from visionbus.messaging.drivers.memory import MemoryDriver\n"
        "class Theirs(MemoryDriver):\n    flags = frozenset({'8'})\n"
    )
    (tmp_path / "test_theirs.py").write_text(STRANGER)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "--strict-markers",
            "-W",
            "error",
            "-k",
            "key or closed or declar or killed",
        ],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    assert "theirs:// lacks promise 8" in done.stdout
    assert re.search(r"\d\d passed, \d+ skipped", done.stdout)


def test_assertions_of_the_suite_tell_what_was_compared():
    """As pytest rewrites them: also those of modules that are not the stranger's own."""
    assert type(content.__loader__).__name__ == "AssertionRewritingHook"
