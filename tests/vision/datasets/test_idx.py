import contextlib
import gzip

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
    (tmp_path / "a").write_bytes(gzip.compress(b"content"))
    (tmp_path / "b.gz").write_bytes(b"content")
    assert idx.read_bytes(tmp_path / "a") == idx.read_bytes(tmp_path / "b.gz") == b"content"


def test_truncated_gzip_is_refused_wherever_it_is_cut(tmp_path):
    whole = gzip.compress(b"content" * 100)
    for cut in range(2, len(whole)):
        (tmp_path / "a.gz").write_bytes(whole[:cut])
        with pytest.raises(DatasetError, match="fetch the file again"):
            idx.read_bytes(tmp_path / "a.gz")
