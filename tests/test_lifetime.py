import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from visionbus.lifetime import ENDED, tied

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
PARENT = """
import subprocess, time
from visionbus.lifetime import ENDED, tied
subprocess.Popen(tied("/bin/sh", "-c", "echo $$; exec sleep 60"))
time.sleep(60)
"""


def test_tied_program_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert psutil.wait_procs([child], timeout=10)[1] == []


def test_tied_program_ends_with_the_thread_that_started_it():
    command = tied("/bin/sh", "-c", "echo begun; exec sleep 60")
    with ThreadPoolExecutor(1) as starter:
        process = starter.submit(subprocess.Popen, command, stdout=subprocess.PIPE).result()
        assert process.stdout.readline() == b"begun\n"
        assert process.poll() is None
    with process:
        assert process.wait(10) == -signal.SIGKILL


def test_tied_program_has_the_process_id_that_it_was_started_with():
    with subprocess.Popen(tied("/bin/sh", "-c", "echo $$"), stdout=subprocess.PIPE, text=True) as process:
        assert int(process.stdout.readline()) == process.pid


def test_program_whose_parent_is_dead_already_does_not_start():
    command = ["1" if word == str(os.getpid()) else word for word in tied("/bin/sleep", "60")]
    assert subprocess.run(command, check=False, timeout=10).returncode == ENDED
