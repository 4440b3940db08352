"""What only the SQLite bus has: a file, a disk, a lock, other processes and a clock."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from visionbus.messaging import (
    AccessError,
    Message,
    MessagingError,
    NotFoundError,
    UnavailableError,
    connect,
)
from visionbus.messaging.drivers.sqlite import driver as sqlite_driver
from visionbus.messaging.drivers.sqlite import store as sqlite_store
from visionbus.messaging.drivers.sqlite import writer as sqlite_writer

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk, to be full or read-only")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bus.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


async def declared(url):
    async with connect(url) as bus:
        await bus.declare("images", "workers")


async def received(url, count, *, acked=True):
    async with connect(url) as bus, bus.subscribe("images", "workers") as subscription:
        got = []
        while len(got) < count and (batch := await subscription.receive(count - len(got), timeout=10)):
            got += batch
        if acked:
            await subscription.ack(*got)
        return [delivery.message.data for delivery in got]


@contextmanager
def holding(path, *, mode):
    """Another process that holds the file: by SQLite's own lock, or frozen in its turn with ours."""
    code = {
        "exclusive": "db = sqlite3.connect(path, isolation_level=None); db.execute('BEGIN IMMEDIATE')",
        "turn": "fd = os.open(path + '-lock', os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX)",
    }[mode]
    script = f"import fcntl, os, sqlite3, sys\npath = sys.argv[1]\n{code}\nprint('held', flush=True)\nsys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("sqlite://bus.db", "sqlite:///relative.db"),
        ("sqlite://", "sqlite:///relative.db"),
        ("sqlite:///:memory:", "memory://"),
        ("sqlite:///bus.db?synchronous=off", "known: normal, full"),
        ("sqlite:///bus.db?journal=wal", "known: max_message_bytes, synchronous"),
    ],
)
def test_unusable_url_is_refused_with_its_cure(url, cure):
    with pytest.raises(ValueError, match=cure.replace("?", r"\?")):
        connect(url)


def test_relative_path_is_relative_and_percent_decoded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asyncio.run(declared("sqlite:///a%20bus.db"))
    assert (tmp_path / "a bus.db").exists()


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(AccessError, match="folder exists"):
        asyncio.run(declared(f"sqlite:///{tmp_path}/missing/bus.db"))


def test_file_that_is_no_database_is_refused_and_left_alone(path, url):
    path.write_bytes(b"dear diary, " * 1000)
    with pytest.raises(ValueError, match="file of its own"):
        asyncio.run(declared(url))
    assert path.read_bytes() == b"dear diary, " * 1000


def test_database_of_another_program_is_refused_and_left_alone(path, url):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE songs (title)")
    db.close()
    with pytest.raises(ValueError, match="another program"):
        asyncio.run(declared(url))
    db = sqlite3.connect(path)
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("songs",)]
    db.close()


def test_file_of_another_format_is_refused(path, url):
    asyncio.run(declared(url))
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ValueError, match="format 99"):
        asyncio.run(declared(url))


def test_truncated_file_is_an_error_of_the_bus(path, url):
    asyncio.run(declared(url))
    os.truncate(path, 5000)
    with pytest.raises((MessagingError, ValueError)):
        asyncio.run(declared(url))


@contextmanager
def small_disk(folder):
    """A file system of 2 MB, to be filled or made read-only; only root may have one."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@root
def test_file_on_a_read_only_disk_is_an_access_error(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        asyncio.run(declared(f"sqlite:///{disk}/bus.db"))
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(AccessError, match="may be written"):
            asyncio.run(declared(f"sqlite:///{disk}/bus.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write what is read-only")
def test_read_only_file_is_an_access_error(path, url):
    asyncio.run(declared(url))
    path.chmod(0o400)
    with pytest.raises(AccessError, match="rights"):
        asyncio.run(declared(url))


def test_removed_file_is_noticed_by_senders_and_by_receivers_that_wait(path, url):
    """What is written to a file that has no name any more, nobody would ever read."""
    noticed = []

    async def wait():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            async with bus.subscribe("images", "workers", ack_deadline=1) as subscription:
                waiting = asyncio.create_task(subscription.receive(timeout=20))
                await asyncio.sleep(0)
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink()
                for attempt in (waiting, bus.send("images", Message(b"lost?"))):
                    try:
                        await attempt
                    except NotFoundError as error:
                        noticed.append(str(error))

    with pytest.raises(NotFoundError, match="removed or replaced"):  # by closing, too
        asyncio.run(wait())
    assert len(noticed) == 2


@pytest.mark.slow
def test_file_held_by_another_program_is_an_error_and_works_again_afterwards(path, url, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "BUSY_TIMEOUT", 0.2)

    async def send():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            with holding(path, mode="exclusive"), pytest.raises(UnavailableError, match="another program"):
                await bus.send("images", Message(b"early"))
            await bus.send("images", Message(b"later"))

    asyncio.run(send())
    assert asyncio.run(received(url, 1)) == [b"later"]


@pytest.mark.slow
def test_sender_waits_for_a_process_frozen_in_its_turn_and_does_not_fail(path, url):
    async def send():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            with holding(path, mode="turn") as frozen:
                frozen.send_signal(signal.SIGSTOP)
                sending = asyncio.create_task(bus.send("images", Message(b"patient")))
                done, _ = await asyncio.wait({sending}, timeout=1)
                assert not done
            await sending

    asyncio.run(send())
    assert asyncio.run(received(url, 1)) == [b"patient"]


@pytest.mark.slow
def test_lease_is_not_taken_over_right_after_all_had_to_wait(path, url):
    """While a frozen process held everybody up, nobody could extend a lease."""

    async def hold():
        async with connect(url) as bus, connect(url) as other:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"mine"))
            async with (
                bus.subscribe("images", "workers", ack_deadline=1) as subscription,
                other.subscribe("images", "workers", ack_deadline=1) as rival,
            ):
                (mine,) = await subscription.receive()
                with holding(path, mode="turn"):
                    robbing = asyncio.create_task(rival.receive(timeout=3))
                    await asyncio.wait({robbing}, timeout=2.5)
                assert await robbing == []
                await subscription.ack(mine)

    asyncio.run(hold())


@pytest.mark.slow
def test_who_waited_long_for_a_turn_takes_nothing_over_for_a_while(path, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "PATIENCE", 3600)

    async def wait():
        writer = sqlite_writer.Writer(path, synchronous="normal")
        await writer.run(lambda store: None)  # makes the file, which may take long
        writer._patient_until = 0.0
        assert not await writer.run(lambda store: store.patient)
        with holding(path, mode="turn"):
            waiting = asyncio.create_task(writer.run(lambda store: store.patient))
            await asyncio.wait({waiting}, timeout=sqlite_writer.LONG_WAIT * 1.5)
        assert await waiting
        assert await writer.run(lambda store: store.patient)
        writer._patient_until -= sqlite_writer.PATIENCE
        assert not await writer.run(lambda store: store.patient)
        await writer.close()

    asyncio.run(wait())


def test_patient_store_takes_nothing_over(path):
    store = sqlite_store.Store(path, synchronous="normal", busy_timeout=1)
    with store.transaction():
        store.declare("images", ["workers"], create=True)
        store.send("images", [Message(b"held")])
        dead = store.attach("images", "workers", time.monotonic())
        assert len(store.claim(dead, 1)) == 1
        heir = store.attach("images", "workers", time.monotonic() + 60)
        store.patient = True
        assert store.claim(heir, 1) == []
        store.patient = False
        assert len(store.claim(heir, 1)) == 1
    store.close()


@pytest.mark.slow
def test_close_takes_seconds_while_a_process_is_frozen_in_its_turn(path, url, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "CLOSING_TIME", 0.3)

    async def close():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            with holding(path, mode="turn"):
                sending = asyncio.create_task(bus.send("images", Message(b"late")))
                await asyncio.wait({sending}, timeout=0.1)
                await bus.close()
            await sending

    start = time.monotonic()
    asyncio.run(close())
    assert time.monotonic() - start < 10
    assert asyncio.run(received(url, 1)) == [b"late"]


@root
def test_full_disk_fails_the_send_and_keeps_what_was_confirmed(tmp_path):
    async def fill(url, ballast):
        confirmed = []
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            ballast.write_bytes(bytes(500_000))
            with pytest.raises(UnavailableError, match="full"):  # noqa: PT012 (the disk says when)
                for number in range(1000):
                    data = b"%d " % number * 1000
                    await bus.send("images", Message(data))
                    confirmed.append(data)
            ballast.unlink()
            await bus.send("images", Message(b"room again"))
        return [*confirmed, b"room again"]

    with small_disk(tmp_path / "disk") as disk:
        url = f"sqlite:///{disk}/bus.db"
        confirmed = asyncio.run(fill(url, disk / "ballast"))
        assert len(confirmed) > 10
        assert asyncio.run(received(url, len(confirmed))) == confirmed


def test_restart_of_the_machine_frees_what_was_held_and_delayed(path, url):
    """Monotonic time begins anew with the machine, so times in the file lie in the future."""

    async def hold():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"delayed"), Message(b"held"))
            async with bus.subscribe("images", "workers") as subscription:
                delayed, _ = await subscription.receive(2)
                await subscription.nack(delayed, delay=3600)

    asyncio.run(hold())
    db = sqlite3.connect(path)
    db.execute("INSERT INTO receivers SELECT 1, id, 1e12 FROM subscriptions WHERE name = 'workers'")
    db.execute("UPDATE claims SET receiver = 1 WHERE receiver IS NULL AND due = 0")
    db.execute("UPDATE clock SET seen = 1e12")
    db.commit()
    db.close()
    assert asyncio.run(received(url, 2)) == [b"delayed", b"held"]


def test_clock_that_steps_changes_no_lease_and_no_delay(url, monkeypatch):
    async def step():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"held"), Message(b"delayed"))
            async with bus.subscribe("images", "workers") as first, bus.subscribe("images", "workers") as second:
                held, delayed = await first.receive(2)
                await first.nack(delayed, delay=0.05)
                now = time.time()
                for step in (-86_400, 86_400):
                    monkeypatch.setattr(time, "time", lambda step=step: now + step)
                    await bus.send("images", Message(b"%d" % step))
                got = []
                while len(got) < 3:
                    got += await second.receive(3, timeout=10)
                await second.ack(*got)
                await first.ack(held)
                return {delivery.message.data for delivery in got}

    assert asyncio.run(step()) == {b"delayed", b"-86400", b"86400"}


AGED = """
import asyncio, os, sys, time
ahead, verb, url = float(sys.argv[1]), sys.argv[2], sys.argv[3]
real = time.monotonic
time.monotonic = lambda: real() + ahead
from visionbus.messaging import Message, connect
async def main():
    async with connect(url) as bus:
        await bus.declare("images", "workers")
        if verb != "receive":
            await bus.send("images", Message(b"held"), Message(b"delayed"))
        async with bus.subscribe("images", "workers") as subscription:
            got = await subscription.receive(2, timeout=10)
            if verb == "delay":
                await subscription.nack(got[1], delay=5)
            if verb != "receive":
                os._exit(0)
            print(*sorted(one.message.data.decode() for one in got))
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["hold", "delay"])
def test_restart_of_the_machine_frees_what_a_short_lived_receiver_held(url, verb):
    """A process with ten days of uptime, and one after a restart: the first one lived for less than a heartbeat."""
    for ahead, what in (("864000", verb), ("0", "receive")):
        ended = subprocess.run(
            [sys.executable, "-c", AGED, ahead, what, url], capture_output=True, text=True, check=True
        )
    assert ended.stdout == "delayed held\n"


def test_write_between_a_claim_and_its_wait_wakes_the_receiver(url):
    async def race():
        async with connect(url) as bus, connect(url) as other:
            await bus.declare("images", "workers", "audit")
            async with bus.subscribe("images", "workers") as subscription, bus.subscribe("images", "audit") as idle:
                looking = asyncio.create_task(idle.receive())  # keeps the watch looking
                for number in range(20):
                    waiting = asyncio.create_task(subscription.receive(timeout=10))
                    await asyncio.sleep(0)
                    time.sleep(0.003)  # noqa: ASYNC251 (the loop stands still: the claim is done, its result unseen)
                    sending = asyncio.create_task(other.send("images", Message(b"%d" % number)))
                    (one,) = await waiting
                    assert one.message.data == b"%d" % number
                    await asyncio.gather(sending, subscription.ack(one))
                await idle.ack(*await looking)

    start = time.monotonic()
    asyncio.run(race())
    assert time.monotonic() - start < 10  # a lost wake-up costs one receiver's heartbeat, twenty seconds


@pytest.mark.slow
def test_receiver_frozen_in_its_turn_robs_nobody(path, monkeypatch):
    async def freeze():
        async with connect(f"sqlite:///{path}") as bus:
            await bus.declare("images", "workers")
        store = sqlite_store.Store(path, synchronous="normal", busy_timeout=1)
        with store.transaction():
            store.send("images", [Message(b"held")])
            other = store.attach("images", "workers", time.monotonic() + 1)
            assert len(store.claim(other, 1)) == 1
            me = store.attach("images", "workers", time.monotonic() + 60)
        with store.transaction():
            time.sleep(1.2)  # noqa: ASYNC251 (frozen; the other one's lease ends meanwhile)
            assert store.claim(me, 1) == []
        with store.transaction():
            assert len(store.claim(me, 1)) == 1
        store.close()

    asyncio.run(freeze())


@pytest.mark.slow
def test_who_could_not_write_takes_nothing_over_for_a_while(path, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "PATIENCE", 3600)

    async def fail():
        writer = sqlite_writer.Writer(path, synchronous="normal")
        await writer.run(lambda store: None)

        def full(store):
            raise sqlite3.OperationalError("database or disk is full")

        with pytest.raises(UnavailableError):
            await writer.run(full)
        assert await writer.run(lambda store: store.patient)
        await writer.close()

    asyncio.run(fail())


def test_cancelled_nack_makes_room(url):
    async def cancel():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"again"))
            async with bus.subscribe("images", "workers", max_in_flight=1) as subscription:
                (first,) = await subscription.receive()
                nacking = asyncio.create_task(subscription.nack(first, delay=0))
                await asyncio.sleep(0)
                nacking.cancel()
                await asyncio.wait([nacking])
                (again,) = await subscription.receive(timeout=10)
                assert again.attempt == 2
                await subscription.ack(again)

    asyncio.run(cancel())


def test_acks_that_rode_on_a_failed_claim_are_written_by_themselves(path, url, monkeypatch):
    async def fail():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"done"))
            async with bus.subscribe("images", "workers") as subscription:
                await subscription.ack(*await subscription.receive())
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(sqlite_store.Store, "claim", failing)
                    with pytest.raises(UnavailableError):
                        await subscription.receive(timeout=5)
                db = sqlite3.connect(path)
                ends = time.monotonic() + 10
                while (left := db.execute("SELECT count(*) FROM claims").fetchone()[0]) and time.monotonic() < ends:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                db.close()
                return left

    def failing(store, receiver, room):
        time.sleep(0.1)  # meanwhile the task that writes acks finds none
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(sqlite_driver, "GATHERING_TIME", 0.0)
    assert asyncio.run(fail()) == 0


def test_close_that_failed_can_be_tried_again_and_writes_its_acks(path, url):
    async def close():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"done"))
            subscription = await bus.subscribe("images", "workers").__aenter__()
            await subscription.ack(*await subscription.receive())
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sqlite_store.Store, "leave", failing)
                with pytest.raises(UnavailableError):
                    await subscription.close()
            await subscription.close()

    def failing(store, receiver):
        raise sqlite3.OperationalError("disk I/O error")

    asyncio.run(close())
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM claims").fetchone() == (0,)
    db.close()


def test_what_a_cancelled_claim_brings_goes_to_the_others(path, url):
    async def cancel():
        async with connect(url) as bus, connect(url) as other:
            await bus.declare("images", "workers")
            await bus.send("images", Message(b"free"))
            async with bus.subscribe("images", "workers") as first, other.subscribe("images", "workers") as second:
                receiving = asyncio.create_task(first.receive())
                await asyncio.sleep(0)  # the claim is handed over
                receiving.cancel()
                await asyncio.wait([receiving])
                (one,) = await second.receive(timeout=10)
                await second.ack(one)
                return one.attempt

    assert asyncio.run(cancel()) == 1


@pytest.mark.slow
def test_forked_process_is_told_to_connect_anew(url):
    code = """
import asyncio, os, sys
from visionbus.messaging import ClosedError, connect, connect_blocking
bus = connect_blocking(sys.argv[1])
bus.declare("images")
if (child := os.fork()) == 0:
    try:
        bus.declare("images")
    except ClosedError as error:
        os._exit(7 if "forked" in str(error) else 1)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
bus.close()
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, url], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.stdout == "7\n", ended.stderr


def test_backlog_of_a_key_that_another_holds_does_not_hide_other_keys(url, monkeypatch):
    monkeypatch.setattr(sqlite_store, "MAX_PARKED", 50)

    async def contend():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            hot = [Message(b"hot %d" % number, key="hot") for number in range(40)]
            await bus.send("images", *hot, Message(b"cold", key="cold"))
            async with bus.subscribe("images", "workers") as first, bus.subscribe("images", "workers") as second:
                (held,) = await first.receive()
                (other,) = await second.receive(100, timeout=10)
                assert other.message.data == b"cold"
                await first.ack(held)
                rest = await first.receive(100, timeout=10)
                return [held.message, *(delivery.message for delivery in rest)] == hot

    assert asyncio.run(contend())


def test_parked_messages_are_bounded(path, url, monkeypatch):
    monkeypatch.setattr(sqlite_store, "MAX_PARKED", 50)

    async def contend():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            await bus.send("images", *[Message(b"hot", key="hot") for _ in range(500)])
            async with bus.subscribe("images", "workers") as first, bus.subscribe("images", "workers") as second:
                (held,) = await first.receive()
                assert await second.receive(10, timeout=0.1) == []
                db = sqlite3.connect(path)
                (claims,) = db.execute("SELECT count(*) FROM claims").fetchone()
                db.close()
                assert claims < 100
                await first.ack(held)

    asyncio.run(contend())


def test_acked_messages_leave_the_file(path, url):
    async def work():
        async with connect(url) as bus:
            await bus.declare("images", "workers", "audit")
            await bus.send("images", *[Message(b"%d" % number) for number in range(300)])
            for name in ("workers", "audit"):
                async with bus.subscribe("images", name) as subscription:
                    await subscription.ack(*await subscription.receive(300))

    asyncio.run(work())
    db = sqlite3.connect(path)
    assert db.execute("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM claims)").fetchone() == (0, 0)
    db.close()


def test_one_bad_job_does_not_fail_those_that_share_its_transaction(url):
    async def send():
        async with connect(url) as bus:
            await bus.declare("images", "workers")
            outcomes = await asyncio.gather(
                *[bus.send(topic, Message(topic.encode())) for topic in ("images", "missing") * 10],
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [list, NotFoundError] * 10

    asyncio.run(send())
    assert asyncio.run(received(url, 10)) == [b"images"] * 10


def test_bus_left_open_by_its_loop_stops_nobody(path, url):
    async def leave():
        bus = connect(url)
        await bus.declare("images", "workers")
        await bus.send("images", Message(b"there"))

    asyncio.run(leave())
    assert asyncio.run(received(url, 1)) == [b"there"]
