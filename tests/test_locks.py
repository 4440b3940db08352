import errno
import fcntl
import subprocess
import sys

import pytest

from visionbus.locks import claim

OTHER = """
import sys
from visionbus.locks import claim
with open(sys.argv[1], "w") as file:
    print(claim(file), flush=True)
    sys.stdin.read()
"""


def test_one_process_has_a_file_until_it_is_killed(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", OTHER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        with path.open("w") as file:
            assert not claim(file)
            other.kill()
            other.wait()
            assert claim(file)
    with path.open("w") as file:
        assert claim(file), "closing it has freed it"


def test_file_system_without_locks_is_an_error(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (tmp_path / "lock").open("w") as file, pytest.raises(OSError, match="No locks"):
        claim(file)
