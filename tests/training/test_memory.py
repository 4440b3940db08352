"""What the C library does with memory that is freed."""

import platform
import subprocess
import sys

import pytest

pytest.importorskip("torch")

pytestmark = pytest.mark.slow  # torch takes seconds to import

FAULTS = """
import resource
import numpy as np
from visionbus.training.memory import keep_freed

if {kept}:
    keep_freed()

def step():
    return [np.ones(20_000_000, np.uint8) for _ in range(5)]

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept):
    """Count how often the system had to provide memory in ten steps that each take and free 100 MB."""
    command = [sys.executable, "-c", FAULTS.format(kept=kept)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")
def test_freed_memory_is_taken_again():
    assert faults(kept=True) < faults(kept=False) / 10
