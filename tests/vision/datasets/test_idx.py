import contextlib
import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionbus.vision import DatasetError
from visionbus.vision.datasets import idx

HEADER = bytes((0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3))


def test_array_has_the_header_s_shape_and_the_last_dimension_fastest():
    assert idx.parse(HEADER + bytes(range(6)), "here").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an IDX file of bytes"),
        (b"\x89PNG....", "not an IDX file of bytes"),
        (bytes((0, 0, 13, 1, 0, 0, 0, 0)), "not an IDX file of bytes"),
        (HEADER[:7], "ends within its header"),
        (HEADER + bytes(5), "has 5 bytes of values, but its header says 6"),
        (HEADER + bytes(7), "has 7 bytes of values, but its header says 6"),
        (bytes((0, 0, 8, 2)) + b"\xff" * 8, "header says"),
        (bytes((0, 0, 8, 100)) + b"\0\0\0\1" * 100 + b"x", "has an impossible header"),
        (bytes((0, 0, 8, 4)) + bytes(4) + b"\xff" * 12, "has an impossible header"),
    ],
)
def test_damaged_file_is_refused_by_name(content, reason):
    with pytest.raises(DatasetError, match=f"here .*{reason}|here {reason}"):
        idx.parse(content, "here")


@given(st.binary(max_size=40))
def test_random_bytes_are_an_array_or_an_error(content):
    with contextlib.suppress(DatasetError):
        assert idx.parse(content, "here").dtype == np.uint8


def test_gzipped_file_is_told_by_its_bytes_not_its_name(tmp_path):
    content = HEADER + bytes(range(6))
    (tmp_path / "a").write_bytes(gzip.compress(content))
    (tmp_path / "b.gz").write_bytes(content)
    assert idx.read_bytes(tmp_path / "a") == idx.read_bytes(tmp_path / "b.gz") == content


def test_truncated_gzip_is_refused_wherever_it_is_cut(tmp_path):
    whole = gzip.compress(HEADER + bytes(range(6)))
    for cut in range(2, len(whole)):
        (tmp_path / "a.gz").write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match="fetch the file again"):
            idx.read_bytes(tmp_path / "a.gz")


@pytest.mark.parametrize("start", [HEADER, bytes((0, 0, 8, 2)), b"junk"])
def test_what_unpacks_to_more_than_its_header_says_is_refused_in_little_memory(tmp_path, start):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(start + bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match=r"header says|not an IDX file"):
            idx.parse(idx.read_bytes(tmp_path / "bomb.gz"), "bomb")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path, pack):
    (tmp_path / "huge").write_bytes(pack(bytes((0, 0, 8, 1, 64, 0, 0, 1))))
    with pytest.raises(DatasetError, match="1073741825 bytes, more than 1073741824: split the file"):
        idx.read_bytes(tmp_path / "huge")


def test_memory_is_taken_for_what_is_there_not_for_what_is_promised(tmp_path):
    (tmp_path / "short").write_bytes(gzip.compress(bytes((0, 0, 8, 1, 64, 0, 0, 0, 1))))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="has 1 bytes of values, but its header says 1073741824"):
            idx.parse(idx.read_bytes(tmp_path / "short"), "short")
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(DatasetError, match="not a regular file"):
            idx.read_bytes(path)
