import asyncio
import contextlib
import io
import json
import os
import sqlite3
import subprocess
from dataclasses import replace

import pytest

from visionbus.messaging import connect
from visionbus.service.stores import ConsoleStore, SQLiteStore, StoreError, StoreUnavailableError, open_store
from visionbus.service.stores import sqlite as module
from visionbus.service.stores.sqlite import COLUMNS
from visionbus.service.wire import Answer

CAT = Answer("r/1", "cat", (("cat", 0.75), ("dog", 0.25)), "pets", "v1", 1.0, 2.0, 3.0)
BROKEN = Answer("r/2", None, (), "pets", "v1", 1.0, 2.0, 3.0, "no image\nat all")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.db"


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM results ORDER BY id")]


async def test_answers_become_rows(path):
    async with open_store(str(path)) as store:
        assert await store.add([CAT, BROKEN]) == 2
        cat, broken = rows(path)  # while it is open
    assert tuple(cat) == COLUMNS
    assert cat.pop("stored") > 1e9
    assert json.loads(cat.pop("probabilities")) == [["cat", 0.75], ["dog", 0.25]]
    assert cat == {
        "id": "r/1",
        "label": "cat",
        "probability": 0.75,
        "model": "pets",
        "version": "v1",
        "error": None,
        "published": 1.0,
    }
    assert (broken["label"], broken["probability"], broken["error"]) == (None, None, "no image\nat all")


async def test_answer_that_comes_again_makes_no_second_row(path):
    async with open_store(str(path)) as store:
        assert await store.add([CAT, CAT]) == 1
        assert await store.add([CAT, BROKEN]) == 1
    async with open_store(str(path)) as store:
        assert await store.add([CAT]) == 0
    assert len(rows(path)) == 2


async def test_clock_that_steps_back_does_not_show(path, monkeypatch):
    monkeypatch.setattr(module.time, "time", lambda: 2.5)
    async with open_store(str(path)) as store:
        await store.add([CAT])
    assert rows(path)[0]["stored"] == 3.0


async def test_locked_store_is_unavailable_and_then_takes_all(path):
    async with open_store(str(path)) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match="locked"):
                await store.add([CAT])
            other.execute("COMMIT")
        assert await store.add([CAT]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk: a full disk is not tried")
def test_full_disk_is_unavailable_and_nothing_is_half_stored(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        asyncio.run(fill(disk))
        assert len(rows(disk / "results.db")) == 2
    finally:
        subprocess.run(["umount", disk], check=True)


async def fill(disk):
    async with open_store(str(disk / "results.db")) as store:
        await store.add([CAT])
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
        many = [replace(CAT, id=f"r/m{number}") for number in range(9000)]
        with pytest.raises(StoreUnavailableError, match=r"full|I/O"):
            await store.add(many)
        (disk / "filler").unlink()
        assert await store.add([BROKEN]) == 1


def remove(path):
    for file in path.parent.glob(f"{path.name}*"):  # with its -wal and -shm
        file.unlink()


def remove_alone(path):
    path.unlink()


def rename(path):
    path.rename(path.with_name("old.db"))


def replace_by_another(path):
    other = path.with_name("other.db")
    with contextlib.closing(sqlite3.connect(other)):
        other.touch()
    other.rename(path)


@pytest.mark.parametrize("take_away", [remove, remove_alone, rename, replace_by_another])
async def test_answers_are_not_added_to_a_file_that_is_gone(path, take_away):
    async with open_store(str(path)) as store:
        await store.add([CAT])
        take_away(path)
        with pytest.raises(StoreUnavailableError, match="was removed or replaced"):
            await store.add([BROKEN])
        assert await store.add([BROKEN]) == 1
        assert await store.add([BROKEN]) == 0
    assert [row["id"] for row in rows(path)] == [BROKEN.id]


async def test_store_whose_folder_is_gone_waits_for_it(tmp_path):
    path = tmp_path / "folder" / "results.db"
    path.parent.mkdir()
    async with open_store(str(path)) as store:
        remove(path)
        path.parent.rmdir()
        for reason in ("was removed or replaced", "cannot keep results", "cannot keep results"):
            with pytest.raises(StoreUnavailableError, match=reason):
                await store.add([CAT])
        path.parent.mkdir()
        assert await store.add([CAT]) == 1
    assert [row["id"] for row in rows(path)] == [CAT.id]


async def test_row_that_cannot_be_leaves_the_store_as_it_was(path):
    async with open_store(str(path)) as store:
        with pytest.raises(sqlite3.IntegrityError):
            await store.add([CAT, replace(BROKEN, published=float("nan"))])
        assert rows(path) == []
        assert await store.add([CAT]) == 1


async def test_damaged_database_is_no_fault_of_the_answers(path):
    async with open_store(str(path)) as store:
        await store.add([replace(CAT, id=f"r/{number}") for number in range(1000)])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    async with open_store(str(path)) as store:
        with pytest.raises(StoreError, match="mend this one"):
            await store.add([BROKEN])


async def test_table_of_another_program_is_refused(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE results (name TEXT, score REAL)")
    with pytest.raises(StoreError, match=r"another table called results \(columns name, score\): name another file"):
        async with open_store(str(path)):
            pass


async def test_file_of_a_bus_is_refused_and_left_as_it_is(path):
    async with connect(f"sqlite:///{path}") as bus:
        await bus.declare("images")
        with pytest.raises(StoreError, match=r"results\.db holds a message bus: name another file"):
            async with open_store(str(path)):
                pass
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert not database.execute("SELECT name FROM sqlite_schema WHERE name = 'results'").fetchall()


@pytest.mark.parametrize("make", [lambda path: path.write_text("no database" * 100), lambda path: path.mkdir()])
async def test_what_is_no_database_is_refused(path, make):
    make(path)
    with pytest.raises(StoreError, match="name a SQLite file"):
        async with open_store(str(path)):
            pass


async def test_console_prints_one_line_an_answer():
    stream = io.StringIO()
    async with ConsoleStore(stream) as store:
        assert await store.add([CAT, BROKEN]) == 2
    assert stream.getvalue() == "r/1\tcat\t0.750\nr/2\terror: no image at all\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [("sqlite:///a.db", "a.db"), ("sqlite:////tmp/a%20b.db", "/tmp/a b.db"), ("a.db", "a.db")],
)
def test_url_names_the_store(url, expected):
    store = open_store(url)
    assert isinstance(store, SQLiteStore)
    assert str(store.path) == expected


def test_dash_prints():
    assert isinstance(open_store("-"), ConsoleStore)


@pytest.mark.parametrize("url", ["mysql://x", "sqlite://a.db", "sqlite:///", "sqlite:///a.db?mode=ro"])
def test_other_urls_are_refused(url):
    with pytest.raises(ValueError, match="sqlite://"):
        open_store(url)


async def test_event_loop_turns_while_the_store_waits(path):
    async with open_store(str(path)) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            adding = asyncio.create_task(store.add([CAT]))
            await asyncio.sleep(0)
            assert not adding.done()
            other.execute("COMMIT")
        assert await adding == 1
