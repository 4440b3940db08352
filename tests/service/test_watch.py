import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.service.batching import MAX_BATCH
from visionbus.service.record import Record
from visionbus.service.suspects import MAX_CASES
from visionbus.service.watch import IN_PROCESS_BYTES, VERDICTS_BYTES, Supervised, Verdicts, short


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.fixture
def records():
    made = Record.create(IN_PROCESS_BYTES), Record.create(VERDICTS_BYTES)
    yield made
    for record in made:
        record.close()


@given(st.text())
def test_names_are_short_and_equal_only_for_equal_ids(name):
    assert len(short(name).encode()) <= 40
    assert short(name) == short(name)
    assert short(name) != short(name + "!")


def test_largest_batch_and_longest_list_fit(records):
    watch = Supervised(*records, -1)
    watch.begin(["ü" * 500 + str(number) for number in range(MAX_BATCH)], alone=False)
    names = frozenset(short("ü" * 500 + str(number)) for number in range(MAX_CASES))
    Verdicts(suspects=names).write(records[1])
    assert watch.verdicts().suspects == names


def test_supervisor_sees_what_is_in_process(records, pipe):
    watch = Supervised(*records, pipe[1])
    watch.begin(["1", "2"], alone=True)
    assert json.loads(records[0].read()) == [True, ["1", "2"]]
    watch.end()
    assert records[0].read() == b""


def test_worker_tells_of_suspects_alone_when_they_are_settled(records, pipe):
    reading, writing = pipe
    watch = Supervised(*records, writing)
    Verdicts(frozenset({"2"}), frozenset({"3"})).write(records[1])
    assert watch.verdicts().suspects == {"2"}
    watch.settled(["1", "2", "3"])
    watch.ready()
    watch.tell("error", "two\nlines")
    assert os.read(reading, 1000).decode().splitlines() == ["settled 2", "settled 3", "ready ", "error two lines"]


def test_verdicts_being_written_leave_the_old_ones_in_force(records, pipe):
    watch = Supervised(*records, pipe[1])
    Verdicts(frozenset({"2"})).write(records[1])
    watch.verdicts()
    Verdicts(frozenset({"3"})).write(records[1])
    records[1]._map[20] ^= 1
    assert watch.verdicts().suspects == {"2"}
    records[1]._map[20] ^= 1
    assert watch.verdicts().suspects == {"3"}
