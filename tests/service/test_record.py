import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.service import record as module
from visionbus.service.record import Record

WRITER = """
import itertools, sys
from visionbus.service.record import Record
record = Record(int(sys.argv[1]))
print("writing", flush=True)
for number in itertools.count():
    record.write(bytes([number % 251]) * (1 + number % 60_000))
"""


@pytest.fixture
def record():
    made = Record.create(100_000)
    yield made
    made.close()


@given(st.lists(st.binary(max_size=100)))
def test_reader_gets_what_was_written_last(texts):
    made = Record.create(100)
    reader = Record(made.descriptor)
    assert reader.read() == b""
    for text in texts:
        made.write(text)
        assert reader.read() == text
    assert reader.written == len(texts)
    reader.close()
    made.close()


def test_text_that_does_not_fit_is_refused_and_the_old_one_stays(record):
    record.write(b"old")
    with pytest.raises(ValueError, match="do not fit"):
        record.write(bytes(100_001))
    assert record.read() == b"old"


def test_half_a_text_is_none(record):
    record.write(b"whole")
    record._map[module._HEADER.size] ^= 1
    assert record.read() is None


@pytest.mark.slow
def test_what_a_killed_writer_left_is_whole_or_none(record):
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(record.descriptor)],
            pass_fds=[record.descriptor],
            stdout=subprocess.PIPE,
        ) as writer:
            writer.stdout.readline()
            for _ in range(200):
                text = record.read()
                assert text is None or len(set(text)) <= 1
            os.kill(writer.pid, signal.SIGKILL)
        text = record.read()
        assert text is None or len(set(text)) <= 1
