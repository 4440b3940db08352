"""Reading files that may be anything."""

import errno
import os
import sys
from pathlib import Path

import pytest

from visionbus.vision import files
from visionbus.vision.files import read_limited, replacing


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


def test_file_that_grows_while_it_is_read_is_read_whole_or_refused(tmp_path, monkeypatch):
    path = tmp_path / "growing"
    path.write_bytes(b"12345")
    really_stat = os.fstat

    def grow(descriptor):
        found = really_stat(descriptor)
        with path.open("ab") as file:
            file.write(b"67890")
        return found

    monkeypatch.setattr(files.os, "fstat", grow)
    assert read_limited(path, 10) == b"1234567890"
    path.write_bytes(b"12345")
    with pytest.raises(OSError, match="has 10 bytes, more than 9"):
        read_limited(path, 9)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files that do not tell their size")
def test_file_that_does_not_tell_its_size_is_read_within_the_limit():
    path = Path("/proc/self/limits")
    whole = read_limited(path, 1_000_000)
    assert whole == path.read_bytes()
    with pytest.raises(OSError, match=f"more than {len(whole) - 1}: use a smaller one"):
        read_limited(path, len(whole) - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a device that is always full")
def test_disk_that_fills_while_a_file_is_written_leaves_the_old_one_and_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as caught, replacing(path):
        Path("/dev/full").write_bytes(b"new")
    assert caught.value.filename == str(path)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"]
