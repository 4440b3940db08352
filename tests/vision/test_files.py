"""Reading files that may be anything."""

import errno
import os
from pathlib import Path

import pytest

from visionbus.vision.files import read_limited


def test_file_of_the_limit_s_size_is_read_and_a_longer_one_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_limited(path, 5) == b"12345"
    with pytest.raises(OSError, match="has 5 bytes, more than 4: use a smaller one") as caught:
        read_limited(path, 4)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)


def test_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_limited(tmp_path / "link", 5) == b"12345"


def test_folder_pipe_and_device_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            read_limited(path, 5)
